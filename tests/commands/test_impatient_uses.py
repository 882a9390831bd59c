"""Uses of a person in a hurry: things in each other's place, outputs that are none, streams that are closed."""
import os
import subprocess
import sys

import pytest
import timm
import torch
from PIL import Image
from run_command import here

from timm_res2net import save_folder

USES = [  # command and arguments, exit code, what the line says
    ('convert tiny.pth out.pth', 1, r'OUT out.pth has the name of a file, .*: leave out .pth, or .* --to'),
    ('convert tiny.pth out.safetensors', 1, 'OUT out.safetensors has the name of a file'),
    ('convert tiny.pth -', 1, '- would be a folder of this name, not standard output'),
    ('convert tiny.pth - --to timm', 1, '- would be a file of this name, not standard output'),
    ('convert local-dir:folder out', 1, "local-dir:folder: no such file; this is timm's name of a folder"),
    ('recipes cifar100_evidence --output -', 2, '- would be a file of this name'),
    ('inspect https://example.org/x.pth', 2, 'https://example.org/x.pth: no such file; this is an address'),
    ('inspect folder/config.json', 2, 'it is text in JSON'),
    ('inspect image.png', 2, 'it is a picture'),
    ('classify image.png tiny.pth', 2, 'tiny.pth is a model, not an image: the option for models names it'),
    ('classify image.png folder', 2, 'folder is a model, not an image'),
    ('gradcam image.png folder', 2, 'folder is a model, not an image'),
    ('push folder bad//name --dry-run out', 2, 'bad//name'),
]


@pytest.fixture(scope='module')
def place(tmp_path_factory):
    place = tmp_path_factory.mktemp('place')
    model = timm.create_model('test_res2net_custom', num_classes=3)
    torch.save({'state_dict': model.state_dict()}, place / 'tiny.pth')
    save_folder(model, place / 'folder')
    Image.new('RGB', (32, 32), 'red').save(place / 'image.png')
    return place


@pytest.mark.parametrize(('use', 'code', 'says'), USES, ids=[use for use, _, _ in USES])
def test_a_hasty_use(use, code, says, place):
    import re
    if use.startswith('gradcam'):
        pytest.importorskip('pytorch_grad_cam')
    before = sorted(place.rglob('*'))
    done = here(*use.split(), cwd=place)
    assert (done.returncode, done.stdout, done.stderr.count('\n')) == (code, '', 1), done.stderr
    assert re.search(says, done.stderr) and sorted(place.rglob('*')) == before


def test_no_name_of_a_model(place):
    done = here('classify', 'image.png', '--model', '', cwd=place)
    assert done.returncode == 2 and 'the name of the model is empty' in done.stderr


def test_a_folder_that_exists_may_have_any_name(place, tmp_path):
    (tmp_path / 'mine.pth').mkdir()
    assert here('convert', place / 'tiny.pth', tmp_path / 'mine.pth', '--overwrite').returncode == 0


def test_letters_that_a_terminal_has_not():
    """The pages are written out where the terminal knows ASCII alone, and nothing goes wrong where stdout is closed."""
    line = [sys.executable, '-m', 'timm_res2net']
    env = {**os.environ, 'PYTHONIOENCODING': 'ascii'}
    code = ('import sys; from timm_res2net.commands import command_line; '
            'command_line._run = lambda *_: print("caf\\u00e9") or 0; sys.exit(command_line.run_command("x", []))')
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, env=env)
    assert (done.returncode, done.stdout) == (0, 'caf\\xe9\n'), done.stderr
    closed = subprocess.run(['sh', '-c', '"$@" >&-', 'sh', *line, 'docs'], stderr=subprocess.PIPE, text=True, env=env)
    assert (closed.returncode, closed.stderr) == (0, '')
