"""Weights laid out for the number of threads that computes with them: oneDNN's layouts differ from one to another."""
import subprocess
import sys
import warnings
from collections import Counter

import pytest
import torch
from deploying import SIZE, images, need
from PIL import Image
from run_command import BOTH_WAYS

from timm_res2net import deploy
from timm_res2net.deploy.workers import environment

CODE = '''
import sys
import timm, torch, timm_res2net
from timm_res2net import deploy
from timm_res2net.deploy.packing import prepack
threads, x = int(sys.argv[2]), torch.rand(1, 3, 224, 224)
torch.manual_seed(0)
model = timm.create_model('res2net50_26w_4s_custom', layers=(1, 1, 2, 1)).eval()  # 1x1 convolutions of 1024 channels
if sys.argv[1] == 'prepack':
    run = torch.inference_mode()(prepack(model))
    torch.set_num_threads(3 - threads)
    run(x)
    torch.set_num_threads(threads)
else:
    deploy.export(model, sys.argv[1], threads=threads)
    torch.set_num_threads(threads)
    run = deploy.load(sys.argv[1])
expected = run(x)
print('the call', flush=True)
y = run(x)
print('has ended', flush=True)
assert torch.equal(y, expected) and torch.get_num_threads() == threads
'''


@pytest.mark.slow
@pytest.mark.parametrize('path', ['m.pt2', 'prepack'])
@pytest.mark.parametrize('threads', [1, 2])
def test_no_call_lays_weights_out_anew(path, threads, tmp_path):
    """oneDNN says what it does: convolutions, and no copy of weights into another layout."""
    need('aotinductor', 'fp32')
    done = subprocess.run(
        [sys.executable, '-c', CODE, path, str(threads)], cwd=tmp_path, capture_output=True, text=True, timeout=500,
        env=environment(ONEDNN_VERBOSE='1', OMP_NUM_THREADS=str(3 - threads)))
    assert done.returncode == 0, done.stderr
    call = done.stdout.partition('the call\n')[2].partition('has ended\n')[0]
    did = Counter(line.split(',')[5] for line in call.splitlines() if ',exec,cpu,' in line)
    assert did['convolution'] == 30 and 'reorder' not in did


def test_a_file_for_other_threads_is_told(network, exported, tmp_path):
    need('aotinductor', 'fp32')
    here, path = torch.get_num_threads(), tmp_path / 'model.pt2'
    words = f'model.pt2 was compiled for threads={here + 1} and runs with {here}, .* export it with threads={here}'
    deploy.export(network, path, threads=here + 1, image_size=SIZE, images=images(4))
    assert torch.get_num_threads() == here
    with pytest.warns(UserWarning, match=words):
        fast = deploy.load(path)
    assert fast.metadata['threads'] == here + 1
    x = images(2) / 127.5 - 1
    torch.testing.assert_close(fast(x), network(x).detach(), rtol=1e-3, atol=1e-4)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        deploy.load(exported('aotinductor').path)
        deploy.load(exported('torch').path, workers=1).close()


@pytest.fixture
def other_threads(exported):
    """Torch computes with this many, and files were made for another number."""
    before = torch.get_num_threads()
    need('aotinductor', 'fp32')
    exported('aotinductor')
    torch.set_num_threads(2 * before)
    yield 2 * before
    torch.set_num_threads(before)


@pytest.mark.slow
def test_workers_are_told_of_threads_once(exported, capfd, other_threads):
    path = exported('aotinductor').path
    torch.set_num_threads(2 * other_threads)
    with pytest.warns(UserWarning, match=f' and runs with {other_threads}, ') as told:
        deploy.load(path, workers=2).close()
    assert len(told) == 1 and capfd.readouterr().err == ''


@BOTH_WAYS
def test_a_command_tells_it_in_a_line(run, exported, tmp_path, monkeypatch, other_threads):
    monkeypatch.setenv('OMP_NUM_THREADS', str(other_threads))
    Image.new('RGB', (SIZE, SIZE)).save(tmp_path / 'photo.png')
    done = run('classify', 'photo.png', '--model', exported('aotinductor').path, cwd=tmp_path)
    line, = done.stderr.splitlines()
    assert done.returncode == 0 and f' and runs with {other_threads}, which may be ' in line


@pytest.mark.parametrize(('format', 'threads', 'error', 'words'), [
    ('torch', 2, ValueError, "threads=2: only 'aotinductor' has code for a number of threads"),
    ('aotinductor', 0, ValueError, 'threads=0'),
    ('aotinductor', '2', TypeError, "threads='2'"),
])
def test_wrong_threads_are_refused(network, tmp_path, format, threads, error, words):
    need(format, 'fp32')
    with pytest.raises(error, match=words):
        deploy.export(network, tmp_path / 'm.pt2', format, threads=threads)
    assert not list(tmp_path.iterdir())
