"""The rooms of the package: which may use which, what lies at the root, how long files and functions are."""
import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / 'timm_res2net'
ROOMS = {  # each with the rooms that it may use; `version` is everybody's
    'model': set(),
    'weights': {'model'},
    'hub': {'weights', 'model'},
    'official': {'weights', 'model'},
    'deploy': {'model'},
    'insight': {'model'},
    'demo': {'hub', 'deploy', 'insight', 'weights', 'model'},
    'commands': {'demo', 'hub', 'deploy', 'insight', 'weights', 'model'},
}
FILES = {
    p.relative_to(ROOT): ast.parse(p.read_text(encoding='utf-8')) for p in sorted(PACKAGE.rglob('*.py'))
    if p.name != '_autoload_hook.py'}  # it runs outside the package, where it is copied to


def module_of(path):
    """('timm_res2net', 'model', 'blocks') of timm_res2net/model/blocks.py; a folder's __init__.py is the folder."""
    return path.parts[:-1] if path.name == '__init__.py' else path.with_suffix('').parts


MODULES = {module_of(path): path for path in FILES}


def as_module(parts):
    """The module that a dotted name begins with: ('timm_res2net', 'model', 'blocks', 'Name') is in blocks."""
    while parts not in MODULES:
        parts = parts[:-1]
    return parts


def imports_of(path):
    """What a file imports: modules of ours, as tuples that `MODULES` has, and the first names of all others."""
    for node in ast.walk(FILES[path]):
        if isinstance(node, ast.Import):
            names = [tuple(alias.name.split('.')) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            start = path.parent.parts[:len(path.parent.parts) + 1 - node.level] if node.level else ()
            start += tuple(node.module.split('.')) if node.module else ()
            names = [(*start, alias.name) for alias in node.names]
        else:
            continue
        for name in names:
            yield as_module(name) if name[0] == PACKAGE.name else name[:1]


def room_of(module):
    return module[1] if len(module) > 1 else ''


def test_the_root_holds_a_few_files_and_the_rooms():
    assert {p.name for p in PACKAGE.iterdir() if p.name != '__pycache__'} == {
        '__init__.py', '__main__.py', 'py.typed', 'res2net_custom.py', 'version.py', 'docs', *ROOMS}


@pytest.mark.parametrize('room', ROOMS)
def test_rooms_use_only_those_below_them(room):
    wrong = [
        f'{path}: {".".join(used)}' for path in FILES if room_of(module_of(path)) == room for used in imports_of(path)
        if used[0] == PACKAGE.name and room_of(used) not in {room, 'version', *ROOMS[room]}]
    assert wrong == []


def test_the_package_uses_nothing_of_the_repository():
    outside = {'scripts', 'tests', *(p.stem for p in (ROOT / 'scripts').glob('*.py'))}
    assert [f'{path}: {used}' for path in FILES for used, *_ in imports_of(path) if used in outside] == []


@pytest.mark.parametrize('room', ROOMS)
def test_files_of_a_room_do_not_go_round_in_circles(room):
    """Python's own errors for a circle depend on who comes first."""
    left = {m: {u for u in imports_of(path) if room_of(u) == room} - {m} for m, path in MODULES.items()
            if room_of(m) == room}
    while ready := [m for m, used in left.items() if not used & left.keys()]:
        for module in ready:
            del left[module]
    assert left == {}


def body_lines(function):
    """Lines of a function beside its signature and docstring."""
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return function.end_lineno - body[0].lineno + 1 if body else 0


def test_files_and_functions_are_short():
    for folder in ('timm_res2net', 'scripts', 'tests/helpers'):
        for path in (ROOT / folder).rglob('*.py'):
            text = path.read_text(encoding='utf-8')
            assert text.count('\n') <= 300, path
            for node in ast.walk(ast.parse(text)):
                if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                    assert body_lines(node) <= 60, f'{path}: {node.name}'


def test_the_reader_of_imports_reads_them_all(monkeypatch):
    """Absolute, relative, of a module, of a name, inside a function."""
    path = Path('timm_res2net/hub/made_up.py')
    monkeypatch.setitem(FILES, path, ast.parse(
        'import os, timm_res2net.model.blocks\nfrom timm_res2net import deploy\nfrom ..weights.saving import WEIGHTS\n'
        'def f():\n    from . import push\n    from .. import insight, version\n    from ..model import Res2Net\n'))
    assert ['.'.join(used) for used in imports_of(path)] == [
        'os', 'timm_res2net.model.blocks', 'timm_res2net.deploy', 'timm_res2net.weights.saving',
        'timm_res2net.hub.push', 'timm_res2net.insight', 'timm_res2net.version', 'timm_res2net.model']
