"""The scripts around training: digits as images, the table of evidence."""
import json
import sys
from pathlib import Path

import pytest
import timm
import torch
import yaml
from PIL import Image

from timm_res2net.insight import cost
from timm_res2net.weights.comparing import randomize

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


def test_a_run_made_apart_is_said_to_be_and_is_not_paired(evidence, recorded):
    """Its crops are others than those that runs of its seed saw together, and its time is that of another machine."""
    where = {'device': 'a CPU', 'date': '2026-12-01', 'versions': {'torch': '3'}, 'command': 'train', 'minutes': 99}
    run = recorded['runs']['scale_8-seed1']
    recorded['runs']['scale_8-seed1'] = {**{k: v for k, v in run.items() if k != 'milliseconds_a_step'}, **where}
    before = next(row for row in evidence.collect(recorded)['rows'] if row['network'] == 'scale 8')
    assert before['top1'][1] == run['top1'] and list(before['apart']) == [1] and len(before['milliseconds_a_step']) == 2
    results = evidence.collect(recorded)
    assert {d['network']: len(d['points']) for d in results['differences'] if d['minus'] == 'scale 4'} == {'scale 8': 2}
    text = evidence.markdown(results)
    assert 'scale 8, seed 1: 99 minutes, 2026-12-01, a CPU, torch 3:\n\n```sh\ntrain\n```' in text


@pytest.fixture
def finished(evidence, tmp_path):
    """What train.py leaves of a run of the plan, images of 100 classes and the network's top-1 and top-5 on them."""
    from equal_cost import MODEL, ROWS
    arguments = ROWS['scale 4 with SE'][0]
    model = randomize(timm.create_model(MODEL, num_classes=100, **arguments))
    config = timm.data.resolve_model_data_config(model)
    mean, std = (torch.tensor(config[key]) for key in ('mean', 'std'))
    pixels = torch.randint(0, 256, (200, 32, 32, 3), dtype=torch.uint8)
    with torch.no_grad():
        ranks = model(((pixels / 255 - mean) / std).permute(0, 3, 1, 2)).topk(5)[1]
    label = torch.cat([torch.arange(100), ranks[100:160, 0], ranks[160:, 4]])  # many of them right
    for i in range(200):
        folder = tmp_path / f'data/test/{label[i]:02}'
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels[i].numpy()).save(folder / f'{i}.png')
    right = ranks == label[:, None]
    run = tmp_path / 'run'
    run.mkdir()
    recipe = yaml.safe_load(evidence.RECIPE_FILE.read_text())
    (run / 'args.yaml').write_text(yaml.safe_dump({**recipe, 'model_kwargs': arguments, 'seed': 0}))
    torch.save({'epoch': 29, 'arch': MODEL, 'state_dict': model.state_dict()}, run / 'last.pth.tar')
    (tmp_path / 'log').write_text(LOG)
    return run, [100 * r.any(1).float().mean().item() for r in (right[:, :1], right)]


def test_a_run_of_train_py_becomes_one_of_the_evidence(finished, evidence, recorded, tmp_path, monkeypatch):
    import record_evidence
    run, accuracy = finished
    recorded['runs'].pop('scale_4_with_SE-seed0', None)
    (tmp_path / 'evidence_runs.json').write_text(json.dumps(recorded))
    monkeypatch.setattr(record_evidence, 'RESULTS', tmp_path)
    monkeypatch.setattr(sys, 'argv', [
        'record_evidence.py', str(run), str(tmp_path / 'data'), '--log', str(tmp_path / 'log'), '--command', 'train'])
    record_evidence.main()
    after = json.loads((tmp_path / 'evidence_runs.json').read_text())
    added = after['runs']['scale_4_with_SE-seed0']
    assert [added['top1'], added['top5']] == pytest.approx(accuracy) and accuracy[0] > 25
    assert added['minutes'] == 8 and added['mean_loss_of_the_last_epoch'] == 2.9
    row = next(row for row in evidence.collect(after)['rows'] if row['network'] == 'scale 4 with SE')
    assert row['apart'][0]['command'] == 'train' and row['top1'] == [added['top1']]
    del after['runs']['scale_4_with_SE-seed0']
    assert after == recorded
    with pytest.raises(ValueError, match='scale_4_with_SE-seed0 has been run'):
        record_evidence.main()


@pytest.mark.parametrize('change, epoch, said', [
    ({'seed': 1}, 29, 'with seed 1 is no run of the plan'),
    ({'model_kwargs': {'scale': 2}}, 29, "{'scale': 2} with seed 0 is no run of the plan"),
    ({'lr': 0.1}, 29, r"the run is not the recipe, .*\{'lr': \(0.1, 0.2\)\}"),
    ({}, 28, 'the run has finished 29 of 30 epochs, resume it first')])
def test_a_run_that_is_not_the_plans_is_no_evidence(change, epoch, said, finished, tmp_path):
    import record_evidence
    run, _ = finished
    args = yaml.safe_load((run / 'args.yaml').read_text())
    (run / 'args.yaml').write_text(yaml.safe_dump({**args, **change}))
    torch.save({**torch.load(run / 'last.pth.tar'), 'epoch': epoch}, run / 'last.pth.tar')
    with pytest.raises(ValueError, match=said):
        record_evidence.result(run, tmp_path / 'data', LOG)
