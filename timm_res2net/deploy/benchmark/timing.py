"""Milliseconds of calls: those of one path, or of several in turns; and calls a second of several threads at once."""
import statistics
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Callable, Dict, List, Mapping, Sequence

import torch


def once(path: Callable[[], Any], device: str = 'cpu') -> float:
    """Milliseconds of a call."""
    if device == 'cuda':
        torch.cuda.synchronize()
    start = time.perf_counter()
    path()
    if device == 'cuda':
        torch.cuda.synchronize()
    return 1e3 * (time.perf_counter() - start)


def calls(path: Callable[[], Any], seconds: float) -> List[float]:
    """Milliseconds of each of the calls in `seconds`, one at least, after one to warm caches and threads up."""
    once(path)
    times: List[float] = []
    end = time.perf_counter() + seconds
    while not times or time.perf_counter() < end:
        times.append(once(path))
    return times


def answers_a_second(
        callers: Sequence[Callable[[], Any]],
        seconds: float,
        pool: ThreadPoolExecutor,
        least: int = 5,
) -> float:
    """Of several threads of `pool` together, which call again and again, after a call each that does not count.

    Each goes on for `seconds` and at least `least` calls, and counts its own speed while all of them are calling.
    """
    start = threading.Barrier(len(callers))
    speeds: List[float] = []

    def call(path: Callable[[], Any]) -> None:
        try:
            path()
        except BaseException:
            start.abort()  # the others would wait for ever
            raise
        start.wait()
        begin, count = time.perf_counter(), 0
        while time.perf_counter() < begin + seconds or count < least:
            path()
            count += 1
        speeds.append(count / (time.perf_counter() - begin))
    errors = [done.exception() for done in [pool.submit(call, path) for path in callers]]
    for error in sorted(filter(None, errors), key=lambda error: isinstance(error, threading.BrokenBarrierError)):
        raise error
    return sum(speeds)


def interleave(paths: Mapping[Any, Callable[[], Any]], device: str, seconds: float, least: int = 5) -> Dict[Any, float]:
    """Median milliseconds of each path, all taken in turns for `seconds` and at least `least` times.

    A turn is one call to warm caches and threads up after the others, then three that count, or one if it is slow.
    """
    for path in paths.values():  # to compile, pack and allocate
        once(path, device)
    times: Dict[Any, List[float]] = {name: [] for name in paths}
    end = time.time() + seconds
    while time.time() < end or len(next(iter(times.values()))) < least:
        for name, path in paths.items():
            time.sleep(0.02)  # threads of the engine before may still spin
            slow = once(path, device) > 500
            times[name] += [once(path, device) for _ in range(1 if slow else 3)]
    return {name: statistics.median(t) for name, t in times.items()}
