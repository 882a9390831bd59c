"""The tables that scripts write into pages are what these scripts say."""
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize('name', ['variants_table', 'speed_table'])
def test_table_is_current(name, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / 'scripts')
    script = importlib.import_module(name)
    text = script.PAGE.read_text(encoding='utf-8')
    begin, end = importlib.import_module('page_table').marks(script.NAME)
    assert text.split(begin)[1].split(end)[0] == script.table(), f'stale: run python scripts/{name}.py --write'
