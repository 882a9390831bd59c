"""Run any script with the Res2Net variants registered, or a command of this package.

    python -m timm_res2net SCRIPT [ARGS...]
    python -m timm_res2net COMMAND [ARGS...]    one of `commands.COMMANDS`; ./COMMAND is a script of that name

The script runs as if by `python SCRIPT ARGS...`: its `__main__`, its arguments, its folder first on the import path,
its exit code and its own traceback. Under torchrun: `torchrun --nproc_per_node=N -m timm_res2net SCRIPT [ARGS...]`.
"""
import os
import runpy
import sys

from timm_res2net import commands  # and registers the variants

USAGE = '\n'.join([
    "usage: python -m timm_res2net SCRIPT [ARGS...]   (SCRIPT: timm's train.py, validate.py, benchmark.py, ...)",
    '       python -m timm_res2net COMMAND [ARGS...]',
    *(f'           {name:10} {words}' for name, words in commands.COMMANDS.items()),
])


def _own_traceback(tb):
    """The part of a traceback that starts in the script: without the frames of this file and of runpy."""
    launchers = (__file__, runpy.__file__, '<frozen runpy>')
    while tb is not None and tb.tb_frame.f_code.co_filename in launchers:
        tb = tb.tb_next
    return tb


def _excepthook(kind, error, tb):
    """Print an uncaught exception as if the script had been python's own argument."""
    tb = _own_traceback(tb)
    sys.__excepthook__(kind, error.with_traceback(tb), tb)


def main() -> int:
    """Run `sys.argv[1]` with the remaining arguments; returns 2 for wrong usage or a missing script, as python does."""
    if len(sys.argv) < 2 or sys.argv[1] in ('-h', '--help'):
        print(USAGE, file=sys.stdout if len(sys.argv) > 1 else sys.stderr)
        return 0 if len(sys.argv) > 1 else 2
    if sys.argv[1] in commands.COMMANDS:
        return commands.run(sys.argv[1], sys.argv[2:])
    script = sys.argv[1]
    try:
        with open(script, 'rb'):
            pass
    except OSError as error:
        if not os.path.isdir(script):
            print(f"{sys.executable}: can't open file {os.path.abspath(script)!r}: [Errno {error.errno}] "
                  f'{error.strerror}', file=sys.stderr)
            return 2
    sys.argv = sys.argv[1:]
    sys.path[0] = os.path.dirname(os.path.realpath(script))  # in place of the current folder that `-m` puts there
    sys.excepthook = _excepthook
    runpy.run_path(script, run_name='__main__')
    return 0


if __name__ == '__main__':
    sys.exit(main())
