"""`timm-res2net receptive-field`."""
import functools
import json
import tempfile
from pathlib import Path

import pytest
import timm
from PIL import Image
from run_command import command, here

import timm_res2net
from timm_res2net.insight import receptive_fields

receptive_field = functools.partial(here, 'receptive-field')


def test_fields_and_plot(tmp_path):
    pytest.importorskip('skimage')
    pytest.importorskip('matplotlib')
    plot = tmp_path / 'fields.png'
    done = receptive_field('test_res2net_custom', '--effective', '--image-size', 64, '--plot', plot, '--json')
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)['test_res2net_custom']
    last = receptive_fields(timm.create_model('test_res2net_custom'))[-1]
    assert answer['layers'][-1]['largest'] == last.field.largest
    assert 1 <= answer['effective']['0.5'] <= answer['effective']['0.9'] <= 65
    assert plot.stat().st_size > 1000
    done = command('receptive-field', 'test_res2net_custom', 'resnet50_custom')
    assert done.returncode == 0 and '427' in done.stdout and 'layer4.2' in done.stdout


@pytest.mark.parametrize('args, match', [
    (['no_such_model'], 'no_such_model'),
    (['test_res2net_custom', '--layer', 'layer1'], '--effective'),
    (['test_res2net_custom', '--effective', '--layer', 'layer9'], 'layer9'),
    (['test_res2net_custom', '--effective', '--images', '/nowhere'], 'not a folder'),
])
def test_it_says_what_is_wrong(args, match):
    done = receptive_field(*args)
    assert done.returncode == 2 and match in done.stderr and 'Traceback' not in done.stderr


def test_unreadable_images_are_named_and_left_out(tmp_path):
    Image.effect_noise((70, 50), 60).save(tmp_path / 'a.png')
    (tmp_path / 'broken.png').write_bytes(b'no picture')
    done = receptive_field('test_res2net_custom', '--effective', '--images', tmp_path, '--image-size', 64, '--json')
    assert done.returncode == 1 and 'broken.png cannot be read' in done.stderr, done.stderr
    assert 'test_res2net_custom has no trained weights' in done.stderr
    assert json.loads(done.stdout)['test_res2net_custom']['effective']['0.5'] > 0
    (tmp_path / 'a.png').unlink()
    done = receptive_field('test_res2net_custom', '--effective', '--images', tmp_path, '--image-size', 64)
    assert done.returncode == 2 and 'broken.png cannot be read' in done.stderr and not done.stdout


def test_arguments_of_the_models():
    done = receptive_field('res2net_custom', '--model-kwargs', 'scale=2', 'base_width=48', '--json')
    assert done.returncode == 0 and len(json.loads(done.stdout)['res2net_custom']['layers'][-1]['groups']) == 2
    with tempfile.TemporaryDirectory() as folder:
        name = timm_res2net.save_folder(timm.create_model('test_res2net_custom'), Path(folder) / 'model')
        for shown, random in (('test_res2net_custom', True), (name, False)):
            done = receptive_field(shown, '--effective', '--image-size', 64, '--model-kwargs', 'output_stride=16')
            assert done.returncode == 0 and ('has random weights' in done.stderr) == random, done.stderr
    for wrong, words in (('scale', 'must be KEY=VALUE'), ('scales=2', 'scales')):
        done = receptive_field('res2net_custom', '--model-kwargs', wrong)
        assert done.returncode == 2 and words in done.stderr


def test_a_plot_that_could_not_be_written_is_refused_at_the_start(tmp_path):
    pytest.importorskip('matplotlib')
    for path, words in (('a.txt', 'must end in'), ('nowhere/a.png', 'is not there')):
        done = receptive_field('no_such_model', '--plot', tmp_path / path)
        assert done.returncode == 2 and words in done.stderr
