"""Models as they come from training and from other packages: exported and prepacked right, or refused by name."""
import threading
import warnings

import pytest
import torch
from deploying import SIZE, images, make, relative
from timm.utils import ModelEmaV3
from torch import nn
from torch.nn.utils import parametrizations, prune

from timm_res2net import deploy


def export(model, folder):
    return deploy.export(model, folder / 'm.pt2', 'torch', image_size=SIZE, images=images(4))


def by_hand(change):
    model = make()
    change(model)
    return model


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_what_is_prepacked_is_not_prepacked_again(dtype):
    """Its ReLUs are inside its convolutions, and were lost: other answers, and no error."""
    with pytest.raises(ValueError, match='is prepacked already: give the one that it was made of'):
        deploy.prepack(deploy.prepack(make(), dtype))


def test_what_is_prepacked_is_folded_and_exported(network, tmp_path):
    fast, x = deploy.prepack(network), images(3) / 127.5 - 1
    assert export(fast, tmp_path).error <= 1e-5
    with torch.inference_mode():
        assert relative(deploy.load(tmp_path / 'm.pt2')(x), network(x)) <= 1e-4
        assert relative(deploy.fold(fast)(x), network(x)) <= 1e-5


@pytest.mark.parametrize('compute', [
    pytest.param(lambda conv: prune.l1_unstructured(conv, 'weight', 0.5), id='pruned'),
    pytest.param(parametrizations.weight_norm, id='norm', marks=pytest.mark.slow)])
def test_weights_that_are_computed_are_not_folded(compute, tmp_path):
    model = by_hand(lambda m: compute(m.layer1[0].conv1))
    with torch.no_grad():
        model(torch.zeros(1, 3, SIZE, SIZE))
    for make_fast in (deploy.fold, deploy.prepack):
        with pytest.raises(ValueError, match=r'layer1\.0\.conv1\.weight is computed at each call .* make it permanent'):
            make_fast(model)
    assert export(model, tmp_path).error <= 1e-4


def test_a_model_that_cannot_be_copied_is_refused(tmp_path):
    model = by_hand(lambda m: setattr(m, 'lock', threading.Lock()))
    for call in (deploy.fold, deploy.prepack, lambda m: export(m, tmp_path)):
        with pytest.raises(TypeError, match=r'cannot be copied \(.*lock.*\): take away the attribute'):
            call(model)
    assert not list(tmp_path.iterdir())


class Head(nn.Module):
    """A network around the small one that does something with its outputs."""
    num_classes = 8

    def __init__(self, change):
        super().__init__()
        self.model, self.change = make(), change

    def forward(self, x):
        return self.change(self.model(x))


def two_lines(y):
    raise RuntimeError('of its\nown')


@pytest.mark.parametrize('change, error, match', [
    (lambda y: (y, y), TypeError, 'The model gives tuple, it must give one tensor of floats'),
    (lambda y: {'y': y}, TypeError, 'The model gives dict'),
    (lambda y: y.mean(), TypeError, r'The model gives torch.float32 of shape \(\)'),
    (lambda y: y > 0, TypeError, r'The model gives torch.bool of shape \(4, 8\)'),
    (two_lines, ValueError, 'The model itself fails for check images .*, RuntimeError: of its own$'),
], ids=['tuple', 'dict', 'number', 'bool', 'error'])
def test_outputs_that_no_file_has(change, error, match, tmp_path):
    with pytest.raises(error, match=match):
        export(Head(change).eval(), tmp_path)
    assert not list(tmp_path.iterdir())


def test_an_average_of_weights_is_told_where_the_model_is(tmp_path):
    average = ModelEmaV3(make()).eval()
    with pytest.raises(TypeError, match='ModelEmaV3 is no network .*: export its module'):
        export(average, tmp_path)


def test_a_network_without_parameters_is_refused(tmp_path):
    class Mean(nn.Module):
        num_classes = 0

        def forward(self, x):
            return x.mean((2, 3))
    with pytest.raises(TypeError, match='Mean is no network'):
        export(Mean().eval(), tmp_path)


def test_a_model_without_a_pretrained_cfg_is_exported(tmp_path):
    assert export(by_hand(lambda m: setattr(m, 'pretrained_cfg', None)), tmp_path).error <= 1e-4


def test_quantized_layers_are_no_weights_that_are_missing():
    """A state dictionary holds more than tensors then."""
    import torch.ao.quantization as quantization
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # that it is deprecated
        model = quantization.quantize_dynamic(make(), {nn.Linear}, torch.qint8)
    x = images(2) / 127.5 - 1
    with torch.inference_mode():
        assert relative(deploy.prepack(model)(x), model(x)) <= 1e-4
