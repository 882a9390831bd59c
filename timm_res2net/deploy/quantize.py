"""Post-training quantization to int8: weights per channel, activations by calibration on images.

Three ways to the same arithmetic, one for each engine: torchao's PT2E with the quantizer for inductor on x86, ONNX
Runtime's static quantization, and NNCF for OpenVINO. `batch_size` is everywhere the one that the graph is for, None for
any.

x86 CPUs without VNNI add pairs of products in 16 bits. An activation and a weight of 8 bits each overflow that, and the
answer is another class; since a file may get to such a CPU, weights take 7 bits everywhere.
"""
import dataclasses
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Iterator, Optional, Tuple

import torch
from torch import nn

from .engines import engine


def quantize_graph(graph: nn.Module, inputs: torch.Tensor, batch_size: Optional[int] = None) -> nn.Module:
    """PT2E: a graph of `torch.export.export(...).module()` with quantized convolutions, for inductor on x86 CPUs.

    Args:
        graph: What to quantize, which takes batches like `inputs`.
        inputs: (N, ...) to calibrate on.
        batch_size: See above.
    """
    pt2e = engine('torchao.quantization.pt2e.quantize_pt2e')
    x86 = engine('torchao.quantization.pt2e.quantizer.x86_inductor_quantizer')
    config = x86.get_default_x86_inductor_quantization_config()
    weight = dataclasses.replace(config.weight, quant_min=-64, quant_max=63)
    quantizer = x86.X86InductorQuantizer()
    quantizer.set_global(dataclasses.replace(config, weight=weight))
    prepared = pt2e.prepare_pt2e(graph, quantizer)
    for x in _batches(inputs, batch_size or 16):
        prepared(x)
    quantized = pt2e.convert_pt2e(prepared)
    used = {node.target for node in quantized.graph.nodes if node.op == 'get_attr'}
    for name in quantized.state_dict().keys() - used:  # the weights in float32, which a file would hold as well
        module, _, weight = name.rpartition('.')
        delattr(quantized.get_submodule(module), weight)
    return quantized


def _batches(inputs: torch.Tensor, size: int) -> Tuple[torch.Tensor, ...]:
    """All inputs in batches of one size, the first ones again to fill the last."""
    count = -(-len(inputs) // size) * size
    return inputs[torch.arange(count) % len(inputs)].split(size)


def quantize_onnx(source: Path, target: Path, inputs: torch.Tensor, batch_size: Optional[int] = None) -> None:
    """ONNX Runtime: read an fp32 file, write one with QuantizeLinear and DequantizeLinear around each operator."""
    ort: Any = engine('onnxruntime.quantization')

    class Reader(ort.CalibrationDataReader):
        def __init__(self):
            self.batches = iter({'x': x.numpy()} for x in _batches(inputs, batch_size or 1))

        def get_next(self):
            return next(self.batches, None)

    ort.quantize_static(
        source, target, Reader(), quant_format=ort.QuantFormat.QDQ, per_channel=True, reduce_range=True,
        activation_type=ort.QuantType.QUInt8, weight_type=ort.QuantType.QInt8)


def quantize_openvino(model: Any, inputs: torch.Tensor, batch_size: Optional[int] = None) -> Any:
    """NNCF: an OpenVINO model with FakeQuantize operators, which its CPU plugin runs in int8."""
    nncf = engine('nncf')
    minmax = engine('nncf.quantization.range_estimator').RangeEstimatorParametersSet.MINMAX
    # NNCF's defaults clip rare large activations and then correct biases for it: three times the error of neither
    parameters = nncf.AdvancedQuantizationParameters(
        activations_range_estimator_params=minmax, disable_bias_correction=True, overflow_fix=nncf.OverflowFix.ENABLE)
    batches = [x.numpy() for x in _batches(inputs, batch_size or 1)]
    with _without_bar(engine('nncf.common.tensor_statistics.aggregator')):
        return nncf.quantize(
            model, nncf.Dataset(batches), preset=nncf.QuantizationPreset.MIXED, subset_size=len(batches),
            advanced_parameters=parameters)


@contextmanager
def _without_bar(module: Any) -> Iterator[None]:
    """NNCF draws its progress on stdout."""
    bar = module.track
    module.track = lambda items, **_: items
    try:
        yield
    finally:
        module.track = bar
