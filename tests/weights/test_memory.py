"""What loading costs: at most three times the file beside what the same network costs without one, at its real size."""
import json
import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from timm_res2net import save_as

CHILD = Path(__file__).parent.parent / 'helpers/memory_child.py'
OFFICIAL, PADDLE = 'res2net50_26w_4s_custom', 'res2net50_26w_4s_paddle_custom'
USES = ('load', 'into_a_model', 'by_timm', 'inspect', 'convert_it', 'evaluate')
WORST = ('into_a_model', 'inspect')  # a network is there before, or none is needed


def zip_archive(model, path):
    torch.save(model.state_dict(), path)


def legacy(model, path):
    torch.save(model.state_dict(), path, _use_new_zipfile_serialization=False)


def safetensors(model, path):
    save_file(model.state_dict(), path)


def pdparams(model, path):
    save_as(model, path, 'PaddleClas')


def pdparams_of_protocol_2(model, path):
    """Arrays as text, which takes half as much again."""
    save_as(model, path, 'PaddleClas')
    path.write_bytes(pickle.dumps(pickle.loads(path.read_bytes()), protocol=2))


def mindspore(model, path):
    save_as(model, path, 'mindcv')


def compressed(model, path):
    """Its records are refused before they are read."""
    torch.save(model.state_dict(), path.with_name('stored.pth'))
    with zipfile.ZipFile(path.with_name('stored.pth')) as stored, zipfile.ZipFile(
            path, 'w', zipfile.ZIP_DEFLATED, compresslevel=1) as packed:
        for info in stored.infolist():
            packed.writestr(info.filename, stored.read(info))


FILES = {  # what writes it: name, the network
    zip_archive: ('x.pth', OFFICIAL), legacy: ('x.pth', OFFICIAL), safetensors: ('x.safetensors', OFFICIAL),
    compressed: ('x.pth', OFFICIAL), mindspore: ('x.ckpt', OFFICIAL), pdparams: ('x.pdparams', PADDLE),
    pdparams_of_protocol_2: ('x.pdparams', PADDLE)}


def measure(uses):
    """Bytes and seconds of each."""
    done = subprocess.run(
        [sys.executable, str(CHILD)], input=json.dumps(dict(uses=uses)), capture_output=True, text=True,
        env={**os.environ, 'PYTHONPATH': os.pathsep.join(p for p in sys.path if p)})
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr


def check(write, uses, folder):
    name, variant = FILES[write]
    path = folder / name
    write(timm.create_model(variant), path)
    size = path.stat().st_size
    assert size > 90e6
    found, said = measure([[use, variant, file] for use in uses for file in (None, str(path))])
    assert said.count('refused') == (len(uses) if write is compressed else 0), said
    beyond = {use: (with_file[0] - without[0]) / size for use, without, with_file in zip(
        uses, found[::2], found[1::2], strict=True)}
    assert all(times <= 3 for times in beyond.values()), beyond
    return beyond


def test_a_file_takes_at_most_three_times_its_size(tmp_path):
    """The worst of all by default."""
    check(pdparams, WORST, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize('write', FILES, ids=lambda f: f.__name__)
def test_whatever_the_file_and_the_use(write, tmp_path):
    beyond = check(write, USES, tmp_path)
    assert write is compressed or beyond['load'] > 0.9  # which is to say that what is read is seen
