"""What a URL gives, into a file: whole or an error. http and https, by the standard library alone.

A transfer that breaks goes on where it stopped, if the server takes that (`Range`) and says that the file is still the
same (`If-Range`), and starts again if not. It ends with an error after three tries in a row that brought less than a
megabyte, at once where another try would end the same way. What the server says of the size is checked.
"""
import re
import sys
import time
from concurrent.futures import wait
from http import HTTPStatus
from http.client import HTTPException, HTTPResponse, InvalidURL
from typing import Any, BinaryIO, Iterator, Optional
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from tqdm import tqdm

from ..version import __version__
from .checkpoint import CheckpointError
from .waiting import started

_TRIES = 3
_PROGRESS = 1 << 20  # bytes beyond all tries before, for which a try does not count
_BLOCK = 1 << 18
_LEAST = 1 << 10  # bytes within a time limit: below it a transfer is as good as silent
_WAIT = 0.5  # seconds between two tries
_PATIENCE = 10  # and how many a server may ask for


class _Broken(Exception):
    """A try that ended early, where the next one may do better.

    Attributes:
        wait: Seconds before it, None for the usual.
        restart: It has to start at the first byte.
    """

    def __init__(self, reason: str, wait: Optional[float] = None, restart: bool = False) -> None:
        super().__init__(reason)
        self.wait, self.restart = _WAIT if wait is None else wait, restart


def _validator(response: HTTPResponse) -> str:
    """A strong ETag, else the date of the last change."""
    tag = response.headers.get('ETag', '')
    return tag if tag.startswith('"') else response.headers.get('Last-Modified', '')


class _Redirects(HTTPRedirectHandler):
    """Follows to http and https, and never from https to http."""

    def redirect_request(self, req: Request, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        allowed = ('https',) if req.type == 'https' else ('http', 'https')
        if urlsplit(newurl).scheme not in allowed:
            raise CheckpointError(f'the server redirects from {req.type} to {shown(newurl)}')
        return super().redirect_request(req, fp, code, msg, headers, newurl)


_OPENER = build_opener(_Redirects)


def shown(url: str) -> str:
    """A URL without what may hold a password."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition('@')[2], query='', fragment='').geturl()


def download(url: str, file: BinaryIO, timeout: float) -> None:
    """Write what a URL gives into an empty file; a bar shows how far it is where a person watches.

    Args:
        url: http or https.
        timeout: Seconds of silence after which a try has failed.

    Raises:
        CheckpointError: Why it could not be had, for an error that names the URL.
        OSError: The file could not be written.
    """
    name = urlsplit(url).path.rpartition('/')[2]
    with tqdm(unit='B', unit_scale=True, desc=name, delay=1, leave=False, disable=None, file=sys.stderr) as bar:
        transfer = _Transfer(url, file, timeout, bar)
        tries, furthest = 0, 0
        while True:
            try:
                return transfer.run()
            except _Broken as broken:
                tries = 1 if file.tell() >= furthest + _PROGRESS else tries + 1
                furthest = max(furthest, file.tell())
                if tries == _TRIES or broken.wait > _PATIENCE:
                    raise CheckpointError(f'{broken}, try again later') from None
                if broken.restart:
                    transfer.empty()
                time.sleep(broken.wait)


class _Transfer:
    """A URL into a file, in as many tries as it takes.

    Attributes:
        size: In bytes, None where it comes in chunks, of which the last is marked.
        validator: ETag or date by which the server knows the file again, '' if it gives none.
    """

    def __init__(self, url: str, file: BinaryIO, timeout: float, bar: Any) -> None:
        self.url, self.file, self.timeout, self.bar = url, file, timeout, bar
        self.size: Optional[int] = None
        self.validator = ''

    def run(self) -> None:
        """One try: all of it, or what is still missing."""
        start = self.file.tell()
        request = Request(self.url, headers={'User-Agent': f'timm-res2net/{__version__}'})
        if start and self.validator:
            request.add_header('Range', f'bytes={start}-')
            request.add_header('If-Range', self.validator)
        with _open(request, self.timeout) as response:
            if response.status == HTTPStatus.OK:
                self._begin(response)
            elif response.status != HTTPStatus.PARTIAL_CONTENT:
                raise CheckpointError(f'the server answers {response.status} {response.reason} instead of a file')
            elif not self._goes_on(response, start):
                raise _Broken('the server gives another part than the one asked for', wait=0, restart=True)
            self.bar.total, self.bar.n = self.size, self.file.tell()
            for block in _blocks(response, self.timeout):
                self.file.write(block)
                self.bar.update(len(block))
        if self.size not in (None, self.file.tell()):
            raise _Broken(f'the transfer broke off after {self.file.tell():,} of {self.size:,} bytes')

    def empty(self) -> None:
        """Forget what has come."""
        self.file.seek(0)
        self.file.truncate()

    def _begin(self, response: HTTPResponse) -> None:
        """Take the description of the whole file, of which all comes."""
        encoding = response.headers.get('Content-Encoding', 'identity')
        if encoding != 'identity':
            raise CheckpointError(f'the server sends it compressed ({encoding}), which was not asked for')
        if response.length is None and not response.chunked:
            raise CheckpointError('the server does not say how long it is, so that nobody would notice if it broke off')
        self.size, self.validator = response.length, _validator(response)
        self.empty()

    def _goes_on(self, response: HTTPResponse, start: int) -> bool:
        """Whether an answer is the rest of the same file."""
        span = re.fullmatch(r'bytes (\d+)-\d+/(\d+|\*)', response.headers.get('Content-Range', ''))
        if span is None or int(span[1]) != start or span[2] not in ('*', str(self.size)):
            return False
        return _validator(response) in ('', self.validator)


def _open(request: Request, timeout: float) -> HTTPResponse:
    """The answer to a request, if it is one of success."""
    try:
        return _answer(request, timeout)
    except HTTPError as error:
        with error:
            raise _refused(error) from None
    except URLError as error:
        if isinstance(error.reason, TimeoutError):
            raise _Broken(f'no connection within {timeout:g} seconds') from None
        raise CheckpointError(f'no connection ({error.reason})') from None
    except (InvalidURL, ValueError) as error:
        raise CheckpointError(f'that is no address ({error})') from None
    except (OSError, HTTPException) as error:
        raise _broken_by(error, timeout) from None


def _answer(request: Request, timeout: float) -> HTTPResponse:
    """What the opener gives within three time limits: to a socket's own, headers that come byte by byte have no end."""
    answer = started(lambda: _OPENER.open(request, timeout=timeout))
    wait([answer], 3 * timeout)
    if not answer.done():
        answer.add_done_callback(lambda late: late.exception() or late.result().close())
        raise TimeoutError
    return answer.result()


def _refused(error: HTTPError) -> Exception:
    """What an answer of another status means for the next try."""
    said = ' '.join(f'{error.code} {error.reason}'.split())
    if error.code < 400:
        return CheckpointError(f'the server redirects to no file ({said})')
    if error.code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        return _Broken(f'the server refuses to go on where it broke off ({said})', wait=0, restart=True)
    after = error.headers.get('Retry-After', '')
    pause = int(after) if after.isdigit() else None
    if error.code == HTTPStatus.TOO_MANY_REQUESTS:
        asks = f'asks to wait {pause} seconds' if after.isdigit() else 'asks to wait'
        return _Broken(f'the server limits the rate of requests and {asks} ({said})', pause)
    if error.code >= 500:
        return _Broken(f'the server has a problem of its own ({said})', pause)
    if error.code in (HTTPStatus.NOT_FOUND, HTTPStatus.GONE):
        return CheckpointError(f'there is no such file ({said})')
    return CheckpointError(f'the server refuses it ({said})')


def _broken_by(error: Exception, timeout: float) -> _Broken:
    if isinstance(error, TimeoutError):
        return _Broken(f'the server was silent for {timeout:g} seconds')
    return _Broken(f'the connection broke ({str(error) or type(error).__name__})')


def _blocks(response: HTTPResponse, timeout: float) -> Iterator[bytes]:
    """The body, as it comes."""
    since, got = time.monotonic(), 0
    try:
        while block := response.read1(_BLOCK):
            yield block
            got += len(block)
            if time.monotonic() - since > timeout:
                if got < _LEAST:
                    raise TimeoutError
                since, got = time.monotonic(), 0
    except (OSError, HTTPException) as error:
        raise _broken_by(error, timeout) from None
