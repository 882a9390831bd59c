"""The HTTP side of loopback servers: requests in, answers out, and faults on purpose."""
import json
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

MEGABYTE = 1 << 20


class Answer(Exception):
    """An HTTP answer: raised anywhere, sent by the handler."""

    def __init__(self, status, body=b'', **headers):
        self.status, self.headers = status, {k.replace('_', '-'): v for k, v in headers.items()}
        self.body = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.headers.setdefault('Content-Type', 'application/json')


def error(status, message, code=None):
    headers = {'X_Error_Message': message, **({'X_Error_Code': code} if code else {})}
    return Answer(status, {'error': message}, **headers)


class Fault:
    """`kind`: a status, one of `bent`'s, or one of these.

    'drop', 'drop_after': the connection ends without an answer, the latter when everything is done.
    'truncate': it ends amid the answer. 'slow': the answer waits after its first line.
    'silent': no answer at all, until the client gives up. 'trickle': headers without an end, byte by byte.
    'drip': a body without an end, byte by byte. 'sluggish': all of it, a megabyte each `seconds`, up and down.
    """

    def __init__(self, pattern, kind, first=1, times=None, seconds=1.0):
        self.pattern, self.kind, self.first, self.times, self.seconds = re.compile(pattern), kind, first, times, seconds
        self.seen = 0

    def is_sluggish(self, request):
        return self.kind == 'sluggish' and self.pattern.search(request)

    def hits(self, request):
        if not self.pattern.search(request):
            return False
        self.seen += 1
        return self.seen >= self.first and (self.times is None or self.seen < self.first + self.times)


class FaultyHandler(BaseHTTPRequestHandler):
    """Sends what `route` raises, unless a fault says otherwise."""
    protocol_version = 'HTTP/1.1'
    hub = None

    def log_message(self, *args):
        pass

    def handle_one_request(self):
        try:
            super().handle_one_request()
        except (ConnectionError, TimeoutError):
            self.close_connection = True

    def do_GET(self):
        hub = self.hub
        with hub.lock:
            pause = max([f.seconds for f in hub.faults if f.is_sluggish(f'{self.command} {self.path}')], default=0)
        body = self.read_body(pause)
        split = urlsplit(self.path)
        self.query = {k: v[0] for k, v in parse_qs(split.query).items()}
        if split.path == '/_faults':  # `fault` for tests in another process; no faults means none from now on
            faults = [Fault(*args, **kwargs) for args, kwargs in json.loads(body)]
            with hub.lock:
                hub.faults = hub.faults + faults if faults else []
            return self.send(Answer(200, {}))
        request = f'{self.command} {self.path} {self.name_in(body)}'.strip()
        with hub.lock:
            hub.requests.append((request, self.headers.get('Authorization')))
            kinds = [f for f in hub.faults if f.kind != 'sluggish' and f.hits(request)]
        kind = kinds[0].kind if kinds else None
        if kind == 'drop':
            return self.drop()
        if kind in ('silent', 'trickle'):
            return self.hold(b'HTTP/1.1 200 OK\r\nX-Long: ' if kind == 'trickle' else b'')
        if isinstance(kind, int):
            return self.send(self.broken(kind))
        try:
            with hub.lock:
                self.route([unquote(p) for p in split.path.strip('/').split('/')], body)
            answer = error(404, f'No such page: {self.path}')
        except Answer as raised:
            answer = raised
        if kind == 'drop_after':
            return self.drop()
        if kind == 'drip' and self.command != 'HEAD':
            return self.hold(b'HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n')
        if kinds:
            answer = self.bent(answer, kinds[0])
        self.send(answer, truncate=kind == 'truncate', seconds=kinds[0].seconds if kind == 'slow' else 0, pause=pause)

    do_HEAD = do_POST = do_PUT = do_DELETE = do_GET

    def route(self, parts, body):
        """Raise the `Answer` to a request: the parts of its path, unquoted, and its body."""
        raise NotImplementedError

    def bent(self, answer, fault):
        """The answer as faults of a server's own make it."""
        return answer

    def file(self, data, **headers):
        """Raise the answer to a request for a file: all of it, or the part that is asked for."""
        headers = {'Content_Type': 'application/octet-stream', 'Accept_Ranges': 'bytes', **headers}
        wanted = re.fullmatch(r'bytes=(\d+)-(\d*)', self.headers.get('Range') or '')
        known = (None, headers.get('ETag'), headers.get('Last_Modified'))
        if not wanted or self.headers.get('If-Range') not in known:
            raise Answer(200, data, **headers)
        start, end = int(wanted[1]), min(int(wanted[2] or len(data) - 1), len(data) - 1)
        if start > end:
            raise Answer(416, Content_Range=f'bytes */{len(data)}', **headers)
        raise Answer(206, data[start:end + 1], Content_Range=f'bytes {start}-{end}/{len(data)}', **headers)

    def read_body(self, pause=0.0):
        if 'chunked' in self.headers.get('Transfer-Encoding', ''):
            chunks = []
            while size := int(self.rfile.readline().split(b';')[0], 16):
                chunks.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b''.join(chunks)
        left = int(self.headers.get('Content-Length') or 0)
        chunks = []
        while left > 0 and (chunk := self.rfile.read(min(left, MEGABYTE) if pause else left)):
            chunks.append(chunk)
            left -= len(chunk)
            time.sleep(pause)
        return b''.join(chunks)

    def name_in(self, body):
        """The repository a request without one in its path is about."""
        if self.path == '/api/repos/create':
            data = json.loads(body)
            return f'{data.get("organization") or ""}/{data["name"]}'
        found = re.search(rb'hf-hub:([\w./-]+)', body) if self.path == '/api/validate-yaml' else None
        return found[1].decode() if found else ''

    @staticmethod
    def broken(status):
        if status == 401:
            return error(401, 'Invalid credentials in Authorization header')
        if status == 429:
            return Answer(429, {'error': 'Too many requests'}, Retry_After='0', RateLimit='"api";r=0;t=0',
                          RateLimit_Policy='"fixed window";"api";q=500;w=300')
        if status >= 500:
            return Answer(status, b'<html>Service Unavailable</html>', Content_Type='text/html')
        return error(status, {403: 'Forbidden', 404: 'Not found'}.get(status, 'Broken'))

    def hold(self, start):
        """Keep the connection until the client gives it up: silent, or after a start sending a byte now and then."""
        self.close_connection = True
        self.connection.settimeout(0.2)
        self.connection.sendall(start)
        while True:
            try:
                if not self.connection.recv(1):
                    return
            except TimeoutError:
                if start:
                    self.connection.sendall(b' ')

    def drop(self):
        self.close_connection = True
        self.connection.close()

    def send(self, answer, truncate=False, seconds=0.0, pause=0.0):
        body = b'' if self.command == 'HEAD' else answer.body
        self.send_response(answer.status)
        headers = {'Content-Length': str(len(answer.body)), **answer.headers}
        for key, value in headers.items():
            if value is not None:
                self.send_header(key, value)
        self.end_headers()
        if truncate:
            body = body[:len(body) // 2]
            self.close_connection = True
        if seconds:
            self.wfile.flush()
            time.sleep(seconds)
        step = MEGABYTE if pause else max(len(body), 1)
        for start in range(0, len(body), step):
            self.wfile.write(body[start:start + step])
            time.sleep(pause)
        self.wfile.flush()
        if truncate:
            self.drop()


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256  # of connections that tests open at the same time


class Loopback:
    """A server in a thread of its own, as a context manager; its handlers know it as `hub`."""

    def __init__(self, handler):
        self.faults, self.requests, self.lock = [], [], threading.RLock()
        self.server = Server(('127.0.0.1', 0), type('Bound', (handler,), {'hub': self}))
        self.port = self.server.server_address[1]

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, kwargs={'poll_interval': 0.05}, daemon=True).start()
        return self

    def __exit__(self, *args):
        self.server.shutdown()
        self.server.server_close()
