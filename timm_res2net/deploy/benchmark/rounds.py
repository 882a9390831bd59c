"""Inference on a CPU as users have it: each file made, and each path measured, by a process that does nothing else.

The rounds take turns through the paths, so that a machine that is busy for a while shows: the same path comes out apart
from one round to the next.
"""
import argparse
import json
import re
import statistics
import subprocess
import sys
import time
import warnings
from functools import partial
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Tuple

import timm
import torch

from ..workers import environment
from .paths import Way, model_of, ways
from .timing import answers_a_second, once, steady

APART = 0.1  # of a path's fastest round; beyond it the machine was busy and the figures are no good
MAIN = f'from {__name__} import work; work()'
Key = Tuple[str, str]  # precision, name


def inference_cpu(args: argparse.Namespace) -> Dict[str, Any]:
    """Median milliseconds and their spread over the rounds, {precision: {name: {batch: ..}}}; and what is one number.

    That is, of each path: seconds to load, milliseconds of the first answer, MB of memory at most and of the file.
    """
    rounds, skipped = _rounds(args, 'measure', lambda way: True)
    return {**_summary(rounds, 'milliseconds'), 'rounds': args.rounds, 'skipped': skipped}


def throughput_cpu(args: argparse.Namespace) -> Dict[str, Any]:
    """Median images a second for several callers at once, an image each, {precision: {name: {callers: ..}}}."""
    rounds, skipped = _rounds(args, 'serve', lambda way: way.serve is not None)
    return {**_summary(rounds, 'images a second'), 'rounds': args.rounds, 'skipped': skipped}


def _rounds(
        args: argparse.Namespace,
        task: str,
        wanted: Callable[[Way], bool],
) -> Tuple[Dict[Key, List[Dict[str, Any]]], Dict[str, str]]:
    """What the process of each path found in each round; and what was skipped, with the reason."""
    skipped: Dict[str, str] = {}
    chosen = [(p, name) for p, named in ways(args.batch).items() if p in args.precision
              for name, way in named.items() if wanted(way) and re.search(args.paths or '', name)]
    rounds: Dict[Key, List[Dict[str, Any]]] = {}
    for key in chosen:
        file = file_of(args.files, key, args.batch)
        if not file or file.exists() or _child(args, 'make', key, skipped) is not None:
            rounds[key] = []
    for n in range(args.rounds):
        for key in [k for k in rounds if ' '.join(k) not in skipped]:
            measured = _child(args, task, key, skipped, f'round {n + 1} of {args.rounds}')
            if measured is not None:
                rounds[key].append(measured)
    whole = {key: found for key, found in rounds.items() if ' '.join(key) not in skipped}
    if not whole:
        raise SystemExit(f'error: none of the paths to measure could be built (--paths {args.paths}): {skipped}')
    return whole, skipped


def file_of(folder: str, key: Key, batches: List[int]) -> Optional[Path]:
    """Where the file of a path lies, if it has one; made once for all parts of a benchmark."""
    precision, name = key
    suffix = ways(batches)[precision][name].suffix
    return Path(folder) / f'{precision} {name}{suffix}' if suffix else None


def _child(
        args: argparse.Namespace,
        task: str,
        key: Key,
        skipped: Dict[str, str],
        words: str = '',
) -> Any:
    """What a process of its own says, or None and a line in `skipped`."""
    print(f'{task} {" ".join(key)} {words}'.rstrip(), file=sys.stderr, flush=True)
    job = {'task': task, 'key': key, 'files': args.files, 'ours': args.ours, 'theirs': args.theirs, 'batch': args.batch,
           'callers': args.callers, 'seconds': args.seconds, 'threads': args.threads}
    done = subprocess.run(
        [sys.executable, '-c', MAIN], input=json.dumps(job), capture_output=True, text=True, env=environment())
    if done.returncode:
        *_, last = ['', *done.stderr.strip().splitlines()]
        skipped[' '.join(key)] = last[:200] or f'its process ended with code {done.returncode}'
        return None
    return json.loads(done.stdout.splitlines()[-1])


def work() -> None:
    """What the process of a path does."""
    job = argparse.Namespace(**json.load(sys.stdin))
    if job.threads:
        torch.set_num_threads(job.threads)
    precision, name = job.key
    way = ways(job.batch)[precision][name]
    file = file_of(job.files, job.key, job.batch) or Path()
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        result = TASKS[job.task](job, way, file)
    print(json.dumps(result))


def make(job: argparse.Namespace, way: Way, file: Path) -> Dict[str, Any]:
    """The file of a path."""
    way.make(model_of(job.ours, job.theirs, way), file)
    return {}


def network(job: argparse.Namespace, way: Way) -> torch.nn.Module:
    """What a path starts from: whoever has a file needs no network."""
    return torch.nn.Identity() if way.suffix else model_of(job.ours, job.theirs, way)


def measure(job: argparse.Namespace, way: Way, file: Path) -> Dict[str, Any]:
    """One round of a path."""
    cfg: Any = timm.get_pretrained_cfg(job.ours)
    model = network(job, way)
    start = time.perf_counter()
    path = way.ready(model, file)
    load = time.perf_counter() - start
    xs = {str(n): torch.randn(n, *cfg.input_size) for n in job.batch}
    first = once(partial(path, next(iter(xs.values()))))
    times = {n: steady(partial(path, x), job.seconds) for n, x in xs.items()}
    written = file.parent.glob(f'{file.stem}.*') if way.suffix else []
    return {'milliseconds': times, 'load s': load, 'first answer ms': first, 'memory MB': peak_memory(),
            'file MB': sum(f.stat().st_size for f in written) / 1e6}


def serve(job: argparse.Namespace, way: Way, file: Path) -> Dict[str, Any]:
    """One round of a path with several callers at once, each a thread that asks again when it has its answer."""
    cfg: Any = timm.get_pretrained_cfg(job.ours)
    serve: Any = way.serve
    found = {}
    for callers in job.callers:
        path = serve(network(job, way), file, callers)
        xs = [torch.randn(1, *cfg.input_size) for _ in range(callers)]
        found[str(callers)] = answers_a_second([partial(path, x) for x in xs], job.seconds)
        if hasattr(path, 'close'):
            path.close()
    return {'images a second': found}


def peak_memory() -> float:
    """MB that this process held at most, all imports and, without a file, the network included."""
    status = Path('/proc/self/status')
    found = re.search(r'VmHWM:\s*(\d+)', status.read_text()) if status.is_file() else None
    return int(found[1]) / 1e3 if found else float('nan')


TASKS = {'make': make, 'measure': measure, 'serve': serve}


def _summary(rounds: Dict[Key, List[Dict[str, Any]]], what: str) -> Dict[str, Any]:
    """Medians over the rounds, how far the rounds are apart, and which paths were apart too far."""
    result: Dict[str, Any] = {what: {}, 'spread': {}, 'busy': []}
    for (precision, name), found in rounds.items():
        values = {n: [one[what][n] for one in found] for n in found[0][what]}
        apart = {n: max(v) / min(v) - 1 for n, v in values.items()}
        result[what].setdefault(precision, {})[name] = {n: statistics.median(v) for n, v in values.items()}
        result['spread'].setdefault(precision, {})[name] = apart
        if others := {key: statistics.median(one[key] for one in found) for key in found[0] if key != what}:
            result.setdefault('once', {}).setdefault(precision, {})[name] = others
        if max(apart.values()) > APART:
            result['busy'].append(f'{precision} {name}: {max(apart.values()):.0%}')
    return result
