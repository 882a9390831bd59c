"""The package as pip sees it: metadata, wheel, source distribution, installation outside the checkout."""
import configparser
import email
import importlib
import importlib.metadata
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
import wheel as wheels
import yaml

import timm_res2net
from timm_res2net.hub import model_card
from timm_res2net.version import REPOSITORY, SOURCE

ROOT = Path(__file__).resolve().parent.parent


def files(folder):
    """Paths of a folder's files from the root, without the caches that tools leave."""
    paths = (p.relative_to(ROOT) for p in (ROOT / folder).rglob('*') if p.is_file())
    return {p.as_posix() for p in paths if not any(part.startswith(('.', '__pycache__')) for part in p.parts)}


PACKAGE = files('timm_res2net')


def test_version_has_one_source():
    assert importlib.metadata.version('timm-res2net') == timm_res2net.__version__


def test_public_names_exist_and_are_documented():
    for name in timm_res2net.__all__:
        assert getattr(timm_res2net, name) is not None
        if name != '__version__':
            assert getattr(timm_res2net, name).__doc__, name


def metadata():
    config = configparser.ConfigParser(interpolation=None)
    config.read(ROOT / 'setup.cfg', encoding='utf-8')
    return config['metadata']


def test_citation_says_what_the_metadata_say():
    citation = yaml.safe_load((ROOT / 'CITATION.cff').read_text(encoding='utf-8'))
    assert citation['version'] == timm_res2net.__version__
    assert citation['license'] == metadata()['license']
    assert [a['name'] for a in citation['authors']] == [metadata()['author']]
    assert citation.get('repository-code', '') == REPOSITORY


def test_badges_say_what_the_metadata_say(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / 'scripts')
    script = importlib.import_module('badges')
    readme = (ROOT / 'README.md').read_text(encoding='utf-8')
    for name, svg in script.badges().items():
        assert (script.FOLDER / f'{name}.svg').read_text(encoding='utf-8') == svg, 'run python scripts/badges.py'
        label, value = re.search('aria-label="(.*?): (.*?)"', svg).groups()
        assert f'![{label.capitalize()}{":" if name == "license" else ""} {value}](.github/badges/{name}.svg)' in readme


def from_address(tmp_path, address):
    """Metadata of a wheel that is built with that as the repository's public address."""
    source = wheels.source(tmp_path / 'source')
    version = source / 'timm_res2net/version.py'
    text, count = re.subn(r"^REPOSITORY = '.*?'", f"REPOSITORY = '{address}'", version.read_text(), flags=re.M)
    assert count == 1
    version.write_text(text)
    wheel = wheels.build(tmp_path / 'dist', source)
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (n for n in archive.namelist() if n.endswith('.dist-info/METADATA'))
        return email.message_from_bytes(archive.read(name))


def links(markdown):
    return re.findall(r'!?\[[^]]*\]\(([^)]+)\)', markdown)


def test_one_address_makes_all_addresses(tmp_path):
    """A package page shows images and links of the README, and leads to the source."""
    address = 'https://git.example/people/res2net'
    built = from_address(tmp_path, address)
    page, readme = built.get_payload(decode=True).decode(), (ROOT / 'README.md').read_text(encoding='utf-8')
    assert [link for link in links(page) if not link.startswith('https://')] == []
    assert [link.replace(f'{address}/raw/main/', '').replace(f'{address}/blob/main/', '') for link in links(page)] == (
        links(readme))
    images = [link for link in links(page) if link.endswith(('.png', '.svg'))]
    assert images and all(link.startswith(f'{address}/raw/main/') for link in images)
    assert f'Source, {address}' in built.get_all('Project-URL')


def test_no_address_is_made_up(tmp_path):
    built = from_address(tmp_path, '')
    assert built.get_all('Project-URL') is None and built['Author'] == metadata()['author']
    assert built.get_payload(decode=True).decode().strip() == (ROOT / 'README.md').read_text(encoding='utf-8').strip()


@pytest.mark.parametrize('source', ['', 'git+https://git.example/people/res2net', 'timm-res2net'])
def test_a_card_says_how_to_install_if_there_is_a_way(source, monkeypatch):
    assert model_card.SOURCE == SOURCE
    monkeypatch.setattr(model_card, 'SOURCE', source)
    config = {'architecture': 'res2net50_26w_4s_custom', 'num_classes': 0, 'pretrained_cfg': {'input_size': (3, 8, 8)}}
    card = model_card.make_card('alice/net', config, 1)
    assert 'Needs the Python package timm-res2net' in card
    assert re.findall("pip install '(.*?)'", card) == ([source] if source else [])
    assert 'timm-res2net' not in model_card.make_card('alice/net', config, 1, needs_import=False).split('---')[2]


@pytest.fixture(scope='module')
def dist(tmp_path_factory):
    """Folder with the wheel and the source distribution, built in isolation."""
    folder = tmp_path_factory.mktemp('dist')
    subprocess.run([sys.executable, '-m', 'build', '--outdir', str(folder), str(ROOT)], check=True)
    return folder


@pytest.mark.slow
def test_wheel_carries_the_package_and_its_license(dist):
    (wheel,) = dist.glob('*.whl')
    names = set(zipfile.ZipFile(wheel).namelist())
    assert names >= PACKAGE
    assert {n.split('/')[0] for n in names} == {'timm_res2net', f'timm_res2net-{timm_res2net.__version__}.dist-info'}
    assert any(n.endswith('licenses/LICENSE') for n in names)


@pytest.mark.slow
def test_sdist_carries_what_a_reader_needs(dist):
    (sdist,) = dist.glob('*.tar.gz')
    with tarfile.open(sdist) as archive:
        names = {m.name.split('/', 1)[1] for m in archive.getmembers() if m.isfile()}
    wanted = {'README.md', 'LICENSE', 'setup.cfg', 'setup.py', 'pyproject.toml', 'mkdocs.yml'} | PACKAGE
    for folder in ('scripts', 'tests', 'images'):
        wanted |= files(folder)
    assert wanted <= names, wanted - names


@pytest.mark.slow
def test_wheel_works_outside_the_checkout(dist, tmp_path):
    (wheel,) = dist.glob('*.whl')
    install = [sys.executable, '-m', 'pip', 'install', '--quiet', '--no-deps', '--target', str(tmp_path), str(wheel)]
    subprocess.run(install, check=True)
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "import timm, torch, timm_res2net\n"
        f"assert timm_res2net.__file__.startswith({str(tmp_path)!r}), timm_res2net.__file__\n"
        "model = timm.create_model('test_res2net_custom', num_classes=7).eval()\n"
        "print(tuple(model(torch.zeros(1, 3, 64, 64)).shape))")
    result = subprocess.run([sys.executable, '-c', code], cwd=tmp_path, capture_output=True, text=True)
    assert result.stdout.strip() == '(1, 7)', result.stderr
