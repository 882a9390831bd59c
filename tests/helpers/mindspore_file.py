"""MindSpore's checkpoint files, written field by field from the description of its protobuf messages."""
import struct
import zlib

import torch

TYPES = {torch.float32: 'Float32', torch.float16: 'Float16', torch.bfloat16: 'BFloat16', torch.int64: 'Int64'}


def varint(value):
    digits = []
    while True:
        value, low = divmod(value, 128)
        digits.append(low + (128 if value else 0))
        if not value:
            return struct.pack(f'{len(digits)}B', *digits)


def field(number, content):
    """A field of bytes, or of a number."""
    if isinstance(content, int):
        return varint(8 * number) + varint(content)
    return varint(8 * number + 2) + varint(len(content)) + content


def entry(name, shape, kind, content):
    tensor = b''.join(field(1, n) for n in shape) + field(2, kind.encode()) + field(3, content)
    return field(1, field(1, name.encode()) + field(2, tensor))


def dump(state, slice_bytes=10_000, checksum=False):
    """Each tensor in slices, as theirs that are large."""
    out = b''
    for name, value in state.items():
        content = value.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
        for start in range(0, len(content), slice_bytes):
            out += entry(name, value.shape, TYPES[value.dtype], content[start:start + slice_bytes])
    return out + (b'crc_num' + zlib.crc32(out).to_bytes(10, 'big') if checksum else b'')
