"""MindSpore's .ckpt files, read and written without MindSpore and without protobuf.

The file is a protobuf message, a row of entries (field 1), each of a name (1) and a tensor (2) of dimensions (1), type
(2) and content (3). A large tensor comes in several entries of one name; a checksum may stand at the end.
"""
import math
import zlib
from pathlib import Path
from typing import Dict, Iterator, List, Tuple, Union

import torch

from .checkpoint import CheckpointError, naming

_DTYPES = {
    'Float32': torch.float32, 'Float16': torch.float16, 'BFloat16': torch.bfloat16, 'Float64': torch.float64,
    'Int8': torch.int8, 'UInt8': torch.uint8, 'Int16': torch.int16, 'Int32': torch.int32, 'Int64': torch.int64,
    'Bool': torch.bool}
_CHECKSUM = b'crc_num'  # before 10 bytes of a number
_MAX_DIMENSIONS, _MAX_ENTRIES = 8, 100_000
_BYTES = 2  # protobuf's wire type of names, contents and messages; 0 is that of numbers


def is_mindspore(head: bytes, path: Path) -> bool:
    """Whether a file begins as MindSpore's do: an entry that fits into the file and begins with a name.

    Args:
        head: At least its first 12 bytes.
    """
    try:
        length, start = _number(memoryview(head), 1)
    except CheckpointError:
        return False
    return head[:1] == b'\x0a' and head[start:start + 1] == b'\x0a' and 2 < length <= path.stat().st_size - start


def load_mindspore(path: Union[str, Path]) -> Dict[str, torch.Tensor]:
    """Name -> tensor; entries of text, which are no weights, are left out.

    Every length is compared with what is left of the file before anything of that length is made.

    Raises:
        CheckpointError: It is damaged, encrypted, or holds something else than tensors; the message names the file.
    """
    with naming(path):
        return _parsed(memoryview(Path(path).read_bytes()))


def _parsed(data: memoryview) -> Dict[str, torch.Tensor]:
    if bytes(data[-17:-10]) == _CHECKSUM:
        data, checksum = data[:-17], int.from_bytes(data[-10:], 'big')
        if zlib.crc32(data) != checksum:
            raise CheckpointError('it does not match its checksum, the file is damaged.')
    found: Dict[str, Tuple[List[int], str, List[memoryview]]] = {}
    for field, entry in _fields(data):
        parts = dict(_fields(entry)) if field == 1 and isinstance(entry, memoryview) else {}
        name, tensor = parts.get(1), parts.get(2)
        if not isinstance(name, memoryview) or not isinstance(tensor, memoryview):
            raise CheckpointError('one of its entries has no name or no tensor: it is no checkpoint of weights.')
        dims, dtype, content = _tensor(tensor)
        text = _text(name)
        if len(found) == _MAX_ENTRIES:
            raise CheckpointError(f'it holds more than {_MAX_ENTRIES} entries.')
        known = found.setdefault(text, (dims, dtype, []))
        if known[:2] != (dims, dtype):
            raise CheckpointError(f'{text} is there twice, with shapes {known[0]} and {dims}.')
        known[2].append(content)
    return {name: _joined(name, *parts) for name, parts in found.items() if parts[1] != 'str'}


def dump_mindspore(state: Dict[str, torch.Tensor]) -> bytes:
    """The file that MindSpore's `load_checkpoint` reads.

    Raises:
        ValueError: A weight is of a type that it has not.
    """
    names = {dtype: name for name, dtype in _DTYPES.items()}
    entries = []
    for name, value in state.items():
        if value.dtype not in names:
            raise ValueError(f'{name} is of type {value.dtype}, which MindSpore has not.')
        dims = b''.join(b'\x08' + _as_number(n) for n in value.shape)
        content = bytes(value.contiguous().view(-1).view(torch.uint8).numpy())
        tensor = dims + _as_bytes(2, names[value.dtype].encode()) + _as_bytes(3, content)
        entries.append(_as_bytes(1, _as_bytes(1, name.encode()) + _as_bytes(2, tensor)))
    return b''.join(entries)


def _as_bytes(field: int, content: bytes) -> bytes:
    """A field of a message."""
    return bytes([field << 3 | _BYTES]) + _as_number(len(content)) + content


def _as_number(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def _number(data: memoryview, at: int) -> Tuple[int, int]:
    """A number of protobuf, 7 bits a byte, and the place behind it."""
    value = 0
    for i, byte in enumerate(data[at:at + 10]):
        value |= (byte & 127) << 7 * i
        if byte < 128:
            return value, at + i + 1
    raise CheckpointError('one of its numbers does not end: it is cut or damaged.')


def _fields(data: memoryview) -> Iterator[Tuple[int, Union[int, memoryview]]]:
    """The fields of a message: their number, and a number or a part of the file."""
    at = 0
    while at < len(data):
        key, at = _number(data, at)
        value, at = _number(data, at)
        if key & 7 == _BYTES:
            if value > len(data) - at:
                raise CheckpointError(f'an entry of {value} bytes ends behind what holds it: it is cut or damaged.')
            yield key >> 3, data[at:at + value]
            at += value
        elif key & 7 == 0:
            yield key >> 3, value
        else:
            raise CheckpointError(f'it holds a field of kind {key & 7}, which MindSpore never writes; is it encrypted?')


def _text(data: memoryview) -> str:
    try:
        return str(data, 'utf-8')
    except UnicodeDecodeError:
        raise CheckpointError('one of its names is no text: it is damaged.') from None


def _tensor(data: memoryview) -> Tuple[List[int], str, memoryview]:
    dims: List[int] = []
    dtype, content = '', memoryview(b'')
    for field, value in _fields(data):
        if field == 1 and isinstance(value, int):
            dims.append(value)
        elif field == 2 and isinstance(value, memoryview):
            dtype = _text(value)
        elif field == 3 and isinstance(value, memoryview):
            content = value
    return dims, dtype, content


def _joined(name: str, dims: List[int], dtype: str, parts: List[memoryview]) -> torch.Tensor:
    if dtype not in _DTYPES:
        raise CheckpointError(f'{name} is of type {dtype!r}, not of {", ".join(_DTYPES)}.')
    size, held = math.prod(dims) * _DTYPES[dtype].itemsize, sum(map(len, parts))
    if len(dims) > _MAX_DIMENSIONS or size != held:
        raise CheckpointError(f'{name} of shape {dims[:_MAX_DIMENSIONS]} has {held} bytes instead of {size}.')
    if not held:
        return torch.empty(dims, dtype=_DTYPES[dtype])
    return torch.frombuffer(bytearray().join(parts), dtype=_DTYPES[dtype]).reshape(dims)
