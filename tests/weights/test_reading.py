"""Damaged and malicious files: each a clear error that names the file, nothing executed, nothing half-loaded."""
import collections
import io
import json
import os
import pickle
import random
import struct

import numpy as np
import pytest
import torch
from safetensors.torch import save as to_safetensors

from timm_res2net import CheckpointError, Res2Net, inspect_checkpoint, load_checkpoint
from timm_res2net.weights.reading import read_checkpoint

TINY = dict(layers=(1, 1, 1, 1), channels=(2, 2, 3, 3), scale=2, base_width=64, num_classes=3)


def paddle_state(model):
    """The state of a tiny model under PaddleClas's names, as arrays."""
    names = {'conv1': 'conv0', 'bn1': 'conv0', 'convs.0': 'res2a_branch2b_1', 'bns.0': 'res2a_branch2b_1',
             'conv3': 'conv2', 'bn3': 'conv2', 'downsample.0': 'short', 'downsample.1': 'short'}
    entries = {'weight': 'weight', 'bias': 'bias', 'running_mean': '_mean', 'running_var': '_variance'}
    arrays = {}
    for name, value in model.state_dict().items():
        module, entry = name.rsplit('.', 1)
        if module == 'fc':
            arrays[f'out.{entry}'] = value.numpy().T.copy()
        elif entry in entries:
            part = '_conv' if value.ndim == 4 else '_batch_norm'
            if module.startswith('layer'):
                stage, block, rest = module[5:].split('.', 2)
                module = f'bb_{int(stage) - 1}_{block}.{names[rest]}'
            arrays[f'{module.replace("bn1", "conv1")}.{part}.{entries[entry]}'] = value.numpy().copy()
    return arrays


def torch_bytes(content, **kwargs):
    buffer = io.BytesIO()
    torch.save(content, buffer, **kwargs)
    return buffer.getvalue()


@pytest.fixture(scope='module')
def model():
    torch.manual_seed(0)
    return Res2Net(**TINY, first_block='paddle')


@pytest.fixture(scope='module')
def files(model):
    """Suffix and kind -> bytes of a good file."""
    state = dict(model.state_dict())
    return {
        'zip.pth': torch_bytes({'state_dict': state, 'epoch': 3}),
        'legacy.pth': torch_bytes(state, _use_new_zipfile_serialization=False),
        'weights.safetensors': to_safetensors(state),
        'protocol4.pdparams': pickle.dumps(paddle_state(model), protocol=4),
        'protocol2.pdparams': pickle.dumps(paddle_state(model), protocol=2),
    }


class Attempt:
    """Try to load bytes as a file; succeeds in the tests' eyes on an error or on exactly the original weights."""

    def __init__(self, model, folder):
        self.model, self.folder = model, folder
        self.original = {k: v.clone() for k, v in model.state_dict().items()}
        self.refused = 0

    def is_original(self):
        return all(torch.equal(v, self.original[k]) for k, v in self.model.state_dict().items())

    def __call__(self, name, blob):
        path = self.folder / name
        path.write_bytes(blob)
        try:
            load_checkpoint(path, self.model)
        except CheckpointError as error:
            assert str(path) in str(error)
            assert len(str(error)) < 2000
            self.refused += 1
        assert self.is_original(), f'{name}: other weights were loaded, or half of them'


@pytest.fixture
def attempt(model, tmp_path):
    return Attempt(model, tmp_path)


def header_positions(blob, model):
    """Positions outside the numbers themselves, where a flipped bit cannot be told from another number."""
    free = np.ones(len(blob), dtype=bool)
    arrays = list(model.state_dict().values()) + [torch.from_numpy(a) for a in paddle_state(model).values()]
    for value in arrays:
        raw = value.numpy().tobytes()
        for data in {raw, raw.decode('latin1').encode()}:  # protocol 2 spells bytes as text
            at = blob.find(data) if len(data) >= 8 else -1
            while at >= 0:
                free[at:at + len(data)] = False
                at = blob.find(data, at + 1)
    return np.flatnonzero(free).tolist()


KINDS = ['zip.pth', 'legacy.pth', 'weights.safetensors', 'protocol4.pdparams', 'protocol2.pdparams']


@pytest.mark.parametrize('kind', KINDS)
def test_the_good_file_loads(kind, files, model, tmp_path):
    (tmp_path / kind).write_bytes(files[kind])
    other = Res2Net(**TINY, first_block='paddle')
    load_checkpoint(tmp_path / kind, other)
    assert all(torch.equal(v, model.state_dict()[k]) for k, v in other.state_dict().items() if 'num_b' not in k)


@pytest.mark.parametrize('kind', KINDS)
def test_flipped_bits_in_headers(kind, files, attempt, model):
    rng = random.Random(kind)
    positions = header_positions(files[kind], model)
    if kind == 'zip.pth':
        positions = range(len(files[kind]))  # checksums cover the numbers too
    for _ in range(250):
        blob = bytearray(files[kind])
        for position in rng.sample(positions, rng.choice((1, 1, 2, 8))):
            blob[position] ^= 1 << rng.randrange(8)
        attempt(kind, bytes(blob))
    assert attempt.refused > 125


@pytest.mark.parametrize('kind', KINDS)
def test_truncated_and_overwritten(kind, files, attempt):
    rng = random.Random(kind)
    blob = files[kind]
    cuts = [0, 1, 7, 8, 9, 16, len(blob) // 2, len(blob) - 1] + [rng.randrange(len(blob)) for _ in range(30)]
    for cut in cuts:
        attempt(kind, blob[:cut])
    for fill in (b'\0', b'\xff', b'<html>'):
        attempt(kind, (fill * len(blob))[:len(blob)])
    assert attempt.refused == len(cuts) + 3


@pytest.mark.parametrize('kind', ['zip.pth', 'weights.safetensors', 'protocol4.pdparams'])
def test_wrong_contents(kind, attempt, model):
    """Each entry in turn missing, misshapen, of a wrong dtype, not a number, or under another name."""
    good = paddle_state(model) if 'pdparams' in kind else {k: v.numpy() for k, v in model.state_dict().items()}
    faults = 0
    for name, value in good.items():
        if 'num_batches' in name:
            continue  # optional, and of any kind
        for wrong in (None, value[..., None].copy(), value.astype(np.int32), np.full_like(value, np.nan)):
            state = {**good, name: wrong}
            if wrong is None:
                del state[name]
                state[name + 'x'] = value
            if 'pdparams' in kind:
                blob = pickle.dumps(state, protocol=4)
            else:
                tensors = {k: torch.from_numpy(np.array(v)) for k, v in state.items()}
                blob = torch_bytes(tensors) if kind == 'zip.pth' else to_safetensors(tensors)
            attempt(kind, blob)
            faults += 1
    assert attempt.refused == faults > 150


class Call:
    """Pickles into a call of `function(*args)`."""

    def __init__(self, function, *args):
        self.function, self.args = function, args

    def __reduce__(self):
        return self.function, self.args


def malicious(sentinel):
    """Contents that would create the file `sentinel` if anything in them were executed."""
    command = f'touch {sentinel}'
    python = f'open({str(sentinel)!r}, "w")'
    return {
        'posix.system': Call(os.system, command),
        'builtins.eval': Call(eval, python),
        'builtins.exec': Call(exec, python),
        'io.open': Call(open, str(sentinel), 'w'),
        'subprocess': Call(__import__('subprocess').getoutput, command),
        'getattr': Call(getattr, Call(__import__, 'os'), 'system'),
        'nested': {'state_dict': {'a': [{'b': (1, Call(os.system, command))}]}},
        'array of objects': np.array([Call(os.system, command)], dtype=object),
        'beside weights': {'state_dict': {'conv1.weight': np.zeros(3)}, 'optimizer': Call(os.system, command)},
        'ordered': collections.OrderedDict(x=Call(eval, python)),
    }


@pytest.mark.parametrize('protocol', [0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize('name', malicious(''))
def test_code_is_refused_and_never_run(name, protocol, attempt, tmp_path):
    sentinel = tmp_path / 'executed'
    content = malicious(sentinel)[name]
    pickled = pickle.dumps(content, protocol=protocol)
    blobs = {
        'plain.pdparams': pickled,
        'plain.pth': pickled,
        'zip.pth': torch_bytes(content, pickle_protocol=max(protocol, 2)),
        'legacy.pth': torch_bytes(content, pickle_protocol=max(protocol, 2), _use_new_zipfile_serialization=False),
    }
    for file, blob in blobs.items():
        attempt(file, blob)
        with pytest.raises(CheckpointError) as caught:
            inspect_checkpoint(tmp_path / file)
        assert any(reason in str(caught.value) for reason in (
            'nothing in it was executed', 'truncated or damaged', 'neither safetensors'))
        if protocol == 2 or 'plain' in file and protocol > 2:
            assert 'nothing in it was executed' in str(caught.value)
    assert attempt.refused == len(blobs)
    assert not sentinel.exists()
    pickle.loads(pickled)
    assert sentinel.exists() or name == 'getattr'  # it is the loader that kept it from running


HAND_WRITTEN = {
    'attributes of a known name': b'\x80\x04cnumpy.core.multiarray\n_reconstruct\n}X\x01\x00\x00\x00aK\x01sb.',
    'slots of a known name': b'\x80\x04cnumpy.core.multiarray\n_reconstruct\nN}X\x08\x00\x00\x00__call__K\x01s\x86b.',
    'a dotted name': b'\x80\x04\x8c\x05numpy\x8c\x10ndarray.__init__\x93.',
    'a module by another way': b'\x80\x04cnumpy.core.multiarray\nos.system\n.',
    'extension registry': b'\x80\x02\x82\x01.',
    'persistent id': b'\x80\x02X\x01\x00\x00\x00aQ.',
    'a record dtype': pickle.dumps({'a.b': np.zeros(2, dtype=[('x', 'f4')])}, protocol=4),
    'text': pickle.dumps({'a.b': np.array(['x'])}, protocol=4),
    'dates': pickle.dumps({'a.b': np.zeros(2, dtype='M8[s]')}, protocol=4),
    'big endian': pickle.dumps({'a.b': np.zeros(2, dtype='>f4')}, protocol=4),
    'fortran order': pickle.dumps({'a.b': np.asfortranarray(np.zeros((2, 3), 'f4'))}, protocol=4),
    'a class instead of an array': b'\x80\x04}X\x01\x00\x00\x00acnumpy\nndarray\ns.',
    'not a dictionary': pickle.dumps([1, 2], protocol=4),
    'text instead of weights': pickle.dumps({'conv1.weight': 'x'}, protocol=4),
    'numbers for names': pickle.dumps({1: np.zeros(2, 'f4')}, protocol=4),
    'nothing': pickle.dumps({}, protocol=4),
    'a loop': b'\x80\x02]q\x00h\x00a.',
    'huge': b'\x80\x04\x8e' + struct.pack('<Q', 1 << 62) + b'x.',
}


@pytest.mark.parametrize('name', HAND_WRITTEN)
def test_hand_written_pickles(name, attempt):
    attempt('x.pdparams', HAND_WRITTEN[name])
    assert attempt.refused == 1


def test_archives_that_are_not_what_they_seem(files, attempt, model):
    import zipfile
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(files['zip.pth'])) as good, zipfile.ZipFile(
            buffer, 'w', zipfile.ZIP_DEFLATED) as packed:
        for info in good.infolist():
            packed.writestr(info.filename, good.read(info))
    attempt('compressed.pth', buffer.getvalue())
    attempt('scripted.pth', _scripted())
    shared = dict(model.state_dict())
    shared['layer1.0.bn1.bias'] = shared['layer1.0.bn1.weight']
    attempt('shared.pth', torch_bytes(shared))
    overlapping = dict(model.state_dict())
    overlapping['conv1.weight'] = torch.zeros(1).expand(64, 3, 7, 7)
    attempt('overlapping.pth', torch_bytes(overlapping))
    sparse = dict(model.state_dict())
    sparse['fc.bias'] = torch.zeros(3).to_sparse()
    attempt('sparse.pth', torch_bytes(sparse))
    complex_numbers = dict(model.state_dict())
    complex_numbers['fc.bias'] = torch.zeros(3, dtype=torch.complex64)
    attempt('complex.pth', torch_bytes(complex_numbers))
    assert attempt.refused == 6


def _scripted():
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), buffer)
    return buffer.getvalue()


def test_folders(files, tmp_path, model):
    with pytest.raises(CheckpointError, match='without any of model.safetensors'):
        read_checkpoint(tmp_path)
    (tmp_path / 'model.safetensors').write_bytes(files['weights.safetensors'])
    assert torch.equal(read_checkpoint(tmp_path).state['fc.bias'], model.state_dict()['fc.bias'])
    (tmp_path / 'config.json').write_text('{"architecture": ')
    with pytest.raises(CheckpointError, match='config.json.*JSON'):
        read_checkpoint(tmp_path)
    (tmp_path / 'config.json').write_text(json.dumps({'architecture': 'x', 'model_args': {'scale': 8}}))
    assert read_checkpoint(tmp_path).model_args == {'scale': 8}


def test_no_such_file(tmp_path):
    with pytest.raises(FileNotFoundError, match='nowhere.pth'):
        load_checkpoint(tmp_path / 'nowhere.pth')


def test_half_precision_and_channels_last_are_no_faults(model, tmp_path):
    other = Res2Net(**TINY)
    for change in (
            lambda v: v.half() if v.is_floating_point() else v,
            lambda v: v.to(memory_format=torch.channels_last) if v.ndim == 4 else v,
    ):
        state = {k: change(v) for k, v in model.state_dict().items()}
        torch.save(state, tmp_path / 'x.pth')
        load_checkpoint(tmp_path / 'x.pth', other)
        assert all(torch.equal(v.float(), state[k].float()) for k, v in other.state_dict().items())
