"""Class activation maps against the formula."""
import copy
import threading

import numpy as np
import pytest
import timm
import torch
from torch.nn.utils import prune

import timm_res2net
from timm_res2net.insight.activation_maps import METHODS, class_activation_maps, heat_inside
from timm_res2net.model.blocks import Res2NetBottleneck
from timm_res2net.model.fold import fold

pytest.importorskip('pytorch_grad_cam')


@pytest.fixture
def model():
    torch.manual_seed(0)
    return timm.create_model('test_res2net_custom', num_classes=5).eval()


def test_gradcam_is_the_class_activation_map_of_a_pooled_classifier(model):
    """Behind average pooling and one linear layer, Grad-CAM is the classifier's weighted sum of maps, cut at 0."""
    images = torch.randn(3, 3, 128, 128)
    classes = [4, 0, 2]
    heat = class_activation_maps(model, images, classes)
    with torch.no_grad():
        maps = model.forward_features(images)
        expected = torch.einsum('bchw,bc->bhw', maps, model.fc.weight[classes]).relu()
    assert heat.shape == (3, 128, 128) and heat.min() >= 0 and heat.max() <= 1
    small = heat[:, ::32, ::32]  # cells are centred on these pixels
    for a, b in zip(small, expected, strict=True):
        assert np.corrcoef(a.flatten(), b.flatten())[0, 1] > 0.95


class Patches(torch.nn.Module):
    """Cells of 16 pixels that do not overlap, as in vision transformers: centred between pixels."""
    num_classes = 2

    def __init__(self):
        super().__init__()
        self.patch = torch.nn.Conv2d(3, 8, 16, 16)
        self.fc = torch.nn.Linear(8, 2)

    def forward(self, x):
        return self.fc(self.patch(x).mean((2, 3)))


@pytest.mark.parametrize('name, layer', [
    ('res2net50_26w_4s_custom', 'layer3'), ('res2net50d_custom', 'layer3'), ('resnet50', 'layer3'), (None, 'patch')])
def test_heat_lies_where_the_light_is(name, layer):
    """One bright square, weights that only blur: the middle of the heat is the middle of the square."""
    model = timm.create_model(name, num_classes=2).eval() if name else Patches()
    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.constant_(module.weight, 1 / module.weight[0].numel())
    torch.nn.init.ones_(model.fc.weight)
    images = torch.zeros(1, 3, 256, 256)
    images[:, :, 96:161, 128:193] = 1  # the middle is (128, 160)
    heat = class_activation_maps(model, images, [1], layer)[0]
    y, x = torch.meshgrid(torch.arange(256), torch.arange(256), indexing='ij')
    assert (heat * y).sum() / heat.sum() == pytest.approx(128, abs=4)
    assert (heat * x).sum() / heat.sum() == pytest.approx(160, abs=4)


def test_the_models_own_answer_is_the_default(model):
    images = torch.randn(2, 3, 96, 96)
    with torch.no_grad():
        answers = model(images).argmax(1).tolist()
    expected = class_activation_maps(model, images, answers)
    for given in (None, torch.tensor(answers), [torch.tensor(a) for a in answers], np.array(answers)):
        assert torch.equal(class_activation_maps(model, images, given), expected)


@pytest.mark.parametrize('method', METHODS)
def test_every_method_maps_any_layer_and_leaves_the_model_alone(method, model):
    """In the middle of a training: with gradients, some parts frozen."""
    model.train()
    model.layer1.eval()
    model.conv1.requires_grad_(False)
    model(torch.randn(2, 3, 64, 64)).sum().backward()

    def modes():
        return [(m.training, len(m._forward_hooks)) for m in model.modules()]

    before, weights, own_modes = copy.deepcopy(model), list(model.parameters()), modes()
    grads = [p.grad for p in weights]
    copies = [None if g is None else g.clone() for g in grads]
    heat = class_activation_maps(model, torch.randn(1, 3, 64, 64), [1], 'layer2', method)
    assert heat.shape == (1, 64, 64)
    assert modes() == own_modes and not model.layer1.training and model.layer2.training
    assert all(torch.equal(v, before.state_dict()[k]) for k, v in model.state_dict().items())
    for weight, old, grad, values in zip(weights, before.parameters(), grads, copies, strict=True):
        assert weight.requires_grad == old.requires_grad and weight.grad is grad
        assert grad is None or torch.equal(grad, values)
    assert any(g is not None for g in grads) and model.conv1[0].weight.grad is None


@pytest.mark.parametrize('way', [
    'folded', 'frozen', 'no_grad', 'inference_mode', 'made in inference_mode', 'compiled', 'compile()', 'pruned'])
def test_a_model_for_inference_is_mapped_too(way, model):
    images = torch.randn(1, 3, 64, 64)
    expected = class_activation_maps(model, images, [1])
    given = model
    if way == 'folded':
        given = fold(model)
    elif way == 'frozen':
        given = copy.deepcopy(model).requires_grad_(False)
    elif way == 'made in inference_mode':
        with torch.inference_mode():
            given = copy.deepcopy(model)
    elif way == 'pruned':
        given = copy.deepcopy(model)
        prune.identity(given.layer1[0].conv1, 'weight')
        given.kept = [given(images)], threading.Lock()  # neither can be copied
    elif way == 'compile()':
        given = copy.deepcopy(model)
        given.compile()
    elif way == 'compiled':
        given = torch.compile(model)
    with torch.no_grad() if way == 'no_grad' else torch.inference_mode(way == 'inference_mode'):
        found = class_activation_maps(given, images, [1])
        field = timm_res2net.effective_receptive_field(model, images)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)
    assert not field.isnan().any() and field.sum() == pytest.approx(1)


@pytest.mark.parametrize('layer', ['bn1', 'layer2.0.bn1', 'layer2.0.bns.0', 'layer3.0.bn3', 'layer3.0.act3'])
def test_a_layers_map_is_what_leaves_it_whatever_is_done_in_place_behind(layer):
    """An activation, or the shortcut's addition."""
    torch.manual_seed(0)
    model = timm.create_model('test_res2net_custom', num_classes=5, zero_init_last=False).eval()
    images = torch.randn(1, 3, 64, 64)
    pure = copy.deepcopy(model)
    for module in pure.modules():
        if hasattr(module, 'inplace'):
            module.inplace = False
        if isinstance(module, Res2NetBottleneck):
            module.bn3 = torch.nn.Sequential(module.bn3, Doubled())  # a map of its own for the addition
    name = f'{layer}.0' if layer.endswith('bn3') else layer
    folded = fold(model), layer.replace('bns', 'convs').replace('bn', 'conv')
    for network, place in ((model, layer), folded):
        assert place in dict(network.named_modules())
        torch.testing.assert_close(
            timm_res2net.effective_receptive_field(network, images, place),
            timm_res2net.effective_receptive_field(pure, images, name), rtol=1e-3, atol=1e-6)
        torch.testing.assert_close(
            class_activation_maps(network, images, [1], place), class_activation_maps(pure, images, [1], name),
            rtol=1e-3, atol=1e-3)


class Doubled(torch.nn.Module):
    def forward(self, x):
        return x * 1


@pytest.mark.parametrize('kwargs, match', [
    (dict(layer='layer9'), 'layer9'),
    (dict(layer='fc'), "layer='fc' returns no map"),
    (dict(method='magic'), 'magic'),
    (dict(classes=[5]), '0 to 4'),
    (dict(classes=[1.5]), r'classes=\[1.5\] must be'),
    (dict(classes=[1, 2]), 'one per'),
])
def test_what_is_wrong_is_named(kwargs, match, model):
    with pytest.raises(ValueError, match=match):
        class_activation_maps(model, torch.randn(1, 3, 64, 64), **kwargs)


@pytest.mark.parametrize('images, said', [
    (np.zeros((1, 3, 64, 64)), 'of type ndarray'), (torch.zeros(3, 64, 64), r'\(3, 64, 64\) of torch.float32'),
    (torch.zeros(1, 3, 64, 64, dtype=torch.uint8), r'\(1, 3, 64, 64\) of torch.uint8')])
def test_images_of_another_kind_are_named(images, said, model):
    for look in (class_activation_maps, timm_res2net.effective_receptive_field):
        with pytest.raises(TypeError, match=f'images are {said}, they must be a tensor'):
            look(model, images)


def test_heat_inside_a_box():
    heat = torch.zeros(10, 20)
    heat[2:4, 10:15] = 1
    heat[9, 0] = 10
    assert heat_inside(heat, (0.5, 0, 1, 0.5)) == (pytest.approx(0.5), 0.25)
    assert heat_inside(heat * 0, (0.5, 0, 1, 0.5)) == (0, 0.25)
    with pytest.raises(ValueError, match='box'):
        heat_inside(heat, (0.5, 0, 0.4, 1))
