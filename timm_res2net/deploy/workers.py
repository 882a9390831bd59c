"""Many callers at once: callables that serve one each, and processes for the engines that cannot share one.

Every thread that calls torch gets a pool of OpenMP threads of its own, and the pools fight over the cores: all of
torch's paths are slower in a second thread, whatever the first does. So the files that torch runs are served by
processes, each with one thread that calls torch and its share of the cores.
"""
import json
import os
import queue
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Callable, Dict, List, Optional, Sequence, Tuple

import torch

Run = Callable[[torch.Tensor], torch.Tensor]


class FileError(ValueError):
    """A file that `export` did not write, or not for this machine or these versions; the message names it."""


_KINDS: Dict[str, Any] = {'ImportError': ImportError, 'FileError': FileError, 'ValueError': FileError}


def check_owner(owner: int) -> None:
    """Refuse a call in a forked process, where one would wait for ever for threads that have not come along."""
    if os.getpid() != owner:
        raise RuntimeError('The file was loaded before a fork: load it in the process that uses it.')


class Pool:
    """Callables as one: each serves a caller at a time, further callers wait for the first that is free."""

    def __init__(self, members: Sequence[Run]) -> None:
        self.members = members
        self.closing = threading.Lock()
        self.free: queue.LifoQueue[Optional[Run]] = queue.LifoQueue()  # the last used has its data in the caches
        for member in members:
            self.free.put(member)

    def __call__(self, *parts: torch.Tensor) -> torch.Tensor:
        """The answers to all parts of a batch, from one member: once begun, a call is served to its end."""
        member = self.free.get()
        try:
            if member is None:
                raise RuntimeError('The file has been closed: load it again.')
            answers = [member(part) for part in parts]
            return answers[0] if len(parts) == 1 else torch.cat(answers)
        finally:
            self.free.put(member)

    def close(self) -> None:
        """Wait for those who are being served, refuse all others; once more does nothing."""
        with self.closing:
            try:
                for _ in self.members:
                    member = self.free.get()
                    if member is None:
                        break
                    if hasattr(member, 'close'):
                        member.close()
            except BaseException:  # interrupted
                for member in self.members:
                    if hasattr(member, 'stop'):
                        member.stop()
                raise
            finally:  # nobody is to wait for what does not come back
                self.free.put(None)


class Worker:
    """A process that holds one of torch's files; it ends with this one."""

    def __init__(self, path: Path, threads: int) -> None:
        self.path = path
        self.threads = threads
        self.owner = os.getpid()
        self.file = _identity(path)
        self.start()

    def start(self) -> None:
        code = f'from {__package__}.worker_process import serve; serve({str(self.path)!r}, {self.threads})'
        self.process: Any = subprocess.Popen(
            [sys.executable, '-c', code], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env=environment(OMP_NUM_THREADS=str(self.threads)))

    def metadata(self) -> str:
        """Of the file, once it is loaded.

        Raises:
            ImportError, ValueError: As of `load`.
        """
        answer = receive(self.process.stdout)
        if answer is None:
            code = self.process.wait()
            raise RuntimeError(f'The process that loads {self.path} died with code {code}; call again for another.')
        if 'error' in answer:
            raise _KINDS.get(answer['kind'], RuntimeError)(answer['error'])
        return answer['metadata']

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """
        Raises:
            RuntimeError: The process died, such as for want of memory; the next call starts another, unless there is
                another file by then or nothing can be started.
        """
        check_owner(self.owner)  # two processes on one pipe would read each other's answers
        if self.process.poll() is not None:
            self.restart()
        try:
            send(self.process.stdin, x)
            answer = receive(self.process.stdout)
        except OSError:
            answer = None
        except BaseException:  # interrupted: the answer would be taken for that of the next call
            self.stop()
            raise
        if answer is None:
            code = self.stop()
            raise RuntimeError(f'The process that ran {self.path} died with code {code}; call again for another.')
        if 'error' in answer:
            raise RuntimeError(answer['error'])
        return answer['tensor']

    def restart(self) -> None:
        """After it died; the others of a pool still serve what was loaded then."""
        if _identity(self.path) != self.file:
            raise RuntimeError(f'{self.path} is no longer the file that was loaded: load it again.')
        self.stop()
        try:
            self.start()
        except OSError as error:
            raise RuntimeError(f'No process can be started to run {self.path}: {error}.') from error
        try:
            self.metadata()
        except BaseException:  # interrupted: what it says would be taken for the answer of the next call
            self.stop()
            raise

    def stop(self) -> int:
        self.process.kill()
        code = self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            with suppress(OSError):  # what it had not read
                pipe.close()
        return code

    def close(self) -> None:
        if os.getpid() == self.owner:  # else it is still the other's
            with suppress(OSError, ValueError):  # it has died, or been stopped
                send(self.process.stdin, done='')  # a process forked from this one may keep the pipe open
        with suppress(OSError):
            self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


def _identity(path: Path) -> Optional[Tuple[int, ...]]:
    """What tells a file from one that has taken its place, None where there is none."""
    with suppress(OSError):
        status = path.stat()
        return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
    return None


def environment(**variables: str) -> Dict[str, str]:
    """For a process of Python that is to find what this one imports."""
    return {**os.environ, 'PYTHONPATH': os.pathsep.join(filter(None, sys.path)), **variables}


def share(count: int) -> int:
    """How many of torch's threads one of `count` callers has."""
    return max(1, torch.get_num_threads() // count)


def start_workers(path: Path, count: int) -> List[Worker]:
    """`count` processes that share the cores that torch has here."""
    threads = share(count)
    started: List[Worker] = []
    try:
        for _ in range(count):
            started.append(Worker(path.absolute(), threads))
    except BaseException:  # the system has no more processes or open files
        for worker in started:
            worker.stop()
        raise
    return started


def send(stream: IO[bytes], x: Optional[torch.Tensor] = None, **words: str) -> None:
    """A line of JSON, and the numbers of a tensor."""
    data = b''
    if x is not None:
        data = x.contiguous().numpy().tobytes()
        words = {**words, 'dtype': str(x.dtype).removeprefix('torch.')}
    stream.write(json.dumps({**words, 'shape': x if x is None else list(x.shape), 'bytes': len(data)}).encode() + b'\n')
    stream.write(data)
    stream.flush()


def receive(stream: IO[bytes]) -> Optional[Dict[str, Any]]:
    """What `send` sent, None where nothing comes any more."""
    line = stream.readline()
    if not line.endswith(b'\n'):
        return None
    answer = json.loads(line)
    if answer['shape'] is not None:
        data = stream.read(answer['bytes'])
        if len(data) < answer['bytes']:
            return None
        answer['tensor'] = torch.frombuffer(
            bytearray(data), dtype=getattr(torch, answer['dtype'])).view(answer['shape'])
    return answer
