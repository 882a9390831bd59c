"""The tables that a script writes into pages are what the script says."""
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize('name', ['commands', 'variants', 'arguments', 'weights', 'speed'])
def test_table_is_current(name, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / 'scripts')
    script = importlib.import_module('page_tables')
    assert script.parts(name)[1] == script.TABLES[name][1](), f'stale: run python scripts/page_tables.py {name} --write'
