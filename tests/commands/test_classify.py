"""`timm-res2net classify`: as a person would run it, and the same pictures in every way they are stored."""
import functools
import json
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from run_command import BOTH_WAYS, here

import timm_res2net
from timm_res2net import deploy
from timm_res2net.commands.models import class_names, load_model
from timm_res2net.model import images

classify = functools.partial(here, 'classify')


@pytest.fixture(scope='module')
def stubborn(tmp_path_factory):
    """A model that answers class 2 for everything: its classifier has weights 0 and a bias."""
    model = timm.create_model('test_res2net_custom', num_classes=4)
    torch.nn.init.zeros_(model.fc.weight)
    model.fc.bias.data = torch.tensor([0., 1., 3., 2.])
    folder = tmp_path_factory.mktemp('model') / 'out'
    timm_res2net.save_folder(model, folder)
    return folder


@BOTH_WAYS
def test_files_folders_and_faults(run, stubborn, tmp_path):
    Image.new('RGB', (50, 40), 'red').save(tmp_path / 'a.png')
    (tmp_path / 'sub').mkdir()
    Image.new('L', (30, 30)).save(tmp_path / 'sub' / 'b.jpg')
    (tmp_path / 'broken.png').write_bytes((tmp_path / 'a.png').read_bytes()[:60])
    missing = tmp_path / 'missing.png'
    done = run('classify', tmp_path, missing, '--model', f'local-dir:{stubborn}', '--json', '--topk', 3)
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


def test_a_file_takes_arguments(stubborn):
    model = load_model(str(stubborn / 'model.safetensors'), act_layer='silu')
    assert isinstance(model.layer1[0].act3, torch.nn.SiLU) and not model.training


def test_nothing_to_do(stubborn, tmp_path):
    assert classify(tmp_path, '--model', f'local-dir:{stubborn}').returncode == 2
    done = classify('--model', 'no_such_model')
    assert done.returncode == 2 and 'no_such_model' in done.stderr and 'Traceback' not in done.stderr


def predictions(done):
    assert done.returncode == 0, done.stderr
    (result,) = json.loads(done.stdout)['results']
    return {p['index']: p['probability'] for p in result['predictions']}


def test_one_photograph_has_one_answer_however_it_is_stored(tmp_path):
    """A rocket of 16 bits was a plain when Pillow clipped it."""
    data = pytest.importorskip('skimage.data')
    grey = Image.fromarray(data.rocket()).convert('L')
    levels = np.asarray(grey)
    exif = Image.Exif()
    exif[0x0112] = 6
    grey.save(tmp_path / 'png.png')
    grey.save(tmp_path / 'bmp.bmp')
    grey.save(tmp_path / 'tiff.tif', compression='tiff_deflate')
    grey.save(tmp_path / 'pgm.pgm')
    grey.convert('RGB').save(tmp_path / 'colour.png')
    grey.convert('RGB').save(tmp_path / 'webp.webp', lossless=True)
    grey.convert('P').save(tmp_path / 'palette.png')
    grey.convert('RGBA').save(tmp_path / 'opaque.png')
    grey.convert('P').save(tmp_path / 'animated.gif', save_all=True, append_images=[Image.new('P', grey.size)])
    grey.transpose(Image.Transpose.ROTATE_90).save(tmp_path / 'turned.png', exif=exif)
    Image.fromarray(levels.astype(np.uint16) * 257).save(tmp_path / 'deep.png')
    Image.fromarray(levels.astype(np.uint16) * 257).save(tmp_path / 'deep.tif')
    Image.fromarray(levels.astype(np.float32) / 255).save(tmp_path / 'floats.tif')
    done = classify(tmp_path, '--json')
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)['results']
    assert len(results) == 13
    for result in results:
        assert result['predictions'] == results[0]['predictions'], result['image']
    assert results[0]['predictions'][0]['class'] == 'rocket'


@pytest.mark.parametrize('pixels_in', [False, True])
def test_an_exported_file_says_what_its_model_says(pixels_in, tmp_path, monkeypatch):
    """And each picture is converted once."""
    model = timm.create_model('test_res2net_custom', num_classes=6).eval()
    timm_res2net.save_folder(model, tmp_path / 'model')
    Image.effect_noise((90, 70), 60).convert('RGB').save(tmp_path / 'a.png')
    deploy.export(model, tmp_path / 'm.pt2', 'torch', images=[tmp_path / 'a.png'], pixels_in=pixels_in)
    names = tmp_path / 'names.json'
    names.write_text(json.dumps([f'n{i}' for i in range(6)]))
    run = functools.partial(classify, tmp_path / 'a.png', '--json', '--topk', 9, '--model')
    expected = predictions(run(f'local-dir:{tmp_path}/model'))
    converted, plain = [], images._plain
    monkeypatch.setattr(images, '_plain', lambda image, mode: converted.append(mode) or plain(image, mode))
    done = run(tmp_path / 'm.pt2', '--class-names', names)
    assert converted == ['RGB']
    assert predictions(done) == pytest.approx(expected, abs=1e-4)
    assert '"n3"' in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize('suffix, engines', [('.onnx', ['onnxscript', 'onnxruntime']), ('.xml', ['openvino'])])
def test_files_of_other_engines(suffix, engines, tmp_path):
    for engine in engines:
        pytest.importorskip(engine)
    pytest.importorskip('skimage')
    name = 'res2net23_32w_4s_cifar_custom.cifar100'
    model = load_model(name)
    formats = {v: k for k, v in deploy.FORMATS.items()}
    deploy.export(model, tmp_path / f'm{suffix}', formats[suffix], pixels_in=True)
    done = classify('--model', tmp_path / f'm{suffix}', '--topk', 1)
    assert done.returncode == 0 and done.stdout.split()[::3][0] == 'rocket', done.stderr
    assert done.stdout == classify('--model', name, '--topk', 1).stdout


def test_class_names(stubborn, tmp_path):
    Image.new('RGB', (20, 20)).save(tmp_path / 'a.png')
    names = tmp_path / 'names.txt'
    names.write_text('one\ntwo\nthree\nfour\n')
    run = functools.partial(classify, tmp_path / 'a.png', '--model', stubborn, '--topk', 1, '--class-names')
    assert run(names).stdout.split()[-1] == 'three'
    for text in ('one\r\ntwo\r\nthree\r\nfour\r\n\r\n', '[\n"one", "two",\n"three", "four"]'):  # as Windows saves text
        for encoding in ('utf-8', 'utf-8-sig'):
            names.write_text(text, encoding=encoding, newline='')
            assert run(names).stdout.split()[-1] == 'three'
    for text, words in (
            ('one\n\nthree\nfour', "name 2 is ''"),
            ('one\ntwo\n', '2 names, the model has 4 classes'), ('', 'one name a line'), ('[1]', 'JSON list')):
        names.write_text(text)
        done = run(names)
        assert done.returncode == 2 and words in done.stderr and not done.stdout
    done = run(tmp_path / 'nowhere.txt')
    assert done.returncode == 2 and 'nowhere.txt: No such file' in done.stderr


def test_random_weights_are_said_once(tmp_path):
    Image.new('RGB', (20, 20)).save(tmp_path / 'a.png')
    Image.new('RGB', (20, 20)).save(tmp_path / 'b.png')
    done = classify(tmp_path, '--model', 'test_res2net_custom')
    assert done.returncode == 0
    assert done.stderr == 'test_res2net_custom has no trained weights: they are random, and so is what it says\n'
    assert classify(tmp_path, '--model', 'res2net23_32w_4s_cifar_custom').stderr == ''


def test_a_new_classifier_is_random(capsys):
    model = load_model('res2net23_32w_4s_cifar_custom.cifar100', num_classes=5)
    assert 'the classifier of 5 is random' in capsys.readouterr().err
    assert class_names(model) == [f'class {i}' for i in range(5)]


@pytest.mark.parametrize('name, words', [
    ('res2net50_26w_4_custom', 'did you mean res2net50_26w_4s_custom'),
    ('res2net23_32w_4s_cifar_custom.cifar10', 'there are res2net23_32w_4s_cifar_custom.cifar100'),
    ('local-dir:nowhere', 'no such folder'),
    ('nowhere.onnx', 'no such file'),
    ('folder/nowhere', 'no such file'),
])
def test_models_that_are_not_there(name, words):
    done = classify('--model', name)
    assert done.returncode == 2 and words in done.stderr and done.stderr.count('\n') == 1 and not done.stdout


def test_only_some_commands_take_exported_files(tmp_path):
    (tmp_path / 'm.onnx').touch()
    done = here('receptive-field', tmp_path / 'm.onnx')
    assert done.returncode == 2 and 'is an exported file' in done.stderr


def test_wrong_options(stubborn, tmp_path):
    done = classify(tmp_path, '--topk', 0)
    assert done.returncode == 2 and '--topk 0' in done.stderr
    done = classify(tmp_path, '--model', stubborn)
    assert done.returncode == 2 and 'no images found' in done.stderr
