"""The most memory that a process holds which loads a file, and that one holds which does the same without a file.

Each is a fork of this process, which has imported everything, so that nothing but the loading is measured. On stdin
`{"uses": [[use, variant, path or null], ..]}`, on stdout a list of bytes, and of seconds of the processor, in order.
"""
import json
import os
import sys
import tempfile
import time
from pathlib import Path

import timm
import torch

import timm_res2net
from timm_res2net.commands import convert, models  # noqa: F401  what `convert` imports when it is run
from timm_res2net.commands.command_line import run_command


def load(variant, path):
    return timm_res2net.load_checkpoint(path) if path else timm.create_model(variant)


def into_a_model(variant, path):
    model = timm.create_model(variant)
    return timm_res2net.load_checkpoint(path, model) if path else model


def by_timm(variant, path):
    overlay = dict(pretrained=True, pretrained_cfg_overlay=dict(file=path)) if path else {}
    return timm.create_model(variant, **overlay)


def inspect(variant, path):
    return timm_res2net.inspect_checkpoint(path) if path else None


def convert_it(variant, path):
    with tempfile.TemporaryDirectory() as folder:
        if path:
            if run_command('convert', [path, f'{folder}/out']):
                raise timm_res2net.CheckpointError(path)
        else:
            timm_res2net.save_folder(timm.create_model(variant), f'{folder}/out')


def evaluate(variant, path):
    """As the commands that use a model load it, and a picture."""
    model = models.load_model(path or variant, pretrained=bool(path))
    with torch.inference_mode():
        return model(torch.zeros(1, 3, 64, 64))


USES = {f.__name__: f for f in (load, into_a_model, by_timm, inspect, convert_it, evaluate)}


def peak():
    status = Path('/proc/self/status').read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith('VmHWM'))


def measured(use, variant, path):
    """(bytes, seconds) of a process that does it."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            Path('/proc/self/clear_refs').write_text('5')  # the peak begins anew
            start = time.process_time()
            try:
                USES[use](variant, path)
            except timm_res2net.CheckpointError as error:
                print(f'refused: {error}', file=sys.stderr)
            os.write(writing, json.dumps([peak(), time.process_time() - start]).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        text = answer.read()
    os.waitpid(child, 0)
    return json.loads(text)


def main():
    torch.set_num_threads(1)
    out = os.fdopen(os.dup(1), 'w')
    os.dup2(2, 1)  # what commands print
    json.dump([measured(*use) for use in json.loads(sys.stdin.read())['uses']], out)


if __name__ == '__main__':
    main()
