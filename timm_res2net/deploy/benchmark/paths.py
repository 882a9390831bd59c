"""What is measured for inference on a CPU: every way to run timm's model and ours, as a user would call it."""
import copy
import threading
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Callable, Dict, Optional, Sequence

import timm
import torch
from torch import nn

from ...model.fold import fold
from ..engines import engine, onnx_sessions, openvino_requests
from ..exporting import export
from ..loaders import load
from ..packing import prepack
from ..quantize import quantize_onnx, quantize_openvino
from ..workers import share
from ..writers import WRITERS

BASELINE = 'resnet50'  # of about the same MACs
BatchFunction = Callable[[torch.Tensor], Any]
ENGINES = {'aotinductor': 'AOTInductor', 'onnx': 'ONNX Runtime', 'openvino': 'OpenVINO'}


@dataclass(frozen=True)
class Way:
    """A way to run a model.

    Attributes:
        ready: (model, file) -> a function of a batch; what a user waits for at start. None: only `serve` is measured.
        theirs: The model is timm's.
        suffix: Of its file, None without one.
        make: (model, file) writes it.
        serve: (model, file, callers) -> a function that several threads call at once; None: not measured.
    """
    ready: Optional[Callable[[nn.Module, Path], BatchFunction]]
    theirs: bool = False
    suffix: Optional[str] = None
    make: Callable[[nn.Module, Path], object] = lambda model, file: None
    serve: Optional[Callable[[nn.Module, Path, int], BatchFunction]] = None


def ways(batches: Sequence[int], callers: Sequence[int]) -> Dict[str, Dict[str, Way]]:
    """{precision: {name: way}}; AOTInductor's files are made for the batches and for the threads of each caller."""
    found: Dict[str, Dict[str, Way]] = {
        'fp32': {
            'timm eager': Way(partial(eager, last=False), True),
            'timm eager, channels last': Way(eager, True, serve=lambda model, file, _: eager(model, file)),
            'timm torch.compile': Way(compiled, True),
            'eager': Way(partial(eager, last=False)),
            'eager, channels last': Way(eager),
            'folded, channels last': Way(lambda model, _: eager(fold(model), _)),
            'prepack': Way(packed, serve=lambda model, file, _: packed(model, file)),
            'torch.compile': Way(compiled),
        },
        'bf16': {
            'timm eager, channels last': Way(partial(eager, dtype=torch.bfloat16), True),
            'eager, channels last': Way(partial(eager, dtype=torch.bfloat16)),
            'prepack': Way(partial(packed, dtype=torch.bfloat16)),
        },
        'int8': {},
    }
    for precision, named in found.items():
        if precision != 'bf16':
            named['timm in ONNX Runtime'] = Way(
                run_onnx, True, '.onnx', partial(write_onnx, precision=precision))
        named['timm in OpenVINO'] = Way(
            partial(run_openvino, precision=precision), True, '.xml', partial(write_openvino, precision=precision),
            partial(serve_openvino, precision=precision))
        for format, name in ENGINES.items():
            if f'precision={precision!r}' not in WRITERS[format].refuses:
                named[name] = exported(format, precision)
        most = min(8, max(batches))
        if most > 1:
            named[f'AOTInductor, batch_size={most}'] = exported('aotinductor', precision, batch_size=most)
        for threads in sorted({share(n) for n in callers}):
            named[f'AOTInductor, threads={threads}'] = served('aotinductor', precision, threads=threads)
    return found


def channels_last(x):
    return x.to(memory_format=torch.channels_last)


def eager(model: nn.Module, _: Path, dtype: torch.dtype = torch.float32, last: bool = True) -> BatchFunction:
    layout = channels_last if last else torch.Tensor.contiguous
    model = copy.deepcopy(model).to(dtype)
    model = channels_last(model) if last else model
    return torch.inference_mode()(lambda x: model(layout(x.to(dtype))).float())


def compiled(model: nn.Module, _: Path) -> BatchFunction:
    fast: Any = torch.compile(channels_last(copy.deepcopy(model)), dynamic=False)
    return torch.inference_mode()(lambda x: fast(channels_last(x)))


def packed(model: nn.Module, _: Path, dtype: torch.dtype = torch.float32) -> BatchFunction:
    return torch.inference_mode()(prepack(model, dtype))


def exported(format: str, precision: str, **options: Any) -> Way:
    """By the calls of the README."""
    way = served(format, precision, **options)
    return replace(way, ready=lambda _, file: load(file), serve=None if WRITERS[format].compiles else way.serve)


def served(format: str, precision: str, **options: Any) -> Way:
    """To several callers only."""
    return Way(None, suffix=WRITERS[format].suffixes[0],
               make=lambda model, file: export(model, file, format, precision, **options),
               serve=lambda _, file, callers: load(file, workers=callers))


def image_size(model: Any) -> Sequence[int]:
    return model.pretrained_cfg['input_size'][1:]


def program(model: nn.Module) -> torch.export.ExportedProgram:
    example = torch.randn(2, 3, *image_size(model))
    with torch.no_grad():
        return torch.export.export(model, (example,), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},))


def write_onnx(model: nn.Module, file: Path, precision: str) -> None:
    """torch's own export, without our preparation."""
    full = file.with_name(f'full-{file.name}')
    torch.onnx.export(program(model), (), full, dynamo=True, external_data=False, input_names=['x'], verbose=False)
    if precision == 'int8':
        quantize_onnx(full, file, torch.randn(8, 3, *image_size(model)))
    else:
        full.replace(file)


def run_onnx(_: nn.Module, file: Path) -> BatchFunction:
    session = onnx_sessions(file)[0]
    return lambda x: session.run(None, {'x': x.numpy()})


def write_openvino(model: nn.Module, file: Path, precision: str) -> None:
    """OpenVINO's own conversion, without our preparation."""
    openvino = engine('openvino')
    size = image_size(model)
    converted = openvino.convert_model(program(model))
    converted.reshape({0: openvino.PartialShape([-1, 3, *size])})
    if precision == 'int8':
        converted = quantize_openvino(converted, torch.randn(8, 3, *size))
    openvino.save_model(converted, file, compress_to_fp16=False)


def run_openvino(_: nn.Module, file: Path, precision: str) -> BatchFunction:
    request = openvino_requests(engine('openvino').Core().read_model(file), precision)[0]
    return lambda x: request.infer([x.numpy()])


def serve_openvino(_: nn.Module, file: Path, callers: int, precision: str) -> BatchFunction:
    """OpenVINO's own throughput mode, with as many streams as it likes: a request for each thread, as it advises."""
    openvino = engine('openvino')
    compiled = openvino.Core().compile_model(file, 'CPU', {
        'PERFORMANCE_HINT': 'THROUGHPUT', 'PERFORMANCE_HINT_NUM_REQUESTS': callers,
        'INFERENCE_PRECISION_HINT': 'bf16' if precision == 'bf16' else 'f32',
        'INFERENCE_NUM_THREADS': torch.get_num_threads()})
    local = threading.local()

    def run(x):
        if not hasattr(local, 'request'):
            local.request = compiled.create_infer_request()
        return local.request.infer([x.numpy()])
    return run


def model_of(ours: str, theirs: str, way: Way) -> Any:
    """timm's model or ours, with the same random weights in every process.

    As created, blocks end in a norm of zeros, and an engine that keeps equal weights once has less to read.
    """
    torch.manual_seed(0)
    model = timm.create_model(ours).eval().requires_grad_(False)
    for name, value in model.named_parameters():
        if value.ndim == 1 and name.endswith('weight'):
            nn.init.uniform_(value, 0.5, 1)
    if way.theirs:
        state = model.state_dict()
        model = timm.create_model(theirs).eval().requires_grad_(False)
        model.load_state_dict(state)
    return model
