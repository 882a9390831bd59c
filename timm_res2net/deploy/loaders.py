"""Exported files back as callables: each in its own engine, same input and output as the model in eager mode.

`LOADERS`, at the end, has one entry for each suffix of `writers.FORMATS`.
"""
import importlib
import json
import threading
import zipfile
from functools import partial
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Tuple, Union

import torch
from timm.data import create_transform

from .engines import METADATA, engine, onnx_session, openvino_request

Run = Callable[[torch.Tensor], torch.Tensor]
Loaded = Tuple[Optional[Run], Optional[str]]  # with the metadata as JSON; None: not written by `export`


class Deployed:
    """An exported model: call it with a batch on the CPU as the model itself, get what the model returns.

    Several threads may call it; OpenVINO and AOTInductor serve one of them at a time.

    Attributes:
        metadata: How it was exported: architecture, format, precision, input, preprocessing, label_names.
        labels: Names of the classes, or None.
    """

    def __init__(self, run: Run, metadata: Dict[str, Any]) -> None:
        self.run = run
        self.metadata = metadata
        self.labels: Optional[List[str]] = metadata.get('label_names')

    @property
    def transform(self) -> Callable[[Any], torch.Tensor]:
        """PIL image -> input without the batch: resized, cropped and, unless the graph does it, normalised."""
        config = {**self.metadata['data_config'], 'input_size': tuple(self.metadata['data_config']['input_size'])}
        if self.metadata['input'] == 'normalised':
            return create_transform(**config)
        return partial(_pixels, create_transform(**config, use_prefetcher=True))

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


def _pixels(transform: Callable[[Any], Any], image: Any) -> torch.Tensor:
    return torch.as_tensor(transform(image)).permute(1, 2, 0)


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
    if path.suffix not in LOADERS:
        *others, last = LOADERS
        raise ValueError(f'{path} is none of {", ".join(others)} and {last}.')
    run, text = LOADERS[path.suffix](path)
    if run is None or not text:
        raise ValueError(f'{path} was not written by timm_res2net: it does not say what input it wants.')
    return Deployed(run, json.loads(text))


def load_pt2(path: Path) -> Loaded:
    """AOTInductor's, which has compiled code, or torch.export's."""
    if not zipfile.is_zipfile(path):
        raise ValueError(f'{path} is not a .pt2 archive.')
    with zipfile.ZipFile(path) as archive:
        compiled = any(name.endswith('.so') for name in archive.namelist())
    return load_aotinductor(path) if compiled else load_torch(path)


def load_aotinductor(path: Path) -> Loaded:
    model = torch._inductor.aoti_load_package(str(path))
    text = model.loader.get_metadata().get(METADATA)

    def run(x):
        with torch.no_grad():
            return model(x.contiguous())
    return run, text and bytes.fromhex(text).decode()


def load_torch(path: Path) -> Loaded:
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


def load_onnx(path: Path) -> Loaded:
    session = onnx_session(path)
    text = session.get_modelmeta().custom_metadata_map.get(METADATA)
    return lambda x: torch.from_numpy(session.run(None, {'x': x.contiguous().numpy()})[0]), text


def load_openvino(path: Path) -> Loaded:
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


LOADERS: Dict[str, Callable[[Path], Loaded]] = {'.pt2': load_pt2, '.onnx': load_onnx, '.xml': load_openvino}
