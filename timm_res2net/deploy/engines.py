"""Exported files back as callables: each in its own engine, same input and output as the model in eager mode."""
import importlib
import json
import threading
import zipfile
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Tuple, Union

import torch
from timm.data import create_transform
from torch import nn

METADATA = 'timm_res2net'  # the key, in every format


def engine(name: str) -> Any:
    """Import an optional module, or say in one line how to get it."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise ImportError(f"{error.name} is not installed: pip install 'timm-res2net[deploy]'") from error


class Deployed:
    """An exported model: call it with a batch on the CPU as the model itself, get what the model returns.

    Several threads may call it; OpenVINO and AOTInductor serve one of them at a time.

    Attributes:
        metadata: How it was exported: architecture, format, precision, input, preprocessing, label_names.
        labels: Names of the classes, or None.
    """

    def __init__(self, run: Callable[[torch.Tensor], torch.Tensor], metadata: Dict[str, Any]) -> None:
        self.run = run
        self.metadata = metadata
        self.labels: Optional[List[str]] = metadata.get('label_names')

    @property
    def transform(self) -> Callable[[Any], torch.Tensor]:
        """PIL image -> input without the batch: resized, cropped and, unless the graph does it, normalised."""
        config = {**self.metadata['data_config'], 'input_size': tuple(self.metadata['data_config']['input_size'])}
        if self.metadata['input'] == 'normalised':
            return create_transform(**config)
        to_pixels = create_transform(**config, use_prefetcher=True)
        return lambda image: torch.as_tensor(to_pixels(image)).permute(1, 2, 0)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Input as the model's, (B, C, H, W) float32, or (B, H, W, C) uint8 pixels if it was exported so.

        Raises:
            ValueError: Another type, shape or device.
        """
        shape, dtype = self.metadata['shape'], torch.float32
        if self.metadata['input'] == 'pixels':
            dtype = torch.uint8
        fits = x.ndim == len(shape) and all(s is None or s == n for s, n in zip(shape[1:], x.shape[1:], strict=False))
        if x.dtype != dtype or not fits or not len(x):
            wanted = ', '.join('any' if s is None else str(s) for s in ('B', *shape[1:]))
            raise ValueError(f'The input is {x.dtype} of shape {tuple(x.shape)}, it must be {dtype} of ({wanted}).')
        if x.device.type != 'cpu':  # compiled code would read its address as one of the CPU's
            raise ValueError(f'The input is on {x.device}, exported files run on the CPU: use x.cpu().')
        size = shape[0]
        if size is None or size == len(x):
            return self.run(x)
        parts = list(x.split(size))  # a file made for one batch size serves every other
        missing = size - len(parts[-1])
        if missing:
            parts[-1] = torch.cat([parts[-1], parts[-1][-1:].expand(missing, *x.shape[1:])])
        return torch.cat([self.run(part) for part in parts])[:len(x)]


def load(path: Union[str, Path]) -> Deployed:
    """Load what `export` wrote, whichever format it has.

    Args:
        path: `.pt2` (AOTInductor or torch.export), `.onnx`, or `.xml` (OpenVINO, with its `.bin` beside it).

    Raises:
        FileNotFoundError: There is no such file.
        ImportError: The engine is not installed.
        ValueError: The file was not written by `export`.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'There is no file {path}.')
    loaders = {'.onnx': load_onnx, '.xml': load_openvino}
    if path.suffix == '.pt2':
        loader = load_aotinductor if _has_compiled_code(path) else load_torch
    elif path.suffix in loaders:
        loader = loaders[path.suffix]
    else:
        raise ValueError(f'{path} is none of .pt2, .onnx and .xml.')
    run, text = loader(path)
    if run is None or not text:
        raise ValueError(f'{path} was not written by timm_res2net: it does not say what input it wants.')
    return Deployed(run, json.loads(text))


def _has_compiled_code(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        raise ValueError(f'{path} is not a .pt2 archive.')
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith('.so') for name in archive.namelist())


def load_aotinductor(path: Path) -> Tuple[Callable, Optional[str]]:
    model = torch._inductor.aoti_load_package(str(path))
    text = model.loader.get_metadata().get(METADATA)

    def run(x):
        with torch.no_grad():
            return model(x.contiguous())
    return run, text and bytes.fromhex(text).decode()


def load_torch(path: Path) -> Tuple[Optional[Callable], Optional[str]]:
    with zipfile.ZipFile(path) as archive:
        texts = [archive.read(n).decode() for n in archive.namelist() if n.endswith(f'/extra/{METADATA}')]
    if not texts:
        return None, None
    if json.loads(texts[0])['precision'] == 'int8':
        importlib.import_module('torch.ao.quantization.fx._decomposed')  # has the operators of quantized programs
    module = torch.export.load(path).module()

    def run(x):
        with torch.no_grad():
            return module(x)
    return run, texts[0]


def onnx_session(path: Path) -> Any:
    """ONNX Runtime's session on the CPU, with as many threads as torch has."""
    onnxruntime = engine('onnxruntime')
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    return onnxruntime.InferenceSession(str(path), options, providers=['CPUExecutionProvider'])


def load_onnx(path: Path) -> Tuple[Callable, Optional[str]]:
    session = onnx_session(path)
    text = session.get_modelmeta().custom_metadata_map.get(METADATA)
    return lambda x: torch.from_numpy(session.run(None, {'x': x.contiguous().numpy()})[0]), text


def openvino_request(model: Any, precision: str) -> Any:
    """OpenVINO's inference request on the CPU, with as many threads as torch has; `precision` is one of export's."""
    openvino = engine('openvino')
    return openvino.Core().compile_model(model, 'CPU', {
        'INFERENCE_PRECISION_HINT': 'bf16' if precision == 'bf16' else 'f32', 'PERFORMANCE_HINT': 'LATENCY',
        'INFERENCE_NUM_THREADS': torch.get_num_threads()}).create_infer_request()


def load_openvino(path: Path) -> Tuple[Optional[Callable], Optional[str]]:
    model = engine('openvino').Core().read_model(path)
    if not model.has_rt_info(METADATA):
        return None, None
    text = model.get_rt_info(METADATA).astype(str)
    request = openvino_request(model, json.loads(text)['precision'])
    lock = threading.Lock()  # a request holds one input and one output

    def run(x):
        with lock:
            return torch.from_numpy(request.infer([x.contiguous().numpy()])[0].copy())
    return run, text


class Float32(nn.Module):
    """A model of another dtype with float32 input and output."""

    def __init__(self, model: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.model = model.to(dtype)
        self.dtype = dtype

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.model(x.to(self.dtype)).float()
