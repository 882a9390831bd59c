"""README and documentation: every block of Python and shell runs as written, every link and path exists."""
import json
import os
import pickle
import re
import subprocess
import sys
from pathlib import Path

import pytest
import timm
from literal_networks import Foreign
from PIL import Image
from run_page import blocks
from timm.models import save_for_hf

import timm_res2net

ROOT = Path(__file__).resolve().parent.parent
DOCS = Path(timm_res2net.__file__).parent / 'docs'
PAGES = {p.name: p for p in [ROOT / 'README.md', *sorted(DOCS.glob('*.md'))]}
QUICK = ['faq.md', 'variants.md', 'your_own_variant.md']
ECOSYSTEM = ['detection_segmentation.md', 'integrations.md']


@pytest.fixture(scope='module')
def paddle_file(tmp_path_factory):
    weights = Foreign('paddle', layers=(3, 4, 6, 3), planes=(64, 128, 256, 512), base_width=26, stem='deep',
                      stem_width=32, avg_down=True, classes=1000).weights
    path = tmp_path_factory.mktemp('paddle') / 'Res2Net50_vd_26w_4s_pretrained.pdparams'
    path.write_bytes(pickle.dumps({k: v.numpy() for k, v in weights.items()}, protocol=2))
    return path


@pytest.fixture
def published(hub, tmp_path):
    """What timm has on the Hub of two networks, with random weights."""
    for name, repo in (('resnet50', 'resnet50.a1_in1k'), ('res2net50_26w_4s', 'res2net50_26w_4s.in1k')):
        save_for_hf(timm.create_model(name), tmp_path / name, safe_serialization=True)
        hub.put_repo(f'timm/{repo}', {p.name: p.read_bytes() for p in (tmp_path / name).iterdir()})


@pytest.fixture
def run_page(hub_env, paddle_file, tmp_path):
    """Run a page in a folder that has what its reader has; returns {command: output}."""
    def pictures(folder, count, size):
        folder.mkdir(parents=True)
        for i in range(count):
            Image.effect_noise((size, size), 40 + i).convert('RGB').save(folder / f'{i}.png')

    def run(name):
        place = tmp_path / 'place'
        place.mkdir()
        (place / 'scripts').symlink_to(ROOT / 'scripts')
        (place / paddle_file.name).symlink_to(paddle_file)
        pictures(place / 'FOLDER', 8, 40)
        (place / 'FOLDER/0.png').rename(place / 'photo.jpg')
        for split in ('train', 'val'):
            for label in ('a', 'b'):
                pictures(place / 'IMAGENET' / split / label, 2, 80)
        env = {**hub_env, 'HF_TOKEN': 'hf_user', 'PATH': f'{Path(sys.executable).parent}:{os.environ["PATH"]}'}
        for key in ('RANK', 'WORLD_SIZE', 'MASTER_ADDR', 'MASTER_PORT'):
            env.pop(key, None)
        done = subprocess.run(
            [sys.executable, str(ROOT / 'tests/helpers/run_page.py'), str(PAGES[name])], cwd=place, env=env,
            capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-4000:]
        return json.loads(done.stdout.splitlines()[-1])
    return run


@pytest.mark.parametrize('name', QUICK)
def test_quick_pages(name, run_page):
    run_page(name)


@pytest.mark.slow
@pytest.mark.parametrize('name', sorted(set(PAGES) - set(QUICK) - set(ECOSYSTEM) - {'training.md'}))
def test_pages(name, run_page, published):
    run_page(name)


@pytest.mark.ecosystem
@pytest.mark.parametrize('name', ECOSYSTEM)
def test_pages_with_other_libraries(name, run_page):
    run_page(name)


@pytest.mark.slow
@pytest.mark.skipif(not os.environ.get('TIMM_SCRIPTS'), reason="needs TIMM_SCRIPTS=FOLDER with timm's train.py")
def test_training_page(run_page):
    """The story of fine-tuning ends with the same accuracy on the Hub as in training, and a good one."""
    outputs = run_page('training.md')

    def top1(script):
        command = next(c for c in outputs if script in c and 'digits' in c)
        return float(re.search(r'"top1": ([\d.]+)', outputs[command]).group(1))
    assert top1('validate.py') >= 97
    assert top1('scripts/evaluate.py') == pytest.approx(top1('validate.py'), abs=0.01)


@pytest.mark.parametrize('name', PAGES)
def test_every_block_is_one_that_runs(name):
    """No block escapes by its language: text blocks hold no code."""
    text = PAGES[name].read_text(encoding='utf-8')
    assert len(re.findall(r'^```', text, flags=re.M)) == 2 * len(blocks(PAGES[name]))


@pytest.mark.parametrize('name', PAGES)
def test_links_and_paths_exist(name):
    text = PAGES[name].read_text(encoding='utf-8')
    links = [link for link in re.findall(r'\]\(([^)#]+)\)', text) if '://' not in link]
    assert [link for link in links if not (PAGES[name].parent / link).exists()] == []
    paths = set(re.findall(r'\b(?:scripts|timm_res2net|tests|images)/[\w./-]+\.\w+', text))
    assert [p for p in paths if not (ROOT / p).exists()] == []


def test_the_readme_leads_to_every_page():
    readme = PAGES['README.md'].read_text(encoding='utf-8')
    assert [name for name in PAGES if name != 'README.md' and f'docs/{name}' not in readme] == []


def test_every_library_in_the_table_has_its_test():
    """... and every test with another library its row."""
    table = PAGES['integrations.md'].read_text(encoding='utf-8').split('<!-- libraries: begin -->')[1]
    named = re.findall(r'`([\w.:/]+)` \|$', table, flags=re.M)
    assert len(named) > 20
    for test in named:
        file, _, function = test.rpartition('::') if '::' in test else ('', '', test)
        file, function = (test, 'test_') if test.endswith('.py') else (file or 'test_ecosystem.py', function)
        assert f'def {function}' in (ROOT / 'tests' / file).read_text(encoding='utf-8'), test
    tests = re.findall(r'^def (test_\w+)', (ROOT / 'tests/test_ecosystem.py').read_text(encoding='utf-8'), flags=re.M)
    assert set(tests) <= set(named)
