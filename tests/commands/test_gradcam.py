"""`timm-res2net gradcam`."""
import json

import pytest
import timm
import torch
from PIL import Image
from run_command import BOTH_WAYS, here

import timm_res2net
from timm_res2net.commands import gradcam
from timm_res2net.commands.gradcam import find_class
from timm_res2net.insight.activation_maps import METHODS

pytest.importorskip('pytorch_grad_cam')
pytest.importorskip('matplotlib')


@pytest.fixture(scope='module')
def model():
    torch.manual_seed(0)
    return timm.create_model('test_res2net_custom', num_classes=5).eval()


def run(*args, cwd):
    return here('gradcam', *args, cwd=cwd)


@BOTH_WAYS
def test_it_draws(run, model, tmp_path):
    for name in ('a', 'b'):
        timm_res2net.save_folder(model, tmp_path / name)
    Image.new('RGB', (70, 50), 'red').save(tmp_path / 'red.png')
    (tmp_path / 'broken.png').write_bytes(b'no image')
    models = ['--models', 'local-dir:a', 'local-dir:b']
    done = run('gradcam', 'red.png', 'broken.png', *models, '--class', '3', '--output', 'out.png', cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    assert done.stdout.count('red.png') == 2 and 'class 3' in done.stdout and 'broken.png' in done.stderr
    with Image.open(tmp_path / 'out.png') as picture:
        assert picture.width > 2 * picture.height  # image, map, map
    for args, match in (
            (['red.png', *models, '--layer', 'nowhere'], 'nowhere'), (['red.png', *models, '--class', 'cow'], 'cow'),
            (['red.png', '--models', 'no_such_model'], 'no_such_model'), (['broken.png', *models], 'broken.png')):
        done = here('gradcam', *args, '--output', 'other.png', cwd=tmp_path)
        assert done.returncode == 2 and match in done.stderr and 'Traceback' not in done.stderr
        assert not (tmp_path / 'other.png').exists()


def test_json_and_models_of_grey_pictures(tmp_path):
    grey = timm.create_model('test_res2net_custom', num_classes=4, in_chans=1)
    timm_res2net.save_folder(grey, tmp_path / 'grey', label_names=['a', 'b', 'c', 'd'])
    Image.new('RGB', (70, 50), 'red').save(tmp_path / 'red.png')
    done = run('red.png', 'nowhere.png', '--models', 'local-dir:grey', '--class', 'c', '--json', cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    answer = json.loads(done.stdout)
    (result,) = answer['results']
    assert [(a['class'], a['index']) for a in result['answers']] == [('c', 2)]
    assert [f['image'] for f in answer['failures']] == ['nowhere.png'] and 'nowhere.png' in done.stderr
    assert (tmp_path / answer['output']).is_file()


@pytest.mark.parametrize('args, words', [
    (['--output', 'picture'], '--output picture must end in'),
    (['--output', 'nowhere/a.png'], 'nowhere is not there'),
    (['--output', 'folder.png'], 'is a folder'),
    (['--image-size', '0'], '--image-size 0'),
    (['--class', '100'], '0 to 99'),
    (['--layer', 'nowhere'], '--layer'),
    (['--models', 'test_res2net_custom', 'no_such_model'], 'no_such_model'),
])
def test_refused_before_anything_is_drawn(args, words, tmp_path):
    Image.new('RGB', (70, 50), 'red').save(tmp_path / 'red.png')
    (tmp_path / 'folder.png').mkdir()
    done = run('red.png', *args, cwd=tmp_path)
    assert done.returncode == 2 and words in done.stderr.splitlines()[-1] and not done.stdout
    assert {p.name for p in tmp_path.iterdir()} == {'red.png', 'folder.png'}


def test_the_methods_are_those_of_insight():
    assert tuple(METHODS) == gradcam.METHODS


def test_a_class_that_is_named_as_a_number():
    for names, text, number in (
            (['1', '2', '3'], '1', 0), (['a', 'b', 'c'], '1', 1), (['4', '5', '0'], '0', 2), (['4', '5', '6'], '2', 2)):
        assert find_class(text, names) == number
    with pytest.raises(ValueError, match='--class 7 is not a class'):
        find_class('7', ['1', '2', '3'])
