"""Run a page of the documentation in the current folder: `python run_page.py PAGE`, Python and shell blocks in order.

Python blocks share one namespace, as a notebook's cells do. Commands run one by one, as a reader would type them, but
for what the machine of a test has not got: eight GPUs become one process on a CPU, ImageNet a few pictures, and so
epochs and sizes become small. timm's scripts are in TIMM_SCRIPTS; without it their commands are left out. So is the
setting up of an environment: this one is what it would have led to, and holds the installed package, not the checkout.
The last line printed is {command: output} in JSON.
"""
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
TIMM_SCRIPTS = os.environ.get('TIMM_SCRIPTS')
BLOCK = re.compile(r'^```(python|sh)\n(.*?)^```', flags=re.M | re.S)
SETUP = 'python3 -m venv .venv && .venv/bin/pip install '
SMALL = '--device cpu --img-size 64 --batch-size 2 --workers 1 --amp-dtype bfloat16'


def blocks(page):
    """(language, text, line) of every block that a reader would run."""
    text = Path(page).read_text(encoding='utf-8')
    return [(m[1], m[2], text[:m.start()].count('\n') + 2) for m in BLOCK.finditer(text)]


def commands(block):
    """The commands of a shell block, without comments."""
    lines = block.replace('\\\n', ' ').splitlines()
    return [line for line in lines if line.strip() and not line.startswith('#')]


def uses_timm_scripts(command):
    return re.search(r'\b(train|validate|benchmark)\.py', command)


def of_the_checkout(command):
    """Whether a command is about the repository: its tests and its own tools."""
    return '-m pytest' in command or 'python scripts/' in command


def serves(command):
    """Whether a command goes on until it is stopped: the page, which tests/demo visits."""
    return command.startswith('timm-res2net demo') and '--space' not in command


def fitted(command):
    """The command for this machine."""
    if command.startswith(SETUP):
        return command.split(' && ')[-1].removeprefix('.venv/bin/')
    if not uses_timm_scripts(command):
        return command
    command = re.sub(r'\b(train|validate)\.py', lambda m: shlex.quote(f'{TIMM_SCRIPTS}/{m[0]}'), command, count=1)
    command = command.replace('--nproc_per_node=8', '--nproc_per_node=1').replace('--nnodes=2', '--nnodes=1')
    command = command.replace('HOST:', 'localhost:')
    if '--data-dir IMAGENET' in command:
        command += f' {SMALL}'
        if 'train.py' in command:
            command += ' --aug-repeats 0'  # timm repeats augmentations between several processes only
            command += ' --epochs 2' if '--resume' in command else ' --epochs 1 --warmup-epochs 0'
            if '--output' not in command:
                command += ' --output output --experiment OTHER'
    return command


def main():
    page = os.path.abspath(sys.argv[1])
    sys.path[0] = os.getcwd()  # a reader's, in place of the folder of this file
    import timm_res2net
    where = Path(timm_res2net.__file__).resolve()
    assert CHECKOUT not in where.parents, f'{where} is the checkout, not the installed package'
    namespace, outputs = {'__name__': '__main__'}, {}
    for language, text, line in blocks(page):
        if language == 'python':
            exec(compile('\n' * (line - 1) + text, page, 'exec'), namespace)
            continue
        for command in commands(text):
            if of_the_checkout(command) or serves(command) or uses_timm_scripts(command) and not TIMM_SCRIPTS:
                continue
            done = subprocess.run(
                ['bash', '-c', fitted(command)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            if done.returncode:
                sys.exit(f'{page}:{line}: {command}\n{done.stdout[-4000:]}')
            outputs[command] = done.stdout
    print(json.dumps(outputs))


if __name__ == '__main__':
    main()
