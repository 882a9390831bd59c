"""What all commands share: help, the language of errors, interrupts, closed pipes, files complete or not there."""
import argparse
import errno
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from functools import partial

import pytest
import timm
import torch
from run_command import here

from timm_res2net import save_folder
from timm_res2net.commands.command_line import (
    Refusal,
    free_output,
    in_options,
    message_of,
    progress,
    write_whole,
)
from timm_res2net.commands.models import load_model
from timm_res2net.insight import cost

SHIPPED = 'res2net23_32w_4s_cifar_custom.cifar100'


def test_errors_speak_the_language_of_the_command():
    parser = argparse.ArgumentParser()
    for option in ('--overwrite', '--image-size', '--variant', '--license'):
        parser.add_argument(option)
    for theirs, ours in (
        ('choose another path or overwrite=True.', 'choose another path or --overwrite.'),
        ('image_size=32 is too small', '--image-size 32 is too small'),
        ("variant='x' is none", "--variant 'x' is none"),
        ('Correct license=, or tags=', 'Correct --license, or tags='),
        ('cc-license=x stays', 'cc-license=x stays'),
        ('nothing here', 'nothing here'),
    ):
        assert in_options(theirs, parser) == ours
    assert in_options('log in or pass token=.', parser, {'pass token=': 'set HF_TOKEN'}) == 'log in or set HF_TOKEN.'


def test_files_that_can_be_written_and_others(tmp_path):
    (tmp_path / 'file').write_text('x')
    assert free_output(tmp_path / 'new') == tmp_path / 'new'
    assert free_output(tmp_path / 'deep/er/new', folder=True) == tmp_path / 'deep/er/new'
    assert free_output(tmp_path / 'file', overwrite=True) == tmp_path / 'file'
    for path, folder, message in (
        ('file', False, 'exists already: choose another file, or add --overwrite'),
        ('', False, 'is a folder, give a file'), ('file', True, 'is a file, give a folder'),
        ('no/new', False, 'no is not there, it must be a folder'), ('file/new', True, 'file is a file, it must be'),
    ):
        with pytest.raises(Refusal, match=message):
            free_output(tmp_path / path, folder=folder)
    with pytest.raises(Refusal, match='/proc cannot be written to'):
        free_output('/proc/new')
    assert [p.name for p in tmp_path.iterdir()] == ['file']
    write_whole(tmp_path / 'file', 'y')
    assert (tmp_path / 'file').read_text() == 'y' and [p.name for p in tmp_path.iterdir()] == ['file']


@pytest.mark.parametrize('name', ['test_res2net_custom', 'res2net23_32w_4s_cifar_custom', 'test_resnet'])
def test_a_network_without_its_weights_by_name(name, capsys):
    """timm itself knows the tag of those networks alone that have no weights."""
    for pretrained in (True, False):
        model = load_model(f'{name}.untrained', pretrained)
        assert sum(p.numel() for p in model.parameters()) == cost(name)[0]
        assert ('has no trained weights: they are random' in capsys.readouterr().err) == pretrained
    if name == SHIPPED.partition('.')[0]:
        assert not torch.equal(model.conv1.weight, load_model(SHIPPED).conv1.weight)
    done = here('receptive-field', 'res2net23_32w_4s_cifar_custom.untrained')
    assert (done.returncode, done.stderr) == (0, '') and 'layer3' in done.stdout


def test_a_folder_may_be_called_so(tmp_path):
    folder = save_folder(timm.create_model('test_res2net_custom', num_classes=3), tmp_path / 'mine.untrained')
    for name in (str(folder), f'local-dir:{folder}'):
        assert load_model(name).num_classes == 3


def test_no_bar_in_a_pipe(capsys):
    assert list(progress(range(3))) == [0, 1, 2]
    assert capsys.readouterr() == ('', '')


@pytest.mark.parametrize('by, code', [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_an_interrupt_leaves_nothing_half_done(by, code, tmp_path, monkeypatch, request):
    """While weights are written, which is when a person would lose something."""
    usual = signal.default_int_handler if by == signal.SIGINT else signal.SIG_DFL
    request.addfinalizer(partial(signal.signal, by, signal.signal(by, usual)))  # nohup, say, has it ignored
    def interrupted(state, file):
        file.write(b'half')
        signal.raise_signal(by)
    monkeypatch.setattr('timm_res2net.weights.saving.write_safetensors', interrupted)
    monkeypatch.setattr('huggingface_hub.get_token', lambda: 'hf_x')
    torch.save(dict(state_dict=timm.create_model('test_res2net_custom').state_dict(), arch='test_res2net_custom'),
               tmp_path / 'x.pth')
    for args in (('convert', SHIPPED, tmp_path / 'out'), ('convert', SHIPPED, tmp_path / 'deep/out'),
                 ('push', tmp_path / 'x.pth', 'USER/x', '--dry-run', tmp_path / 'dry')):
        done = here(*args)
        assert done.returncode == code and done.stderr.splitlines()[-1] == 'stopped'
        assert signal.getsignal(by) == usual
    assert sorted(p.name for p in tmp_path.rglob('*')) == ['x.pth']


def process(*args, env=None, **kwargs):
    command = [sys.executable, '-m', 'timm_res2net', *args]
    return subprocess.run(command, stderr=subprocess.PIPE, text=True, env={**os.environ, **(env or {})}, **kwargs)


def test_a_command_that_is_told_to_end(tmp_path):
    """As by a scheduler or `docker stop`, while a file is compiled: the folder is as it was."""
    (tmp_path / 'tmp').mkdir()
    command = [sys.executable, '-m', 'timm_res2net', 'export', SHIPPED, 'm.pt2']
    running = subprocess.Popen(
        command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, env={**os.environ, 'TMPDIR': str(tmp_path / 'tmp')})
    while not list(tmp_path.glob('.m.pt2*')):
        assert running.poll() is None, running.stderr.read()
        time.sleep(0.1)
    running.terminate()
    assert (running.communicate()[1], running.returncode) == ('stopped\n', 143)
    assert [p.name for p in tmp_path.iterdir()] == ['tmp']
    assert not [p.name for p in (tmp_path / 'tmp').iterdir() if not p.name.startswith('torchinductor_')]


def test_an_interrupt_while_torch_is_imported(tmp_path):
    """A stand-in for torch that is interrupted, as a person's Ctrl-C would fall somewhere into it."""
    (tmp_path / 'torch.py').write_text('import signal\nsignal.raise_signal(signal.SIGINT)\n')
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get('PYTHONPATH')])])
    done = process('list', env={'PYTHONPATH': path}, stdout=subprocess.PIPE)
    assert (done.returncode, done.stdout, done.stderr) == (130, '', 'stopped\n')


def test_an_interrupt_cannot_be_caught_by_what_is_imported(tmp_path):
    """As numpy does, which makes another error of it."""
    (tmp_path / 'torch.py').write_text(
        'import os, signal, time\ntry:\n    os.kill(os.getpid(), signal.SIGINT)\n    time.sleep(9)\n'
        'except BaseException:\n    print("went on")\n')
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get('PYTHONPATH')])])
    done = process('list', env={'PYTHONPATH': path}, stdout=subprocess.PIPE)
    assert (done.returncode, done.stdout, done.stderr) == (130, '', 'stopped\n')


@pytest.mark.parametrize('stream', ['<&-', '>&-', '2>&-'])
@pytest.mark.parametrize('words', ['docs faq', 'recipes cifar100_res2net23', 'list --json'])
def test_a_stream_that_the_shell_has_closed(words, stream):
    line = f'{shlex.quote(sys.executable)} -m timm_res2net {words} {stream}'
    done = subprocess.run(['bash', '-c', line], capture_output=True, text=True)
    assert done.returncode == 0 and 'Traceback' not in done.stderr and bool(done.stdout) == (stream != '>&-')


def test_what_was_not_written_is_said_in_one_line(monkeypatch, tmp_path):
    """Where a disk is full there is no file to name, and shutil names every one that it did not copy."""
    full = OSError(errno.ENOSPC, 'No space left on device')
    assert message_of(full) == 'no space left on device: nothing was written'
    several = shutil.Error([('a', f'{tmp_path}/{i}', str(full)) for i in range(99)])
    assert message_of(several) == f'{tmp_path}/0: [Errno 28] No space left on device'


@pytest.mark.parametrize('args', [['docs', 'variants'], ['--help'], ['list', '--json']], ids=' '.join)
def test_a_closed_pipe_ends_quietly(args):
    reader, writer = os.pipe()
    os.close(reader)
    done = process(*args, stdout=writer)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, '')
