"""The pictures: in the repository, in the README with words for who cannot see them, and drawn again as they are."""
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip('matplotlib')
pytest.importorskip('skimage')
pytest.importorskip('pytorch_grad_cam')
ROOT = Path(__file__).resolve().parents[2]
NAMES = ('figures', 'math', 'table1', 'accuracy_cost', 'receptive_fields')
SHOWN = (*NAMES, 'demo')  # which tests/demo/test_page.py takes of the page


def draw(folder, *names, script=ROOT / 'scripts/make_figures.py'):
    command = [sys.executable, str(script), '--only', *names, '--output', str(folder)]
    return subprocess.run(command, capture_output=True, text=True)


def test_every_picture_is_small_and_on_white():
    assert {p.stem for p in (ROOT / 'images').iterdir()} == set(SHOWN)
    for name in SHOWN:
        path = ROOT / f'images/{name}.png'
        assert path.stat().st_size < 300e3, name
        with Image.open(path) as picture:
            assert picture.width >= 1000, name
            pixels = np.asarray(picture.convert('RGB'))
        border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
        assert border.min() > 245, name  # nothing cut off, and its own ground on a dark page


def test_the_readme_shows_every_picture_with_words():
    shown = re.findall(r'!\[([^]]*)\]\(images/(\w+)\.png\)', (ROOT / 'README.md').read_text(encoding='utf-8'))
    assert {name for _, name in shown} == set(SHOWN)
    for words, name in shown:
        assert len(words) > 60, name


def test_drawn_twice_the_bytes_are_the_same(tmp_path):
    for folder in ('a', 'b'):
        done = draw(tmp_path / folder, 'math')
        assert done.returncode == 0, done.stderr
    assert (tmp_path / 'a/math.png').read_bytes() == (tmp_path / 'b/math.png').read_bytes()


@pytest.mark.slow
def test_drawn_again_they_are_those_of_the_repository(tmp_path):
    for folder in ('a', 'b'):
        done = draw(tmp_path / folder, *NAMES)
        assert done.returncode == 0, done.stderr
    for name in NAMES:
        assert (tmp_path / f'a/{name}.png').read_bytes() == (tmp_path / f'b/{name}.png').read_bytes(), name
        with Image.open(tmp_path / f'a/{name}.png') as new, Image.open(ROOT / f'images/{name}.png') as old:
            assert new.size == old.size, name
            a, b = (np.asarray(i.convert('RGB'), dtype=int) for i in (new, old))
        # another processor or library draws other last bits, and then chooses other colours of the palette
        assert (abs(a - b).max(-1) > 32).mean() < 0.01, name


def test_without_the_evidence_it_says_who_writes_it(tmp_path):
    (tmp_path / 'scripts').mkdir()
    for name in ('make_figures.py', 'diagrams.py'):
        (tmp_path / 'scripts' / name).write_text((ROOT / 'scripts' / name).read_text())
    done = draw(tmp_path / 'out', 'accuracy_cost', script=tmp_path / 'scripts/make_figures.py')
    assert done.returncode == 1 and 'scripts/evidence.py' in done.stderr and 'Traceback' not in done.stderr
    assert not list((tmp_path / 'out').iterdir())
