"""README and documentation: every block runs as written from an installed wheel, every link and path exists.

The wheel is in an environment of its own (helpers/wheel.py), the checkout is not on its path, and the folder is empty
but for what a page's reader has: pictures, a data set, a file of weights.
"""
import configparser
import json
import os
import re
import runpy
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
import timm
import torch
from loopback_files import LoopbackFiles
from paddle_files import PaddleFiles, paddle_bytes, paddle_network
from PIL import Image
from run_page import blocks
from timm.models import save_for_hf
from training_checkpoint import trained

import timm_res2net
from timm_res2net.commands import COMMANDS

ROOT = Path(__file__).resolve().parent.parent
DOCS = Path(timm_res2net.__file__).parent / 'docs'
PAGES = {p.name: p for p in [ROOT / 'README.md', *sorted(DOCS.glob('*.md'))]}
QUICK = ['faq.md', 'variants.md', 'your_own_variant.md']
ECOSYSTEM = ['detection_segmentation.md', 'integrations.md']
LONG_COMMANDS = {'benchmark', 'export'}
EXIT_CODES = {'evaluate': 1}  # noise is not the test images of which the accuracy is published
BASE = {*sys.stdlib_module_names, 'PIL', 'timm', 'timm_res2net', 'torch', 'torchvision'}  # what the package brings


@pytest.fixture(scope='module')
def paddle_file(tmp_path_factory):
    path = tmp_path_factory.mktemp('paddle') / 'Res2Net50_vd_26w_4s_pretrained.pdparams'
    path.write_bytes(paddle_bytes(paddle_network(path.name)))
    return path


@pytest.fixture(scope='module')
def mirror():
    with LoopbackFiles(PaddleFiles()) as server:
        yield server


@pytest.fixture(scope='module')
def timms(hub, tmp_path_factory):
    """Two networks of timm on the Hub, with random weights."""
    for name, repo in (('resnet50', 'resnet50.a1_in1k'), ('res2net50_26w_4s', 'res2net50_26w_4s.in1k')):
        folder = tmp_path_factory.mktemp(name)
        save_for_hf(timm.create_model(name), folder, safe_serialization=True)
        hub.put_repo(f'timm/{repo}', {p.name: p.read_bytes() for p in folder.iterdir()})


@pytest.fixture
def published(timms, hub_env, mirror, tmp_path, monkeypatch):
    """What timm has on the Hub of two networks, and PaddleClas's files, with random weights."""
    for name, value in dict(TIMM_RES2NET_MIRROR=mirror.url, TORCH_HOME=str(tmp_path / 'torch'),
                            HF_HUB_DOWNLOAD_TIMEOUT='60').items():
        monkeypatch.setitem(hub_env, name, value)


def held(folder):
    """Files in which a network lies somewhere."""
    state = timm.create_model('test_res2net_custom', num_classes=2).state_dict()
    backbone, student, teacher = (
        {f'{prefix}.{k}': v for k, v in state.items()} for prefix in ('backbone', 'student', 'teacher'))
    torch.save({'state_dict': {**backbone, 'neck.bias': torch.zeros(1)}}, folder / 'detector.pth')
    torch.save({**student, **teacher}, folder / 'distilled.pth')
    torch.save({'student': state, 'teacher': state}, folder / 'mean_teacher.pth')


@pytest.fixture
def place(paddle_file, tmp_path):
    """A folder that has what a reader has, and nothing of the checkout."""
    def pictures(folder, count, size):
        folder.mkdir(parents=True)
        for i in range(count):
            Image.effect_noise((size, size), 40 + i).convert('RGB').save(folder / f'{i}.png')

    place = tmp_path / 'place'
    place.mkdir()
    name = 'test_res2net_custom'
    trained(
        place / 'output/train/EXPERIMENT', timm.create_model(name, num_classes=2), name, metric=50., num_classes=2,
        data_dir='IMAGENET')
    held(place)
    (place / paddle_file.name).symlink_to(paddle_file)
    pictures(place / 'FOLDER', 8, 40)
    (place / 'FOLDER/0.png').rename(place / 'photo.jpg')
    for split in ('train', 'val'):
        for label in ('a', 'b'):
            pictures(place / 'IMAGENET' / split / label, 2, 80)
    for label in timm.get_pretrained_cfg('res2net23_32w_4s_cifar_custom').label_names:
        pictures(place / 'DATA/test' / label, 1, 32)
    return place


@pytest.fixture
def run_page(wheel, hub_env, place):
    """Run a page from the wheel; returns {command: output}."""
    def run(name):
        done = subprocess.run(
            [wheel.python, ROOT / 'tests/helpers/run_page.py', PAGES[name]], cwd=place,
            env={**wheel.environ(hub_env), 'HF_TOKEN': 'hf_user'}, capture_output=True, text=True)
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
def test_pages_with_other_libraries(name, run_page, published):
    run_page(name)


@pytest.mark.slow
@pytest.mark.skipif(not os.environ.get('TIMM_SCRIPTS'), reason="needs TIMM_SCRIPTS=FOLDER with timm's train.py")
def test_training_page(run_page):
    """The story of fine-tuning ends with the same accuracy on the Hub as in training, and a good one."""
    outputs = run_page('training.md')

    def top1(script):
        command = next(c for c in outputs if script in c and 'digits' in c)
        return float(re.search(r'(?:"top1":|top-1) ([\d.]+)', outputs[command]).group(1))
    assert top1('validate.py') >= 97
    assert top1('timm-res2net evaluate') == pytest.approx(top1('validate.py'), abs=0.01)


@pytest.mark.parametrize('command', [
    pytest.param(name, marks=[pytest.mark.slow] * (name in LONG_COMMANDS)) for name in COMMANDS])
def test_examples_of_commands(command, wheel, hub_env, place, published):
    """... and what help shows is the example."""
    example = import_module(f'timm_res2net.commands.{command.replace("-", "_")}').EXAMPLE
    assert example.startswith(f'timm-res2net {command}')
    env = {**wheel.environ(hub_env), 'HF_TOKEN': 'hf_user'}
    done = subprocess.run(['bash', '-euc', example], cwd=place, env=env, capture_output=True, text=True)
    assert done.returncode == EXIT_CODES.get(command, 0), done.stderr[-4000:]
    shown = subprocess.run(['timm-res2net', command, '--help'], cwd=place, env=env, capture_output=True, text=True)
    assert example in shown.stdout
    if command == 'autoload':
        subprocess.run(['timm-res2net', 'autoload', 'disable'], env=env, check=True)


def test_the_first_command():
    (command,) = re.findall(r'^python3 -m venv .*classify$', PAGES['README.md'].read_text(encoding='utf-8'), flags=re.M)
    assert command == (
        "python3 -m venv .venv && .venv/bin/pip install '.[demo]' && .venv/bin/timm-res2net classify")


@pytest.mark.parametrize('name', PAGES)
def test_what_a_block_needs_is_said_before_it(name):
    """By the extra that brings it, or by its own name."""
    config = configparser.ConfigParser()
    config.read(ROOT / 'setup.cfg', encoding='utf-8')
    extras = {k: v.split() for k, v in config['options.extras_require'].items()}
    packages = {'sklearn': 'scikit-learn', 'segmentation_models_pytorch': 'segmentation-models-pytorch'}
    lines = PAGES[name].read_text(encoding='utf-8').splitlines()
    for language, text, start in blocks(PAGES[name]):
        used = set(re.findall(r'^(?:from|import) (\w+)', text, flags=re.M)) - BASE if language == 'python' else set()
        said = '\n'.join(lines[:start])
        for package in (packages.get(module, module) for module in used):
            assert f'pip install {package}' in said or any(
                package in extras[extra] for extra in re.findall(r'[Ee]xtra\s+`(\w+)`', said)), package


@pytest.mark.parametrize('name', PAGES)
def test_extras_exist(name):
    extras = configparser.ConfigParser()
    extras.read(ROOT / 'setup.cfg', encoding='utf-8')
    named = re.findall(r'extras?\s+`(\w+)`', PAGES[name].read_text(encoding='utf-8'), flags=re.I)
    assert set(named) <= set(extras['options.extras_require'])


def test_nothing_promises_an_index_that_has_the_package():
    """`timm-res2net[EXTRA]` finds the package that is installed, the name alone would be asked for (version.SOURCE)."""
    texts = {p: p.read_text(encoding='utf-8') for p in [*PAGES.values(), *Path(DOCS.parent).rglob('*.py')]}
    assert timm_res2net.version.SOURCE != 'timm-res2net', 'now the pages may say it'
    assert [p for p, text in texts.items() if re.search(r"pip install '?timm[-_]res2net(?!\[)", text)] == []


def test_an_extra_can_be_added_to_an_installed_wheel_without_an_index(wheel, tmp_path):
    """What the messages advise: `pip install 'timm-res2net[EXTRA]'`; the libraries are here already."""
    done = subprocess.run(
        [wheel.python, '-m', 'pip', 'install', '--no-index', 'timm-res2net[deploy,figures]'], cwd=tmp_path,
        env=wheel.environ(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_site_documents_every_public_name():
    site = runpy.run_path(str(ROOT / '.github/build_site.py'))
    shown = {line.removeprefix('::: ') for text in site['reference']().values() for line in text.splitlines()}
    modules = {'__version__', 'deploy', 'hub', 'insight', 'res2net_custom'}
    assert {f'timm_res2net.{name}' for name in set(timm_res2net.__all__) - modules} <= shown
    assert {f'timm_res2net.deploy.{name}' for name in timm_res2net.deploy.__all__} <= shown
    menu = (ROOT / 'mkdocs.yml').read_text(encoding='utf-8')
    assert [page for page in [*site['reference'](), *(p.name for p in DOCS.glob('*.md'))] if page not in menu] == []


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
