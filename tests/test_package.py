"""The package as pip sees it: metadata, wheel, source distribution, installation outside the checkout."""
import importlib.metadata
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import timm_res2net

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
    wanted = {'README.md', 'LICENSE', 'setup.cfg', 'pyproject.toml'} | PACKAGE
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
