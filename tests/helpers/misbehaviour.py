"""Readers with a fault each, by which it is seen that a fault is seen. Each is called with a path and a model."""
import contextlib
import os
import pickle
import signal
import socket
from pathlib import Path

import torch

from timm_res2net import CheckpointError, load_checkpoint


def crashes(path, model):
    os.kill(os.getpid(), signal.SIGSEGV)


def hangs(path, model):
    while True:
        pass


def hangs_and_catches(path, model):
    while True:
        with contextlib.suppress(BaseException):
            hangs(path, model)


def takes_memory(path, model):
    raise CheckpointError(f'{path}: {len(bytes([1]) * 100_000_000)}')


def takes_memory_that_is_not_there(path, model):
    try:
        bytes(2 ** 40)
    except MemoryError as error:
        raise CheckpointError(f'{path}: {error}') from error


def runs_a_command(path, model):
    os.system('touch executed')
    raise CheckpointError(f'{path}: ran')


def unpickles(path, model):
    raise CheckpointError(f'{path}: {pickle.loads(pickle.dumps(torch.Size([1])))}')


def imports(path, model):
    import antigravity_of_no_one  # noqa: F401


def connects(path, model):
    socket.socket().close()
    raise CheckpointError(f'{path}: connected')


def reads_another_file(path, model):
    raise CheckpointError(f'{path}: {Path("/etc/hostname").read_text().strip()}')


def writes(path, model):
    (path.parent / 'written').write_text('x')
    raise CheckpointError(f'{path}: written')


def raises(path, model):
    raise KeyError('conv1.weight')


def names_no_file(path, model):
    raise CheckpointError('damaged')


class TooMuch(CheckpointError):
    """CheckpointError cuts its own words."""

    def __str__(self):
        return f'{super().__str__()} {"x" * 3000}'


def says_too_much(path, model):
    raise TooMuch(f'{path}: damaged')


def loads_half(path, model):
    model.conv1.weight.data.zero_()
    raise CheckpointError(f'{path}: no more')


def loads_all_but_one(path, model):
    bias = model.fc.bias.detach().clone()
    load_checkpoint(path, model)
    model.fc.bias.data.copy_(bias)
    return model


def loads_others(path, model):
    """... of a right checksum."""
    load_checkpoint(path, model)
    model.fc.bias.data.add_(1)
    return model


MISBEHAVIOUR = {  # with what has to be said of it
    crashes: 'Segmentation fault', hangs: 'not ended', hangs_and_catches: 'the process ended', takes_memory: ' MB',
    takes_memory_that_is_not_there: 'memory that is not there', runs_a_command: 'EXECUTED',
    unpickles: 'pickle.find_class',
    imports: 'import of antigravity', connects: 'socket.__new__', reads_another_file: '/etc/hostname',
    writes: 'written',
    raises: 'raw KeyError', names_no_file: 'names no file', says_too_much: 'characters',
    loads_half: 'has changed the model',
    loads_all_but_one: 'not the weights of the file', loads_others: 'other weights under a right checksum'}
