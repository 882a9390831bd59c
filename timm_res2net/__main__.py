"""`timm-res2net`, and `python -m timm_res2net`: a command of this package, or any script with the variants registered.

A script runs as if by `python SCRIPT ARGS...`: its `__main__`, its arguments, its folder first on the import path, its
exit code and its own traceback. Under torchrun: `torchrun --nproc_per_node=N -m timm_res2net SCRIPT [ARGS...]`.
"""
import difflib
import os
import runpy
import sys

from timm_res2net import commands  # and registers the variants, if they are needed
from timm_res2net.commands.command_line import ending_quietly, run_command
from timm_res2net.version import __version__

TIMM = 'https://github.com/huggingface/pytorch-image-models'
_PROGRAM = sys.argv[0]
SCRIPTS = ('train.py', 'validate.py', 'inference.py', 'benchmark.py', 'bulk_runner.py', 'onnx_export.py',
           'onnx_validate.py', 'avg_checkpoints.py', 'clean_checkpoint.py')
USAGE = '\n'.join([
    'usage: timm-res2net COMMAND [ARGS...]',
    "       timm-res2net SCRIPT.py [ARGS...]   timm's train.py, validate.py, .. with the Res2Net variants registered",
    '',
    *(f'  {name:16} {words}' for name, words in commands.COMMANDS.items()),
    '',
    'timm-res2net COMMAND --help says more; --version',
    'example: timm-res2net classify photo.jpg',
])


def _own_traceback(tb):
    """The part of a traceback that starts in the script: without the frames of this file and of runpy."""
    launchers = (_PROGRAM, __file__, runpy.__file__, '<frozen runpy>')
    while tb is not None and tb.tb_frame.f_code.co_filename in launchers:
        tb = tb.tb_next
    return tb


def _excepthook(kind, error, tb):
    """Print an uncaught exception as if the script had been python's own argument."""
    tb = _own_traceback(tb)
    sys.__excepthook__(kind, error.with_traceback(tb), tb)


def _refused(script: str, error: OSError) -> int:
    """Say why there is nothing to run, as python does where a path is given; 2, as python's."""
    name = os.path.basename(script)
    hint = f"{name} of timm's is in its repository, not in its package: git clone {TIMM}" if name in SCRIPTS else ''
    if name != script:
        print(f"{sys.executable}: can't open file {os.path.abspath(script)!r}: [Errno {error.errno}] {error.strerror}",
              file=sys.stderr)
    elif name.endswith('.py'):
        print(f"error: there is no script {script} here{'' if hint else f' (those of timm are at {TIMM})'}",
              file=sys.stderr)
    else:
        near = difflib.get_close_matches(script, commands.COMMANDS, 1)
        meant = f'did you mean {near[0]}? ' if near else ''
        print(f'error: {script!r} is neither a command nor a script: {meant}There are {", ".join(commands.COMMANDS)}',
              file=sys.stderr)
    if hint:
        print(hint, file=sys.stderr)
    return 2


def run_script(script: str) -> int:
    """Run a script with the arguments that follow it; 2 if it does not exist, as python does."""
    try:
        with open(script, 'rb'):
            pass
    except OSError as error:
        if not os.path.isdir(script):
            return _refused(script, error)
    sys.argv = sys.argv[1:]
    sys.path[0] = os.path.dirname(os.path.realpath(script))  # in place of what `-m` or the command puts there
    sys.excepthook = _excepthook
    runpy.run_path(script, run_name='__main__')
    return 0


def main() -> int:
    """Run the command or the script that `sys.argv[1]` names; returns the exit code, 2 for wrong usage."""
    first = sys.argv[1] if len(sys.argv) > 1 else ''
    if first in ('', '-h', '--help'):
        return ending_quietly(lambda: print(USAGE, file=sys.stdout if first else sys.stderr) or (0 if first else 2))
    if first == '--version':
        return ending_quietly(lambda: print(f'timm-res2net {__version__}') or 0)
    if first in commands.COMMANDS:  # ./COMMAND is a script of that name
        return run_command(first, sys.argv[2:])
    return run_script(first)


if __name__ == '__main__':
    sys.exit(main())
