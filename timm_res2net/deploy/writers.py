"""The formats of `export`, a function and an entry of `WRITERS` each; `loaders.py` reads their files again.

A writer gets the graph in eval mode, float32 on the CPU (or around a bfloat16 network), the path, inputs (N, ...) to
trace with and to calibrate on, and the metadata, which says precision and shape and has to travel in the file. torch's
own writer ends the process where a disk is full, so that its files are put together in memory.
"""
import io
import json
import os
import re
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Tuple, cast

import torch
from torch import nn

from ..model.dilation import with_border
from .engines import METADATA, UNSEALED, checksum, compiler, cpu_features, engine, seal
from .guest import unprinted
from .placing import forbids_code, missing_temporary
from .quantize import quantize_graph, quantize_onnx, quantize_openvino


def write_aotinductor(graph: nn.Module, path: Path, inputs: torch.Tensor, metadata: Dict[str, Any]) -> None:
    """Compiled code, weights inside; runs where torch does, without tracing or compiling."""
    from torch._inductor.package import package_aoti
    program = _quantized(graph, inputs, metadata)
    known = {**metadata, 'torch': torch.__version__, 'cpu': sorted(cpu_features()),
             'threads': torch.get_num_threads()}
    args, kwargs = program.example_inputs
    package = io.BytesIO()
    with tempfile.TemporaryDirectory() as folder:  # not beside `path`, which may have spaces
        files: Any = torch._inductor.aot_compile(program.module(), args, kwargs, options={
            'freezing': True,  # which it does where there are no gradients: `export` sees to that
            'cpp.dynamic_threads': True,  # as many as there are where it runs, not where it was made
            'aot_inductor.metadata': {METADATA: json.dumps(known).encode().hex()},  # it becomes a C string
            'aot_inductor.package': True,
            'aot_inductor.output_path': str(Path(folder) / 'code'),  # torch's cache would keep it for good
            **({'aot_inductor.enable_line_tables': False} if hasattr(
                torch._inductor.config.aot_inductor, 'enable_line_tables') else {}),  # a third of a small file
        })
        package_aoti(package, [file for file in files if not file.endswith('.cpp')])  # sources, with paths of this disk
    path.write_bytes(package.getbuffer())


def write_torch(graph: nn.Module, path: Path, inputs: torch.Tensor, metadata: Dict[str, Any]) -> None:
    """A torch.export program, to run or to compile elsewhere."""
    program = _quantized(graph, inputs, metadata)
    package = io.BytesIO()
    torch.export.save(program, package, extra_files={METADATA: json.dumps({**metadata, 'torch': torch.__version__})})
    path.write_bytes(package.getbuffer())


def write_onnx(graph: nn.Module, path: Path, inputs: torch.Tensor, metadata: Dict[str, Any]) -> None:
    """For ONNX Runtime and others."""
    onnx, _ = engine('onnx'), engine('onnxscript')
    int8 = metadata['precision'] == 'int8'
    full = path.with_name(f'full-{path.name}') if int8 else path
    torch.onnx.export(_program(graph, inputs, metadata), (), full, dynamo=True, external_data=False,
                      input_names=['x'], output_names=['y'], verbose=False)
    if int8:
        quantize_onnx(full, path, inputs, metadata['shape'][0])
    file = onnx.load(path)
    file.metadata_props.add(key=METADATA, value=json.dumps({**metadata, 'seal': UNSEALED}))
    onnx.save(file, path)
    seal(path)


def write_openvino(graph: nn.Module, path: Path, inputs: torch.Tensor, metadata: Dict[str, Any]) -> None:
    """For OpenVINO, the weights in a second file."""
    openvino = engine('openvino')
    if metadata['shape'][2] is None:
        _pad_pools(graph)
    model = openvino.convert_model(_program(graph, inputs, metadata))
    model.reshape({0: openvino.PartialShape([-1 if n is None else n for n in metadata['shape']])})
    if metadata['precision'] == 'int8':
        model = quantize_openvino(model, inputs, metadata['shape'][0])
    weights: Dict[str, int] = {}
    for _ in range(2):  # first to see what weights it has
        model.set_rt_info(json.dumps({**metadata, 'seal': UNSEALED, **weights}), METADATA)
        openvino.save_model(model, path, compress_to_fp16=False)
        weights = {'weights': checksum(path.with_suffix('.bin'))}
    seal(path)


def _pad_pools(graph: nn.Module) -> None:
    """Leave no window of a 2x2 pool half outside the map: OpenVINO fails there on a map of one row or column."""
    for parent in list(graph.modules()):
        for name, pool in list(parent.named_children()):
            if isinstance(pool, nn.AvgPool2d) and pool.kernel_size == 2 and pool.ceil_mode:
                setattr(parent, name, with_border(pool, cast(int, pool.stride)))


def _program(graph: nn.Module, inputs: torch.Tensor, metadata: Dict[str, Any]) -> torch.export.ExportedProgram:
    """torch.export's program of a graph, for a fixed or any batch size and image size."""
    dynamic = {i: torch.export.Dim.DYNAMIC for i, n in enumerate(metadata['shape']) if n is None}
    x = inputs[:1].expand(metadata['shape'][0] or 2, *inputs.shape[1:]).contiguous()
    with unprinted():
        return torch.export.export(graph, (x,), dynamic_shapes=(dynamic,) if dynamic else None)


def _quantized(graph: nn.Module, inputs: torch.Tensor, metadata: Dict[str, Any]) -> torch.export.ExportedProgram:
    """The program, quantized by PT2E for int8."""
    program = _program(graph, inputs, metadata)
    if metadata['precision'] != 'int8':
        return program
    return _program(quantize_graph(program.module(), inputs, metadata['shape'][0]), inputs, metadata)


@dataclass(frozen=True)
class Writer:
    """A format.

    Attributes:
        suffixes: Of its files; the path that a user gives has the first.
        write: See the top of this file.
        batch_size: Where the user says none; None is any.
        casts: The engine takes fp32 graphs for bf16 and casts them itself.
        engines: Modules that it needs, besides torch.
        quantizer: Module that int8 needs.
        compiles: It needs a C++ compiler.
        refuses: Arguments of `export` that it cannot serve -> why, and what to do.
    """
    suffixes: Tuple[str, ...]
    write: Callable[[nn.Module, Path, torch.Tensor, Dict[str, Any]], None]
    batch_size: Optional[int] = None
    casts: bool = False
    engines: Tuple[str, ...] = ()
    quantizer: str = 'torchao'
    compiles: bool = False
    refuses: Dict[str, str] = field(default_factory=dict)

    def files(self, path: Path) -> List[Path]:
        """All files of a path."""
        return [path.with_suffix(suffix) for suffix in self.suffixes]

    def check_installed(self, precision: str) -> None:
        """Raise an ImportError that says how to get what is not here."""
        for module in (*self.engines, *([self.quantizer] if precision == 'int8' else [])):
            engine(module)
        if self.compiles:
            compiler()
            _check_compiled_paths()


def _check_compiled_paths() -> None:
    """torch hands paths to the compiler without quotes, and without a word writes slow code where it may run none."""
    if variable := missing_temporary():
        raise ValueError(f'torch compiles in {variable}: set it to another folder.')
    for folder in filter(None, (tempfile.gettempdir(), os.environ.get('TORCHINDUCTOR_CACHE_DIR'))):
        if re.search(r'\s', folder):
            reason = 'the compiler takes no path with spaces'
        elif forbids_code(Path(folder)):
            reason = 'nothing may be run there (noexec)'
        else:
            continue
        raise ValueError(
            f'torch compiles in {folder!r}, and {reason}: set TMPDIR or TORCHINDUCTOR_CACHE_DIR to another folder.')


_NO_INT8 = {  # torchao 0.9 has no PT2E, 0.12 and later call what torch 2.6 has not
    "precision='int8'": f"no torchao quantizes for torch {torch.__version__}, use a later torch, 'onnx' or 'openvino'.",
} if torch.__version__.startswith('2.6.') else {}
WRITERS = {
    'aotinductor': Writer(('.pt2',), write_aotinductor, batch_size=1, compiles=True, refuses={
        'dynamic_size=True': "compiled code for any size is slow, use 'onnx', 'openvino' or 'torch'.", **_NO_INT8}),
    'torch': Writer(('.pt2',), write_torch, refuses=_NO_INT8),
    'onnx': Writer(
        ('.onnx',), write_onnx, engines=('onnx', 'onnxscript', 'onnxruntime'), quantizer='onnxruntime', refuses={
            "precision='bf16'": 'ONNX Runtime has no bfloat16 convolution on CPUs, use fp32 or int8.'}),
    'openvino': Writer(
        ('.xml', '.bin'), write_openvino, casts=True, engines=('openvino',), quantizer='nncf'),
}
FORMATS = {name: writer.suffixes[0] for name, writer in WRITERS.items()}
