"""Variants in every process that imports timm, for programs that cannot be told to import this package.

Off unless enabled, for one Python environment at a time. Python runs a line of a `.pth` file in site-packages when it
starts; that line puts a finder in front of the import system that waits for `import timm` and then imports
timm_res2net. A process that does not import timm pays for one small file being read, and nothing else changes in it.
Disable it before you uninstall the package: pip does not know these two files, and timm would then warn about them.
"""
import argparse
import os
import sysconfig
from pathlib import Path
from typing import Optional

from .command_line import Refusal

EXAMPLE = 'timm-res2net autoload enable'
HOOK = '_timm_res2net_autoload'


def site_packages() -> Path:
    """The folder of this environment whose `.pth` files Python reads when it starts."""
    return Path(sysconfig.get_path('purelib'))


def _files(folder: Path):
    return folder / f'{HOOK}.py', folder / f'{HOOK}.pth'


def enabled() -> bool:
    """Whether `enable` has been called for this environment."""
    return all(f.exists() for f in _files(site_packages()))


def enable(folder: Optional[Path] = None) -> Path:
    """Register the variants in every process of this environment that imports timm, from its next start on.

    Args:
        folder: site-packages of another environment.

    Returns:
        The `.pth` file that does it.

    Raises:
        OSError: The folder cannot be written to; nothing is left behind.
    """
    hook, line = _files(folder or site_packages())
    source = Path(__file__).with_name('_autoload_hook.py').read_text(encoding='utf-8')
    try:
        for path, text in ((hook, source), (line, f'import {HOOK}\n')):  # the line last: it needs the file
            part = path.with_suffix('.part')
            part.write_text(text, encoding='utf-8')
            os.replace(part, path)
    except OSError:
        disable(folder)
        raise
    return line


def disable(folder: Optional[Path] = None) -> bool:
    """Undo `enable`; returns whether there was anything to undo.

    Raises:
        OSError: The files cannot be removed.
    """
    hook, line = _files(folder or site_packages())
    existing = [f for f in (line, hook, hook.with_suffix('.part')) if f.exists()]
    for file in existing:
        file.unlink()
    return bool(existing)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('action', choices=('enable', 'disable', 'status'))


def run(args: argparse.Namespace) -> int:
    try:
        if args.action == 'enable':
            print(f'enabled by {enable()}: it counts for every process started from now on')
        elif args.action == 'disable':
            print('disabled' if disable() else 'was not enabled')
        else:
            print('enabled' if enabled() else 'not enabled')
    except OSError as error:
        raise Refusal(
            f'cannot change {site_packages()}: {error.strerror}. Use a virtual environment of your own, or import '
            'timm_res2net in the program', 1) from error
    return 0
