"""The launcher: scripts run under `python -m timm_res2net` as under python, with the variants registered; commands."""
import builtins
import os
import re
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from timm_res2net import commands

PYTHON = [sys.executable]
LAUNCHER = [sys.executable, '-m', 'timm_res2net']


def run(command, cwd, **kwargs):
    env = {k: v for k, v in os.environ.items() if k not in ('RANK', 'WORLD_SIZE', 'MASTER_ADDR', 'MASTER_PORT')}
    env['PYTHONWARNINGS'] = 'ignore::FutureWarning'  # timm of one age warns on torch of another
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=300, **kwargs)


@pytest.fixture
def script(tmp_path):
    def write(text, name='script.py'):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(textwrap.dedent(text))
        return str(path)
    return write


def test_variants_are_registered_and_arguments_pass_through(script, tmp_path):
    path = script("""
        import sys
        import timm
        print(sys.argv, __name__, __file__)
        print(timm.create_model('test_res2net_custom', num_classes=3).num_classes)
        sys.exit(7)
    """)
    args = ['--lr', '0.1', '-h', '--model-kwargs', 'scale=4', 'a b', '--', '']
    result = run([*LAUNCHER, path, *args], tmp_path)
    assert result.stdout == f"{[path, *args]} __main__ {path}\n3\n"
    assert (result.returncode, result.stderr) == (7, '')


ENDINGS = {
    'finishes': 'print("done")',
    'exit': 'import sys; sys.exit()',
    'exit_code': 'import sys; sys.exit(3)',
    'exit_message': 'import sys; sys.exit("gone wrong")',
    'exit_bool': 'raise SystemExit(True)',
    'exception': 'def deep():\n    raise ValueError("inner")\n\ndeep()\n',
    'cause': 'try:\n    1 / 0\nexcept ZeroDivisionError as error:\n    raise KeyError("outer") from error\n',
    'context': 'try:\n    [][1]\nexcept IndexError:\n    undefined\n',
    'group': 'raise ExceptionGroup("two", [ValueError(1), TypeError(2)])',
    'syntax': 'print("never")\nif True print(1)\n',
    'indentation': 'if True:\nprint(1)\n',
    # what torch imports decides with which code python ends then, so both import the same
    'interrupt': 'import timm_res2net\n\ndef wait():\n    raise KeyboardInterrupt\n\nwait()\n',
    'import': 'import a_module_that_is_not_there',
    'import_deep': 'import json\njson.loads("{")\n',
    'hook': 'import sys\nsys.excepthook = lambda kind, error, tb: print("hook", kind, error)\n1 / 0\n',
    'runpy': 'import runpy\nrunpy.run_path(__file__ + ".missing")\n',
    'atexit': 'import atexit\natexit.register(print, "bye")\n1 / 0\n',
    'thread': 'import threading\nt = threading.Thread(target=lambda: print("thread"))\nt.start()\n',
    'empty': '',
}
if not hasattr(builtins, 'ExceptionGroup'):
    del ENDINGS['group']


QUICK = ('exit_message', 'cause', 'syntax', 'interrupt')


@pytest.mark.parametrize('name', [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in ENDINGS])
def test_a_script_ends_as_it_does_under_python(name, script, tmp_path):
    path = script(ENDINGS[name])
    expected, result = (run([*command, path], tmp_path) for command in (PYTHON, LAUNCHER))
    assert result.stderr == expected.stderr
    assert (result.returncode, result.stdout) == (expected.returncode, expected.stdout)
    assert 'timm_res2net' not in result.stderr
    if name == 'interrupt':
        assert result.returncode in (-signal.SIGINT, 1)


def test_the_installed_command_shows_the_scripts_own_traceback(script, tmp_path):
    path = script('def f():\n    1 / 0\n\nf()\n')
    program = Path(sys.executable).with_name('timm-res2net')
    assert run([program, path], tmp_path).stderr == run([*PYTHON, path], tmp_path).stderr


@pytest.mark.parametrize('missing', ['no/folder/nowhere.py', pytest.param('/nowhere.py', marks=pytest.mark.slow)])
def test_a_missing_script(missing, tmp_path):
    expected, result = (run([*command, missing], tmp_path) for command in (PYTHON, LAUNCHER))
    assert result.returncode == expected.returncode == 2
    assert (result.stdout, result.stderr) == (expected.stdout, expected.stderr)


@pytest.mark.parametrize('name, says', [
    ('train.py', r'error: there is no script train\.py here\ntrain\.py of timm.s is in its repository.*git clone https://'),
    ('scripts/validate.py', r".*: can't open file .*\nvalidate\.py of timm.s is in its repository.*git clone https://"),
    ('mine.py', r'error: there is no script mine\.py here \(those of timm are at https://'),
    ('clasify', "error: 'clasify' is neither a command nor a script: did you mean classify"),
])
def test_what_is_neither_a_command_nor_a_script(name, says, tmp_path):
    result = run([*LAUNCHER, name], tmp_path)
    assert result.returncode == 2 and result.stdout == '' and re.match(says, result.stderr), result.stderr


@pytest.mark.parametrize('arguments', [
    ['--help'], ['--version'], [], ['recipes'], ['docs'], ['autoload', 'status'], ['nonsense'],
    *([name, '--help'] for name in commands.COMMANDS)], ids=' '.join)
def test_help_and_the_like_need_no_torch(arguments, tmp_path):
    """They answer at once, since the import that takes seconds is left out."""
    code = ('import atexit, runpy, sys\natexit.register(lambda: print("torch" in sys.modules, file=sys.stderr))\n'
            f'sys.argv = ["timm-res2net", *{arguments!r}]\n'
            'from timm_res2net.__main__ import main\nsys.exit(main())')
    result = run([*PYTHON, '-c', code], tmp_path)
    assert result.stderr.splitlines()[-1] == 'False'
    if '--help' in arguments[1:]:
        assert result.returncode == 0 and f'example: timm-res2net {arguments[0]}' in result.stdout


def test_usage(tmp_path):
    result = run(LAUNCHER, tmp_path)
    assert result.returncode == 2 and result.stdout == '' and 'SCRIPT' in result.stderr
    result = run([*LAUNCHER, '--help'], tmp_path)
    assert result.returncode == 0 and result.stderr == '' and 'SCRIPT' in result.stdout
    for name, words in commands.COMMANDS.items():
        assert re.search(f'{name} +{words}', result.stdout)


def test_every_module_of_commands_is_a_command():
    modules = {p.stem.replace('_', '-') for p in Path(commands.__file__).parent.glob('[!_]*.py')}
    shared = {'command-line', 'models', 'checks', 'pictures', 'training'}
    assert set(commands.COMMANDS) == modules - shared and shared <= modules


def test_a_command_and_a_script_of_its_name(script, tmp_path):
    result = run([*LAUNCHER, 'autoload'], tmp_path)
    assert result.returncode == 2 and result.stderr.startswith('usage: timm-res2net autoload')
    script('print("a script")', 'autoload')
    result = run([*LAUNCHER, 'autoload', 'status'], tmp_path)
    assert result.returncode == 0 and 'enabled' in result.stdout, result.stderr
    assert run([*LAUNCHER, './autoload'], tmp_path).stdout == 'a script\n'


def test_siblings_are_imported_from_the_folder_of_the_script(script, tmp_path):
    script('value = "sibling"', 'folder/helper_of_the_script.py')
    script('raise ImportError("from the current folder")', 'helper_of_the_script.py')
    path = script('import sys, helper_of_the_script; print(helper_of_the_script.value, sys.path[0])', 'folder/main.py')
    link = tmp_path / 'link.py'
    link.symlink_to(path)
    for target in ('folder/main.py', 'link.py'):
        expected, result = (run([*command, target], tmp_path) for command in (PYTHON, LAUNCHER))
        assert result.stdout == expected.stdout == f'sibling {tmp_path / "folder"}\n'
        assert (result.returncode, result.stderr) == (0, '')


@pytest.mark.slow
def test_multiprocessing_spawn_inside_a_script(script, tmp_path):
    path = script("""
        import multiprocessing

        def work(i):
            return i * 10

        if __name__ == '__main__':
            with multiprocessing.get_context('spawn').Pool(2) as pool:
                print(pool.map(work, range(3)))
    """)
    result = run([*LAUNCHER, path], tmp_path)
    assert (result.stdout, result.stderr, result.returncode) == ('[0, 10, 20]\n', '', 0)


@pytest.mark.slow
def test_under_torchrun(script, tmp_path):
    path = script("""
        import os
        import sys
        import timm
        import torch
        import torch.distributed as dist

        dist.init_process_group('gloo')
        model = timm.create_model('test_res2net_custom', num_classes=2)
        total = torch.tensor(float(dist.get_rank() + 1))
        dist.all_reduce(total)
        with open(f'rank{dist.get_rank()}', 'w') as file:
            print(dist.get_world_size(), int(total), model.num_classes, *sys.argv[1:], file=file)
        dist.destroy_process_group()
        sys.exit(int(sys.argv[-1]))
    """)
    torchrun = [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc_per_node=2',
                '-m', 'timm_res2net', path]
    result = run([*torchrun, '--epochs', '0'], tmp_path)
    assert result.returncode == 0, result.stderr
    for rank in range(2):
        assert (tmp_path / f'rank{rank}').read_text() == '2 3 2 --epochs 0\n'
    result = run([*torchrun, '5'], tmp_path)
    assert result.returncode == 1
    assert 'exitcode  : 5' in result.stderr
