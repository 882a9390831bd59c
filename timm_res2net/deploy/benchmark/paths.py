"""What is measured for inference: every way to run timm's model and ours, as functions of a batch."""
import argparse
import copy
import functools
import re
import statistics
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Mapping, Sequence, Tuple

import timm
import torch
from torch import nn

from ...model.fold import fold
from ..engines import onnx_session, openvino_request
from ..exporting import PRECISIONS, export
from ..loaders import load
from ..packing import prepack
from ..quantize import quantize_onnx, quantize_openvino
from ..writers import FORMATS

BASELINE = 'resnet50'  # of about the same MACs
BatchFunction = Callable[[torch.Tensor], Any]


def channels_last(x):
    return x.to(memory_format=torch.channels_last)


def interleave(paths: Mapping[Any, Callable[[], Any]], device: str, seconds: float, least: int = 5) -> Dict[str, float]:
    """Median milliseconds of each path, all taken in turns for `seconds` and at least `least` times.

    A turn is one call to warm caches and threads up after the others, then three that count, or one if it is slow.
    """
    def once(path):
        if device == 'cuda':
            torch.cuda.synchronize()
        start = time.perf_counter()
        path()
        if device == 'cuda':
            torch.cuda.synchronize()
        return 1e3 * (time.perf_counter() - start)

    for path in paths.values():  # to compile, pack and allocate
        once(path)
    times: Dict[str, List[float]] = {name: [] for name in paths}
    end = time.time() + seconds
    while time.time() < end or len(next(iter(times.values()))) < least:
        for name, path in paths.items():
            time.sleep(0.02)  # threads of the engine before may still spin
            slow = once(path) > 500
            times[name] += [once(path) for _ in range(1 if slow else 3)]
    return {name: statistics.median(t) for name, t in times.items()}


def eager(model: nn.Module, dtype: torch.dtype = torch.float32, last: bool = True) -> BatchFunction:
    model = copy.deepcopy(model).to(dtype)
    layout = channels_last if last else torch.Tensor.contiguous
    model = model.to(memory_format=torch.channels_last) if last else model
    return lambda x: model(layout(x.to(dtype))).float()


def compiled(model: nn.Module) -> BatchFunction:
    fast: Any = torch.compile(channels_last(copy.deepcopy(model)), dynamic=False)
    return lambda x: fast(channels_last(x))


def exported(model: nn.Module, folder: Path, format: str, precision: str, batches: Sequence[int]) -> BatchFunction:
    """Our export; AOTInductor's once for one image and once for several."""
    pixels = torch.randint(0, 256, (32, 3, *image_size(model)), dtype=torch.uint8)
    files: Dict[Any, Any] = {}
    for batch in sorted({1, min(8, max(batches))}) if format == 'aotinductor' else [None]:
        file = folder / f'{format}-{precision}-{batch}{FORMATS[format]}'
        export(model, file, format, precision, batch_size=batch, images=pixels, calibration=32)
        files[batch] = load(file)
    return lambda x: files[max(b for b in files if b is None or b <= len(x))](x)


def image_size(model: Any) -> Sequence[int]:
    return model.pretrained_cfg['input_size'][1:]


def program(model: nn.Module) -> torch.export.ExportedProgram:
    example = torch.randn(2, 3, *image_size(model))
    return torch.export.export(model, (example,), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},))


def timm_onnx(model: nn.Module, folder: Path, precision: str) -> BatchFunction:
    """torch's own export, without our preparation."""
    file, small = folder / 'theirs.onnx', folder / 'theirs-int8.onnx'
    torch.onnx.export(program(model), (), file, dynamo=True, external_data=False, input_names=['x'], verbose=False)
    if precision == 'int8':
        quantize_onnx(file, small, torch.randn(8, 3, *image_size(model)))
        file = small
    session = onnx_session(file)
    return lambda x: session.run(None, {'x': x.numpy()})


def timm_openvino(model: nn.Module, precision: str) -> BatchFunction:
    """OpenVINO's own conversion, without our preparation."""
    import openvino
    size = image_size(model)
    converted = openvino.convert_model(program(model))
    converted.reshape({0: openvino.PartialShape([-1, 3, *size])})
    if precision == 'int8':
        converted = quantize_openvino(converted, torch.randn(8, 3, *size))
    request = openvino_request(converted, precision)
    return lambda x: request.infer([x.numpy()])


def cpu_builders(
        theirs: nn.Module,
        ours: nn.Module,
        folder: Path,
        batches: Sequence[int],
) -> Iterator[Tuple[str, str, Callable[[], BatchFunction]]]:
    """(precision, name, what builds the path) of every path."""
    yield 'fp32', 'timm eager', lambda: eager(theirs, last=False)
    yield 'fp32', 'timm eager, channels last', lambda: eager(theirs)
    yield 'fp32', 'timm torch.compile', lambda: compiled(theirs)
    yield 'fp32', 'timm in ONNX Runtime', lambda: timm_onnx(theirs, folder, 'fp32')
    yield 'fp32', 'timm in OpenVINO', lambda: timm_openvino(theirs, 'fp32')
    yield 'fp32', 'eager', lambda: eager(ours, last=False)
    yield 'fp32', 'eager, channels last', lambda: eager(ours)
    yield 'fp32', 'folded, channels last', lambda: eager(fold(ours))
    yield 'fp32', 'prepack', lambda: prepack(ours)
    yield 'fp32', 'torch.compile', lambda: compiled(ours)
    yield 'bf16', 'timm eager, channels last', lambda: eager(theirs, torch.bfloat16)
    yield 'bf16', 'timm in OpenVINO', lambda: timm_openvino(theirs, 'bf16')
    yield 'bf16', 'eager, channels last', lambda: eager(ours, torch.bfloat16)
    yield 'bf16', 'prepack', lambda: prepack(ours, torch.bfloat16)
    yield 'int8', 'timm in ONNX Runtime', lambda: timm_onnx(theirs, folder, 'int8')
    yield 'int8', 'timm in OpenVINO', lambda: timm_openvino(theirs, 'int8')
    for precision in PRECISIONS:
        for name, format in (('AOTInductor', 'aotinductor'), ('ONNX Runtime', 'onnx'), ('OpenVINO', 'openvino')):
            if (precision, format) != ('bf16', 'onnx'):
                yield precision, name, functools.partial(exported, ours, folder, format, precision, batches)


def cpu_paths(args: argparse.Namespace, folder: Path, skipped: Dict[str, str]) -> Dict[str, Dict[str, BatchFunction]]:
    """{precision: {name: function of a batch}}; what cannot be built is named in `skipped`."""
    theirs, ours = (timm.create_model(n).eval().requires_grad_(False) for n in (args.theirs, args.ours))
    theirs.load_state_dict(ours.state_dict())
    example = torch.randn(2, 3, *image_size(ours))
    paths: Dict[str, Dict[str, BatchFunction]] = {p: {} for p in args.precision}
    for precision, name, build in cpu_builders(theirs, ours, folder, args.batch):
        if precision not in paths or (args.paths and not re.search(args.paths, name)):
            continue
        print(f'building {precision} {name}', file=sys.stderr, flush=True)
        try:
            path = build()
            with torch.inference_mode():
                path(example)
        except Exception as error:
            skipped[f'{precision} {name}'] = f'{type(error).__name__}: {str(error).splitlines()[0][:200]}'
        else:
            paths[precision][name] = path
    return paths


def inference_cpu(args: argparse.Namespace) -> Dict[str, Any]:
    skipped: Dict[str, str] = {}
    rows: Dict[str, Dict[str, Dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter('ignore')
        paths = cpu_paths(args, Path(folder), skipped)
        if not any(paths.values()):
            raise SystemExit(f'error: none of the paths to measure could be built (--paths {args.paths}): {skipped}')
        cfg: Any = timm.get_pretrained_cfg(args.ours)
        size = cfg.input_size[1:]
        for batch in args.batch:
            x = torch.randn(batch, 3, *size)
            every = {f'{p}|{name}': functools.partial(f, x) for p, named in paths.items() for name, f in named.items()}
            for key, ms in interleave(every, 'cpu', args.seconds).items():
                precision, name = key.split('|')
                rows.setdefault(precision, {}).setdefault(name, {})[str(batch)] = ms
                print(f'batch {batch} {precision} {name}: {ms:.1f} ms', file=sys.stderr, flush=True)
    return {'milliseconds': rows, 'skipped': skipped}


def inference_cuda(args: argparse.Namespace) -> Dict[str, Any]:
    """Eager, folded, compiled and captured, with AMP or in half precision."""
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
                for kind in ('fp32 eager', 'amp eager', 'amp eager, channels last', 'fp16 eager, channels last',
                             'fp16 folded, channels last', 'fp16 folded, CUDA graph', 'fp16 torch.compile',
                             'fp16 torch.compile max-autotune'):
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
