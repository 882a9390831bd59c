"""Files that are a table and numbers, with tables that lie: safetensors (JSON), MindSpore's .ckpt (protobuf)."""
import json
import struct
import zlib

from mindspore_file import field, varint

SIZES = (0, 1, -1, 3, 7, 1.5, 2 ** 31, 2 ** 40, 2 ** 63, 2 ** 64, 2 ** 200, '3', None, [], True)
SAFE_DTYPES = ('F64', 'F16', 'BF16', 'I64', 'U8', 'BOOL', 'F8_E4M3', 'F4', 'I4', 'C64', 'f32', '', 7, None, ['F32'])
MIND_DTYPES = ('Float64', 'Float16', 'BFloat16', 'Int64', 'UInt8', 'Bool', 'str', 'String', 'float32', '', 'Float32\0',
    '\x1b[1m')


def _lie_of_a_tensor(table, names, rng):
    key = rng.choice(names)
    entry, other = table[key], table[rng.choice(names)]
    match rng.randrange(10):
        case 0:
            entry['data_offsets'][rng.randrange(2)] = rng.choice(SIZES)
        case 1:
            entry['data_offsets'] = rng.choice((other['data_offsets'], entry['data_offsets'][::-1], [], {}, [0, 4, 8],
                'x'))
        case 2:
            entry['data_offsets'] = [n + rng.choice((-4, -1, 1, 4)) for n in entry['data_offsets']]
        case 3:
            entry['dtype'] = rng.choice(SAFE_DTYPES)
        case 4:
            entry['shape'] = rng.choice((other['shape'], entry['shape'][::-1], [*entry['shape'], 1], [1] * 70, [], {},
                'x'))
        case 5 if entry['shape']:
            entry['shape'][rng.randrange(len(entry['shape']))] = rng.choice(SIZES)
        case 6:
            del entry[rng.choice(list(entry))]
        case 7:
            entry[rng.choice(('x', 'dtype ', '\x1b'))] = rng.choice(SIZES)
        case 8:
            table[key] = rng.choice((None, [], 'x', 3, {}, {'a': {}}))
        case _:
            entry['shape'], other['shape'] = other['shape'], entry['shape']


def lying_safetensors(blob, rng):
    length = struct.unpack('<Q', blob[:8])[0]
    table, numbers = json.loads(blob[8:8 + length]), blob[8 + length:]
    names = [k for k in table if k != '__metadata__']
    for _ in range(rng.choice((1, 1, 2, 4))):
        name = rng.choice([k for k in names if isinstance(table.get(k), dict) and {'data_offsets',
            'shape'} <= table[k].keys()])
        match rng.randrange(8):
            case 0:
                table[rng.choice((name + 'x', 'conv1', '', '\x1b[31m\n', '\u202e', 'x' * 3000,
                    '__metadata__'))] = table.pop(name)
                names = [k for k in names if k in table]
            case 1:
                table['__metadata__'] = rng.choice((None, [], 'x', {'a': 1}, {'a': {'b': []}}, {'format': 'np'},
                    {'format': 'x' * 5000}))
            case 2:
                table['more'] = {'dtype': 'F32', 'shape': [rng.choice((0, 1))], 'data_offsets': [len(numbers)] * 2}
            case _:
                _lie_of_a_tensor(table, [k for k in names if isinstance(table[k], dict) and len(table[k]) == 3], rng)
    text = json.dumps(table).encode()
    match rng.randrange(12):
        case 0:
            text = text.replace(b'{', b'{' + text[1:text.index(b'}') + 1] + b',', 1)  # a name twice
        case 1:
            text = rng.choice((b'\xef\xbb\xbf', b' ' * 100, b'[', b'\0', b'//')) + text
        case 2:
            text += rng.choice((b',', b'}', b'\0' * 10, b' ' * 100, b'{}', b'\xff'))
        case 3:
            text = text[:-1] + b', "x": ' + rng.choice((b'[' * 50_000, b'NaN', b'1e999', b'{"a":' * 50_000,
                b'"\\ud800"}')) + b'}'
    said = len(text) + (rng.choice((0, 0, 0, 0, 0, 1, -1, 8, 2 ** 31, 2 ** 62)))
    if rng.randrange(8) == 0:
        numbers = rng.choice((numbers[:-1], numbers[4:], numbers + b'\0', b''))
    return struct.pack('<Q', said) + text + numbers


def _lie_of_an_entry(parts, rng):
    """The fields of one tensor, one changed."""
    name, dims, dtype, content = parts
    match rng.randrange(9):
        case 0:
            dims = dims[:-1] + [rng.choice([n for n in SIZES if type(n) is int and n >= 0])]
        case 1:
            dims = rng.choice((dims[::-1], dims + [1], dims[1:], dims * 4, [0] + dims, []))
        case 2:
            dtype = rng.choice(MIND_DTYPES)
        case 3:
            content = rng.choice((content[:-1], content[4:], content + b'\0', b''))
        case 4:
            name = rng.choice(('', 'conv1.weight', 'x' * 3000, '\x1b[31m', name + '.', name.upper()))
        case _:
            pass
    tensor = [field(1, n) for n in dims] + [field(2, dtype.encode()), field(3, content)]
    match rng.randrange(10):
        case 0:
            rng.shuffle(tensor)
        case 1:
            tensor.append(rng.choice(tensor))
        case 2:
            del tensor[rng.randrange(len(tensor))]
        case 3:
            tensor.append(rng.choice((b'\x0d1234', b'\x09' + bytes(8), field(9, 5), field(9, b'x'), b'\xff' * 12,
                b'\x0b', b'\x12')))
        case 4:
            tensor.insert(0, b'\x08' + rng.choice((b'\xff' * 9 + b'\1', b'\x80' * 9 + b'\0', varint(2 ** 64 - 1))))
    inner = b''.join(tensor)
    entry = [field(1, name.encode()), b'\x12' + varint(len(inner) + rng.choice((0, 0, 0, 0, 0, 1, -1, 2 ** 31,
        2 ** 62))) + inner]
    match rng.randrange(12):
        case 0:
            entry.append(rng.choice(entry))
        case 1:
            del entry[rng.randrange(2)]
        case 2:
            entry[0] = field(1, b'\xff\xfe')
    return b''.join(entry)


def lying_mindspore(state, rng, checksum):
    """A file of a state, a few of whose entries lie, under a checksum that is right."""
    entries = [[k, list(v.shape), 'Float32', v.numpy().tobytes()] for k, v in state.items()]
    chosen = set(rng.sample(range(len(entries)), rng.choice((1, 1, 2, 5))))
    out = []
    for i, (name, dims, dtype, content) in enumerate(entries):
        if i in chosen:
            body = _lie_of_an_entry((name, dims, dtype, content), rng)
        else:
            tensor = b''.join(field(1, n) for n in dims) + field(2, dtype.encode()) + field(3, content)
            body = field(1, name.encode()) + field(2, tensor)
        out.append(field(rng.choice((1,) * 200 + (2, 3, 100)), body))
    match rng.randrange(6):
        case 0:
            rng.shuffle(out)
        case 1:
            out.insert(rng.randrange(len(out)), rng.choice(out))
        case 2:
            del out[rng.randrange(len(out))]
    blob = b''.join(out)
    return blob + (b'crc_num' + zlib.crc32(blob).to_bytes(10, 'big') if checksum else b'')
