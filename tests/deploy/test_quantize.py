"""int8 on trained weights and photographs, on CPUs with instructions for int8 and without."""
import subprocess
import sys

import numpy as np
import pytest
import timm
import torch
from deploying import need
from torch import nn

from timm_res2net import deploy
from timm_res2net.deploy.workers import environment
from timm_res2net.deploy.writers import WRITERS

EXPORT = '''
import sys, timm, timm_res2net
from timm_res2net import deploy
model = timm.create_model('res2net23_32w_4s_cifar_custom', pretrained=True).eval()
report = deploy.export(model, sys.argv[1], sys.argv[2], 'int8')
print(report.error, report.noise, report.top1_agreement)
'''


@pytest.fixture(scope='module')
def on_a_lesser_cpu(tmp_path_factory):
    """format -> the shipped network's int8 file, made without instructions for int8; its error, noise and agreement."""
    folder, found = tmp_path_factory.mktemp('int8'), {}

    def make(format):
        need(format, 'int8')
        if format not in found:
            path = folder / f'{format}{deploy.FORMATS[format]}'
            made = subprocess.run(
                [sys.executable, '-c', EXPORT, str(path), format], env=environment(ONEDNN_MAX_CPU_ISA='AVX2'),
                capture_output=True, text=True)
            assert made.returncode == 0, made.stderr
            found[format] = path, *map(float, made.stdout.split())
        return found[format]
    return make


@pytest.mark.slow
@pytest.mark.parametrize('format', deploy.FORMATS)
def test_a_cpu_without_vnni_gives_the_same_classes(format, on_a_lesser_cpu):
    """Weights of 8 bits overflow there: an error of 1.1 of the largest output, and half of the classes are others."""
    _, error, noise, agreement = on_a_lesser_cpu(format)
    assert error < 0.15 and noise < 0.15 and agreement >= 0.8  # of 25 pictures


@pytest.mark.slow
@pytest.mark.parametrize('format', deploy.FORMATS)
def test_weights_are_stored_once_and_as_int8(format, on_a_lesser_cpu):
    """Twice, or as float32, they would take more; what else is in a file takes less than once more."""
    path, *_ = on_a_lesser_cpu(format)
    model = timm.create_model('res2net23_32w_4s_cifar_custom')
    weights = sum(m.weight.numel() for m in model.modules() if isinstance(m, (nn.Conv2d, nn.Linear)))
    assert weights < sum(file.stat().st_size for file in WRITERS[format].files(path)) < 2 * weights


def quantized_weights(format, path):
    """The weights of a file as integers of -128 to 127."""
    match format:
        case 'torch':
            state = torch.export.load(path).state_dict
            return [w.numpy() for w in state.values() if w.dtype == torch.int8]
        case 'onnx':
            import onnx
            found = [onnx.numpy_helper.to_array(t) for t in onnx.load(path).graph.initializer]
            return [w for w in found if w.dtype == np.int8 and w.ndim > 1]
        case 'openvino':
            import openvino
            operators = openvino.Core().read_model(path).get_ops()
            return [op.data for op in operators if op.get_type_name() == 'Constant' and str(
                op.get_element_type()) == "<Type: 'int8_t'>"]


@pytest.mark.parametrize('format', [
    'onnx', pytest.param('torch', marks=pytest.mark.slow), pytest.param('openvino', marks=pytest.mark.slow)])
def test_two_products_of_a_weight_fit_16_bits(format, tmp_path):
    need(format, 'int8')
    model = timm.create_model('res2net23_32w_4s_cifar_custom', pretrained=True).eval()
    path = tmp_path / f'model{deploy.FORMATS[format]}'
    deploy.export(model, path, format, 'int8', calibration=8)
    weights = quantized_weights(format, path)
    assert len(weights) == 40  # 39 convolutions and the classifier
    assert all(2 * 255 * int(np.abs(w.astype(int)).max()) < 2 ** 15 for w in weights)
