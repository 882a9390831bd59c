"""A command of `timm-res2net`, as a person runs it, or in this process, without the seconds to import torch."""
import contextlib
import io
import os
import subprocess
import sys

import pytest

from timm_res2net.commands.command_line import run_command


def command(name, *args, **kwargs):
    """In a process of its own."""
    line = [sys.executable, '-m', 'timm_res2net', name, *map(str, args)]
    return subprocess.run(line, capture_output=True, text=True, **kwargs)


def here(name, *args, cwd=None):
    """In this process: the same `returncode`, `stdout` and `stderr`."""
    out, err, before = io.StringIO(), io.StringIO(), os.getcwd()
    try:
        os.chdir(cwd or before)
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                code = run_command(name, [str(a) for a in args])
            except SystemExit as stop:  # argparse's
                code = stop.code
    finally:
        os.chdir(before)
    return subprocess.CompletedProcess([name, *args], code, out.getvalue(), err.getvalue())


# for a test that asks the same of both: `run` is the one or the other
BOTH_WAYS = pytest.mark.parametrize('run', [here, pytest.param(command, marks=pytest.mark.slow)])
