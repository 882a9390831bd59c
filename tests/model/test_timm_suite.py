"""timm's own test-suite, from its source distribution, on every variant."""
import re
import subprocess
import sys
import tarfile

import pytest
import timm

import timm_res2net  # noqa: F401

# networks too deep for minutes: their 50-layer siblings go through these tests, they through the others
SELECT = (
    '_custom and not pretrained and not inference and not '
    '((res2net101 or res2net152 or res2net200 or res2next101 or resnext29_16c) and '
    '(backward or fx or torchscript or features or intermediate))')


@pytest.fixture
def suite(tmp_path):
    """Folder with timm's tests/test_models.py of the installed version, told that ours have intermediate features."""
    command = [sys.executable, '-m', 'pip', 'download', '--quiet', '--no-deps', '--no-binary', 'timm',
               f'timm=={timm.__version__}', '--dest', str(tmp_path)]
    subprocess.run(command, check=True)
    with tarfile.open(next(tmp_path.glob('timm-*.tar.gz'))) as archive:
        member = next(m for m in archive if m.name.endswith('/tests/test_models.py'))
        text = archive.extractfile(member).read().decode()
    text, edits = re.subn(r'^FEAT_INTER_FILTERS = \[', "FEAT_INTER_FILTERS = ['res2net_custom',", text, flags=re.M)
    assert edits == 1
    (tmp_path / 'test_models.py').write_text(text)
    (tmp_path / 'pytest.ini').write_text('[pytest]\n')
    return tmp_path


@pytest.mark.slow
def test_timm_suite(suite):
    result = subprocess.run(
        [sys.executable, '-m', 'pytest', '-p', 'timm_res2net', '-p', 'no:cacheprovider', '--timeout', '0', '-q',
         'test_models.py', '-k', SELECT, '-W', 'ignore', '--tb', 'short', '-rs', '--durations', '5'],
        cwd=suite, capture_output=True, text=True)
    print(result.stdout[-2000:])
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-2000:]
    # forward, default cfgs with tags, features and intermediates twice, backward, torchscript, fx forward and backward
    passed = int(re.search(r'(\d+) passed', result.stdout).group(1))
    assert passed >= 6 * len(timm.list_models(module='res2net_custom'))
