"""scripts/benchmark.py: what it writes is what it measured, and what it could not measure is named."""
import importlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / 'scripts/benchmark.py'


def benchmark(*args, cwd, **env):
    done = subprocess.run(
        [sys.executable, str(SCRIPT), '--seconds', '0.1', '--output', 'results', *args], cwd=cwd,
        env={**os.environ, **env}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    folder = cwd / 'results'
    return json.loads((folder / 'benchmark_cpu.json').read_text()), (folder / 'benchmark_cpu.md').read_text()


@pytest.mark.slow
def test_inference(tmp_path):
    (tmp_path / 'openvino.py').write_text('raise ImportError("not here")')
    result, text = benchmark(
        '--parts', 'inference', '--precision', 'fp32', 'bf16', '--batch', '1', '2', '--paths',
        '^(timm eager, channels last|prepack|timm in OpenVINO)$', cwd=tmp_path, PYTHONPATH=str(tmp_path))
    rows = result['inference']['milliseconds']
    assert {p: set(named) for p, named in rows.items()} == {
        p: {'timm eager, channels last', 'prepack'} for p in ('fp32', 'bf16')}
    assert list(result['inference']['skipped']) == ['fp32 timm in OpenVINO', 'bf16 timm in OpenVINO']
    assert 'not here' in text
    for precision in rows:
        base = rows['fp32']['timm eager, channels last']
        for batch in '12':
            ms = rows[precision]['prepack'][batch]
            assert f'{ms:.1f} ({base[batch] / ms:.2f}x)' in text
    environment = result['environment']
    assert re.match(r'\d{4}-\d\d-\d\d$', environment['date']) and '--parts inference' in environment['command']
    assert environment['openvino'] and f'* torch: {environment["torch"]}' in text


@pytest.mark.slow
def test_creation(tmp_path):
    result, text = benchmark('--parts', 'creation', cwd=tmp_path)
    assert all(v > 0 for v in result['creation'].values()) and len(result['creation']) == 4
    assert text.count('|') > 8


@pytest.mark.slow
def test_training_and_growth(tmp_path):
    result, text = benchmark('--parts', 'training', 'growth', cwd=tmp_path)
    rows = result['training']['rows']
    assert len(rows) == 6 and all(r['peak MB'] > 100 for r in rows.values())
    growth = result['growth']
    macs = [row['GMACs'] for row in growth['scale'].values()]
    assert max(macs) < 1.05 * min(macs)  # scales are compared at equal cost
    assert growth['resolution']['384']['GMACs'] > 2.5 * growth['resolution']['224']['GMACs']
    assert 'Growth with batch' in text


def test_a_batch_that_a_path_could_not_do_leaves_its_cell_empty(tmp_path, monkeypatch):
    """As where a GPU has no memory for it."""
    monkeypatch.syspath_prepend(ROOT / 'scripts')
    tables = importlib.import_module('benchmark_tables')
    result = {'environment': {'machine': 'a machine'}, 'inference': {
        'milliseconds': {'fp32': {'timm eager': {'8': 40., '32': 90.}, 'eager': {'8': 20.}}}, 'skipped': {'x': 'why'}}}
    text = tables.markdown(result)
    assert '| timm eager | 40.0 (1.00x) | 90.0 (1.00x) |' in text and '| eager | 20.0 (2.00x) |  |' in text
    tables.plot(result, tmp_path / 'plot.png')
    assert (tmp_path / 'plot.png').stat().st_size > 1000


@pytest.mark.slow
def test_wrong_arguments(tmp_path):
    done = subprocess.run(
        [sys.executable, str(SCRIPT), '--parts', 'inference', '--paths', 'nothing'], cwd=tmp_path, capture_output=True,
        text=True)
    assert done.returncode == 1 and '--paths nothing' in done.stderr and 'Traceback' not in done.stderr
    assert not list(tmp_path.iterdir())
    for args in (['--parts', 'nothing'], ['--device', 'cuda']):
        done = subprocess.run([sys.executable, str(SCRIPT), *args], cwd=tmp_path, capture_output=True, text=True)
        if args[0] == '--device' and 'sees no GPU' not in done.stderr:
            pytest.skip('there is a GPU')
        assert done.returncode == 2 and not list(tmp_path.iterdir())
