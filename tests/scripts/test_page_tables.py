"""The tables that a script writes into pages are what the script says."""
import ast
import configparser
import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize('name', ['commands', 'variants', 'arguments', 'weights', 'shipped', 'speed'])
def test_table_is_current(name, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / 'scripts')
    script = importlib.import_module('page_tables')
    assert script.parts(name)[1] == script.TABLES[name][1](), f'stale: run python scripts/page_tables.py {name} --write'


def functions(path):
    return {node.name for node in ast.parse(path.read_text(encoding='utf-8')).body if isinstance(node, ast.FunctionDef)}


def test_libraries_are_those_of_the_script_and_of_the_tests(monkeypatch):
    """All of the table but its versions, which are those of the last run with the libraries."""
    monkeypatch.syspath_prepend(ROOT / 'scripts')
    rows = importlib.import_module('libraries_table').ROWS
    lines = importlib.import_module('page_tables').parts('libraries')[1].splitlines()[2:]
    cells = [[cell.strip(' `') for cell in line.strip('|').split(' | ')] for line in lines]
    assert [(library, what, test) for library, _, what, test in cells] == [
        (library, what.strip('`'), test) for library, what, test in rows]
    versions = {(library, version) for library, version, *_ in cells}
    assert len(versions) == len(dict(versions)) and all(re.fullmatch(r'[\d.]+', v) for _, v in versions)
    named = set()
    for _, _, test in rows:
        file, _, name = test.partition('::') if '.py' in test else ('test_ecosystem.py', '', test)
        assert (ROOT / 'tests' / file).is_file() and (not name or name in functions(ROOT / 'tests' / file)), test
        named |= {name} if file == 'test_ecosystem.py' else set()
    assert named == {name for name in functions(ROOT / 'tests/test_ecosystem.py') if name.startswith('test_')}
    config = configparser.ConfigParser()
    config.read(ROOT / 'setup.cfg')
    assert set(config['options.extras_require']['ecosystem'].split()) <= {library for library, _, _ in rows}
