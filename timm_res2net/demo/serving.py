"""The page served: where it listens, what it may do, and that it leaves nothing behind."""
import errno
import os
import signal
import socket
import sys
import tempfile
import threading
from contextlib import suppress
from typing import Callable, NoReturn, Optional, Sequence

from .answer import answers, heat
from .photo import BUNDLED, Photo
from .subject import Shelf

VISITORS = 50  # whose photos are remembered at once


def serve(
        shelf: Shelf,
        names: Sequence[str],
        shown: Sequence[str],
        free: bool,
        host: Optional[str] = None,
        port: Optional[int] = None,
        share: bool = False,
        browser: bool = False,
        say: Callable[[str], None] = print,
) -> NoReturn:
    """Serve the page until it is interrupted, which ends the process with code 130.

    Files of visitors lie in a folder of this process, from which gradio deletes them after a minute, and which goes
    with the process.

    Args:
        names, shown, free: As of `page.build`.
        host: Address to listen on; None: that of GRADIO_SERVER_NAME, as on Spaces, or this machine alone.
        port: None: that of GRADIO_SERVER_PORT, or the first free one from 7860.
        share: Open a way in from everywhere, through gradio's servers.
        browser: Open a browser.
        say: Takes the line that says where the page is.

    Raises:
        ValueError: `host` or `port` cannot be listened on.
    """
    _check(host, port)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # stops it as Ctrl-C does, so that the folder goes too
    with tempfile.TemporaryDirectory(prefix='timm-res2net-demo-', ignore_cleanup_errors=True) as folder:
        os.environ['GRADIO_TEMP_DIR'] = folder
        from .page import LARGEST, STYLE, build, theme
        page = build(shelf, names, shown, free)
        warm_up(shelf, shown)
        _, url, public = page.launch(
            server_name=host, server_port=port, share=share, inbrowser=browser, prevent_thread_lock=True, quiet=True,
            max_file_size=LARGEST, theme=theme(), css_paths=STYLE, footer_links=[], run_history=False,
            enable_monitoring=False, mcp_server=False, ssr_mode=False, pwa=False, state_session_capacity=VISITORS)
        say(f'the page is at {public or url}, Ctrl-C stops it')
        with suppress(KeyboardInterrupt):
            threading.Event().wait()
    say('stopped')
    sys.stdout.flush()
    os._exit(130)  # python's own end would abort in a thread of the server's that is inside torch


def warm_up(shelf: Shelf, shown: Sequence[str]) -> None:
    """Answer once, so that the first visitor does not wait for what is loaded and allocated then."""
    photo = Photo(BUNDLED[0])
    for name in shown:
        best, *_ = answers(shelf[name], photo)
        heat(shelf[name], photo, best.number)


def _check(host: Optional[str], port: Optional[int]) -> None:
    """gradio would end the process where it cannot listen."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host or '127.0.0.1', port or 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        foreign = isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL
        raise ValueError(
            f'host={host} is no address of this machine: leave it out for this machine alone' if foreign else
            f'host={host} and port={port} cannot be listened on ({error.strerror}): choose another port') from error
