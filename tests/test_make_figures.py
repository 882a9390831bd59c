"""The pictures of the README: drawn again they are the same, small, and described."""
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
IMAGES = sorted((ROOT / 'images').glob('*.png'))
NAMES = {'figures', 'math', 'table1', 'accuracy_cost', 'receptive_fields'}


def draw(folder):
    command = [sys.executable, str(ROOT / 'scripts/make_figures.py'), '--output', str(folder)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return {p.stem: p.read_bytes() for p in folder.glob('*.png')}


@pytest.mark.slow
def test_a_rerun_changes_nothing(tmp_path):
    first, second = draw(tmp_path / 'a'), draw(tmp_path / 'b')
    assert set(first) == NAMES
    assert [name for name in first if first[name] != second[name]] == []


def test_every_picture_is_there_small_and_opaque():
    assert {p.stem for p in IMAGES} >= NAMES
    for path in IMAGES:
        assert path.stat().st_size < 300e3, path
        with Image.open(path) as image:
            assert image.width >= 1000
            assert 'transparency' not in image.info  # legible on dark pages, too
            corner = image.convert('RGB').getpixel((0, 0))
            assert corner == (255, 255, 255)


def test_the_readme_shows_them_with_words_for_those_who_cannot_see_them():
    readme = (ROOT / 'README.md').read_text(encoding='utf-8')
    shown = dict(re.findall(r'!\[([^\]]*)\]\(images/(\w+)\.png\)', readme))
    assert set(shown.values()) >= NAMES
    assert min(len(text) for text in shown) > 60
