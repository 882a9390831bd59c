"""MindSpore's .ckpt files: read and written, and nothing made that the file does not hold."""
import mindspore_file
import numpy as np
import pytest
import torch
from mindspore_file import entry, field, varint

from timm_res2net import CheckpointError
from timm_res2net.weights.mindspore import dump_mindspore, is_mindspore, load_mindspore
from timm_res2net.weights.reading import load_file

STATE = {
    'a.weight': torch.randn(3, 4, 1, 1), 'a.gamma': torch.randn(7).half(), 'b': torch.randn(5).bfloat16(),
    'n': torch.tensor(3), 'none': torch.zeros(0, 2)}


def written(folder, content):
    path = folder / 'x.ckpt'
    path.write_bytes(content)
    return path


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) and a[k].dtype == b[k].dtype for k in a)


@pytest.mark.parametrize('checksum', [False, True])
def test_read_as_written_in_slices(checksum, tmp_path):
    state = {k: v for k, v in STATE.items() if v.numel()}
    path = written(tmp_path, mindspore_file.dump(state, slice_bytes=10, checksum=checksum))
    assert same(load_mindspore(path), state) and same(load_file(path), state)


def test_round_trip(tmp_path):
    path = written(tmp_path, dump_mindspore(STATE))
    assert same(load_mindspore(path), STATE)
    with pytest.raises(ValueError, match='c is of type torch.complex64'):
        dump_mindspore({'c': torch.zeros(1, dtype=torch.complex64)})


def test_text_is_no_weight(tmp_path):
    path = written(tmp_path, entry('about', (), 'str', b'hello') + entry('n', (1,), 'Int64', b'\1' + bytes(7)))
    assert load_mindspore(path) == {'n': torch.tensor([1])}


@pytest.mark.parametrize(('content', 'message'), [
    (entry('a', (1000, 1000, 1000), 'Float32', b'1234'), 'a of shape .* has 4 bytes instead of 4000000000'),
    (entry('a', (2 ** 63, 2 ** 63), 'Float32', b'1234'), 'instead of'),
    (entry('a', (1,) * 9, 'Float32', b'1234'), 'has 4 bytes'),
    (entry('a', (1,), 'Float31', b'1234'), "a is of type 'Float31', not of Float32"),
    (entry('a', (1,), 'Float32', b'1234') + entry('a', (2,), 'Float32', b'1234'), r'a is there twice'),
    (field(1, field(1, b'a') + varint(18) + varint(1 << 40)), 'an entry of 1099511627776 bytes ends behind'),
    (field(1, field(1, b'a') + b'\x12' + b'\xff' * 11), 'one of its numbers does not end'),
    (field(1, field(1, b'a')), 'no name or no tensor'),
    (field(1, field(1, b'\xff\xfe') + field(2, field(2, b'Float32'))), 'no text'),
    (field(1, field(1, b'a') + b'\x15abcd'), 'a field of kind 5'),
    (mindspore_file.dump({'a': torch.zeros(3)}, checksum=True).replace(b'Float32', b'Float64'), 'checksum'),
])
def test_damaged_files_say_what_is_wrong(content, message, tmp_path):
    path = written(tmp_path, content)
    for read in (load_mindspore, load_file):
        with pytest.raises(CheckpointError, match=message) as caught:
            read(path)
        assert str(path) in str(caught.value)


def test_cut_and_mutated_files_are_errors_or_tensors_of_what_they_hold(tmp_path):
    whole = mindspore_file.dump({k: v for k, v in STATE.items() if v.numel()})
    random = np.random.default_rng(0)
    for i in range(400):
        content = bytearray(whole[:random.integers(13, len(whole) + 1)])
        if i % 2:
            content[random.integers(len(content))] = random.integers(256)
        path = written(tmp_path, content)
        try:
            state = load_mindspore(path)
        except CheckpointError:
            continue
        assert sum(v.numel() * v.element_size() for v in state.values()) <= len(content)


def test_others_are_not_taken_for_one(tmp_path):
    path = written(tmp_path, mindspore_file.dump({'a': torch.zeros(30)}))
    assert is_mindspore(path.read_bytes()[:32], path)
    for head in (b'', b'\n', b'\n\n', b'\nHello, this is text of some length', b'\x80\x02}', b'PK\x03\x04' + bytes(30)):
        assert not is_mindspore(head, path)
