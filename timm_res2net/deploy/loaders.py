"""Exported files back as callables, each in its own engine.

`LOADERS`, at the end, has one entry for each suffix of `writers.FORMATS`.
"""
import errno
import importlib
import json
import os
import shutil
import sys
import tempfile
import warnings
import zipfile
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, Optional, Tuple, Union

import torch

from ..model.arguments import check_int, check_path
from ..version import __version__
from .deployed import NEEDED, Deployed
from .engines import METADATA, checksum, cpu_features, engine, is_sealed, onnx_sessions, openvino_requests
from .guest import alone, interruptible, quiet
from .placing import forbids_code, missing_temporary
from .workers import FileError, Pool, Run, check_owner, share, start_workers

_EXHAUSTED = errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOMEM  # whatever the file is
Loaded = Tuple[Pool, Dict[str, Any]]  # with the metadata


def load(path: Union[str, Path], workers: Optional[int] = None) -> Deployed:
    """Load what `export` wrote, whichever format it has.

    Args:
        path: `.pt2` (AOTInductor or torch.export), `.onnx`, or `.xml` (OpenVINO, with its `.bin` beside it).
        workers: How many callers are served at once, each with his share of the cores that torch has: streams of
            OpenVINO, sessions of ONNX Runtime, processes for the files that torch runs. Without it one caller at a
            time has all the cores, in this process; of the files that torch runs he should be the process's first
            thread, or have one worker.

    Warns:
        UserWarning: It is AOTInductor's and was compiled for another number of threads.

    Raises:
        FileNotFoundError: There is no such file, or not the `.bin` beside it.
        ImportError: The engine is not installed.
        OSError: The file cannot be read.
        TypeError, ValueError: The file was not written by `export`, is damaged, or is not for this machine or these
            versions; or `workers` is no positive number.
    """
    path = check_path('path', path)
    if workers is not None:
        check_int('workers', workers)
    if not path.is_file():
        raise FileNotFoundError(f'There is no file {path}.')
    if path.suffix not in LOADERS:
        *others, last = LOADERS
        raise ValueError(f'{path} is none of {", ".join(others)} and {last}.')
    path.open('rb').close()  # engines would call a file damaged that one may not read
    try:
        with quiet, interruptible():
            loaded = Deployed(*LOADERS[path.suffix](path, workers))
    except (FileNotFoundError, ImportError, FileError):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno in _EXHAUSTED:
            raise
        raise ValueError(f'{path} cannot be loaded, it is damaged or of another version: {_reason(error)}') from error
    threads, made_for = share(workers or 1), loaded.metadata.get('threads')
    if made_for not in (None, threads):
        warnings.warn(
            f'{path} was compiled for threads={made_for} and runs with {threads}, which may be several times slower: '
            f'export it with threads={threads}.', stacklevel=2)
    return loaded


def _reason(error: Exception) -> str:
    *_, last = ['', *filter(None, map(str.strip, str(error).splitlines()))]
    return f'{type(error).__name__}: {last[:200]}'


def _metadata(path: Path, text: Optional[str]) -> Dict[str, Any]:
    """What a file says of itself in JSON, refused where something is missing."""
    try:
        metadata = json.loads(text or '')
    except ValueError:
        metadata = None
    if not isinstance(metadata, dict):
        raise FileError(f'{path} was not written by timm_res2net, or is damaged: it does not say what input it wants.')
    missing = [key for key in NEEDED if key not in metadata]
    if missing:
        raise FileError(
            f'{path} does not say its {", ".join(missing)}: it was written by timm-res2net '
            f'{metadata.get("timm_res2net", "of another version")}, here is {__version__}; export it again.')
    shape, config = metadata['shape'], metadata['data_config']
    sizes = isinstance(shape, list) and len(shape) == 4 and all(
        n is None or type(n) is int and n > 0 for n in shape)
    if not sizes or not isinstance(config, dict) or 'input_size' not in config:
        raise FileError(
            f'{path} says that it takes {shape}, preprocessed by {config}, which cannot be: export it again.')
    return metadata


def load_pt2(path: Path, workers: Optional[int]) -> Loaded:
    """AOTInductor's, which has compiled code, or torch.export's."""
    if not zipfile.is_zipfile(path):
        raise FileError(f'{path} is not a .pt2 archive, or only the beginning of one.')
    with zipfile.ZipFile(path) as archive:
        if damaged := archive.testzip():  # torch itself does not look
            raise FileError(f'{path} is damaged, in {damaged}: copy it again.')
        compiled = any(name.endswith('.so') for name in archive.namelist())
    if workers is not None:
        processes = start_workers(path, workers)
        try:
            text = [process.metadata() for process in processes][0]
        except BaseException:
            for process in processes:
                process.stop()
            raise
        return Pool(processes), _metadata(path, text)
    return load_aotinductor(path) if compiled else load_torch(path)


def load_aotinductor(path: Path) -> Loaded:
    metadata = _metadata(path, _compiled_metadata(path))
    missing = set(metadata.get('cpu', ())) - cpu_features()
    if missing:  # it would end the process
        raise FileError(
            f'{path} was compiled for a CPU with {", ".join(sorted(missing))}, which this one has not: export the '
            'model on this machine, or as .onnx.')
    if variable := missing_temporary():
        raise FileError(f'{path} is unpacked in {variable}: set it to another folder.')
    if forbids_code(temporary := Path(tempfile.gettempdir())):
        raise FileError(
            f'{path} is unpacked in {temporary}, and nothing may be run there (noexec): set TMPDIR to another folder.')
    with zipfile.ZipFile(path) as archive:
        needed = sum(entry.file_size for entry in archive.infolist())
    if needed > (free := shutil.disk_usage(temporary).free):  # torch would leave a half there, and call it damaged
        raise FileError(
            f'{path} is unpacked in {temporary}, which has {free / 1e6:.1f} MB free of the {needed / 1e6:.1f} MB that '
            'it needs: make room, or set TMPDIR to another folder.')
    with _of_another_torch(path, metadata), _unpacking(temporary):
        model = torch._inductor.aoti_load_package(str(path))
    return Pool([_of_this_process(model)]), metadata


@contextmanager
def _unpacking(temporary: Path) -> Iterator[None]:
    """Let torch unpack where it is cleared away at once: of a process that is killed it would stay."""
    if sys.platform != 'linux':  # where code that is loaded needs no file any more
        yield
        return
    with alone, tempfile.TemporaryDirectory(dir=temporary) as folder:
        before = os.environ.get('TMPDIR')
        os.environ['TMPDIR'] = folder  # the one place where torch asks
        try:
            yield
        finally:
            if before is None:
                del os.environ['TMPDIR']
            else:
                os.environ['TMPDIR'] = before


def _of_this_process(model: Callable[[torch.Tensor], torch.Tensor]) -> Run:
    """What torch runs, whatever the process has set; refused where it would wait for ever."""
    owner = os.getpid()

    def run(x):
        if torch.get_num_threads() > 1:
            check_owner(owner)
        try:
            with torch.no_grad(), torch.autocast('cpu', enabled=False):
                return model(x)
        except (AssertionError, RuntimeError) as error:  # a guard of torch.export, in files for any size
            if isinstance(error, RuntimeError) and 'Expected input at' not in str(error):  # as torch 2.6 says it
                raise
            raise ValueError(f'The input of shape {tuple(x.shape)} is none that the file takes: {error}.') from error
    return run


@contextmanager
def _of_another_torch(path: Path, metadata: Dict[str, Any]) -> Iterator[None]:
    """Name both versions where a file of one does not load in the other."""
    try:
        yield
    except Exception as error:
        if metadata.get('torch') == torch.__version__:
            raise
        raise FileError(
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
        texts = [archive.read(name).decode() for name in archive.namelist() if name.endswith(f'/{METADATA}')]
    metadata = _metadata(path, texts[0] if texts else None)
    if metadata['precision'] == 'int8':
        importlib.import_module('torch.ao.quantization.fx._decomposed')  # has the operators of quantized programs
    with alone, _of_another_torch(path, metadata):
        module = torch.export.load(path).module()
    return Pool([_of_this_process(module)]), metadata


def _check_seal(path: Path, metadata: Dict[str, Any]) -> None:
    """Refuse what engines would run: a file with a bit of a weight, or of a stride, that is another."""
    if 'seal' in metadata and not is_sealed(path, str(metadata['seal'])):  # files from before it have none
        raise FileError(f'{path} is damaged, or was changed after it was exported: copy or export it again.')


def load_onnx(path: Path, workers: Optional[int]) -> Loaded:
    sessions = onnx_sessions(path, workers or 1)
    text = sessions[0].get_modelmeta().custom_metadata_map.get(METADATA)
    metadata = _metadata(path, text)
    _check_seal(path, metadata)

    def server(session):
        def run(x):
            try:
                return torch.from_numpy(session.run(None, {'x': x.numpy()})[0])
            except Exception as error:  # whose classes share no other base
                raise RuntimeError(f'ONNX Runtime failed: {error}') from error
        return run
    return Pool([server(session) for session in sessions]), metadata


def load_openvino(path: Path, workers: Optional[int]) -> Loaded:
    if not path.with_suffix('.bin').is_file():
        raise FileNotFoundError(f'{path} has no {path.with_suffix(".bin").name} beside it, which holds its weights.')
    with path.open('rb') as file:
        if not file.read(99).lstrip().startswith(b'<'):  # of which OpenVINO would say on stderr what else it is not
            raise FileError(f'{path} is no XML.')
    core = engine('openvino').Core()
    core.set_property({'ENABLE_MMAP': False})  # a mapped file that somebody cuts short would end the process
    model = core.read_model(path)
    metadata = _metadata(path, model.get_rt_info(METADATA).astype(str) if model.has_rt_info(METADATA) else None)

    _check_seal(path, metadata)
    if metadata.get('weights') not in (None, checksum(path.with_suffix('.bin'))):
        raise FileError(f'{path} and {path.with_suffix(".bin").name} are not of one export: copy both again.')

    owner, streams = os.getpid(), workers or 1

    def server(request):  # which holds one input and one output
        def run(x):
            if streams > 1:
                check_owner(owner)
            return torch.from_numpy(request.infer([x.numpy()])[0].copy())
        return run
    requests = openvino_requests(model, metadata['precision'], streams)
    return Pool([server(request) for request in requests]), metadata


LOADERS: Dict[str, Callable[[Path, Optional[int]], Loaded]] = {
    '.pt2': load_pt2, '.onnx': load_onnx, '.xml': load_openvino}
