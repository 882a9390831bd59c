"""Exported files back as callables, each in its own engine.

`LOADERS`, at the end, has one entry for each suffix of `writers.FORMATS`.
"""
import importlib
import json
import zipfile
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, Optional, Tuple, Union

import torch

from ..model.arguments import check_int
from ..version import __version__
from .deployed import NEEDED, Deployed
from .engines import METADATA, cpu_features, engine, onnx_sessions, openvino_requests
from .guest import quiet
from .workers import Pool, Run, start_workers

Loaded = Tuple[Optional[Run], Optional[str]]  # with the metadata as JSON; None: not written by `export`


def load(path: Union[str, Path], workers: Optional[int] = None) -> Deployed:
    """Load what `export` wrote, whichever format it has.

    Args:
        path: `.pt2` (AOTInductor or torch.export), `.onnx`, or `.xml` (OpenVINO, with its `.bin` beside it).
        workers: How many callers are served at once, each with his share of the cores that torch has: streams of
            OpenVINO, sessions of ONNX Runtime, processes for the files that torch runs. Without it one caller at a
            time has all the cores, in this process; of the files that torch runs he should be the process's first
            thread, or have one worker.

    Raises:
        FileNotFoundError: There is no such file, or not the `.bin` beside it.
        ImportError: The engine is not installed.
        TypeError, ValueError: The file was not written by `export`, is damaged, or is not for this machine or these
            versions; or `workers` is no positive number.
    """
    path = Path(path)
    if workers is not None:
        check_int('workers', workers)
    if not path.is_file():
        raise FileNotFoundError(f'There is no file {path}.')
    if path.suffix not in LOADERS:
        *others, last = LOADERS
        raise ValueError(f'{path} is none of {", ".join(others)} and {last}.')
    try:
        with quiet():
            run, text = LOADERS[path.suffix](path, workers)
    except (FileNotFoundError, ImportError, ValueError):
        raise
    except Exception as error:
        raise ValueError(f'{path} cannot be loaded, it is damaged or of another version: {_reason(error)}') from error
    if run is None or not text:
        raise ValueError(f'{path} was not written by timm_res2net, or is damaged: it does not say what input it wants.')
    return Deployed(run, _checked(path, text))


def _reason(error: Exception) -> str:
    *_, last = ['', *filter(None, map(str.strip, str(error).splitlines()))]
    return f'{type(error).__name__}: {last[:200]}'


def _checked(path: Path, text: str) -> Dict[str, Any]:
    """The metadata of a file, refused where something is missing."""
    metadata = json.loads(text)
    missing = [key for key in NEEDED if key not in metadata]
    if missing:
        raise ValueError(
            f'{path} does not say its {", ".join(missing)}: it was written by timm-res2net '
            f'{metadata.get("timm_res2net", "of another version")}, here is {__version__}; export it again.')
    return metadata


def load_pt2(path: Path, workers: Optional[int]) -> Loaded:
    """AOTInductor's, which has compiled code, or torch.export's."""
    if not zipfile.is_zipfile(path):
        raise ValueError(f'{path} is not a .pt2 archive, or only the beginning of one.')
    with zipfile.ZipFile(path) as archive:
        compiled = any(name.endswith('.so') for name in archive.namelist())
    if workers is not None:
        processes = start_workers(path, workers)
        try:
            text = [process.metadata() for process in processes][0]
        except BaseException:
            for process in processes:
                process.stop()
            raise
        return Pool(processes), text
    return load_aotinductor(path) if compiled else load_torch(path)


def load_aotinductor(path: Path) -> Loaded:
    text = _compiled_metadata(path)
    if text is None:
        return None, None
    made = json.loads(text)
    missing = set(made.get('cpu', ())) - cpu_features()
    if missing:  # it would end the process
        raise ValueError(
            f'{path} was compiled for a CPU with {", ".join(sorted(missing))}, which this one has not: export the '
            'model on this machine, or as .onnx.')
    with _of_another_torch(path, made):
        model = torch._inductor.aoti_load_package(str(path))

    def run(x):
        with torch.no_grad():
            return model(x)
    return run, text


@contextmanager
def _of_another_torch(path: Path, metadata: Dict[str, Any]) -> Iterator[None]:
    """Name both versions where a file of one does not load in the other."""
    try:
        yield
    except Exception as error:
        if metadata.get('torch') == torch.__version__:
            raise
        raise ValueError(
            f'{path} was written by torch {metadata.get("torch")} and does not load in torch {torch.__version__}: '
            'export it again.') from error


def _compiled_metadata(path: Path) -> Optional[str]:
    """Read without running any of the code."""
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if name.endswith('_metadata.json'):
                text = json.loads(archive.read(name)).get(METADATA)
                return text and bytes.fromhex(text).decode()
    return None


def load_torch(path: Path) -> Loaded:
    with zipfile.ZipFile(path) as archive:
        places = tuple(f'{folder}/{METADATA}' for folder in ('extra', 'extra_files'))  # the second in torch 2.6
        texts = [archive.read(name).decode() for name in archive.namelist() if name.endswith(places)]
    if not texts:
        return None, None
    made = json.loads(texts[0])
    if made['precision'] == 'int8':
        importlib.import_module('torch.ao.quantization.fx._decomposed')  # has the operators of quantized programs
    with _of_another_torch(path, made):
        module = torch.export.load(path).module()

    def run(x):
        with torch.no_grad():
            return module(x)
    return run, texts[0]


def load_onnx(path: Path, workers: Optional[int]) -> Loaded:
    sessions = onnx_sessions(path, workers or 1)
    text = sessions[0].get_modelmeta().custom_metadata_map.get(METADATA)

    def server(session):
        return lambda x: torch.from_numpy(session.run(None, {'x': x.numpy()})[0])
    return Pool([server(session) for session in sessions]), text


def load_openvino(path: Path, workers: Optional[int]) -> Loaded:
    if not path.with_suffix('.bin').is_file():
        raise FileNotFoundError(f'{path} has no {path.with_suffix(".bin").name} beside it, which holds its weights.')
    model = engine('openvino').Core().read_model(path)
    if not model.has_rt_info(METADATA):
        return None, None
    text = model.get_rt_info(METADATA).astype(str)

    def server(request):  # which holds one input and one output
        return lambda x: torch.from_numpy(request.infer([x.numpy()])[0].copy())
    requests = openvino_requests(model, json.loads(text)['precision'], workers or 1)
    return Pool([server(request) for request in requests]), text


LOADERS: Dict[str, Callable[[Path, Optional[int]], Loaded]] = {
    '.pt2': load_pt2, '.onnx': load_onnx, '.xml': load_openvino}
