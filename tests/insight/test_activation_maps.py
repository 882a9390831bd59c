"""Class activation maps against the formula, and scripts/gradcam.py as a person would run it."""
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image

import timm_res2net
from timm_res2net.insight.activation_maps import METHODS, class_activation_maps, heat_inside

pytest.importorskip('pytorch_grad_cam')
SCRIPT = Path(__file__).resolve().parents[2] / 'scripts' / 'gradcam.py'


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


def run(*args, cwd):
    return subprocess.run([sys.executable, str(SCRIPT), *map(str, args)], cwd=cwd, capture_output=True, text=True)


@pytest.mark.slow
def test_the_script(model, tmp_path):
    pytest.importorskip('matplotlib')
    for name in ('a', 'b'):
        timm_res2net.save_folder(model, tmp_path / name)
    Image.new('RGB', (70, 50), 'red').save(tmp_path / 'red.png')
    (tmp_path / 'broken.png').write_bytes(b'no image')
    models = ['--models', 'local-dir:a', 'local-dir:b']
    done = run('red.png', 'broken.png', *models, '--class', '3', '--output', 'out.png', cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    assert done.stdout.count('red.png') == 2 and 'class 3' in done.stdout and 'broken.png' in done.stderr
    with Image.open(tmp_path / 'out.png') as picture:
        assert picture.width > 2 * picture.height  # image, map, map
    for args, match in (
            (['red.png', *models, '--layer', 'nowhere'], 'nowhere'), (['red.png', *models, '--class', 'cow'], 'cow'),
            (['red.png', '--models', 'no_such_model'], 'no_such_model'), (['broken.png', *models], 'broken.png')):
        done = run(*args, '--output', 'other.png', cwd=tmp_path)
        assert done.returncode == 2 and match in done.stderr and 'Traceback' not in done.stderr
        assert not (tmp_path / 'other.png').exists()
