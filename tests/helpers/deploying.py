"""What the tests of deployment share: a small network as after training, pictures, and what an export takes."""
import pytest
import timm
import torch
from torch import nn

from timm_res2net.deploy.exporting import PRECISIONS
from timm_res2net.deploy.writers import WRITERS

SIZE = 64
CASES = [(f, p) for f, writer in WRITERS.items() for p in PRECISIONS if f'precision={p!r}' not in writer.refuses]


def make(name='test_res2net_custom', **kwargs):
    """A small network whose norms have statistics as after training."""
    model = timm.create_model(name, **{'num_classes': 8, **kwargs})
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.2, 0.2)
            module.running_var.uniform_(0.5, 1.5)
            module.weight.data.uniform_(0.5, 1)
    return model.eval()


def relative(a, b):
    return ((a - b).abs().max() / b.abs().max()).item()


def images(count=24, size=SIZE, seed=0):
    """Smooth random pictures, more like photographs than noise is."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, 5, 5, generator=generator)
    return (nn.functional.interpolate(coarse, size=size, mode='bicubic').clamp(0, 1) * 255).byte()


def need(format, precision='fp32'):
    """Skip the test where the engine or the quantizer of a format is not installed, or there is none for this torch."""
    if (format, precision) not in CASES:
        pytest.skip(WRITERS[format].refuses[f'precision={precision!r}'])
    for package in [*WRITERS[format].engines, *([WRITERS[format].quantizer] if precision == 'int8' else [])]:
        pytest.importorskip(package)
