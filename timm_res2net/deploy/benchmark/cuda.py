"""Inference on a GPU: eager, folded, compiled and captured, with AMP or in half precision, in turns in one process."""
import argparse
import functools
import re
from typing import Any, Callable, Dict

import timm
import torch

from ...model.fold import fold
from .paths import BASELINE, channels_last
from .timing import interleave

KINDS = (
    'fp32 eager', 'amp eager', 'amp eager, channels last', 'fp16 eager, channels last', 'fp16 folded, channels last',
    'fp16 folded, captured', 'fp16 torch.compile, captured')


def inference_cuda(args: argparse.Namespace) -> Dict[str, Any]:
    """Milliseconds of each kind of `KINDS`, of timm's model, ours and ResNet-50, and what could not be run."""
    rows: Dict[str, Dict[str, Dict[str, float]]] = {}
    skipped: Dict[str, str] = {}
    for batch in args.batch:
        paths: Dict[str, Callable[[], Any]] = {}
        with torch.inference_mode():
            x = torch.randn(batch, 3, 224, 224, device='cuda')
            for label, model in (('timm', args.theirs), ('', args.ours), (BASELINE, BASELINE)):
                for kind in KINDS:
                    precision, how = kind.split(' ', 1)
                    name = f'{label} {how}'.strip()
                    if how.startswith('folded') and label or not re.search(args.paths or '', name):
                        continue
                    try:
                        paths[f'{precision}|{name}'] = make_path(model, kind, x)
                    except Exception as error:
                        skipped[f'{precision} {name}, batch {batch}'] = f'{type(error).__name__}: {str(error)[:200]}'
            times = interleave(paths, 'cuda', args.seconds, 20) if paths else {}
        for key, ms in times.items():
            precision, name = key.split('|')
            rows.setdefault(precision, {}).setdefault(name, {})[str(batch)] = ms
        torch._dynamo.reset()
    if not rows:
        raise RuntimeError(f'none of the paths to measure could be run (--paths {args.paths}): {skipped}')
    return {'milliseconds': rows, 'skipped': skipped}


def make_path(name: str, kind: str, x: torch.Tensor) -> Callable[[], Any]:
    """A call of the model of that name on `x` (N, 3, H, W), in one of `KINDS`, after a first one."""
    model: Any = timm.create_model(name).cuda().eval().requires_grad_(False)
    if 'folded' in kind:
        model = fold(model)
    if 'channels last' in kind or 'captured' in kind:
        model, x = channels_last(model), channels_last(x)
    if kind.startswith('fp16'):
        model, x = model.half(), x.half()
    if kind.startswith('amp'):
        model = torch.autocast('cuda', torch.float16)(model)
    if 'compile' in kind:
        model = torch.compile(model, dynamic=False, mode='reduce-overhead')
    path = capture(model, x) if 'folded, captured' in kind else functools.partial(model, x)
    path()
    return path


def capture(model: Callable[..., Any], x: torch.Tensor) -> Callable[[], Any]:
    """Replay of a call as a CUDA graph."""
    graph, stream = torch.cuda.CUDAGraph(), torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for _ in range(3):  # cuDNN and cuBLAS set themselves up
            model(x)
    torch.cuda.current_stream().wait_stream(stream)
    with torch.cuda.graph(graph):
        model(x)

    def replay(held=(model, x)):  # the graph reads their memory without holding it
        graph.replay()
    return replay
