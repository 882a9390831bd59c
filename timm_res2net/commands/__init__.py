"""The commands of `python -m timm_res2net`: a thin file each, argparse in, a call, words out.

A command is a module of this folder with `main(arguments) -> exit code`, and a row of `COMMANDS`; nothing is imported
before its command is called.
"""
from importlib import import_module
from typing import Sequence

COMMANDS = {
    'autoload': 'register the variants in every process of this environment that imports timm',
}


def run(command: str, arguments: Sequence[str]) -> int:
    """Run one of `COMMANDS` and return its exit code."""
    return import_module(f'{__name__}.{command}').main(arguments)
