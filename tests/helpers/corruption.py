"""Damaged and malicious files, drawn by number: `case('zip', seed, number)` is the same file whenever it is asked for.

Each kind is a function of a generator of random numbers and a folder, which malicious programs name; see `Case`.
"""
import argparse
import functools
import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Dict, NamedTuple

import corrupt_bytes
import corrupt_pickle
import corrupt_tables
import corrupt_words
import corrupt_zip
import good_files
import malicious


class Case(NamedTuple):
    """What is to be loaded.

    Attributes:
        files: Name -> bytes.
        target: The name of the file to load, '' for the folder itself.
        exact: Whether a checksum, or that the weights were left alone, lets nothing but the very weights load.
    """
    files: Dict[str, bytes]
    target: str
    exact: bool = False


@functools.cache
def good():
    return good_files.good_files()


@functools.cache
def positions(name):
    arrays = [v.numpy() for v in good_files.network().state_dict().values()]
    arrays += good_files.paddle_state(good_files.network('paddle')).values()
    return corrupt_bytes.structure(good()[name], arrays)


def of_bytes(rng, folder):
    name = rng.choice(list(good()))
    blob, has_checksum = good()[name], name in ('zip.pth', 'training.pth.tar', 'checksum.ckpt')
    match rng.randrange(12):
        case 0:
            blob = corrupt_bytes.cut(blob, rng)
        case 1:
            blob = corrupt_bytes.overwritten(blob, rng)
        case 2:
            blob = corrupt_bytes.extended(blob, rng)
        case _:
            blob = corrupt_bytes.changed(
                blob, rng, range(len(blob)) if has_checksum and rng.randrange(2) else positions(name))
    return Case({name: blob}, name, has_checksum and not (name == 'checksum.ckpt' and b'crc_num' not in blob[-17:-10]))


def of_archives(rng, folder):
    name = rng.choice(('zip.pth', 'training.pth.tar'))
    other = corrupt_zip.with_program(good()['zip.pth'], corrupt_pickle.made_up(rng))
    return Case({name: corrupt_zip.lying(good()[name], rng, other)}, name)


def of_programs(rng, folder):
    """Pickles of arrays and of tensors, changed or made up."""
    name = rng.choice(('zip.pth', 'training.pth.tar', 'legacy.pth', 'protocol4.pdparams', 'protocol2.pdparams'))
    change = rng.choice((corrupt_pickle.lying, corrupt_pickle.other_sizes, lambda _, rng: corrupt_pickle.made_up(rng)))
    if name == 'legacy.pth':
        return Case({name: corrupt_pickle.lying_legacy(good()[name], rng)}, name)
    if name.endswith('.pdparams'):
        return Case({name: change(good()[name], rng)}, name)
    return Case({name: corrupt_zip.with_program(good()[name], change(_program(name), rng))}, name)


def _program(name):
    return next(r.data for r in corrupt_zip.records(good()[name]) if r.name.endswith(b'data.pkl'))


def of_safetensors(rng, folder):
    return Case({'x.safetensors': corrupt_tables.lying_safetensors(good()['weights.safetensors'], rng)},
        'x.safetensors')


def of_mindspore(rng, folder):
    state = {k: v for k, v in good_files.network().state_dict().items() if v.is_floating_point()}
    return Case({'x.ckpt': corrupt_tables.lying_mindspore(state, rng, bool(rng.randrange(2)))}, 'x.ckpt')


def of_config(rng, folder):
    files = {**good_files.good_folder(), 'config.json': corrupt_words.lying_config(good_files.config(), rng)}
    return Case(files, '', exact=True)


def of_training(rng, folder):
    """Training arguments, in a checkpoint or in the args.yaml beside it."""
    state = dict(good_files.network().state_dict())
    content = good_files.training(state)
    arguments = vars(content.pop('args'))
    plain = json.loads(json.dumps(arguments))
    if rng.randrange(2):
        files = {'args.yaml': corrupt_words.lying_yaml(plain, rng)}
        return Case({**files, 'last.pth.tar': good_files.torch_bytes(content)}, '', exact=True)
    content['args'] = argparse.Namespace()
    vars(content['args']).update(corrupt_words.lying_args(plain, rng))
    for key in rng.sample(('epoch', 'arch', 'metric', 'version', 'args', 'state_dict_ema', 'optimizer'),
        rng.randrange(3)):
        content[key] = corrupt_words.value(rng)
    return Case({'last.pth.tar': good_files.torch_bytes(content)}, 'last.pth.tar', exact=True)


def of_malice(rng, folder):
    style, protocol = rng.choice(list(malicious.STYLES)), rng.choice((0, 1, 2, 2, 3, 4, 4, 5))
    program = malicious.program(style, Path(folder) / 'executed', protocol)
    if rng.randrange(3) == 0 and program[:1] == b'\x80':  # in the middle of a good one
        name = rng.choice(('zip.pth', 'protocol4.pdparams', 'protocol2.pdparams'))
        host = _program(name) if name == 'zip.pth' else good()[name]
        ops, _ = corrupt_pickle.opcodes(host)
        evil = b''.join(op for op in corrupt_pickle.opcodes(program)[0] if op[:1] not in (b'\x80', b'\x95', b'.'))
        ops.insert(rng.randrange(1, len(ops)), evil + b'0')
        program = b''.join(op for op in ops if op[:1] != b'\x95')
    return Case(*contained(program, rng.choice(list(CONTAINERS))))


def _legacy(program, place=3):
    parts, numbers = corrupt_pickle.legacy_parts(good()['legacy.pth'])
    return b''.join([*parts[:place], program, *parts[place + 1:]]) + numbers


CONTAINERS = {
    'x.pdparams': lambda program: program,
    'x.pth': lambda program: program,
    'zip.pth': lambda program: corrupt_zip.with_program(good()['zip.pth'], program),
    'script.pth': lambda program: corrupt_zip.with_program(malicious.scripted(), program),
    'legacy.pth': _legacy,
    'legacy-keys.pth': lambda program: _legacy(program, 4),
    'tar.pth': malicious.tar,
}


def contained(program, container):
    """A program as the one of a file of some kind, as the arguments of a `Case`."""
    return {container: CONTAINERS[container](program)}, container


KINDS = {
    'bytes': of_bytes, 'archives': of_archives, 'programs': of_programs, 'safetensors': of_safetensors,
    'mindspore': of_mindspore, 'config': of_config, 'training': of_training, 'malice': of_malice}


def case(kind, seed, number, folder):
    """The file of a number; `folder` is where its malicious programs would leave a trace."""
    return KINDS[kind](random.Random(f'{kind} {seed} {number}'), folder)


def named(kind, seed, number):
    """The folder of a case."""
    return f'{kind}-{seed}-{number}'


def run(cases, folder):
    """Open files in processes of their own.

    Args:
        cases: (kind, seed, number) of each.
        folder: Files with a fault are left in it, those of a case in a folder of its own, see `named`.

    Returns:
        Of each case its faults and its outcome by each entry, in order.
    """
    left, results = [list(c) for c in cases], []
    folder = Path(folder)
    while left:
        ended, begun, why = _process(left, folder)
        results += ended
        left = left[len(ended):]
        if left and begun != left[0]:
            raise RuntimeError(f'the process that opens files has come to none: {why}')
        if left:
            results.append((tuple(left.pop(0)), [f'the process ended: {why}'], {}))
    return results


def _process(cases, folder):
    """One process as far as it comes: the cases that ended, the one that it was at, how it ended."""
    child = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name('corruption_child.py'))], stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, 'PYTHONPATH': os.pathsep.join(p for p in sys.path if p)})
    out, err = child.communicate(json.dumps(dict(folder=str(folder), cases=cases)))
    lines = [json.loads(line) for line in out.splitlines()]
    ended = [(tuple(x['case']), x['faults'], x['outcomes']) for x in lines if 'faults' in x]
    begun = lines[-1]['case'] if lines and 'faults' not in lines[-1] else None
    return ended, begun, f'{child.returncode}, {err[-2000:]}'
