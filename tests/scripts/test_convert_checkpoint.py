"""The command line of scripts/convert_checkpoint.py: one run as a person runs it, the others in this process."""
import contextlib
import importlib.util
import io
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import timm
import torch
from literal_networks import Foreign

import timm_res2net  # noqa: F401

SCRIPT = Path(__file__).resolve().parents[2] / 'scripts' / 'convert_checkpoint.py'
DEEP = dict(stem='deep', stem_width=8, avg_down=True)


def run_script(*args):
    return subprocess.run([sys.executable, str(SCRIPT), *map(str, args)], capture_output=True, text=True)


def convert(*args):
    """The same without the seconds that a new process takes to import torch."""
    spec = importlib.util.spec_from_file_location('convert_checkpoint', SCRIPT)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = script.main([str(a) for a in args])
        except SystemExit as stop:
            code = stop.code
    return subprocess.CompletedProcess(args, code, out.getvalue(), err.getvalue())


@pytest.fixture(scope='module')
def paddle(tmp_path_factory):
    network = Foreign('paddle', **DEEP)
    path = tmp_path_factory.mktemp('paddle') / 'weights.pdparams'
    path.write_bytes(pickle.dumps({k: v.numpy() for k, v in network.weights.items()}, protocol=4))
    return network, path


def test_converts_says_what_it_found_and_checks(paddle, tmp_path):
    network, path = paddle
    done = run_script(path, tmp_path / 'out', '--check')
    assert done.returncode == 0, done.stderr
    found, checked = done.stdout.splitlines()
    assert found.startswith(f'{path}: PaddleClas layout -> res2net_custom with ')
    assert 'largest relative difference of the outputs 0.0e+00' in checked
    model = timm.create_model(f'local-dir:{tmp_path / "out"}', pretrained=True).eval()
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        expected = network(x)
        assert (model(x) - expected).abs().max() <= 1e-5 * expected.abs().max()

    again = convert(path, tmp_path / 'out')
    assert again.returncode == 1 and '--overwrite' in again.stderr
    assert convert(path, tmp_path / 'out', '--overwrite').returncode == 0
    assert convert(tmp_path / 'out', tmp_path / 'out2', '--check').returncode == 0  # a folder goes in, too


def test_as_timm(tmp_path):
    source = timm.create_model('res2net50_48w_2s', num_classes=2)
    torch.save(source.state_dict(), tmp_path / 'x.pth')
    done = convert(tmp_path / 'x.pth', tmp_path / 'out', '--as-timm')
    assert done.returncode == 0, done.stderr
    assert '"architecture": "res2net50_48w_2s"' in (tmp_path / 'out' / 'config.json').read_text()


@pytest.mark.parametrize(('arguments', 'message'), [
    (['--as-timm'], 'timm has no architecture like this'),
    (['--name', 'res2net50d_custom'], "first_block='paddle'"),
    (['--name', 'res2net50_vd_26w_4s_custom'], 'do not fit'),
    (['--name', 'nonsense'], 'nonsense'),
])
def test_refusals_leave_nothing_behind(arguments, message, paddle, tmp_path):
    done = convert(paddle[1], tmp_path / 'out', *arguments)
    assert done.returncode == 1
    assert done.stderr.startswith('error: ') and message in done.stderr
    assert 'Traceback' not in done.stderr and not done.stdout
    assert not list(tmp_path.iterdir())


def test_files_that_are_none(tmp_path):
    (tmp_path / 'x.pth').write_bytes(b'PK\3\4nonsense')
    for name, message in (('x.pth', 'truncated or damaged'), ('nowhere.pth', 'no such file')):
        done = convert(tmp_path / name, tmp_path / 'out')
        assert done.returncode == 1 and message in done.stderr and 'Traceback' not in done.stderr
    assert convert(tmp_path / 'x.pth').returncode == 2
    assert not (tmp_path / 'out').exists()
