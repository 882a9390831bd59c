"""The scripts around training: digits as images, the table of evidence."""
import csv
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def run(script, *args):
    command = [sys.executable, str(ROOT / 'scripts' / script), *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True)


def test_digits_are_written_as_images(tmp_path):
    pytest.importorskip('sklearn')
    assert run('write_digits.py', tmp_path / 'digits').returncode == 0
    assert len(list((tmp_path / 'digits/train').rglob('*.png'))) == 1437
    assert len(list((tmp_path / 'digits/test').rglob('*.png'))) == 360
    again = run('write_digits.py', tmp_path / 'digits')
    assert again.returncode == 2 and 'Traceback' not in again.stderr


def test_the_evidence_table_compares_equal_costs(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / 'scripts')
    import evidence
    parameters, macs = evidence.cost(evidence.MODEL, **evidence.ROWS['scale 4'][0])
    for name, (kwargs, _) in evidence.ROWS.items():
        if 'SE' not in name:
            p, m = evidence.cost(evidence.MODEL, **kwargs)
            assert abs(p / parameters - 1) <= 0.02 and abs(m / macs - 1) <= 0.02, name


def test_the_evidence_table_counts_finished_runs_only(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / 'scripts')
    import evidence
    for seed, epochs, top1 in ((0, 10, 60.), (1, 10, 62.), (2, 4, 99.)):
        folder = tmp_path / f'scale_4-seed{seed}'
        folder.mkdir()
        with open(folder / 'summary.csv', 'w') as file:
            writer = csv.writer(file)
            writer.writerow(['epoch', 'eval_top1'])
            writer.writerows([e, top1 - epochs + 1 + e] for e in range(epochs))
        (folder / 'seconds.txt').write_text('60\n120\n')
    (row,) = evidence.collect(tmp_path)['rows']
    assert (row['top1'], row['seconds']) == ([60, 62], [180, 180])
    text = evidence.markdown(evidence.collect(tmp_path), 'command')
    assert '61.00 ± 1.41' in text and '| 3, 3 |' in text
