"""Inference on a GPU: eager, folded, compiled and captured, with AMP or in half precision, in turns in one process."""
import argparse
import functools
from typing import Any, Callable, Dict

import timm
import torch

from ...model.fold import fold
from .paths import BASELINE, channels_last
from .timing import interleave

KINDS = (
    'fp32 eager', 'amp eager', 'amp eager, channels last', 'fp16 eager, channels last', 'fp16 folded, channels last',
    'fp16 folded, CUDA graph', 'fp16 torch.compile', 'fp16 torch.compile max-autotune')


def inference_cuda(args: argparse.Namespace) -> Dict[str, Any]:
    """Milliseconds of each kind of `KINDS`, of timm's model, ours and ResNet-50, and what could not be run."""
    rows: Dict[str, Dict[str, Dict[str, float]]] = {}
    skipped: Dict[str, str] = {}
    models = {'timm': args.theirs, '': args.ours, BASELINE: BASELINE}

    def captured(model, x):
        model(x)
        graph = torch.cuda.CUDAGraph()
        stream = torch.cuda.Stream()
        with torch.cuda.stream(stream):
            for _ in range(3):
                model(x)
        torch.cuda.current_stream().wait_stream(stream)
        with torch.cuda.graph(graph):
            model(x)

        def replay(held=(model, x)):  # the graph reads their memory without holding it
            graph.replay()
        return replay

    for batch in args.batch:
        every: Dict[str, Callable[[], Any]] = {}
        with torch.inference_mode():
            x = torch.randn(batch, 3, 224, 224, device='cuda')
            for label, name in models.items():
                for kind in KINDS:
                    if 'folded' in kind and label:
                        continue
                    try:
                        model: Any = timm.create_model(name).cuda().eval().requires_grad_(False)
                        model = fold(model) if 'folded' in kind else model
                        y = x
                        if 'channels last' in kind or 'graph' in kind or 'compile' in kind:
                            model, y = channels_last(model), channels_last(x)
                        if kind.startswith('fp16'):
                            model, y = model.half(), y.half()
                        if 'compile' in kind:
                            model = torch.compile(
                                model, dynamic=False, mode='max-autotune' if 'max' in kind else 'default')
                        if kind.startswith('amp'):
                            model = torch.autocast('cuda', torch.float16)(model)
                        path = captured(model, y) if 'graph' in kind else functools.partial(model, y)
                        path()
                        every[f'{kind}|{label} {kind.split(" ", 1)[1]}'.strip()] = path
                    except Exception as error:
                        what = f'{label} {kind}, batch {batch}'.strip()
                        skipped[what] = f'{type(error).__name__}: {str(error)[:200]}'
            times = interleave(every, 'cuda', args.seconds, 20)
        for key, ms in times.items():
            kind, name = key.split('|')
            rows.setdefault(kind.split()[0], {}).setdefault(name.strip(), {})[str(batch)] = ms
        torch._dynamo.reset()
    return {'milliseconds': rows, 'skipped': skipped}
