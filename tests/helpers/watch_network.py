"""What a process asks of the network, beyond this machine: `usercustomize`-like, put first on PYTHONPATH by a test.

Copied as `sitecustomize.py` into a folder that PYTHONPATH names; it writes a line a call into WATCH_NETWORK.
"""
import os
import sys

LOCAL = ('127.', '::1', 'localhost', '0.0.0.0')
_FILE = os.environ.get('WATCH_NETWORK')


def _watch(event, arguments):
    if event in ('socket.connect', 'socket.getaddrinfo', 'socket.sendto'):
        address = arguments[1] if event != 'socket.getaddrinfo' else arguments[0]
        host = address[0] if isinstance(address, tuple) else address
        host = host.decode() if isinstance(host, bytes) else host
        if isinstance(host, str) and not host.startswith(LOCAL) and not host.startswith('/') and host != '':
            with open(_FILE, 'a', encoding='utf-8') as file:
                file.write(f'{event} {host}\n')


if _FILE:
    sys.addaudithook(_watch)
