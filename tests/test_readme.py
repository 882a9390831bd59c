"""The README's Python blocks run as written, with the network and the big files replaced by local ones."""
import re
from pathlib import Path

import pytest
import timm
import torch

import timm_res2net

README = (Path(__file__).resolve().parent.parent / 'README.md').read_text(encoding='utf-8')
BLOCKS = re.findall(r'^```python\n(.*?)^```', README, flags=re.M | re.S)


def offline(block):
    return any(word in block for word in ('hub', '.pdparams', 'FOLDER'))


@pytest.mark.parametrize('block', [b for b in BLOCKS if not offline(b)])
def test_python_block_runs(block):
    exec(compile(block, 'README.md', 'exec'), {'timm': timm, 'timm_res2net': timm_res2net, 'torch': torch})


@pytest.mark.parametrize('block', [b for b in BLOCKS if offline(b)])
def test_python_block_uses_names_that_exist(block):
    """What these need is not at hand here; the tests of checkpoints and of the Hub run the functions themselves."""
    compile(block, 'README.md', 'exec')
    for imported in re.findall(r'^from timm_res2net import (.*)$', block, flags=re.M):
        for name in imported.split(', '):
            assert name in timm_res2net.__all__


def test_paths_named_in_the_readme_exist():
    root = Path(__file__).resolve().parent.parent
    paths = set(re.findall(r'\b(?:scripts|timm_res2net|tests|images)/[\w./-]+\.\w+', README))
    assert paths
    assert [p for p in paths if not (root / p).exists()] == []
