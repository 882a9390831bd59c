"""The engines that run exported files: optional packages, each started as both ends of an export want it."""
import contextlib
import importlib
import re
import subprocess
import sys
import zlib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, List, Set

import torch

from .guest import own_signal_stack, telemetry_refused, unprinted
from .workers import share

METADATA = 'timm_res2net'  # the key, in every format
UNSEALED = 'crc32:00000000'  # in the metadata of formats without checksums, where that of the file is put in the end


def engine(name: str) -> Any:
    """Import an optional module, or say in one line how to get it."""
    try:
        with telemetry_refused(name.split('.')[0]):
            return importlib.import_module(name)
    except (AttributeError, ImportError) as error:
        package = name.split('.')[0]
        if isinstance(error, ModuleNotFoundError) and '.' not in (error.name or ''):
            raise ImportError(f"{error.name} is not installed: pip install 'timm-res2net[deploy]'") from error
        raise ImportError(
            f'{package} {_version(package)} does not go with torch {torch.__version__} ({error}): pip install '
            f'--upgrade {package} torch') from error


def _version(package: str) -> str:
    with contextlib.suppress(PackageNotFoundError):
        return version(package)
    return 'of an unknown version'


def compiler() -> None:
    """Say in one line how to get the C++ compiler that AOTInductor calls, where there is none."""
    from torch._inductor import cpp_builder, exc
    with unprinted():  # torch 2.6 prints what it thinks of CUDA_HOME
        importlib.import_module('torch.utils.cpp_extension')
    try:
        found = cpp_builder.get_cpp_compiler()
    except exc.InvalidCxxCompiler as error:
        raise ImportError(
            'AOTInductor needs a C++ compiler, and there is none here: install g++ (apt-get install g++ on Debian and '
            "Ubuntu), name one in CXX, or take format='torch', 'onnx' or 'openvino'") from error
    if sys.platform != 'win32':  # torch has asked it for its version there
        said = subprocess.run([found, '-E', '-x', 'c++', '-'], input='__cplusplus', capture_output=True, text=True)
        if not re.search(r'^\d+L$', said.stdout, re.M):
            raise ImportError(f'{found!r} is no C++ compiler: name one in CXX, or leave CXX unset and install g++')


def cpu_features() -> Set[str]:
    """The instructions of this CPU that compiled code may use, by Linux's names; none on other systems."""
    info = Path('/proc/cpuinfo')
    found = re.search(r'^(?:flags|Features)\s*:(.*)$', info.read_text() if info.is_file() else '', re.M)
    return {f for f in found[1].split() if re.match('avx|fma|f16c|bmi|amx|sve|bf16|i8mm', f)} if found else set()


def seal(path: Path) -> None:
    """Put the checksum of a file into it, for `UNSEALED`."""
    data = path.read_bytes()
    path.write_bytes(data.replace(UNSEALED.encode(), f'crc32:{zlib.crc32(data):08x}'.encode()))


def is_sealed(path: Path, word: str) -> bool:
    """Whether a file is what `seal` has written.

    Args:
        word: Its metadata's.
    """
    data = path.read_bytes().replace(word.encode(), UNSEALED.encode())
    return word == f'crc32:{zlib.crc32(data):08x}'


def checksum(path: Path) -> int:
    """What tells the weights beside a file from those of another."""
    sum_of_all = 0
    with path.open('rb') as file:
        while part := file.read(2 ** 20):
            sum_of_all = zlib.crc32(part, sum_of_all)
    return sum_of_all


def onnx_sessions(path: Path, count: int = 1) -> List[Any]:
    """ONNX Runtime's sessions on the CPU, which share as many threads as torch has."""
    onnxruntime = engine('onnxruntime')
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = share(count)
    return [
        onnxruntime.InferenceSession(str(path), options, providers=['CPUExecutionProvider']) for _ in range(count)]


def openvino_requests(model: Any, precision: str, count: int = 1) -> List[Any]:
    """OpenVINO's inference requests on the CPU, which share as many threads as torch has, a stream each.

    Args:
        precision: One of export's.
    """
    openvino = engine('openvino')
    how = {'PERFORMANCE_HINT': 'LATENCY'} if count == 1 else {'PERFORMANCE_HINT': 'THROUGHPUT', 'NUM_STREAMS': count}
    with own_signal_stack():
        compiled = openvino.Core().compile_model(model, 'CPU', {
            'INFERENCE_PRECISION_HINT': 'bf16' if precision == 'bf16' else 'f32', **how,
            'INFERENCE_NUM_THREADS': max(torch.get_num_threads(), count)})
    return [compiled.create_infer_request() for _ in range(count)]
