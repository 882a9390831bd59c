"""The package as its users have it: the wheel, in an environment of its own and without the checkout."""
import dataclasses
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Dict, Mapping

import torch

ROOT = Path(__file__).resolve().parents[2]
NEEDED = ('pyproject.toml', 'setup.cfg', 'setup.py', 'README.md', 'LICENSE', 'MANIFEST.in')


@dataclasses.dataclass(frozen=True)
class Installed:
    """An environment with the wheel; its libraries are those of the environment that runs the tests."""
    folder: Path

    @property
    def python(self) -> Path:
        return self.folder / 'bin' / 'python'

    def environ(self, base: Mapping[str, str] = os.environ) -> Dict[str, str]:
        """Environment variables of a process that its user starts."""
        gone = ('PYTHONPATH', 'PYTHONHOME', 'VIRTUAL_ENV', 'RANK', 'WORLD_SIZE', 'MASTER_ADDR', 'MASTER_PORT')
        path = f'{self.folder / "bin"}:{os.environ["PATH"]}'
        return {**{k: v for k, v in base.items() if k not in gone}, 'PATH': path}


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
    subprocess.run([sys.executable, '-m', 'venv', '--without-pip', str(folder)], check=True)  # theirs is taken
    python = folder / 'bin' / 'python'
    pip = [sys.executable, '-m', 'pip', '--quiet', '--python', str(python)]
    subprocess.run([*pip, 'install', '--no-deps', '--no-index', str(wheel)], check=True)
    ask = [python, '-c', 'import sysconfig; print(sysconfig.get_path("purelib"))']
    site = Path(subprocess.run(ask, check=True, capture_output=True, text=True).stdout.strip())
    libraries = dict.fromkeys([sysconfig.get_path('purelib'), str(Path(torch.__file__).parents[1])])
    # a folder named in a .pth gets no .pth of its own read: an editable checkout there stays out, and so would coverage
    measure = "import os; 'COVERAGE_PROCESS_START' in os.environ and __import__('coverage').process_startup()"
    (site / 'libraries.pth').write_text('\n'.join([*libraries, measure]) + '\n')
    torchrun = folder / 'bin' / 'torchrun'
    torchrun.write_text(f'#!/bin/sh\nexec {python} -m torch.distributed.run "$@"\n')
    torchrun.chmod(0o755)
    return Installed(folder)
