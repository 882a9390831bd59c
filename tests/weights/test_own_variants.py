"""A variant of one's own: loaded by its name here, built again from a folder where nobody registered it."""
import json
import subprocess
import sys

import pytest
import timm
import torch

from timm_res2net import (
    Res2Net,
    Res2NetCifar,
    Res2NetDla,
    Variant,
    load_checkpoint,
    register_variant,
    save_as_timm,
    save_folder,
    timm_architecture,
)
from timm_res2net.model.variants import VARIANTS

OWN = {
    'own_res2net': Variant(
        Res2Net, dict(layers=(1, 1, 2, 1), channels=(16, 24, 32, 48), scale=3, base_width=32, stem_type='deep',
                      stem_width=8, act_layer=torch.nn.SiLU, drop_path_rate=0.1, stride_position='conv1'),
        'Mine', dict(input_size=(3, 64, 64), crop_pct=0.5)),
    'own_form': Variant(
        Res2Net, dict(layers=(1, 1, 1, 1), channels=(16, 24, 32, 48), base_width=32, stride_position='conv1',
                      first_block='parallel'), 'Mine, in the form of Res2Net-maskrcnn'),
    'own_depth': Variant(Res2Net, dict(depth=26, channels=(16, 24, 32, 48), base_width=32), 'Mine, by its depth'),
    'own_cifar': Variant(
        Res2NetCifar, dict(layers=(1, 1, 1), channels=(16, 24, 32), scale=2, base_width=64, stem_width=16), 'Mine'),
    'own_dla': Variant(
        Res2NetDla, dict(levels=(1, 1, 1, 1, 1, 1), channels=(8, 16, 32, 32, 64, 64), scale=2, base_width=32), 'Mine'),
}
BASES = {'own_res2net': 'res2net_custom', 'own_form': 'res2net_custom', 'own_depth': 'res2net_custom',
         'own_cifar': 'res2net23_32w_4s_cifar_custom', 'own_dla': 'dla60_res2net_custom'}


@pytest.fixture(scope='module', autouse=True)
def registered():
    for name, variant in OWN.items():
        register_variant(name, variant)
    yield
    for name in OWN:
        del VARIANTS[name]


def test_folders_are_for_everybody(tmp_path):
    models = {name: timm.create_model(name, num_classes=3).eval() for name in OWN}
    x = torch.rand(1, 3, 64, 64)
    for name, model in models.items():
        config = json.loads((save_folder(model, tmp_path / name) / 'config.json').read_text())
        assert config['architecture'] == BASES[name]
        torch.save(model(x), tmp_path / name / 'y.pt')
    torch.save(x, tmp_path / 'x.pt')
    code = '''
import sys, timm, timm_res2net, torch
folder, names = sys.argv[1], sys.argv[2:]
for name in names:
    assert not timm.is_model(name)
    for model in (timm.create_model(f'local-dir:{folder}/{name}', pretrained=True),
                  timm_res2net.load_checkpoint(f'{folder}/{name}')):
        y = torch.load(f'{folder}/{name}/y.pt')
        assert torch.equal(model.eval()(torch.load(f'{folder}/x.pt')), y), name
        if name == 'own_res2net':
            assert model.layer1[0].drop_path is not None or model.layer4[0].drop_path.drop_prob == 0.1
            assert tuple(model.pretrained_cfg['input_size']) == (3, 64, 64) and model.pretrained_cfg['crop_pct'] == 0.5
'''
    done = subprocess.run([sys.executable, '-c', code, str(tmp_path), *OWN], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_arguments_of_the_caller_travel_too(tmp_path):
    model = timm.create_model('own_res2net', scale=2, layers=(1, 1, 1, 1), in_chans=1, num_classes=0).eval()
    again = load_checkpoint(save_folder(model, tmp_path / 'out')).eval()
    x = torch.rand(1, 1, 64, 64)
    assert torch.equal(again(x), model(x)) and again.model_args['scale'] == 2


@pytest.mark.parametrize('name', OWN)
def test_checkpoints_are_recognised_by_their_name(name, tmp_path):
    model = timm.create_model(name, num_classes=3)
    torch.save(dict(state_dict=model.state_dict(), arch=name), tmp_path / 'x.pth.tar')
    torch.save(model.state_dict(), tmp_path / 'bare.pth')
    again = load_checkpoint(tmp_path / 'x.pth.tar')
    assert again.checkpoint_info.architecture == name and again.checkpoint_info.model_args == {'num_classes': 3}
    assert load_checkpoint(tmp_path / 'bare.pth', variant=name).checkpoint_info.architecture == name


def test_timm_has_none_of_them(tmp_path):
    assert timm_architecture(timm.create_model('own_res2net')) is None
    with pytest.raises(ValueError, match='timm has no architecture like this own_res2net'):
        save_as_timm(timm.create_model('own_res2net'), tmp_path / 'out')


def test_a_class_of_ones_own_cannot_be_saved_for_others(tmp_path):
    class Mine(Res2Net):
        def __init__(self, layers, num_classes=3, in_chans=3):  # and no device, which timm can do without
            super().__init__(layers=layers, channels=(16, 24, 32, 48), num_classes=num_classes, in_chans=in_chans)

    register_variant('own_class', Variant(Mine, dict(layers=(1, 1, 1, 1)), 'Mine'))
    try:
        with pytest.raises(TypeError, match='own_class is a Mine, which is no class of timm_res2net.*Res2NetCifar'):
            save_folder(timm.create_model('own_class'), tmp_path / 'out')
        assert not list(tmp_path.iterdir())
    finally:
        del VARIANTS['own_class']
