"""The scripts around training: digits as images, the table of evidence."""
import json
import sys
from pathlib import Path

import pytest

from timm_res2net.insight import cost

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / 'scripts/results'


def test_digits_are_written_as_images(tmp_path, monkeypatch, capsys):
    pytest.importorskip('sklearn')
    monkeypatch.syspath_prepend(ROOT / 'scripts')
    from write_digits import main
    monkeypatch.setattr(sys, 'argv', ['write_digits.py', str(tmp_path / 'digits')])
    assert main() == 0
    assert len(list((tmp_path / 'digits/train').rglob('*.png'))) == 1437
    assert len(list((tmp_path / 'digits/test').rglob('*.png'))) == 360
    assert main() == 2
    assert capsys.readouterr().err.startswith('error: ')


LOG = """\
Train: 0 [ 300/390 ( 77%)]  Loss: 4.01 (4.20)  Time: 0.2s,  640/s  (0.900s,  426/s)  LR: 1.0e-01  Data: 0.008 (0.007)
Train: 0 [ 389/390 (100%)]  Loss: 4.01 (4.20)  Time: 0.2s,  640/s  (0.300s,  426/s)  LR: 1.0e-01  Data: 0.008 (0.007)
Test (EMA): [  19/19]  Time: 0.460 (0.529)  Loss:   2.154 ( 2.250)  Acc@1:  58.600 ( 60.810)  Acc@5:  92.000 ( 87.850)
Train: 1 [ 389/390 (100%)]  Loss: 3.01 (3.20)  Time: 0.1s, 1280/s  (0.900s,  142/s)  LR: 1.0e-01  Data: 0.008 (0.007)
Train: 1 [ 389/390 (100%)]  Loss: 3.01 (3.20)  Time: 0.1s, 1280/s  (0.400s,  320/s)  LR: 1.0e-01  Data: 0.008 (0.007)
Train: 2 [ 389/390 (100%)]  Loss: 2.41 (2.90)  Time: 0.3s,  426/s  (0.600s,  213/s)  LR: 1.0e-01  Data: 0.008 (0.007)
"""  # as train.py prints it; epoch 1 was begun again


def test_the_time_of_a_training_is_that_of_its_epochs(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / 'scripts')
    from ship_weights import time_of
    assert time_of(LOG) == {'epochs': 3, 'minutes': 8, 'median_seconds_an_epoch': 156}  # 390 * (0.3 + 0.4 + 0.6) / 60


@pytest.fixture
def recorded():
    """The runs of which the table in the repository was made."""
    return json.loads((RESULTS / 'evidence_runs.json').read_text())


@pytest.fixture
def evidence(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / 'scripts')
    import evidence
    return evidence


def test_the_evidence_table_compares_equal_costs(evidence, recorded):
    from equal_cost import MODEL, ROWS, run_name
    parameters, macs = cost(MODEL, **ROWS['scale 4'][0])
    for name, (arguments, _) in ROWS.items():
        p, m = cost(MODEL, **arguments)
        assert abs(p / parameters - 1) <= 0.02, name
        assert 0.9 <= m / macs <= 1.02 and ('SE' in name or m / macs >= 0.98), name
        run = recorded['runs'].get(run_name(name, 0))
        assert run is None or (run['parameters'], run['macs']) == (p, m), name


def test_the_evidence_table_is_that_of_its_runs(evidence, recorded):
    as_json, text = evidence.written(recorded)
    assert (RESULTS / 'evidence_cifar100.json').read_text() == as_json
    assert (RESULTS / 'evidence_cifar100.md').read_text() == text


def test_the_evidence_table_has_all_that_was_run_and_names_what_was_not(evidence, recorded):
    for seed, (one, four) in enumerate(((60., 61.), (62., 64.), (64., 67.))):
        recorded['runs'][f'scale_1-seed{seed}']['top1'] = one
        recorded['runs'][f'scale_4-seed{seed}']['top1'] = four
    del recorded['runs']['scale_8-seed1']
    results = evidence.collect(recorded)
    rows = {row['network']: row for row in results['rows']}
    assert rows['scale 8']['seeds'] == [0, 2] and len(rows['scale 8']['top1']) == 2
    assert 'scale 8, seed 1' in results['not_run']
    text = evidence.markdown(results)
    assert '| 62.00 ± 2.00 |' in text and 'scale 8, seed 1' in text
    # differences of 1, 2 and 3: the error of their mean is 1 / sqrt(3)
    assert 'scale 4 minus scale 1 (plain bottleneck): +2.00 points, standard error 0.58' in text


def test_the_evidence_table_refuses_runs_that_are_not_the_plans(evidence, recorded):
    for change in ({'epochs': 3}, {'seed': 7}, {'arguments': {'scale': 2, 'base_width': 60}}):
        runs = {**recorded['runs'], 'scale_8-seed0': {**recorded['runs']['scale_8-seed0'], **change}}
        with pytest.raises(ValueError, match=f'^scale_8-seed0 is not the plan.*{next(iter(change))}'):
            evidence.collect({**recorded, 'runs': runs})
    with pytest.raises(ValueError, match='no run of scale 4'):
        evidence.collect({**recorded, 'runs': {}})
