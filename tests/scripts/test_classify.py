"""scripts/classify.py, run as a person would."""
import json
import subprocess
import sys
from pathlib import Path

import pytest
import timm
import torch
from PIL import Image

import timm_res2net

SCRIPT = Path(__file__).resolve().parents[2] / 'scripts' / 'classify.py'


def classify(*args, **kwargs):
    return subprocess.run([sys.executable, str(SCRIPT), *map(str, args)], capture_output=True, text=True, **kwargs)


@pytest.fixture(scope='module')
def stubborn(tmp_path_factory):
    """A model that answers class 2 for everything: its classifier has weights 0 and a bias."""
    model = timm.create_model('test_res2net_custom', num_classes=4)
    torch.nn.init.zeros_(model.fc.weight)
    model.fc.bias.data = torch.tensor([0., 1., 3., 2.])
    folder = tmp_path_factory.mktemp('model') / 'out'
    timm_res2net.save_folder(model, folder)
    return folder


def test_files_folders_and_faults(stubborn, tmp_path):
    Image.new('RGB', (50, 40), 'red').save(tmp_path / 'a.png')
    (tmp_path / 'sub').mkdir()
    Image.new('L', (30, 30)).save(tmp_path / 'sub' / 'b.jpg')
    (tmp_path / 'broken.png').write_bytes((tmp_path / 'a.png').read_bytes()[:60])
    done = classify(tmp_path, tmp_path / 'missing.png', '--model', f'local-dir:{stubborn}', '--json', '--topk', 3)
    assert done.returncode == 1, done.stderr
    answer = json.loads(done.stdout)
    assert [Path(r['image']).name for r in answer['results']] == ['a.png', 'b.jpg']
    expected = torch.tensor([0., 1., 3., 2.]).softmax(0)
    for result in answer['results']:
        assert [p['index'] for p in result['predictions']] == [2, 3, 1]
        for p in result['predictions']:
            assert p['probability'] == pytest.approx(expected[p['index']].item(), abs=1e-6)
    assert {Path(f['image']).name for f in answer['failures']} == {'broken.png', 'missing.png'}
    assert 'missing.png' in done.stderr and 'broken.png' in done.stderr


def test_bundled_photographs_and_checkpoint_file(stubborn):
    done = classify('--model', stubborn / 'model.safetensors')
    assert done.returncode == 0, done.stderr
    assert 'astronaut' in done.stdout and done.stdout.count('class 2') == 5


def test_a_folder_arguments_and_grey_images(tmp_path):
    model = timm.create_model('test_res2net_custom', num_classes=4, in_chans=1)
    timm_res2net.save_folder(model, tmp_path / 'grey', label_names=['a', 'b', 'c', 'd'])
    Image.new('RGB', (50, 40), 'red').save(tmp_path / 'red.png')
    done = classify(tmp_path / 'red.png', '--model', tmp_path / 'grey', '--json')
    assert done.returncode == 0, done.stderr
    (result,) = json.loads(done.stdout)['results']
    assert {p['class'] for p in result['predictions']} == set('abcd')
    timm_res2net.save_folder(timm.create_model('test_res2net_custom', in_chans=4), tmp_path / 'four')
    done = classify(tmp_path / 'red.png', '--model', tmp_path / 'four')
    assert done.returncode == 2 and '4 channels' in done.stderr and 'Traceback' not in done.stderr
    done = classify(tmp_path / 'red.png', '--model', tmp_path / 'mistyped.pth')
    assert done.returncode == 2 and 'no such file' in done.stderr


def test_a_file_takes_arguments(stubborn, monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    from classify import load_model
    model = load_model(str(stubborn / 'model.safetensors'), act_layer='silu')
    assert isinstance(model.layer1[0].act3, torch.nn.SiLU) and not model.training


def test_nothing_to_do(stubborn, tmp_path):
    assert classify(tmp_path, '--model', f'local-dir:{stubborn}').returncode == 2
    done = classify('--model', 'no_such_model')
    assert done.returncode == 2 and 'no_such_model' in done.stderr and 'Traceback' not in done.stderr
