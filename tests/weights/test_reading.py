"""Damaged and malicious files: each a clear error that names the file, nothing executed, nothing half-loaded."""
import io
import json
import pickle
import random
import struct

import numpy as np
import pytest
import torch
from good_files import TINY, paddle_state, torch_bytes
from malicious import scripted
from safetensors.torch import save as to_safetensors

from timm_res2net import CheckpointError, Res2Net, load_checkpoint
from timm_res2net.weights.reading import read_checkpoint


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


KINDS = ['zip.pth', 'legacy.pth', 'weights.safetensors', 'protocol4.pdparams', 'protocol2.pdparams']


@pytest.mark.parametrize('kind', KINDS)
def test_the_good_file_loads(kind, files, model, tmp_path):
    (tmp_path / kind).write_bytes(files[kind])
    other = Res2Net(**TINY, first_block='paddle')
    load_checkpoint(tmp_path / kind, other)
    assert all(torch.equal(v, model.state_dict()[k]) for k, v in other.state_dict().items() if 'num_b' not in k)


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
    'a class instead of an array': b'\x80\x04}X\x01\x00\x00\x00acnumpy\nndarray\ns.',
    'not a dictionary': pickle.dumps([1, 2], protocol=4),
    'an array alone': pickle.dumps(np.zeros(2, 'f4'), protocol=4),
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


@pytest.mark.parametrize('protocol', [2, 4, 5])
def test_arrays_in_fortran_order(protocol, model, tmp_path):
    """... as what was transposed for another framework lies in memory."""
    state = {k: np.array(v.numpy(), order='F') for k, v in model.state_dict().items()}
    assert not state['fc.weight'].flags.c_contiguous
    (tmp_path / 'x.pdparams').write_bytes(pickle.dumps(state, protocol=protocol))
    torch.save(state, tmp_path / 'x.pth', pickle_protocol=protocol)
    for name in ('x.pdparams', 'x.pth'):
        read = read_checkpoint(tmp_path / name).state
        assert all(torch.equal(v, model.state_dict()[k]) for k, v in read.items()) and read.keys() == state.keys()


def test_archives_that_are_not_what_they_seem(files, attempt, model):
    import zipfile
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(files['zip.pth'])) as good, zipfile.ZipFile(
            buffer, 'w', zipfile.ZIP_DEFLATED) as packed:
        for info in good.infolist():
            packed.writestr(info.filename, good.read(info))
    attempt('compressed.pth', buffer.getvalue())
    attempt('scripted.pth', scripted())
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
