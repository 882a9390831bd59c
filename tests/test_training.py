"""timm's own train.py and validate.py through the launcher: resume, two processes.

They are in timm's repository only: TIMM_SCRIPTS is a folder that holds them.
"""
import csv
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = os.environ.get('TIMM_SCRIPTS')

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not SCRIPTS, reason="needs TIMM_SCRIPTS=FOLDER with timm's train.py and validate.py"),
]


def environment(**env):
    kept = {k: v for k, v in os.environ.items() if not k.startswith(('HF_', 'RANK', 'WORLD_SIZE', 'MASTER_'))}
    return {**kept, **env}


@pytest.fixture(scope='module')
def place(tmp_path_factory):
    """A folder to work in, with the digits."""
    folder = tmp_path_factory.mktemp('place')
    subprocess.run([sys.executable, str(ROOT / 'scripts/write_digits.py'), 'digits'], cwd=folder, check=True)
    return folder


TRAIN = [
    'train.py', '--data-dir', 'digits', '--val-split', 'test', '--model', 'test_res2net_custom', '--num-classes', '10',
    '--img-size', '32', '--opt', 'adamw', '--lr', '2e-3', '--epochs', '8', '--warmup-epochs', '1', '--batch-size', '32',
    '--hflip', '0', '--scale', '0.8', '1', '--device', 'cpu', '--workers', '1', '--output', 'output']


def train(*extra):
    return [sys.executable, '-m', 'timm_res2net', f'{SCRIPTS}/{TRAIN[0]}', *TRAIN[1:], *extra]


def summary(folder):
    with open(folder / 'summary.csv') as file:
        return [row for row in csv.DictReader(file) if row['epoch'] != 'epoch']  # a resumed run writes a header again


def test_an_interrupted_training_resumes(place):
    """Killed in the middle of an epoch, a training goes on to the accuracy of one that was left alone."""
    subprocess.run(train('--experiment', 'whole'), cwd=place, env=environment(), check=True)
    process = subprocess.Popen(train('--experiment', 'cut'), cwd=place, env=environment(), start_new_session=True)
    rows, deadline = [], time.time() + 600
    while len(rows) < 3 and process.poll() is None and time.time() < deadline:
        time.sleep(0.2)
        rows = summary(place / 'output/cut') if (place / 'output/cut/summary.csv').is_file() else []
    assert process.poll() is None and len(rows) < 8
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    last = place / 'output/cut/last.pth.tar'
    epoch = torch.load(last, weights_only=False)['epoch']
    subprocess.run(train('--experiment', 'cut', '--resume', str(last)), cwd=place, env=environment(), check=True)
    whole, cut = summary(place / 'output/whole'), summary(place / 'output/cut')
    assert [int(r['epoch']) for r in whole] == list(range(8))
    assert [int(r['epoch']) for r in cut] == list(range(8)) and epoch >= 2
    assert [r['lr'] for r in cut] == [r['lr'] for r in whole]
    tops = float(cut[-1]['eval_top1']), float(whole[-1]['eval_top1'])
    assert min(tops) >= 90 and abs(tops[0] - tops[1]) <= 4, tops


def test_a_training_of_timms_own_model_is_resumed_with_ours(place):
    """`--resume` takes weights by name and AdamW's moments by position: both must be those of timm's network."""
    for split, count in (('train', 6), ('test', 2)):
        for folder in (place / 'digits' / split).iterdir():
            (place / 'few' / split / folder.name).mkdir(parents=True)
            for file in sorted(folder.iterdir())[:count]:
                shutil.copy(file, place / 'few' / split / folder.name)
    small = ['--data-dir', 'few', '--batch-size', '20', '--epochs', '2', '--sched', 'step']
    theirs = train('--experiment', 'theirs', *small, '--model', 'res2net50_26w_4s')
    subprocess.run(theirs, cwd=place, env=environment(), check=True)
    first = place / 'output/theirs/checkpoint-0.pth.tar'
    for name in ('res2net50_26w_4s', 'res2net50_26w_4s_custom'):
        again = train('--experiment', f'on-{name}', *small, '--model', name, '--resume', str(first))
        subprocess.run(again, cwd=place, env=environment(), check=True)
    rows = [summary(place / f'output/on-{name}') for name in ('res2net50_26w_4s', 'res2net50_26w_4s_custom')]
    assert [int(r['epoch']) for r in rows[1]] == [1]
    for key in ('train_loss', 'eval_loss', 'eval_top1'):
        assert float(rows[1][0][key]) == pytest.approx(float(rows[0][0][key]), rel=1e-4), key


# timm's train.py hands DistributedDataParallel the device, which it takes on GPUs only
ON_CPUS = '''
import runpy, sys
from torch.nn.parallel import DistributedDataParallel
import timm_res2net
init = DistributedDataParallel.__init__
DistributedDataParallel.__init__ = lambda *args, **kwargs: init(*args, **{**kwargs, 'device_ids': None})
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name='__main__')
'''


def test_two_processes_train_one_model(place):
    (place / 'on_cpus.py').write_text(ON_CPUS)
    command = train('--experiment', 'ddp')
    command[1:3] = ['on_cpus.py']
    command[1:1] = ['-m', 'torch.distributed.run', '--standalone', '--nproc_per_node=2']
    done = subprocess.run(command, cwd=place, env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    log = done.stdout + done.stderr
    assert 'Process 0, total 2' in log and 'Process 1, total 2' in log
    rows = summary(place / 'output/ddp')
    assert [int(r['epoch']) for r in rows] == list(range(8))
    assert float(rows[-1]['eval_top1']) >= 50  # chance is 10, and the steps are half as many
    evaluate = [sys.executable, '-m', 'timm_res2net', 'evaluate', 'digits', '--model', 'output/ddp/last.pth.tar']
    done = subprocess.run(evaluate, cwd=place, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
