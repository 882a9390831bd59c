"""The parts of the benchmark, a function each (inference: `paths.py`). Weights are random."""
import argparse
import datetime
import functools
import platform
import shlex
import statistics
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Callable, Dict, List, Sequence, Tuple

import timm
import torch
import torch.nn.functional as F

from ...version import __version__
from ..packing import prepack
from ..workers import environment as of_a_child
from .cuda import inference_cuda
from .machine import has_bf16, held_at_most, processor
from .paths import BASELINE, channels_last
from .rounds import inference_cpu, last_words, throughput_cpu
from .timing import interleave


def make_step(name: str, device: str, batch: int, amp: bool) -> Callable[[], None]:
    model = channels_last(timm.create_model(name).to(device)).train()
    optimizer = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9)
    x = channels_last(torch.randn(batch, 3, 224, 224, device=device))
    target = torch.randint(1000, (batch,), device=device)

    def step():
        with torch.autocast(device, torch.bfloat16, enabled=amp):
            loss = F.cross_entropy(model(x), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return step


def memory_of_steps(name: str, device: str, batch: int, amp: bool) -> float:
    """MB that this process held at most, after three steps."""
    step = make_step(name, device, batch, amp)
    for _ in range(3):
        step()
    return held_at_most(device)


def peak_memory(name: str, device: str, batch: int, amp: bool, modules: Sequence[str] = ()) -> float:
    """MB at most during three steps, in a process of its own; NaN, and a line on stderr, where it fails."""
    code = (
        f'import {", ".join(("timm_res2net", *modules))}; from {__name__} import memory_of_steps\n'
        f'print(memory_of_steps({name!r}, {device!r}, {batch}, {amp}))')
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, env=of_a_child())
    if done.returncode:
        why = last_words(done.stderr, done.returncode)
        print(f'{name}: no memory measured, {why}', file=sys.stderr, flush=True)
        return float('nan')
    return float(done.stdout)


def training(args: argparse.Namespace) -> Dict[str, Any]:
    """A training step of timm's model, ours and ResNet-50, in float32 and, where the device has it, bfloat16."""
    batch = 8 if args.device == 'cpu' else 128
    result = {}
    for amp in (False, True)[:1 + has_bf16(args.device)]:
        steps = {n: make_step(n, args.device, batch, amp) for n in (args.theirs, args.ours, BASELINE)}
        times = interleave(steps, args.device, args.seconds)
        del steps
        if args.device == 'cuda':
            torch.cuda.empty_cache()  # the next process needs it
        for name, ms in times.items():
            memory = peak_memory(name, args.device, batch, amp, args.modules)
            result[f'{name}, {"bf16 autocast" if amp else "fp32"}'] = {'milliseconds': ms, 'peak MB': memory}
    return {'batch': batch, 'rows': result}


def creation(args: argparse.Namespace) -> Dict[str, Any]:
    """Seconds to import in new processes, and to create a model."""
    def seconds(code):
        start = time.perf_counter()
        subprocess.run([sys.executable, '-c', code], check=True, capture_output=True)
        return time.perf_counter() - start
    imports: Dict[str, List[float]] = {'import timm': [], 'import timm, timm_res2net': []}
    for _ in range(7):
        for code, times in imports.items():
            times.append(seconds(code))
    made = interleave({n: functools.partial(timm.create_model, n) for n in (args.theirs, args.ours)}, 'cpu', 4)
    return {**{k: statistics.median(v) for k, v in imports.items()},
            **{f"create_model('{k}')": v / 1e3 for k, v in made.items()}}


def growth(args: argparse.Namespace, cost: Callable[..., Tuple[int, float]]) -> Dict[str, Any]:
    """Milliseconds an image with the scale at equal MACs, the resolution and the batch."""
    def ready(name):
        model = timm.create_model(name).eval().requires_grad_(False)
        return prepack(model) if args.device == 'cpu' else channels_last(model.cuda().half())

    def timed(runs):
        with torch.inference_mode():
            return interleave(runs, args.device, args.seconds / 2)

    def images(batch, size):
        x = channels_last(torch.randn(batch, 3, size, size, device=args.device))
        return x.half() if args.device == 'cuda' else x

    scales = {1: 'resnet50_custom', 2: 'res2net50_48w_2s_custom', 4: args.ours, 8: 'res2net50_14w_8s_custom'}
    models = {s: ready(n) for s, n in scales.items()}
    x = images(1, 224)
    by_scale = timed({s: functools.partial(m, x) for s, m in models.items()})
    model = models[4]
    by_size = timed({s: functools.partial(model, images(1, s)) for s in (128, 160, 224, 288, 384, 512)})
    batches = (1, 2, 4, 8, 16, 32)
    by_batch = timed({b: functools.partial(model, images(b, 224)) for b in batches})
    return {
        'scale': {s: {'milliseconds': t, 'GMACs': cost(scales[s])[1] / 1e9} for s, t in by_scale.items()},
        'resolution': {s: {'milliseconds': t, 'GMACs': cost(args.ours, s)[1] / 1e9} for s, t in by_size.items()},
        'batch': {b: {'milliseconds an image': t / b} for b, t in by_batch.items()},
    }


def environment(args: argparse.Namespace) -> Dict[str, Any]:
    output = argparse.ArgumentParser(add_help=False)  # where the results lie says nothing about them
    output.add_argument('--output')
    packages = {}
    for name in ('torch', 'timm', 'torchao', 'onnxruntime', 'openvino', 'nncf'):
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            packages[name] = 'not installed'
    return {
        'machine': torch.cuda.get_device_name() if args.device == 'cuda' else processor(),
        'threads': torch.get_num_threads(),
        'cpu': torch.backends.cpu.get_cpu_capability(),
        'date': datetime.date.today().isoformat(),
        'python': platform.python_version(),
        'timm-res2net': __version__,
        **packages,
        'models': f'{args.theirs}, {args.ours}',
        'command': shlex.join(['timm-res2net', 'benchmark', *output.parse_known_args(sys.argv[2:])[1]]),
    }


def measure(args: argparse.Namespace, part: str, cost: Callable[..., Tuple[int, float]]) -> Dict[str, Any]:
    """What a part of the benchmark measures; `args` are those of the command, `cost` is insight's."""
    if part == 'inference':
        return inference_cuda(args) if args.device == 'cuda' else inference_cpu(args)
    return growth(args, cost) if part == 'growth' else {
        'throughput': throughput_cpu, 'training': training, 'creation': creation}[part](args)
