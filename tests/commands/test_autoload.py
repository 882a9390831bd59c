"""The opt-in hook that registers the variants when timm is imported, in an environment of its own."""
import json
import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from timm_res2net.commands import autoload
from timm_res2net.commands.command_line import run_command

ROOT = Path(__file__).resolve().parents[2]
VARIANT = 'test_res2net_custom'


class Environment:
    """A virtual environment that borrows the packages of this one, but reads no `.pth` file of it.

    PYTHONPATH is borrowed with them instead of handed on, so that what borrows nothing sees nothing.
    """

    def __init__(self, folder):
        self.variables = {k: v for k, v in os.environ.items() if k != 'PYTHONPATH'}
        venv.create(folder, with_pip=False)
        self.python = next(p for p in (folder / 'bin/python', folder / 'Scripts/python.exe') if p.exists())
        self.site = Path(self.run('import sysconfig; print(sysconfig.get_path("purelib"))').stdout.strip())
        path = [p for p in os.environ.get('PYTHONPATH', '').split(os.pathsep) if p]
        borrowed = path + [p for p in sys.path if p.endswith(('site-packages', 'dist-packages'))]
        (self.site / 'borrowed.pth').write_text('\n'.join([*borrowed, str(ROOT)]) + '\n')

    def run(self, code, *options, **env):
        return subprocess.run(
            [self.python, *options, '-c', code], capture_output=True, text=True, env={**self.variables, **env}, cwd='/')

    def autoload(self, action):
        return subprocess.run(
            [self.python, '-m', 'timm_res2net', 'autoload', action], capture_output=True, text=True,
            env=self.variables, cwd='/')


@pytest.fixture
def environment(tmp_path):
    return Environment(tmp_path / 'env')


ASK = f"import timm; print(timm.is_model('{VARIANT}'))"
MODULES = 'import sys, json; print(json.dumps(sorted(sys.modules)))'


@pytest.mark.slow
def test_enable_use_disable(environment):
    assert environment.run(ASK).stdout == 'False\n'
    assert environment.autoload('status').stdout == 'not enabled\n'
    done = environment.autoload('enable')
    assert done.returncode == 0 and 'enabled by' in done.stdout, done.stderr
    assert environment.autoload('status').stdout == 'enabled\n'
    # asking whether timm is there, as transformers does, must not use the hook up; nor does importing ours first
    look = "import importlib.util; assert importlib.util.find_spec('timm').loader.get_source('timm'); "
    assert environment.run(look + ASK).stdout == 'True\n'
    again = 'import timm_res2net, timm.data, importlib; importlib.reload(timm); '
    assert environment.run(again + ASK).stdout == 'True\n'
    spawned = ("import multiprocessing as mp, timm\nif __name__ == '__main__':\n"
               f"    with mp.get_context('spawn').Pool(1) as pool: print(pool.apply(timm.is_model, ('{VARIANT}',)))")
    script = environment.site / 'spawned.py'
    script.write_text(spawned)
    done = subprocess.run([environment.python, script], capture_output=True, text=True, env=environment.variables)
    assert done.stdout == 'True\n', done.stderr
    assert environment.autoload('disable').stdout == 'disabled\n'
    assert environment.autoload('disable').stdout == 'was not enabled\n'
    assert environment.run(ASK).stdout == 'False\n'
    assert not list(environment.site.glob('_timm_res2net*'))


def test_process_without_timm_gets_one_small_module(environment):
    before = json.loads(environment.run(MODULES).stdout)
    autoload.enable(environment.site)
    for options in ((), ('-I',), ('-E',)):
        done = environment.run(MODULES, *options)
        assert set(json.loads(done.stdout)) - set(before) == {autoload.HOOK}
        assert done.stderr == ''


def test_a_package_that_is_gone_or_broken_warns_and_leaves_timm_alone(environment):
    """Stand-ins for timm and for the package: what counts is the import system, which is the real one."""
    autoload.enable(environment.site)
    (environment.site / 'borrowed.pth').write_text('')
    (environment.site / 'timm').mkdir()
    (environment.site / 'timm/__init__.py').write_text('here = True\n')
    done = environment.run('import timm; print(timm.here)')
    assert done.returncode == 0 and done.stdout == 'True\n'
    assert 'not registered: ModuleNotFoundError' in done.stderr and 'autoload disable' in done.stderr
    files = sorted(str(f) for f in environment.site.glob('_timm_res2net*') if f.is_file())
    assert len(files) == 2 and f'delete {files[1]} and {files[0]}' in done.stderr  # as the command is gone too
    (environment.site / 'timm_res2net.py').write_text('1 / 0\n')
    done = environment.run('import timm; print(timm.here)')
    assert done.stdout == 'True\n' and 'ZeroDivisionError' in done.stderr
    (environment.site / 'timm/__init__.py').write_text('raise ImportError("broken timm")\n')
    done = environment.run('import timm')
    assert done.returncode == 1 and 'broken timm' in done.stderr and 'timm_res2net' not in done.stderr.splitlines()[-1]
    (environment.site / 'timm/__init__.py').unlink()
    (environment.site / 'timm').rmdir()
    done = environment.run('import timm')
    assert done.returncode == 1 and "No module named 'timm'" in done.stderr


def test_a_folder_that_cannot_be_written_to(tmp_path, monkeypatch, capsys):
    missing = tmp_path / 'missing'
    with pytest.raises(OSError):
        autoload.enable(missing)
    assert not missing.exists()
    monkeypatch.setattr(autoload, 'site_packages', lambda: missing)
    assert run_command('autoload', ['enable']) == 1
    assert str(missing) in capsys.readouterr().err
