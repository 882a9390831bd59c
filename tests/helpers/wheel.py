"""The package as its users have it: the wheel, in an environment of its own and without the checkout."""
import dataclasses
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Dict

import torch

ROOT = Path(__file__).resolve().parents[2]
NEEDED = ('pyproject.toml', 'setup.cfg', 'setup.py', 'README.md', 'LICENSE', 'MANIFEST.in')


@dataclasses.dataclass(frozen=True)
class Installed:
    """An environment with the wheel; its libraries are those of the environment that runs the tests."""
    python: Path
    env: Dict[str, str]  # of a process that a user starts there


def source(folder: Path) -> Path:
    """A copy of all that the wheel is built from: what a build leaves behind does not reach the checkout."""
    shutil.copytree(ROOT / 'timm_res2net', folder / 'timm_res2net', ignore=shutil.ignore_patterns('__pycache__'))
    for name in NEEDED:
        shutil.copy(ROOT / name, folder / name)
    return folder


def build(folder: Path, source: Path) -> Path:
    """The wheel, built with the setuptools that are here."""
    command = [sys.executable, '-m', 'pip', 'wheel', '--quiet', '--no-deps', '--no-index', '--no-build-isolation']
    subprocess.run([*command, '--wheel-dir', str(folder), str(source)], check=True)
    (wheel,) = folder.glob('*.whl')
    return wheel


def install(folder: Path, wheel: Path) -> Installed:
    """The wheel in a new environment, where the libraries of this one come after it on the path."""
    subprocess.run([sys.executable, '-m', 'venv', str(folder)], check=True)
    python = folder / 'bin' / 'python'
    subprocess.run([python, '-m', 'pip', 'install', '--quiet', '--no-deps', '--no-index', str(wheel)], check=True)
    ask = [python, '-c', 'import sysconfig; print(sysconfig.get_path("purelib"))']
    site = Path(subprocess.run(ask, check=True, capture_output=True, text=True).stdout.strip())
    libraries = dict.fromkeys([sysconfig.get_path('purelib'), str(Path(torch.__file__).parents[1])])
    # a folder named in a .pth gets no .pth of its own read: an editable checkout there stays out, and so would coverage
    measure = "import os; 'COVERAGE_PROCESS_START' in os.environ and __import__('coverage').process_startup()"
    (site / 'libraries.pth').write_text('\n'.join([*libraries, measure]) + '\n')
    torchrun = folder / 'bin' / 'torchrun'
    torchrun.write_text(f'#!/bin/sh\nexec {python} -m torch.distributed.run "$@"\n')
    torchrun.chmod(0o755)
    gone = ('PYTHONPATH', 'PYTHONHOME', 'VIRTUAL_ENV', 'RANK', 'WORLD_SIZE', 'MASTER_ADDR', 'MASTER_PORT')
    env = {k: v for k, v in os.environ.items() if k not in gone}
    return Installed(python, {**env, 'PATH': f'{folder / "bin"}:{os.environ["PATH"]}'})
