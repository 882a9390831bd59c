"""The engines that run exported files: optional packages, each started as both ends of an export want it."""
import importlib
from pathlib import Path
from typing import Any

import torch

METADATA = 'timm_res2net'  # the key, in every format


def engine(name: str) -> Any:
    """Import an optional module, or say in one line how to get it."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise ImportError(f"{error.name} is not installed: pip install 'timm-res2net[deploy]'") from error


def compiler() -> None:
    """Say in one line how to get the C++ compiler that AOTInductor calls, if it is not here."""
    from torch._inductor import cpp_builder, exc
    try:
        cpp_builder.get_cpp_compiler()
    except exc.InvalidCxxCompiler as error:
        raise ImportError(
            'AOTInductor needs a C++ compiler, and there is none here: install g++ (apt-get install g++ on Debian and '
            "Ubuntu), name one in CXX, or take format='torch', 'onnx' or 'openvino'") from error


def onnx_session(path: Path) -> Any:
    """ONNX Runtime's session on the CPU, with as many threads as torch has."""
    onnxruntime = engine('onnxruntime')
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    return onnxruntime.InferenceSession(str(path), options, providers=['CPUExecutionProvider'])


def openvino_request(model: Any, precision: str) -> Any:
    """OpenVINO's inference request on the CPU, with as many threads as torch has; `precision` is one of export's."""
    openvino = engine('openvino')
    return openvino.Core().compile_model(model, 'CPU', {
        'INFERENCE_PRECISION_HINT': 'bf16' if precision == 'bf16' else 'f32', 'PERFORMANCE_HINT': 'LATENCY',
        'INFERENCE_NUM_THREADS': torch.get_num_threads()}).create_infer_request()
