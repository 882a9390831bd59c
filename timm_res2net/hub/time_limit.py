"""A limit on how long the Hub may keep silent, for all that huggingface_hub sends within a block.

    with time_limit('USER/NAME', 30):
        api.create_commit(...)

huggingface_hub gives some of its requests a limit, others none, and counts anew with every try. Here the seconds are
those of the block: once so many have been waited for a sign of life, whatever is on ends in `HubTimeout`. An answer is
one, and so are 64 KiB on their way, up or down: large files take as long as they take, while a server that sends a byte
now and then keeps nobody waiting.

A request waits in a thread of its own, as nothing in Python ends a read that goes on byte by byte. Where the limit is
over, the thread is left behind: it sends nothing more, and ends with its connection. Outside such a block the sessions
of huggingface_hub are as they were.
"""
import os
import re
import time
from concurrent.futures import Future, wait
from contextlib import contextmanager
from contextvars import ContextVar
from importlib import import_module
from typing import Any, Callable, Iterator, Optional

from huggingface_hub import constants, get_session
from huggingface_hub.utils import _http

from ..model.arguments import check_real
from ..weights.waiting import started
from .errors import TRANSPORT, HubTimeout

VARIABLE = 'TIMM_RES2NET_HUB_TIMEOUT'
DEFAULT = 30.0
_LONGEST = 1e6  # the operating system knows no longer ones
_GRACE = 5.0  # a connection that was left behind ends this much later
_PIECE = 1 << 16  # bytes that are a sign of life
_BATCH = 16 * _PIECE  # downloaded by one thread
_STEPS = {  # requests, as METHOD /path -> what they do
    '/api/whoami': 'asking who is logged in',
    '/api/repos/create': 'creating the repository',
    '/api/validate-yaml': 'having the model card checked',
    '/api/models/.*/branch/': 'creating the branch',
    '/api/models/.*/preupload/': 'announcing the files',
    '/info/lfs/objects/batch': 'asking where to upload the weights',
    '/info/lfs/objects/verify': 'having the upload verified',
    '/api/models/.*/commit/': 'committing',
    'GET /api/models': 'looking up the repository',
    r'HEAD .*/resolve/[^/]+/([^?]+)': 'looking up {}',
    r'GET .*/resolve/[^/]+/([^?]+)': 'downloading {}',
    'PUT ': 'uploading the weights',
    'GET ': 'downloading the weights',
}

_CURRENT: ContextVar[Optional['TimeLimit']] = ContextVar('time_limit', default=None)
_FACTORY = next(n for n in ('_GLOBAL_CLIENT_FACTORY', '_GLOBAL_BACKEND_FACTORY') if hasattr(_http, n))
_LIBRARY = import_module(TRANSPORT[0].__module__.partition('.')[0])  # httpx, or requests before huggingface_hub 1.0
_ByteStream: Any = getattr(_LIBRARY, 'SyncByteStream', object)


@contextmanager
def time_limit(repo_id: str, timeout: Optional[float] = None) -> Iterator[None]:
    """Limit how long requests inside the block wait for the Hub.

    Args:
        repo_id: For the error.
        timeout: Seconds without a sign of life, None for those of TIMM_RES2NET_HUB_TIMEOUT or else 30.

    Raises:
        TypeError, ValueError: It is no such number.
        HubTimeout: The Hub was silent for so long.
    """
    limit = TimeLimit(repo_id, _seconds(timeout))
    _prepare_sessions()
    token = _CURRENT.set(limit)
    try:
        yield
    finally:
        _CURRENT.reset(token)


def _seconds(timeout: Optional[float]) -> float:
    if timeout is None:
        given = os.environ.get(VARIABLE) or DEFAULT
        try:
            return check_real(VARIABLE, float(given), 0.001, _LONGEST)
        except ValueError:
            raise ValueError(f'{VARIABLE}={given!r} in the environment must be seconds, more than 0.') from None
    return check_real('timeout', timeout, 0.001, _LONGEST)


class TimeLimit:
    """Seconds without a sign of life that are left, for one request after another."""

    def __init__(self, repo_id: str, seconds: float):
        self.repo_id, self.seconds = repo_id, seconds
        self.waited = 0.0  # in requests that failed and are tried again
        self.bytes = 0  # too few yet to be a sign of life
        self.since = 0.0  # from here on there was none
        self.over = False

    def moved(self, count: int) -> None:
        """Bytes have gone up or come down."""
        if self.over:
            raise HubTimeout('This request is given up.')  # for a thread that was left behind
        self.bytes += count
        if self.bytes >= _PIECE:
            self.bytes, self.since = 0, time.monotonic()

    def answered(self) -> None:
        """A whole answer has come."""
        self.waited = 0.0

    def wait_for(self, call: Callable[[], Any], step: str) -> Any:
        """What `call` returns or raises.

        Raises:
            HubTimeout: The limit ran out before it did.
        """
        self.since = time.monotonic() - self.waited
        future = started(call) if self._left() > 0 else Future()
        try:
            while not future.done() and (left := self._left()) > 0:
                wait([future], left)
        finally:
            self.over = not future.done()  # as after an interrupt
        self.waited = time.monotonic() - self.since
        if self.over:
            raise HubTimeout(
                f'{constants.ENDPOINT} kept silent for {self.seconds:g} s while {step} ({self.repo_id}): try again, '
                f'or wait longer with timeout= or {VARIABLE}.')
        return future.result()

    def _left(self) -> float:
        return self.seconds - (time.monotonic() - self.since)


class _Send:
    """The `send` of a session, within the limit of whoever calls; without one as it was."""

    def __init__(self, send: Callable):
        self.send = send

    def __call__(self, request: Any, **kwargs) -> Any:
        limit = _CURRENT.get()
        if limit is None:
            return self.send(request, **kwargs)
        longest, streams, step = limit.seconds + _GRACE, bool(kwargs.get('stream')), _step(request)
        of_httpx = hasattr(request, 'extensions')
        if of_httpx:
            given = request.extensions.get('timeout', {}).get('read')
            read = _shorter(given, longest) if streams else longest  # huggingface_hub goes on with a stalled download
            request.extensions['timeout'] = dict(connect=longest, read=read, write=longest, pool=longest)
            request.stream = _Upload(request.stream, limit)
        else:
            given = kwargs.get('timeout')
            kwargs['timeout'] = (longest, _shorter(given, longest) if streams else longest)
            if hasattr(request.body, 'read'):
                request.body = _Upload(request.body, limit)
        response = limit.wait_for(lambda: self.send(request, **kwargs), step)
        limit.answered()
        if streams:
            body = 'stream' if of_httpx else 'raw'
            setattr(response, body, _Download(getattr(response, body), limit, step))
        return response


class _Upload(_ByteStream):
    """The body of a request, read by httpx piece by piece and by requests as a file."""

    def __init__(self, body: Any, limit: TimeLimit):
        self.body, self.limit = body, limit

    def __iter__(self) -> Iterator[bytes]:
        for piece in self.body:
            self.limit.moved(len(piece))
            yield piece

    def read(self, size: int = -1) -> bytes:
        """The next bytes."""
        piece = self.body.read(size)
        self.limit.moved(len(piece))
        return piece

    def close(self) -> None:
        """Close it."""
        self.body.close()


class _Download(_ByteStream):
    """The body of an answer, as httpx iterates over it and as requests streams it."""

    def __init__(self, body: Any, limit: TimeLimit, step: str):
        self.body, self.limit, self.step = body, limit, step

    def __iter__(self) -> Iterator[bytes]:
        return self._batches(iter(self.body))

    def stream(self, amt: int = _PIECE, decode_content: Optional[bool] = None) -> Iterator[bytes]:
        """Pieces of it."""
        return self._batches(self.body.stream(min(amt, _PIECE), decode_content=decode_content))

    def _batches(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        def batch() -> bytes:
            taken = bytearray()
            for piece in pieces:
                self.limit.moved(len(piece))
                taken += piece
                if len(taken) >= _BATCH:
                    break
            return bytes(taken)

        while data := self.limit.wait_for(batch, self.step):
            yield data
        self.limit.answered()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.body, name)

    def close(self) -> None:
        """Close it."""
        self.body.close()


class _Factory:
    """A factory of sessions that keep to limits, around the one that is set, huggingface_hub's or the user's own."""

    def __init__(self, factory: Callable[[], Any]):
        self.factory = factory

    def __call__(self) -> Any:
        return _prepared(self.factory())


def _prepared(session: Any) -> Any:
    if not isinstance(session.send, _Send):
        session.send = _Send(session.send)
    return session


def _prepare_sessions() -> None:
    """The session there is, and those to come.

    Not by `set_client_factory` or `configure_http_backend`: these close sessions that other threads are using.
    """
    factory = getattr(_http, _FACTORY)
    if not isinstance(factory, _Factory):
        setattr(_http, _FACTORY, _Factory(factory))
    _prepared(get_session())


def _shorter(given: Any, longest: float) -> float:
    """A limit of huggingface_hub's own, if it is a number, or ours."""
    return min(given, longest) if isinstance(given, (int, float)) else longest


def _step(request: Any) -> str:
    """What a request is for, in words."""
    path = re.sub('^https?://[^/]+', '', str(request.url))
    for pattern, words in _STEPS.items():
        found = re.search(pattern, f'{request.method} {path}')
        if found:
            return words.format(*found.groups())
    return f'waiting for {request.method} {path.partition("?")[0]}'
