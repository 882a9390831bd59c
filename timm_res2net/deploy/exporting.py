"""A model as a file for one engine: exported, run in that engine, compared with the model, kept only if it agrees.

| format | file | engine |
| --- | --- | --- |
| aotinductor | .pt2 | compiled code, weights inside; runs where torch does, without tracing or compiling |
| torch | .pt2 | a torch.export program, to run or to compile elsewhere |
| onnx | .onnx | ONNX Runtime and others |
| openvino | .xml and .bin | OpenVINO |
"""
import copy
import json
import os
import tempfile
import time
import warnings
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Optional, Union

import torch
from torch import nn

from ..arguments import check_choice, check_int, unwrapped
from ..data_cfg import class_names
from ..fold import fold_norms
from ..version import __version__
from .engines import METADATA, Float32, engine, load
from .preprocessing import Images, Preprocessed, data_config, normalise, read_pixels
from .quantize import quantize_graph, quantize_onnx, quantize_openvino

FORMATS = {'aotinductor': '.pt2', 'torch': '.pt2', 'onnx': '.onnx', 'openvino': '.xml'}
PRECISIONS = {'fp32': 1e-4, 'bf16': 5e-2, 'int8': 2e-1}  # largest error allowed, relative to the largest output
NOISE = 0.5  # allowed, see Report: int8 has 0.05 on trained weights, 0.35 on random weights and random pixels


class ExportError(RuntimeError):
    """An export that does not compute what the model computes, or that the engine cannot take."""


@dataclass
class Report:
    """What `export` wrote and saw.

    Attributes:
        error: Largest absolute difference to the model's outputs over the check images, relative to the largest output.
        noise: Root mean square of the difference, relative to that of what tells the images' outputs apart. 1 is that
            of an output that does not depend on the image. None for a single image, or for images that are all alike.
        top1_agreement: Share of check images with the model's top-1 class, None without a classifier.
        images: Number of check images.
        bytes: Size of the file or files.
        seconds: Time to export and check.
    """
    path: str
    format: str
    precision: str
    error: float
    noise: Optional[float]
    top1_agreement: Optional[float]
    images: int
    bytes: int
    seconds: float

    def __str__(self) -> str:
        agreement = '' if self.top1_agreement is None else f', top-1 agreement {self.top1_agreement:.1%}'
        return (
            f'{self.path}: {self.format} {self.precision}, {self.bytes / 1e6:.1f} MB, {self.seconds:.0f} s; on '
            f'{self.images} images error {self.error:.1e} of the largest output{agreement}')


def export(
        model: nn.Module,
        path: Union[str, Path],
        format: str = 'aotinductor',
        precision: str = 'fp32',
        *,
        batch_size: Optional[int] = None,
        image_size: Optional[int] = None,
        dynamic_size: bool = False,
        pixels_in: bool = False,
        images: Images = None,
        calibration: int = 128,
        overwrite: bool = False,
) -> Report:
    """Export a model for CPU inference, run the file in its engine on real images and compare with the model.

    Preprocessing and label names travel in the file; `load(path)` gives them back with a callable.

    Args:
        model: One of this package in eval mode, possibly compiled; it is not changed.
        path: File to write, with the suffix of the format (see the table above).
        format: One of `FORMATS`.
        precision: 'fp32', 'bf16' or 'int8' (weights and activations, calibrated on `images`).
        batch_size: Fixed batch size. None is any for 'torch', 'onnx' and 'openvino', and 1 for 'aotinductor', whose
            code for one shape is faster than for any; `load` serves batches of every size in all cases.
        image_size: Height and width, the model's own by default.
        dynamic_size: Any height and width, not with 'aotinductor'.
        pixels_in: The graph takes uint8 RGB pixels (B, H, W, C) and normalises them itself.
        images: Folder of images, list of them or uint8 tensor (N, C, H, W), to calibrate on and to check with; None
            for the photographs bundled with scikit-image.
        calibration: Most images to calibrate on.
        overwrite: Replace a file that exists.

    Raises:
        ExportError: The file did not agree with the model, or the engine failed; no file is left, nor a half-done one.
        FileExistsError: `path` exists, and `overwrite` is not set or it is a folder.
        ImportError: The engine or the quantizer is not installed.
        TypeError, ValueError: An argument is wrong, named in the message.
    """
    start = time.time()
    model, path = unwrapped(model), Path(path)
    check_choice('format', format, tuple(FORMATS))
    check_choice('precision', precision, tuple(PRECISIONS))
    check_int('calibration', calibration)
    if path.suffix != FORMATS[format]:
        raise ValueError(f"path={str(path)!r} must end in {FORMATS[format]!r} for format={format!r}.")
    if (format, precision) == ('onnx', 'bf16'):
        raise ValueError("precision='bf16': ONNX Runtime has no bfloat16 convolution on CPUs, use fp32 or int8.")
    if dynamic_size and format == 'aotinductor':
        raise ValueError("dynamic_size=True: compiled code for any size is slow, use 'onnx', 'openvino' or 'torch'.")
    files = [path] if format != 'openvino' else [path, path.with_suffix('.bin')]
    for file in files:
        if file.is_dir():
            raise FileExistsError(f'{file} is a folder; choose another path.')
        if file.exists() and not overwrite:
            raise FileExistsError(f'{file} exists already; choose another path or overwrite=True.')
    if model.training:
        raise ValueError('The model is in training mode: call model.eval() first.')
    if batch_size is None and format == 'aotinductor':
        batch_size = 1
    if batch_size is not None:
        check_int('batch_size', batch_size)
    if image_size is not None:
        check_int('image_size', image_size)

    if not hasattr(model, 'num_classes'):
        raise TypeError(
            f'{type(model).__name__} is no network of timm_res2net or timm with one output (features_only=True gives '
            'several): export the whole model.')
    config = data_config(model, image_size)
    pixels = read_pixels(images, config, max(calibration, 32) if precision == 'int8' else 32)
    weight = next(model.parameters())
    plain = model if weight.dtype == torch.float32 else copy.deepcopy(model).float()
    with torch.no_grad():
        expected = torch.cat([plain(normalise(p.to(weight.device), config)).cpu().float() for p in pixels.split(8)])
    graph = _inference_copy(model)
    inputs = pixels.permute(0, 2, 3, 1).contiguous() if pixels_in else normalise(pixels, config)
    c, h, w = config['input_size']
    h, w = (None, None) if dynamic_size else (h, w)
    cfg = getattr(model, 'pretrained_cfg', None) or {}
    metadata: Dict[str, Any] = {
        'timm_res2net': __version__, 'architecture': cfg.get('architecture'), 'format': format,
        'precision': precision, 'input': 'pixels' if pixels_in else 'normalised',
        'shape': [batch_size, h, w, c] if pixels_in else [batch_size, c, h, w], 'data_config': config,
        'num_classes': model.num_classes, 'label_names': class_names(model),
    }
    graph = graph.to(memory_format=torch.channels_last)
    if precision == 'bf16' and format != 'openvino':  # OpenVINO takes fp32 graphs and computes in bf16
        graph = Float32(graph, torch.bfloat16)
    if pixels_in:
        graph = Preprocessed(graph, config)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f'.{path.name}.', dir=path.parent) as scratch, _quiet():
        new = Path(scratch) / path.name
        try:
            _WRITERS[format](graph.eval(), new, inputs[:calibration], metadata)
            outputs = load(new)(inputs)
        except ImportError:
            raise
        except Exception as error:
            raise ExportError(f'{format} {precision}: {type(error).__name__}: {error}') from error
        report = _compare(outputs, expected, metadata['num_classes'])
        if not (report['error'] <= PRECISIONS[precision] and (report['noise'] or 0) <= NOISE):
            raise ExportError(
                f'{format} {precision} differs from the model by {report["error"]:.1e} of its largest output, allowed '
                f'is {PRECISIONS[precision]:.0e}; noise {report["noise"]}, allowed is {NOISE}; top-1 agreement '
                f'{report["top1_agreement"]}. No file is left.')
        written = [Path(scratch) / file.name for file in files]
        size = sum(file.stat().st_size for file in written)
        for file, target in zip(written, files, strict=True):
            os.replace(file, target)
    return Report(str(path), format, precision, **report, bytes=size, seconds=time.time() - start)


def _inference_copy(model: nn.Module) -> Any:
    """The model folded, or as it is if it has norms that do not fold, in float32 on the CPU."""
    model = copy.deepcopy(model).cpu().float().requires_grad_(False)  # before norms are folded, for precision
    with suppress(ValueError):  # after which it is as it was
        fold_norms(model)
    return model


def _compare(outputs: torch.Tensor, expected: torch.Tensor, num_classes: int) -> Dict[str, Any]:
    difference, largest = outputs - expected, expected.abs().max().clamp(min=1e-12)
    apart = (expected - expected.mean(0)).square().mean().sqrt()
    noise = (difference.square().mean().sqrt() / apart).item() if apart > 1e-6 * largest else None
    same = (outputs.argmax(1) == expected.argmax(1)).float().mean().item() if num_classes else None
    error = (difference.abs().max() / largest).item()
    return {'error': error, 'noise': noise, 'top1_agreement': same, 'images': len(expected)}


@contextmanager
def _quiet():
    """Exporters warn about their own insides, of which a user can change nothing."""
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        yield


def _program(graph: nn.Module, inputs: torch.Tensor, metadata: Dict[str, Any]) -> torch.export.ExportedProgram:
    """torch.export's program of a graph, for a fixed or any batch size and image size."""
    dynamic = {i: torch.export.Dim.DYNAMIC for i, n in enumerate(metadata['shape']) if n is None}
    x = inputs[:1].expand(metadata['shape'][0] or 2, *inputs.shape[1:]).contiguous()
    with torch.no_grad():
        return torch.export.export(graph, (x,), dynamic_shapes=(dynamic,) if dynamic else None)


def _quantized(graph: nn.Module, inputs: torch.Tensor, metadata: Dict[str, Any]) -> torch.export.ExportedProgram:
    """The program, quantized by PT2E for int8."""
    program = _program(graph, inputs, metadata)
    if metadata['precision'] != 'int8':
        return program
    return _program(quantize_graph(program.module(), inputs, metadata['shape'][0]), inputs, metadata)


def _write_aotinductor(graph: nn.Module, path: Path, inputs: torch.Tensor, metadata: Dict[str, Any]) -> None:
    program = _quantized(graph, inputs, metadata)
    text = json.dumps({**metadata, 'torch': torch.__version__}).encode().hex()  # it becomes a C string
    torch._inductor.aoti_compile_and_package(
        program, package_path=str(path), inductor_configs={
            'freezing': True,
            'cpp.dynamic_threads': True,  # as many as there are where it runs, not where it was made
            'aot_inductor.metadata': {METADATA: text},
        })


def _write_torch(graph: nn.Module, path: Path, inputs: torch.Tensor, metadata: Dict[str, Any]) -> None:
    program = _quantized(graph, inputs, metadata)
    torch.export.save(program, path, extra_files={METADATA: json.dumps(metadata)})


def _write_onnx(graph: nn.Module, path: Path, inputs: torch.Tensor, metadata: Dict[str, Any]) -> None:
    onnx, _ = engine('onnx'), engine('onnxscript')
    full = path.with_name('full.onnx') if metadata['precision'] == 'int8' else path
    torch.onnx.export(_program(graph, inputs, metadata), (), full, dynamo=True, external_data=False,
                      input_names=['x'], output_names=['y'], verbose=False)
    if full != path:
        quantize_onnx(full, path, inputs, metadata['shape'][0])
    file = onnx.load(path)
    file.metadata_props.add(key=METADATA, value=json.dumps(metadata))
    onnx.save(file, path)


def _write_openvino(graph: nn.Module, path: Path, inputs: torch.Tensor, metadata: Dict[str, Any]) -> None:
    openvino = engine('openvino')
    model = openvino.convert_model(_program(graph, inputs, metadata))
    model.reshape({0: openvino.PartialShape([-1 if n is None else n for n in metadata['shape']])})
    if metadata['precision'] == 'int8':
        model = quantize_openvino(model, inputs, metadata['shape'][0])
    model.set_rt_info(json.dumps(metadata), METADATA)
    openvino.save_model(model, path, compress_to_fp16=False)


_WRITERS = {
    'aotinductor': _write_aotinductor, 'torch': _write_torch, 'onnx': _write_onnx, 'openvino': _write_openvino}

__all__ = ['FORMATS', 'PRECISIONS', 'ExportError', 'Report', 'export']
