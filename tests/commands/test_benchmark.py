"""`timm-res2net benchmark`: what it writes is what it measured, and what it could not measure is named."""
import argparse
import json
import math
import os
import re
import shlex
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from run_command import command, here

from timm_res2net import deploy
from timm_res2net.commands import benchmark as module
from timm_res2net.deploy.benchmark import machine, parts, rounds, tables, timing


def benchmark(*args, cwd, **env):
    small = '--seconds', '0.1', '--rounds', '1', '--output', 'results'
    done = command('benchmark', *small, *args, cwd=cwd, env={**os.environ, **env})
    assert done.returncode == 0, done.stderr[-2000:]
    folder = cwd / 'results'
    return json.loads((folder / 'benchmark_cpu.json').read_text()), (folder / 'benchmark_cpu.md').read_text()


@pytest.mark.slow
def test_inference(tmp_path):
    (tmp_path / 'openvino.py').write_text('raise ImportError("not here")')
    result, text = benchmark(
        '--parts', 'inference', '--precision', 'fp32', 'bf16', '--batch', '1', '2', '--paths',
        '^(timm eager, channels last|prepack|timm in OpenVINO|timm in ONNX Runtime)$', cwd=tmp_path,
        PYTHONPATH=os.pathsep.join([str(tmp_path), os.environ.get('PYTHONPATH', '')]))
    rows = result['inference']['milliseconds']
    assert {p: set(named) for p, named in rows.items()} == {
        'fp32': {'timm eager, channels last', 'prepack', 'timm in ONNX Runtime'},
        'bf16': {'timm eager, channels last', 'prepack'}}
    assert list(result['inference']['skipped']) == ['fp32 timm in OpenVINO', 'bf16 timm in OpenVINO']
    assert 'not here' in text
    for precision in rows:
        base = rows['fp32']['timm eager, channels last']
        for batch in '12':
            ms = rows[precision]['prepack'][batch]
            assert f'{ms:.1f} ({base[batch] / ms:.2f}x)' in text
    once = result['inference']['once']['fp32']
    assert all(row['load s'] > 0 and row['first answer ms'] > 0 and row['memory MB'] > 100 for row in once.values())
    assert once['prepack']['file MB'] == once['prepack']['checks %'] == 0
    assert 90 < once['timm in ONNX Runtime']['file MB'] < 120
    assert f"| fp32 prepack | {once['prepack']['load s']:.1f} |" in text
    environment = result['environment']
    assert re.match(r'\d{4}-\d\d-\d\d$', environment['date']) and '--parts inference' in environment['command']
    assert environment['openvino'] and f'* torch: {environment["torch"]}' in text


@pytest.mark.slow
def test_the_files_in_int8_are_made_by_the_public_call(tmp_path):
    """Which refuses what does not agree with the model."""
    result, _ = benchmark(
        '--parts', 'inference', '--precision', 'int8', '--batch', '1', '--paths', '^OpenVINO$', cwd=tmp_path)
    assert list(result['inference']['milliseconds']['int8']) == ['OpenVINO'] and not result['inference']['skipped']
    assert result['inference']['once']['int8']['OpenVINO']['checks %'] > 0  # only of what `deploy.load` gives


@pytest.mark.slow
def test_throughput(tmp_path):
    result, text = benchmark(
        '--parts', 'throughput', '--precision', 'fp32', '--callers', '1', '3', '--paths',
        'timm eager, channels last|OpenVINO', cwd=tmp_path)
    speeds = result['throughput']['images a second']['fp32']
    assert list(speeds) == ['timm eager, channels last', 'timm in OpenVINO', 'OpenVINO']
    assert all(set(found) == {'1', '3'} and min(found.values()) > 0 for found in speeds.values())
    ours, peer = speeds['OpenVINO']['3'], speeds['timm in OpenVINO']['3']
    assert f'{ours:.1f} ({ours / peer:.2f}x) |' in text and '| fp32 | 1 callers | 3 callers |' in text


def test_callers_call_at_the_same_time():
    """Each answer here takes three callers; one after the other they would wait for ever."""
    answers = []
    together = threading.Barrier(3, action=lambda: answers.append(1), timeout=60)
    with ThreadPoolExecutor(3) as pool:
        assert timing.answers_a_second([together.wait] * 3, 0, pool, least=5) > 0
    assert len(answers) == 1 + 5


def test_a_caller_that_fails_does_not_leave_the_others_waiting():
    callers = [lambda: 1 / 0, lambda: None]
    for order in (callers, callers[::-1]):
        with ThreadPoolExecutor(2) as pool, pytest.raises(ZeroDivisionError):
            timing.answers_a_second(order, 0, pool)


def test_modules_of_ones_own_are_imported_by_every_process(tmp_path):
    (tmp_path / 'mine.py').write_text(
        'from timm_res2net import Res2Net, Variant, register_variant\n'
        "register_variant('mine_12', Variant(Res2Net, dict(layers=(1, 1, 1, 1), channels=(16, 24, 32, 40)), 'mine'))\n")
    result, _ = benchmark(
        '--import', 'mine', '--ours', 'mine_12', '--parts', 'inference', '--precision', 'fp32', '--paths', '^eager$',
        '--batch', '1', cwd=tmp_path)
    assert result['inference']['milliseconds']['fp32']['eager']['1'] > 0 and not result['inference']['skipped']


def test_memory_that_cannot_be_measured_is_said(capsys):
    assert math.isnan(parts.peak_memory('nothing', 'cpu', 1, False))
    assert 'nothing: no memory measured' in capsys.readouterr().err


@pytest.mark.slow
def test_creation(tmp_path):
    result, text = benchmark('--parts', 'creation', cwd=tmp_path)
    assert all(v > 0 for v in result['creation'].values()) and len(result['creation']) == 4
    assert text.count('|') > 8


@pytest.mark.slow
@pytest.mark.skipif(not machine.has_bf16('cpu'), reason='takes more than ten minutes on a CPU without AVX-512')
def test_training_and_growth(tmp_path):
    result, text = benchmark('--parts', 'training', 'growth', cwd=tmp_path)
    rows = result['training']['rows']
    assert len(rows) == 6 and all(r['peak MB'] > 100 for r in rows.values())
    growth = result['growth']
    macs = [row['GMACs'] for row in growth['scale'].values()]
    assert max(macs) < 1.05 * min(macs)  # scales are compared at equal cost
    assert growth['resolution']['384']['GMACs'] > 2.5 * growth['resolution']['224']['GMACs']
    assert 'Growth with batch' in text


def round_of(*times):
    return [{'values': {'1': ms}, 'once': {'load s': 1., 'memory MB': 300.}} for ms in times]


def test_a_busy_machine_is_told_by_rounds_that_are_apart():
    found = {('fp32', 'eager'): round_of(40, 41, 43), ('fp32', 'prepack'): round_of(30, 34, 31)}
    summary = rounds._summary(found, 'milliseconds')
    assert summary['milliseconds']['fp32'] == {'eager': {'1': 41}, 'prepack': {'1': 31}}
    assert summary['busy'] == ['fp32 prepack: 13%']
    text = '\n'.join(tables.inference_tables({**summary, 'rounds': 3, 'skipped': {}}))
    assert 'the figures are no good' in text and 'fp32 prepack: 13%' in text
    quiet = rounds._summary({('fp32', 'eager'): round_of(40, 41, 42)}, 'milliseconds')
    text = '\n'.join(tables.inference_tables({**quiet, 'rounds': 3, 'skipped': {}}))
    assert quiet['busy'] == [] and 'apart by 5% at most' in text and 'no good' not in text


def test_a_batch_that_a_path_could_not_do_leaves_its_cell_empty(tmp_path):
    """As where a GPU has no memory for it."""
    result = {'environment': {'machine': 'a machine'}, 'inference': {
        'milliseconds': {'fp32': {'timm eager': {'8': 40., '32': 90.}, 'eager': {'8': 20.}}}, 'skipped': {'x': 'why'}}}
    text = tables.markdown(result)
    assert '| timm eager | 40.0 (1.00x) | 90.0 (1.00x) |' in text and '| eager | 20.0 (2.00x) |  |' in text
    tables.plot(result, tmp_path / 'plot.png')
    assert (tmp_path / 'plot.png').stat().st_size > 1000


def test_nothing_that_can_be_built(tmp_path):
    done = command('benchmark', '--parts', 'inference', '--paths', 'nothing', cwd=tmp_path)
    assert done.returncode == 2 and 'Traceback' not in done.stderr
    assert "error: --paths 'nothing' names none of the paths" in done.stderr
    assert not list(tmp_path.iterdir())


def test_wrong_arguments(tmp_path):
    (tmp_path / 'file').touch()
    for args, words in (
            (['--parts', 'nothing'], 'invalid choice'), (['--batch', '0'], '--batch 0 must be at least 1'),
            (['--seconds', '-1'], '--seconds -1.0'), (['--threads', '0'], '--threads 0'),
            (['--rounds', '0'], '--rounds 0'), (['--callers', '2', '0'], '--callers 0'),
            (['--device', 'cuda', '--parts', 'throughput'], '--parts throughput is measured on a CPU'),
            (['--device', 'cuda', '--rounds', '2'], '--rounds is of measurements on a CPU'),
            (['--device', 'cuda', '--precision', 'fp32'], '--precision is of measurements on a CPU'),
            (['--parts', 'throughput', '--paths', 'folded'], 'no path of that name serves several callers'),
            (['--paths', '('], '--paths ( is no regular expression'), (['--ours', 'nothing'], '--ours nothing'),
            (['--output', 'file'], 'file'), (['--output', 'file/results'], 'file')):
        done = here('benchmark', *args, cwd=tmp_path)
        assert done.returncode == 2 and words in done.stderr and not done.stdout, args
    done = here('benchmark', '--device', 'cuda', '--output', 'file', cwd=tmp_path)
    assert done.returncode == 2
    assert [p.name for p in tmp_path.iterdir()] == ['file']


def test_without_a_gpu(tmp_path):
    import torch
    if torch.cuda.is_available():
        pytest.skip('there is a GPU')
    done = here('benchmark', '--device', 'cuda', cwd=tmp_path)
    assert done.returncode == 2 and 'sees no GPU' in done.stderr and not list(tmp_path.iterdir())


def test_one_path_writes_into_the_current_folder(tmp_path):
    """What the help gives as an example."""
    args = module.EXAMPLE.split()[2:]
    done = command('benchmark', *args, '--seconds', '0.01', '--json', cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert list(result['inference']['milliseconds']['fp32']) == ['prepack']
    assert {'benchmark_cpu.json', 'benchmark_cpu.md'} <= {p.name for p in (tmp_path / 'results').iterdir()}
    assert json.loads((tmp_path / 'results/benchmark_cpu.json').read_text()) == result
    assert result['environment']['command'].startswith('timm-res2net benchmark --parts inference')


def test_the_choices_are_those_of_deploy():
    assert tuple(deploy.PRECISIONS) == module.PRECISIONS


def test_the_recorded_command_says_what_was_measured_not_where_it_lies(monkeypatch):
    """And what is pasted into a shell is the same command again."""
    args = argparse.Namespace(device='cpu', theirs='a', ours='b')
    for output in (['--output', '/some/where'], ['--output=/some/where'], ['--out', '/some/where'], []):
        words = ['timm-res2net', 'benchmark', '--paths', 'eager|folded', *output, '--batch', '1', '32', '--ours', 'b']
        monkeypatch.setattr('sys.argv', words)
        assert shlex.split(parts.environment(args)['command']) == [
            'timm-res2net', 'benchmark', '--paths', 'eager|folded', '--batch', '1', '32', '--ours', 'b']
