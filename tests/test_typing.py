"""The package's annotations under mypy, from inside and as a user of the public API meets them."""
import subprocess
import sys
from pathlib import Path

import pytest

import timm_res2net

ROOT = Path(__file__).resolve().parent.parent


def mypy(*args):
    return subprocess.run(
        [sys.executable, '-m', 'mypy', '--no-error-summary', *args], cwd=ROOT, capture_output=True, text=True)


def test_the_package_says_that_it_is_typed():
    assert (Path(timm_res2net.__file__).parent / 'py.typed').is_file()


@pytest.mark.slow
def test_mypy_on_the_package_and_on_its_use():
    """One run for both: most of it goes into reading torch."""
    use = ROOT / 'tests/helpers/typed_use.py'
    wrong = {i for i, line in enumerate(use.read_text().splitlines(), 1) if line.endswith('# error')}
    done = mypy('timm_res2net', str(use))
    found = [line for line in done.stdout.splitlines() if ' error: ' in line]
    assert [line for line in found if not line.startswith('tests/helpers/typed_use.py:')] == [], done.stderr
    assert wrong and {int(line.split(':')[1]) for line in found} == wrong, found
