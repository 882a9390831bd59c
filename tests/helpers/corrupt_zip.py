"""Zip archives that lie: a writer of archives in which every field can be another than it should be."""
import io
import struct
import zipfile
import zlib
from dataclasses import dataclass, field, replace
from typing import Dict, Optional

NAMES = ('archive/data/0', 'ARCHIVE/DATA/1', '../x', '/etc/x', 'archive/data/\x1b[31m', 'archive\\data\\0', '',
    'a' * 5000,
         'archive/./data/0', 'other/data/0', 'archive/code/__torch__.py', 'archive/constants.pkl', 'data.pkl',
         'archive/data.pkl', 'ARCHIVE/data.pkl', 'archive/data.pkl/', 'archive/data/\u0660', 'archive/data/00')


@dataclass
class Record:
    """A record, with what its two headers say; None is the truth.

    Attributes:
        local, central: Field -> value in the header before the data, and in the directory.
        at: Offset that the directory gives.
        before: Bytes before its header.
        extra: Extra field of both headers.
    """
    name: bytes
    data: bytes
    local: Dict[str, int] = field(default_factory=dict)
    central: Dict[str, int] = field(default_factory=dict)
    local_name: Optional[bytes] = None
    at: Optional[int] = None
    before: bytes = b''
    extra: bytes = b''


def records(blob):
    with zipfile.ZipFile(io.BytesIO(blob)) as archive:
        return [Record(i.filename.encode(), archive.read(i)) for i in archive.infolist()]


def _fields(record, said):
    """flags, method, time, date, checksum, packed and whole size."""
    true = dict(flags=0, method=0, time=0, date=33, crc=zlib.crc32(record.data), packed=len(record.data),
                size=len(record.data))
    return {**true, **said}.values()


def write(entries, prefix=b'', between=b'', suffix=b'', end=(), zip64=None):
    """An archive of entries.

    Args:
        end: Field of the last record -> value that it has instead of the truth.
        zip64: Changes to the true record and locator of a zip64 archive; None: without them.
    """
    out, directory = bytearray(prefix), bytearray()
    for r in entries:
        out += r.before
        at = len(out) if r.at is None else r.at
        name = r.name if r.local_name is None else r.local_name
        out += struct.pack('<4s5H3L2H', b'PK\3\4', 20, *_fields(r, r.local), len(name), len(r.extra)) + name + r.extra
        out += r.data
        directory += struct.pack(
            '<4s6H3L5H2L', b'PK\1\2', 20, 20, *_fields(r, r.central), len(r.name), len(r.extra), 0, 0, 0, 0,
            at & 0xffffffff) + r.name + r.extra
    out += between
    true = dict(disk=0, start=0, here=len(entries), all=len(entries), size=len(directory), at=len(out),
        comment=len(suffix))
    out += directory
    if zip64 is not None:
        big = dict(length=44, made=45, need=45, disk=0, start=0, here=len(entries), all=len(entries),
            size=len(directory),
                   at=true['at'])
        where = dict(disk=0, at64=len(out), disks=1)
        out += struct.pack('<4sQ2H2L4Q', b'PK\6\6', *{**big, **{k: v for k, v in zip64.items() if k in big}}.values())
        out += struct.pack('<4sLQL', b'PK\6\7', *{**where, **{k: v for k, v in zip64.items() if k in where}}.values())
    said = {**true, **dict(end)}
    out += struct.pack('<4s4H2LH', b'PK\5\6', *(v & (0xffffffff if k in ('size', 'at') else 0xffff) for k,
        v in said.items()))
    return bytes(out) + suffix


def _zip64_extra(rng, size):
    said = [rng.choice((size, 0, 16, 2 ** 40, 2 ** 64 - 1)) for _ in range(rng.randrange(5))]
    return struct.pack(f'<2H{len(said)}Q', 1, 8 * len(said) + rng.choice((0, 0, 0, 4)), *said)


def _lie_of_a_record(entries, rng):
    """One record changed; whether other weights may now be in it under a right checksum."""
    i = rng.randrange(len(entries))
    r, other = entries[i], rng.choice(entries)
    headers = rng.choice((('local',), ('central',), ('local', 'central')))

    def said(**fields):
        entries[i] = replace(r, **{h: {**getattr(r, h), **fields} for h in headers})

    match rng.randrange(14):
        case 0:
            entries[i] = replace(r, name=rng.choice((*NAMES, other.name.decode())).encode())
        case 1:
            entries[i] = replace(r, local_name=rng.choice((*NAMES, other.name.decode())).encode())
        case 2:
            entries[i] = replace(r, data=r.data[:rng.choice((0, 16, len(r.data) // 2))])
        case 3:
            entries[i] = replace(r, data=r.data + bytes(rng.choice((1, 64, 5000))))
        case 4:
            entries[i] = replace(r, data=other.data)
        case 5:
            packed = zlib.compressobj(9, zlib.DEFLATED, -15)
            content = packed.compress(r.data) + packed.flush()
            right = dict(method=8, crc=zlib.crc32(r.data), size=len(r.data))
            entries[i] = replace(r, data=content, local=right, central=right)
        case 6:
            said(method=rng.choice((1, 8, 9, 12, 14, 93, 99)))
        case 7:
            said(flags=rng.choice((1, 8, 0x40, 0x800, 0x2000, 0xffff)))
        case 8:
            said(crc=rng.randrange(2 ** 32))
        case 9:
            said(**{rng.choice(('packed', 'size')): rng.choice((0, 16, len(r.data) + 1, 2 ** 31, 2 ** 32 - 1))})
        case 10:
            entries[i] = replace(r, at=rng.choice((0, 1, 30, 64, rng.randrange(100_000), 2 ** 31, 2 ** 32 - 1)))
        case 11:
            entries[i] = replace(r, extra=_zip64_extra(rng, len(r.data)))
            said(**{k: 0xffffffff for k in ('packed', 'size') if rng.randrange(2)})
        case 12:
            entries[i] = replace(r, before=rng.randbytes(rng.choice((1, 30, 64))))
        case 13:
            entries[i] = replace(r, extra=rng.randbytes(rng.choice((1, 4, 60))))


def lying(blob, rng, other):
    """An archive with a few lies; `other` is another archive."""
    entries, lies = records(blob), {}
    for _ in range(rng.choice((1, 1, 2, 3))):
        match rng.randrange(16):
            case 0:
                entries.insert(rng.randrange(len(entries) + 1), rng.choice(entries))
            case 1:
                del entries[rng.randrange(len(entries))]
            case 2:
                rng.shuffle(entries)
            case 3:
                lies['prefix'] = rng.choice((b'\0', b'\x80\x02}.', b'PK\3\4', rng.randbytes(100), other))
            case 4:
                lies['suffix'] = rng.choice((b'\0', b'a comment', b'PK\5\6' + bytes(18), rng.randbytes(100), other))
            case 5:
                lies['between'] = rng.choice((b'\0' * 64, rng.randbytes(100), other))
            case 6 | 7:
                key = rng.choice(('disk', 'start', 'here', 'all', 'size', 'at', 'comment'))
                lies['end'] = {key: rng.choice((0, 1, 2, 46, 1000, 0xffff, 0xffffffff, rng.randrange(200_000)))}
            case 8 | 9:
                keys = rng.sample(('length', 'disk', 'start', 'here', 'all', 'size', 'at', 'at64', 'disks'),
                    rng.randrange(3))
                lies['zip64'] = {k: rng.choice((0, 1, 46, 0xffff, 2 ** 31, rng.randrange(200_000))) for k in keys}
                lies['end'] = rng.choice(({}, dict(at=0xffffffff, size=0xffffffff, all=0xffff, here=0xffff)))
            case _:
                _lie_of_a_record(entries, rng)
        if not entries:
            break
    return write(entries, **lies)


def with_program(blob, program):
    """An archive of torch.save's with another program, its checksum right."""
    return write([replace(r, data=program) if r.name.endswith(b'data.pkl') else r for r in records(blob)])
