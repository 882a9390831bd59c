"""The commands of `timm-res2net`, which `python -m timm_res2net` is too: a thin file each.

A command is a row of `COMMANDS` and a module of this folder by its name (`-` becomes `_`) with a docstring for its
help, an `EXAMPLE`, `add_arguments(parser)` and `run(args) -> exit code`. What needs torch is imported in `run`, so that
help answers at once.
"""
import os
import signal
import sys
import threading
import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Iterator, List, Optional

COMMANDS = {
    'list': 'variants and their weights: sizes, accuracies, licenses',
    'inspect': 'what a checkpoint is, without building a model',
    'classify': 'what a model says of images',
    'evaluate': 'accuracy on a folder of images',
    'gradcam': 'where models look for a class',
    'receptive-field': 'what units of a model see of an image',
    'demo': 'a page to look inside a model, in the browser',
    'convert': 'weights of any layout into a folder that timm loads',
    'export': 'a model as a file for fast inference, checked',
    'push': 'a model to the Hugging Face Hub',
    'benchmark': 'how fast all the ways to run a model are here',
    'recipes': "recipes for timm's train.py",
    'autoload': 'the variants in every process of this environment that imports timm',
    'docs': 'the pages of the documentation',
}
LIGHT = ('recipes', 'autoload', 'docs')  # need no torch


def own_arguments() -> Optional[List[str]]:
    """The arguments of this process if it is `timm-res2net` or `python -m timm_res2net`, else None."""
    program = sys.argv[0] if sys.argv else ''  # an embedded interpreter may have none
    if Path(program).stem == 'timm-res2net':
        return sys.argv[1:]
    started = sys.orig_argv
    if program == '-m' and '-m' in started and started[started.index('-m') + 1] == 'timm_res2net':
        return started[started.index('-m') + 2:]  # while python looks for the module
    return None


def needs_no_torch() -> bool:
    """Whether this process is a command that answers without torch, and so without registering anything."""
    arguments = own_arguments()
    if arguments is None:
        return False
    first = arguments[0] if arguments else '--help'
    if first in COMMANDS:
        return first in LIGHT or not {'-h', '--help'}.isdisjoint(arguments)
    return first in ('-h', '--help', '--version') or not Path(first).exists()  # or it is a script


@contextmanager
def importing() -> Iterator[None]:
    """While torch and timm are imported: a command says "stopped" on Ctrl-C and nothing of what they warn of.

    What is deprecated between them (timm 1.0.21 on torch 2.14) is nothing that a person at a command can mend.
    """
    if (own_arguments() or [''])[0] not in COMMANDS:
        yield
        return
    usual = threading.current_thread() is threading.main_thread() and (
        signal.getsignal(signal.SIGINT) is signal.default_int_handler)
    if usual:  # a KeyboardInterrupt would be lost, or made another error, in modules that are half imported
        signal.signal(signal.SIGINT, _stop)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore', FutureWarning)
            yield
    finally:
        if usual:
            signal.signal(signal.SIGINT, signal.default_int_handler)


def _stop(*_: Any) -> None:
    """End at once, since nothing has been begun."""
    try:
        os.write(2, b'stopped\n')
    finally:  # stderr may be closed
        os._exit(130)
