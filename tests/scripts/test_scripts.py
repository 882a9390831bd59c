"""The scripts around training: evaluation, digits as images, the table of evidence."""
import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest
import timm
import torch
from PIL import Image
from timm.data import create_transform, resolve_data_config

import timm_res2net
from timm_res2net import deploy

ROOT = Path(__file__).resolve().parents[2]


def run(script, *args):
    command = [sys.executable, str(ROOT / 'scripts' / script), *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True)


def test_evaluate_says_what_data_it_needs(tmp_path):
    (weights,) = timm_res2net.list_pretrained('*.cifar100')
    classes = weights.label_names
    model = timm.create_model('test_res2net_custom', num_classes=100)
    model.pretrained_cfg['label_names'] = classes
    timm_res2net.save_folder(model, tmp_path / 'model')
    name = f'local-dir:{tmp_path / "model"}'
    done = run('evaluate.py', tmp_path, '--model', name)
    assert done.returncode == 2 and 'there is no folder' in done.stderr
    for folder in [*classes[:-1], 'wrong']:
        (tmp_path / 'test' / folder).mkdir(parents=True)
    image = Image.new('RGB', (8, 8))
    image.save(tmp_path / 'test' / 'apple' / 'a.png')
    done = run('evaluate.py', tmp_path, '--model', name)  # timm numbers the folders that hold images
    assert done.returncode == 2 and '1 folders of images' in done.stderr
    for folder in (tmp_path / 'test').iterdir():
        image.save(folder / 'a.png')
    done = run('evaluate.py', tmp_path, '--model', name)
    assert done.returncode == 2 and "'worm'" in done.stderr and 'Traceback' not in done.stderr


@pytest.mark.slow
def test_evaluate_measures(tmp_path):
    """One picture for each of twenty classes, of a model, of its folder and of two exported files."""
    model = timm.create_model('test_res2net_custom', num_classes=20).eval()
    timm_res2net.save_folder(model, tmp_path / 'model')
    transform = create_transform(**resolve_data_config({}, model=model))
    generator = torch.Generator().manual_seed(0)
    right = torch.zeros(2)
    for i in range(20):
        (tmp_path / 'test' / f'{i:02d}').mkdir(parents=True)
        pixels = (torch.rand(160, 160, 3, generator=generator) * 255).byte()
        image = Image.fromarray(pixels.numpy())
        image.save(tmp_path / 'test' / f'{i:02d}' / 'image.png')
        with torch.inference_mode():
            top = model(transform(image)[None])[0].topk(5)[1].tolist()
        right += torch.tensor([top[0] == i, i in top])
    assert right[1] > 0
    images = torch.zeros(2, 3, 160, 160, dtype=torch.uint8)
    deploy.export(model, tmp_path / 'model.pt2', 'torch', images=images)
    deploy.export(model, tmp_path / 'pixels.pt2', 'torch', images=images, pixels_in=True)
    for name in (f'local-dir:{tmp_path / "model"}', tmp_path / 'model.pt2', tmp_path / 'pixels.pt2'):
        done = run('evaluate.py', tmp_path, '--model', name)
        assert done.returncode == 0, done.stderr
        answer = json.loads(done.stdout)
        assert (answer['top1'], answer['top5'], answer['images']) == (*(5 * right).tolist(), 20)


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
