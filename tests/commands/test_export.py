"""`timm-res2net export`."""
import json
import os

import pytest
import timm
import torch
import torch._inductor.config
from PIL import Image
from run_command import BOTH_WAYS, command, here
from training_checkpoint import trained

import timm_res2net
from timm_res2net import deploy
from timm_res2net.commands import export as module


def export(*args, cwd):
    return here('export', *args, cwd=cwd)


@pytest.fixture
def folder(tmp_path):
    """With a folder of pictures and a model of four classes."""
    (tmp_path / 'images').mkdir()
    for i in range(3):
        Image.effect_noise((80, 70), 40 + 20 * i).convert('RGB').save(tmp_path / f'images/{i}.png')
    torch.manual_seed(0)
    timm_res2net.save_folder(timm.create_model('test_res2net_custom', num_classes=4), tmp_path / 'model')
    return tmp_path


@BOTH_WAYS
def test_it_writes_what_loads(run, tmp_path):
    pytest.importorskip('skimage')
    done = run(
        'export', 'test_res2net_custom', '--no-pretrained', 'out/model.pt2', '--format', 'torch', '--image-size', '64',
        '--model-kwargs', 'num_classes=4', cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert 'torch fp32' in done.stdout and '25 images' in done.stdout and done.stderr == ''
    assert deploy.load(tmp_path / 'out/model.pt2').metadata['num_classes'] == 4
    for args in (['model.txt'], ['out/model.pt2', '--format', 'torch'], ['a.pt2', '--images', 'nowhere']):
        done = export('test_res2net_custom', '--no-pretrained', *args, cwd=tmp_path)
        assert done.returncode == 2 and 'Traceback' not in done.stderr and 'error' in done.stderr


def test_json_class_names_and_unreadable_images(folder):
    (folder / 'names.txt').write_text('a\nb\nc\nd\n')
    (folder / 'images/1.png').write_bytes(b'no picture')
    done = export(
        'local-dir:model', 'm.pt2', '--format', 'torch', '--image-size', 64, '--images', 'images', '--class-names',
        'names.txt', '--json', cwd=folder)
    assert done.returncode == 1 and '1.png cannot be read' in done.stderr, done.stderr
    report = json.loads(done.stdout)
    assert (report['format'], report['images'], report['path']) == ('torch', 2, 'm.pt2') and report['error'] < 1e-4
    assert deploy.load(folder / 'm.pt2').labels == list('abcd')
    done = here('classify', 'images/0.png', '--model', 'm.pt2', '--topk', 1, cwd=folder)
    assert done.returncode == 0 and done.stdout.split()[-1] in 'abcd'


def test_random_weights_are_said(folder):
    done = export('test_res2net_custom', 'm.pt2', '--format', 'torch', '--image-size', 64, '--images', 'images',
                  cwd=folder)
    assert done.returncode == 0 and done.stderr.count('test_res2net_custom has no trained weights') == 1


@pytest.mark.parametrize('args, words', [
    (['a.txt'], 'the suffix must be one of .pt2, .onnx, .xml'),
    (['a.pt2', '--format', 'onnx'], 'the suffix must be .onnx for --format onnx'),
    (['a.onnx', '--precision', 'bf16'], "--precision 'bf16': ONNX Runtime has no"),
    (['a.pt2', '--dynamic-size'], '--dynamic-size'),
    (['a.xml', '--batch-size', '0'], '--batch-size 0'),
    (['a.xml', '--image-size', '0'], '--image-size 0'),
    (['a.xml', '--calibration', '0'], '--calibration 0'),
    (['there.xml'], 'add --overwrite'),
    (['folder.xml', '--overwrite'], 'is a folder'),
    (['there.xml/a.xml'], 'there.xml'),
    (['a.xml', '--images', 'nowhere'], "--images 'nowhere' is not a folder"),
    (['a.xml', '--images', 'folder.xml'], 'holds no image files'),
])
def test_refused_before_the_model_is_loaded(args, words, tmp_path):
    pytest.importorskip('openvino')
    (tmp_path / 'there.xml').touch()
    (tmp_path / 'folder.xml').mkdir()
    done = export('no_such_model', *args, cwd=tmp_path)
    assert done.returncode == 2 and words in done.stderr and done.stderr.count('\n') == 1 and not done.stdout
    assert '=' not in done.stderr and 'no_such_model' not in done.stderr


def test_refused_models_and_names(folder):
    (folder / 'names.txt').write_text('a\nb\n')
    (folder / 'x.onnx').touch()
    options = ('--format', 'torch', '--images', 'images')
    for args, words in (
            (['no_such_model', 'a.pt2'], 'no_such_model'), (['x.onnx', 'a.pt2'], 'is an exported file'),
            (['local-dir:model', 'a.pt2', '--class-names', 'names.txt'], '2 names, the model has 4 classes'),
            (['test_res2net_custom', 'a.pt2', '--no-pretrained', '--model-kwargs', 'sale=4'], 'sale')):
        done = export(*args, *options, cwd=folder)
        assert done.returncode == 2 and words in done.stderr and not done.stdout
    assert not (folder / 'a.pt2').exists()


def test_a_file_that_does_not_agree_is_exit_code_1(folder, monkeypatch):
    monkeypatch.setitem(deploy.PRECISIONS, 'bf16', 1e-9)
    done = export('local-dir:model', 'a.pt2', '--format', 'torch', '--precision', 'bf16', '--images', 'images',
                  cwd=folder)
    assert done.returncode == 1 and 'differs from the model' in done.stderr and not (folder / 'a.pt2').exists()


def without_compiler(folder):
    env = {**os.environ, 'PATH': '/nowhere', 'CXX': 'no-such-compiler'}
    return command('export', 'no_such_model', 'a.pt2', cwd=folder, env=env)


def without_compiler_here(folder):
    with torch._inductor.config.patch({'cpp.cxx': ('/nowhere/c++',)}):
        return export('no_such_model', 'a.pt2', cwd=folder)


@pytest.mark.parametrize('run', [without_compiler_here, pytest.param(without_compiler, marks=pytest.mark.slow)])
def test_compiled_code_needs_a_compiler(run, tmp_path):
    """... which is said before anything is loaded."""
    done = run(tmp_path)
    assert done.returncode == 2 and 'C++ compiler' in done.stderr and '--format torch' in done.stderr
    assert done.stderr.count('\n') == 1


def test_the_choices_are_those_of_deploy():
    assert tuple(deploy.FORMATS) == module.FORMATS and tuple(deploy.PRECISIONS) == module.PRECISIONS
    assert tuple(dict.fromkeys(deploy.FORMATS.values())) == module.SUFFIXES


def test_a_training_checkpoint_takes_its_preprocessing_and_class_names_along(folder):
    model = timm.create_model('test_res2net_custom', num_classes=4)
    for name in 'wxyz':
        (folder / 'data/train' / name).mkdir(parents=True)
        (folder / 'data/train' / name / '0.png').touch()
    args = dict(img_size=48, mean=[0.1], std=[0.2], crop_pct=0.5, data_dir=str(folder / 'data'))
    path = trained(folder / 'run', model, 'test_res2net_custom', **args)
    done = export(path, 'm.pt2', '--format', 'torch', '--images', 'images', cwd=folder)
    assert done.returncode == 0 and 'class names are the folders of' in done.stderr, done.stderr
    loaded = deploy.load(folder / 'm.pt2')
    config = loaded.metadata['data_config']
    assert (config['input_size'], config['mean'], config['crop_pct']) == ([3, 48, 48], [0.1] * 3, 0.5)
    assert loaded.labels == list('wxyz')
    (folder / 'names.txt').write_text('a\nb\nc\nd\n')
    done = here('classify', 'images/0.png', '--model', path, '--topk', 1, '--class-names', 'names.txt', cwd=folder)
    assert done.returncode == 0 and done.stdout.split()[-1] in 'abcd' and done.stderr == ''
