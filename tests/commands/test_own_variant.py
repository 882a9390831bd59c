"""A variant of one's own works in every command that takes a model, through --import."""
import json
import sys
from functools import partial

import pytest
import timm
import torch
from PIL import Image
from run_command import here

from timm_res2net.model.variants import VARIANTS

MODULE = '''
from timm_res2net import Res2Net, Variant, register_variant
register_variant('commands_mine', Variant(
    Res2Net, dict(layers=(1, 1, 1, 1), channels=(16, 24, 32, 48), scale=2, base_width=32, act_layer='silu'), 'Mine',
    dict(input_size=(3, 64, 64))))
'''


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """Run a command in a folder with the module, a training's checkpoint of it and an image."""
    monkeypatch.setattr(sys, 'path', list(sys.path))
    (tmp_path / 'variant_of_the_test.py').write_text(MODULE)
    for label in 'abc':
        (tmp_path / 'data/test' / label).mkdir(parents=True)
        Image.effect_noise((64, 64), 50).convert('RGB').save(tmp_path / 'data/test' / label / 'image.png')
    assert here('list', '--import', 'variant_of_the_test', cwd=tmp_path).returncode == 0
    model = timm.create_model('commands_mine', num_classes=3)
    args = dict(model='commands_mine', data_dir=str(tmp_path / 'data'), train_split='test', num_classes=3)
    torch.save(dict(state_dict=model.state_dict(), arch='commands_mine', args=args), tmp_path / 'mine.pth.tar')
    yield partial(_run, tmp_path)
    VARIANTS.pop('commands_mine')
    del sys.modules['variant_of_the_test']


def _run(folder, *args):
    done = here(*args, '--import', 'variant_of_the_test', cwd=folder)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_commands_that_look(mine):
    assert json.loads(mine('list', 'commands_mine', '--json'))[0]['words'] == 'Mine'
    assert json.loads(mine('inspect', 'mine.pth.tar', '--json'))['architecture'] == 'commands_mine'
    answer = json.loads(mine('classify', 'data', '--model', 'mine.pth.tar', '--json'))
    assert len(answer['results']) == 3 and len(answer['results'][0]['predictions']) == 3
    assert json.loads(mine('evaluate', 'data', '--model', 'mine.pth.tar', '--workers', '0', '--json'))['images'] == 3
    assert 'commands_mine' in mine('receptive-field', 'commands_mine')


def test_commands_that_write(mine, tmp_path):
    mine('convert', 'mine.pth.tar', 'out', '--check')
    mine('push', 'mine.pth.tar', 'USER/NAME', '--dry-run', 'dry')
    for folder in ('out', 'dry'):
        config = json.loads((tmp_path / folder / 'config.json').read_text())
        assert config['architecture'] == 'res2net_custom' and config['model_args']['act_layer'] == 'silu'
        assert config['label_names'] == ['a', 'b', 'c'] and config['pretrained_cfg']['input_size'] == [3, 64, 64]
    mine('export', 'out', 'out.pt2', '--format', 'torch', '--images', 'data', '--json')
    assert (tmp_path / 'out.pt2').is_file()
