"""Class activation maps against the formula."""
import numpy as np
import pytest
import timm
import torch

import timm_res2net  # noqa: F401  registers the variants
from timm_res2net.insight.activation_maps import METHODS, class_activation_maps, heat_inside

pytest.importorskip('pytorch_grad_cam')


@pytest.fixture(scope='module')
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
    assert torch.equal(class_activation_maps(model, images), class_activation_maps(model, images, answers))


@pytest.mark.parametrize('method', METHODS)
def test_every_method_maps_any_layer_and_leaves_the_model_alone(method, model):
    before = {k: v.clone() for k, v in model.state_dict().items()}
    model.train()
    try:
        heat = class_activation_maps(model, torch.randn(1, 3, 64, 64), [1], 'layer2', method)
        assert model.training
    finally:
        model.eval()
    assert heat.shape == (1, 64, 64)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert not any(m._forward_hooks for m in model.modules())


@pytest.mark.parametrize('kwargs, match', [
    (dict(layer='layer9'), 'layer9'),
    (dict(layer='fc'), 'no map'),
    (dict(method='magic'), 'magic'),
    (dict(classes=[5]), '0 to 4'),
    (dict(classes=[1, 2]), 'one per'),
])
def test_what_is_wrong_is_named(kwargs, match, model):
    with pytest.raises(ValueError, match=match):
        class_activation_maps(model, torch.randn(1, 3, 64, 64), **kwargs)


def test_heat_inside_a_box():
    heat = torch.zeros(10, 20)
    heat[2:4, 10:15] = 1
    heat[9, 0] = 10
    assert heat_inside(heat, (0.5, 0, 1, 0.5)) == (pytest.approx(0.5), 0.25)
    assert heat_inside(heat * 0, (0.5, 0, 1, 0.5)) == (0, 0.25)
    with pytest.raises(ValueError, match='box'):
        heat_inside(heat, (0.5, 0, 0.4, 1))
