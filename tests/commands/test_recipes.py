"""`timm-res2net recipes`: all of them, one of them, and a file that train.py reads."""
import json
from functools import partial
from pathlib import Path

import yaml
from run_command import here

import timm_res2net
from timm_res2net.model.variants import VARIANTS

recipes = partial(here, 'recipes')
FILES = {p.stem: p for p in (Path(timm_res2net.__file__).parent / 'docs/recipes').iterdir()}


def test_list():
    listed = json.loads(recipes('--json').stdout)
    assert set(listed) == set(FILES) and 'cifar100_res2net23' in listed
    assert 'ImageNet-1k' in listed['imagenet_res2net50_paper'] and '(not run)' in listed['imagenet_res2net50_paper']
    assert '(not run)' not in listed['cifar100_res2net23']
    assert recipes().stdout.splitlines()[0].startswith('cifar100_evidence  ')


def test_each_says_what_it_trains_and_what_it_reaches():
    for name, path in FILES.items():
        done = recipes(name)
        assert (done.returncode, done.stdout, done.stderr) == (0, path.read_text(encoding='utf-8'), '')
        recipe = yaml.safe_load(done.stdout)
        assert recipe['model'] in VARIANTS and recipe['epochs'] > 0
        assert 'scripts/recipes' not in done.stdout
        assert '#' in done.stdout.splitlines()[0]


def test_written_to_a_file(tmp_path):
    done = recipes('cifar100_evidence.yaml', '--output', tmp_path / 'mine.yaml')
    assert done.returncode == 0 and done.stdout == ''
    assert f'timm-res2net train.py --config {tmp_path / "mine.yaml"} --data-dir DATA' in done.stderr
    assert (tmp_path / 'mine.yaml').read_bytes() == FILES['cifar100_evidence'].read_bytes()
    again = recipes('cifar100_res2net23', '--output', tmp_path / 'mine.yaml')
    assert again.returncode == 2 and '--overwrite' in again.stderr
    assert (tmp_path / 'mine.yaml').read_bytes() == FILES['cifar100_evidence'].read_bytes()
    assert recipes('cifar100_res2net23', '--output', tmp_path / 'mine.yaml', '--overwrite').returncode == 0
    assert [p.name for p in tmp_path.iterdir()] == ['mine.yaml']
