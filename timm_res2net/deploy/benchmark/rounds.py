"""Inference on a CPU as users have it: each file made, and each path measured, by a process that does nothing else.

In a round the processes of several paths are there and wait for their turns. These are short, so that who else uses the
machine for seconds disturbs all paths alike. If he does for longer, the rounds show it, each with new processes: the
same path comes out apart from one to the next.
"""
import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from functools import partial
from importlib import import_module
from itertools import product
from pathlib import Path
from typing import IO, Any, Callable, Dict, Iterator, List, Optional, Sequence, Tuple

import timm
import torch

from ..deployed import Deployed
from ..workers import environment
from .machine import has_bf16, held_at_most
from .paths import Way, model_of, ways
from .timing import answers_a_second, calls, once

APART = 0.1  # of a path's fastest round; beyond it the machine was busy and the figures are no good
TURN = {'make': 0, 'measure': 0.3, 'serve': 1}  # seconds
MAIN = f'from {__name__} import work; work()'
HELD = 7  # processes at a time, of Res2Net-50 in 6 GB
Key = Tuple[str, str]  # precision, name
Found = Dict[Key, List[Dict[str, Any]]]  # of each path, what its process found in each round


def inference_cpu(args: argparse.Namespace) -> Dict[str, Any]:
    """Median milliseconds and their spread over the rounds, {precision: {name: {batch: ..}}}; and what is one number.

    That is, of each path: seconds to load, milliseconds of the first answer, MB of memory at most and of the file, and
    which part of a call at the first batch size `deploy.load`'s checks of the input take.
    """
    rounds, skipped = _rounds(args, 'measure', lambda way: way.ready is not None, [args.batch])
    return {**_summary(rounds, 'milliseconds'), 'rounds': args.rounds, 'skipped': skipped}


def throughput_cpu(args: argparse.Namespace) -> Dict[str, Any]:
    """Median images a second for several callers at once, an image each, {precision: {name: {callers: ..}}}."""
    rounds, skipped = _rounds(args, 'serve', lambda way: way.serve is not None, [[n] for n in args.callers])
    return {**_summary(rounds, 'images a second'), 'rounds': args.rounds, 'skipped': skipped}


def _rounds(
        args: argparse.Namespace,
        task: str,
        wanted: Callable[[Way], bool],
        loads: List[List[int]],
) -> Tuple[Found, Dict[str, str]]:
    """What was found in each round, and what was skipped, with the reason.

    Args:
        loads: Batch sizes or numbers of callers; those of a list are measured by the same process.
    """
    skipped: Dict[str, str] = {}
    precisions = args.precision or [p for p in ways(args.batch, args.callers) if p != 'bf16' or has_bf16('cpu')]
    chosen = [(p, name) for p, named in ways(args.batch, args.callers).items() if p in precisions
              for name, way in named.items() if wanted(way) and re.search(args.paths or '', name)]
    rounds: Found = {}
    for key in chosen:
        file = file_of(args, key)
        if not file or file.exists() or _make(args, key, skipped):
            rounds[key] = [{'values': {}, 'once': {}} for _ in range(args.rounds)]
    for n, precision, load in product(range(args.rounds), precisions, loads):
        keys = [key for key in rounds if key[0] == precision and ' '.join(key) not in skipped]
        for together in (keys[i:i + HELD] for i in range(0, len(keys), HELD)):
            words = f'round {n + 1} of {args.rounds}'
            for key, found in _round(args, task, together, load, skipped, words).items():
                for what in found:
                    rounds[key][n][what].update(found[what])
    whole = {key: found for key, found in rounds.items() if ' '.join(key) not in skipped}
    if not whole:
        if not skipped:
            raise ValueError(f'paths={args.paths!r} names none of the paths that there are with these options.')
        raise RuntimeError(f'none of the paths to measure could be built: {skipped}')
    return whole, skipped


def _make(args: argparse.Namespace, key: Key, skipped: Dict[str, str]) -> bool:
    """Have the file of a path made; or say in `skipped` why there is none."""
    print(f'make {" ".join(key)}', file=sys.stderr, flush=True)
    with Child(args, 'make', key) as child:
        return child.answer(skipped) is not None


def _round(
        args: argparse.Namespace,
        task: str,
        keys: List[Key],
        load: List[int],
        skipped: Dict[str, str],
        words: str,
) -> Dict[Key, Dict[str, Any]]:
    """What each path takes in a round: medians of the calls of all its turns, and what is one number."""
    found: Dict[Key, Dict[str, Any]] = {}
    with ExitStack() as processes:
        children = []
        for key in keys:
            print(f'{task} {" ".join(key)} {words}', file=sys.stderr, flush=True)
            child = processes.enter_context(Child(args, task, key, load))
            if child.answer(skipped) is not None:
                children.append(child)
                found[key] = {'values': {str(n): [] for n in load}}
        for _ in range(max(1, round(args.seconds / TURN[task]))):
            for child in children:
                answer = child.answer(skipped) or {'values': {}}
                for n, values in answer['values'].items():
                    found[child.key]['values'][n] += values
                found[child.key]['once'] = answer.get('once', {})
    for one in found.values():
        one['values'] = {n: statistics.median(values or [float('nan')]) for n, values in one['values'].items()}
    return found


def file_of(args: argparse.Namespace, key: Key) -> Optional[Path]:
    """Where the file of a path lies, if it has one; made once for all parts of a benchmark."""
    precision, name = key
    suffix = ways(args.batch, args.callers)[precision][name].suffix
    return Path(args.files) / f'{precision} {name}{suffix}' if suffix else None


class Child:
    """A process that has a path, and does the next part of its task each time it is asked."""

    def __init__(self, args: argparse.Namespace, task: str, key: Key, load: Sequence[int] = ()) -> None:
        self.key = key
        self.job = {
            'task': task, 'key': key, 'files': args.files, 'ours': args.ours, 'theirs': args.theirs,
            'batch': args.batch, 'callers': args.callers, 'load': load, 'seconds': min(args.seconds, TURN[task]),
            'threads': args.threads, 'modules': args.modules}

    def __enter__(self) -> 'Child':
        self.errors: IO[str] = tempfile.TemporaryFile('w+')
        self.process: Any = subprocess.Popen(
            [sys.executable, '-c', MAIN], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, text=True,
            env=environment())
        self.question = json.dumps(self.job)
        return self

    def answer(self, skipped: Dict[str, str]) -> Any:
        """What it found; None, and a line in `skipped`, if it has ended."""
        with suppress(BrokenPipeError):
            print(self.question, file=self.process.stdin, flush=True)
        self.question = ''
        line = self.process.stdout.readline()
        if line:
            return json.loads(line)
        code = self.process.wait()
        self.errors.seek(0)
        skipped.setdefault(' '.join(self.key), last_words(self.errors.read(), code))
        return None

    def __exit__(self, *_: object) -> None:
        with suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()
        self.errors.close()


def last_words(errors: str, code: int) -> str:
    """Why a process ended, from what it wrote to stderr."""
    *_, last = ['', *errors.strip().splitlines()]
    return last[:200] or f'its process ended with code {code}'


def work() -> None:
    """What the process of a path does."""
    job = argparse.Namespace(**json.loads(sys.stdin.readline()))
    for module in job.modules:
        import_module(module)
    if job.threads:
        torch.set_num_threads(job.threads)
    answers = os.fdopen(os.dup(1), 'w')
    os.dup2(2, 1)  # for what engines print
    precision, name = job.key
    way = ways(job.batch, job.callers)[precision][name]
    file = file_of(job, job.key) or Path()
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        for answer in TASKS[job.task](job, way, file):
            print(json.dumps(answer), file=answers, flush=True)
            if not sys.stdin.readline():
                break


def make(job: argparse.Namespace, way: Way, file: Path) -> Iterator[Dict[str, Any]]:
    """The file of a path."""
    way.make(model_of(job.ours, job.theirs, way), file)
    yield {}


def network(job: argparse.Namespace, way: Way) -> torch.nn.Module:
    """What a path starts from: whoever has a file needs no network."""
    return torch.nn.Identity() if way.suffix else model_of(job.ours, job.theirs, way)


def measure(job: argparse.Namespace, way: Way, file: Path) -> Iterator[Dict[str, Any]]:
    """Load a path and call it once; then, a turn each time, milliseconds of calls with each batch size."""
    cfg: Any = timm.get_pretrained_cfg(job.ours)
    model = network(job, way)
    start = time.perf_counter()
    ready: Any = way.ready
    path = ready(model, file)
    load = time.perf_counter() - start
    xs = {str(n): torch.randn(n, *cfg.input_size) for n in job.load}
    smallest, x = next(iter(xs.items()))
    first = once(partial(path, x))
    written = file.parent.glob(f'{file.stem}.*') if way.suffix else []
    size = sum(f.stat().st_size for f in written) / 1e6
    yield {}
    while True:
        times = {n: calls(partial(path, x), job.seconds) for n, x in xs.items()}
        look = calls(partial(path.look, x), job.seconds / 10) if isinstance(path, Deployed) else [0]
        yield {'values': times, 'once': {
            'load s': load, 'first answer ms': first, 'memory MB': held_at_most('cpu'), 'file MB': size,
            'checks %': 100 * statistics.median(look) / statistics.median(times[smallest])}}


def serve(job: argparse.Namespace, way: Way, file: Path) -> Iterator[Dict[str, Any]]:
    """Load a path; then, a turn each time, its images a second with several callers at once.

    Each is a thread that asks again when it has its answer.
    """
    cfg: Any = timm.get_pretrained_cfg(job.ours)
    serve: Any = way.serve
    callers, = job.load
    path = serve(network(job, way), file, callers)
    threads = [partial(path, torch.randn(1, *cfg.input_size)) for _ in range(callers)]
    yield {}
    with ThreadPoolExecutor(callers) as pool:  # the same threads in each turn, as in a service
        while True:
            yield {'values': {str(callers): [answers_a_second(threads, job.seconds, pool)]}, 'once': {}}


TASKS = {'make': make, 'measure': measure, 'serve': serve}


def _summary(rounds: Found, what: str) -> Dict[str, Any]:
    """Medians over the rounds, how far the rounds are apart, and which paths were apart too far."""
    result: Dict[str, Any] = {what: {}, 'spread': {}, 'busy': []}
    for (precision, name), found in rounds.items():
        values = {n: [one['values'][n] for one in found] for n in found[0]['values']}
        apart = {n: max(v) / min(v) - 1 for n, v in values.items()}
        result[what].setdefault(precision, {})[name] = {n: statistics.median(v) for n, v in values.items()}
        result['spread'].setdefault(precision, {})[name] = apart
        if others := {key: statistics.median(one['once'][key] for one in found) for key in found[0]['once']}:
            result.setdefault('once', {}).setdefault(precision, {})[name] = others
        if max(apart.values()) > APART:
            result['busy'].append(f'{precision} {name}: {max(apart.values()):.0%}')
    return result
