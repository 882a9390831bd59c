"""`timm-res2net inspect`: what a checkpoint is, in lines and as JSON, with nothing built."""
import dataclasses
import json

import timm
import torch
from run_command import here

from timm_res2net import inspect_checkpoint, save_folder


def test_lines_and_json(tmp_path, monkeypatch):
    model = timm.create_model('test_res2net_custom', scale=2, num_classes=3)
    state, args = model.state_dict(), dict(model='test_res2net_custom', model_kwargs=dict(scale=2))
    torch.save(dict(state_dict=state, state_dict_ema=state, args=args), tmp_path / 'x.pth.tar')
    save_folder(timm.create_model('test_res2net_custom', num_classes=0, in_chans=1), tmp_path / 'folder')
    expected = dataclasses.asdict(inspect_checkpoint(tmp_path / 'x.pth.tar'))
    monkeypatch.setattr(timm, 'create_model', None)
    done = here('inspect', tmp_path / 'x.pth.tar')
    lines = dict(line.split(maxsplit=1) for line in done.stdout.splitlines() if line.split()[0] != 'weights')
    assert (done.returncode, done.stderr) == (0, '')
    assert (lines['variant'], lines['arguments']) == ('test_res2net_custom', 'scale=2, num_classes=3')
    assert lines['parameters'] == f'{expected["num_parameters"]:,}' and lines['classes'] == '3'
    assert 'weights of  state_dict_ema' in done.stdout
    assert json.loads(here('inspect', tmp_path / 'x.pth.tar', '--json').stdout) == expected
    assert 'weights of  state_dict\n' in here('inspect', tmp_path / 'x.pth.tar', '--no-ema').stdout
    folder = here('inspect', tmp_path / 'folder').stdout
    assert 'classes     none, a backbone alone' in folder and 'channels    1' in folder


def test_a_folder_of_train_py(tmp_path):
    model = timm.create_model('test_res2net_custom', act_layer='silu', num_classes=3)
    torch.save(dict(state_dict=model.state_dict(), arch='test_res2net_custom'), tmp_path / 'model_best.pth.tar')
    (tmp_path / 'args.yaml').write_text('model_kwargs: {act_layer: silu}\n')  # what no weight tells
    found = json.loads(here('inspect', tmp_path, '--json').stdout)
    assert found['model_args'] == {'act_layer': 'silu', 'num_classes': 3}
    (tmp_path / 'args.yaml').write_text('{')
    done = here('inspect', tmp_path)
    assert done.returncode == 2 and 'args.yaml: not readable as YAML' in done.stderr
