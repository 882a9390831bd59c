"""Pickles changed opcode by opcode, and programs made up of opcodes and of the names that readers know."""
import io
import pickle
import pickletools
import struct

ALLOWED = (
    'torch FloatStorage', 'torch LongStorage', 'torch.storage UntypedStorage', 'torch.storage TypedStorage',
    'torch float32', 'torch quint8', 'torch strided', 'torch sparse_coo', 'torch per_tensor_affine', 'torch Size',
    'torch device', 'torch Tensor', 'torch.nn.parameter Parameter', 'torch.serialization _get_layout',
    'torch._utils _rebuild_tensor', 'torch._utils _rebuild_tensor_v2', 'torch._utils _rebuild_tensor_v3',
    'torch._utils _rebuild_parameter', 'torch._utils _rebuild_parameter_with_state',
    'torch._utils _rebuild_sparse_tensor', 'torch._utils _rebuild_qtensor', 'torch._utils _rebuild_nested_tensor',
    'torch._utils _rebuild_meta_tensor_no_storage', 'torch._utils _rebuild_device_tensor_from_numpy',
    'torch._tensor _rebuild_from_type_v2', 'collections OrderedDict', 'collections Counter', 'argparse Namespace',
    '_codecs encode', '__builtin__ bytearray', '__builtin__ set', '__builtin__ complex', 'numpy ndarray', 'numpy dtype',
    'numpy.core.multiarray _reconstruct', 'numpy.core.multiarray scalar', 'numpy._core.multiarray _reconstruct')
INTEGERS = (0, 1, 2, 3, 255, 65535, 2 ** 31 - 1, 2 ** 31, 2 ** 40, 2 ** 63 - 1, 2 ** 63, 2 ** 200, -1, -2 ** 31,
    -2 ** 63)
NAMES = ('conv1.weight', 'storage', 'cpu', 'cuda', 'meta', 'f4', 'O8', 'latin1', '__setstate__', '_metadata', '0', '',
    '\0')
_OPCODES = {o.name: o.code.encode('latin1') for o in pickletools.opcodes}


def opcodes(program):
    """The bytes of each opcode with its argument, the rest of the file, the programs up to STOP."""
    places = [place for _, _, place in pickletools.genops(program)]
    end = places[-1] + 1
    return [program[a:b] for a, b in zip(places, [*places[1:], end])], program[end:]


def integer(value):
    data = value.to_bytes(value.bit_length() // 8 + 1, 'little', signed=True)
    return b'\x8a' + bytes([len(data)]) + data


def text(value):
    data = value.encode()
    return b'X' + struct.pack('<I', len(data)) + data


def name(full):
    return ('c' + full.replace(' ', '\n') + '\n').encode()


def _values(rng):
    """Opcodes that put one value on the stack."""
    return rng.choice((
        lambda: integer(rng.choice(INTEGERS)), lambda: integer(rng.choice(INTEGERS)),
        lambda: b'K' + rng.randbytes(1), lambda: text(rng.choice(NAMES)), lambda: name(rng.choice(ALLOWED)),
        lambda: rng.choice((b'N', b'\x88', b'\x89', b'}', b']', b')', b'\x8f')),
        lambda: b'G' + rng.choice((struct.pack('>d', 1e300), struct.pack('>d', float('nan')))),
        lambda: b'C' + bytes([4]) + rng.randbytes(4), lambda: b'h' + bytes([rng.randrange(20)]),
        lambda: b'(' + text('storage') + name(rng.choice(ALLOWED[:4])) + text(rng.choice('0123')) + text('cpu')
        + integer(rng.choice(INTEGERS)) + b'tQ'))()


def _changed_opcode(op, ops, rng):
    """Another form of one opcode: its length, its number, its name."""
    code = op[:1]
    match code:
        case b'K' | b'M' | b'J' | b'\x8a':
            return integer(rng.choice(INTEGERS))
        case b'q' | b'h':
            return code + rng.randbytes(1)
        case b'r' | b'j':
            return code + struct.pack('<I', rng.choice((0, 5, 300, 2 ** 31, 2 ** 32 - 1)))
        case b'\x80':
            return code + bytes([rng.choice((0, 1, 2, 3, 4, 5, 6, 255))])
        case b'c':
            return name(rng.choice(ALLOWED))
        case b'X' | b'B' | b'T':
            length = struct.unpack('<I', op[1:5])[0]
            return code + struct.pack('<I', rng.choice((0, max(length - 1, 0), length + 1, 2 ** 31,
                2 ** 32 - 1))) + op[5:]
        case b'\x8c' | b'C' | b'U':
            return code + bytes([rng.choice((0, 1, 255, (op[1] + 1) % 256))]) + op[2:]
        case b'\x95' | b'\x8d' | b'\x8e' | b'\x96':
            return code + struct.pack('<Q', rng.choice((0, 1, 2 ** 31, 2 ** 62, 2 ** 64 - 1))) + op[9:]
        case b'\x85' | b'\x86' | b'\x87':
            return rng.choice((b'\x85', b'\x86', b'\x87'))
        case b'\x88' | b'\x89':
            return rng.choice((b'N', b'K\1', b'\x88', b'\x89'))
    return rng.choice(ops)


def lying(program, rng):
    """A program with a few opcodes deleted, doubled, swapped, replaced, changed, put in, or cut off."""
    ops, rest = opcodes(program)
    for _ in range(rng.choice((1, 1, 2, 3, 6))):
        i, j = rng.randrange(len(ops)), rng.randrange(len(ops))
        match rng.randrange(12):
            case 0:
                del ops[i]
            case 1:
                ops.insert(i, ops[i])
            case 2:
                ops[i], ops[j] = ops[j], ops[i]
            case 3:
                ops[i] = ops[j]
            case 4 | 5 | 6 | 7:
                ops[i] = _changed_opcode(ops[i], ops, rng)
            case 8:
                ops.insert(i, rng.choice(list(_OPCODES.values())) + rng.randbytes(rng.choice((0, 0, 1, 4))))
            case 9:
                ops.insert(i, b'.')
            case 10:
                ops.insert(i, _values(rng))
            case 11:
                del ops[rng.randrange(len(ops)):]
        if not ops:
            break
    return b''.join(ops) + rest


def made_up(rng):
    """A program that keeps its stack in order and asks the names that readers know for what they may not expect."""
    out, depth = b'\x80\2', 0
    for _ in range(rng.randrange(3, 60)):
        if depth < 2 or rng.randrange(2):
            out, depth = out + _values(rng), depth + 1
            continue
        match rng.randrange(9):
            case 0 | 1:
                n = min(depth, rng.choice((1, 2, 3)))
                out, depth = out + (b'', b'\x85', b'\x86', b'\x87')[n], depth - n + 1
            case 2:
                arguments = b''.join(_values(rng) for _ in range(rng.randrange(8)))
                out, depth = out + name(rng.choice(ALLOWED)) + b'(' + arguments + b'tR', depth + 1
            case 3:
                out, depth = out + rng.choice((b'R', b'\x81', b'b', b'b')), depth - 1
            case 4:
                out, depth = out + b'}' + text(rng.choice(NAMES)) + _values(rng) + b'sb', depth
            case 5:
                out, depth = out + b'}' + text(rng.choice(NAMES)) + _values(rng) + b's', depth + 1
            case 6:
                out = out + b'q' + bytes([rng.randrange(20)])
            case 7:
                out, depth = (out + b's', depth - 2) if depth > 2 else (out + b'2', depth + 1)
            case 8:
                out, depth = out + b'a', depth - 1
    return out + b'0' * (depth - 1) + b'.' if rng.randrange(2) else out + b'.'


def is_told_in_numbers(op):
    return op[:1] in (b'K', b'M', b'J', b'\x8a')


def other_sizes(program, rng):
    """A program of torch.save's in which tensors say other sizes, strides and offsets."""
    ops, rest = opcodes(program)
    numbers = [i for i, op in enumerate(ops) if is_told_in_numbers(op)]
    for i in rng.sample(numbers, min(len(numbers), rng.choice((1, 1, 2, 4)))):
        ops[i] = integer(rng.choice((*INTEGERS, rng.randrange(100), rng.randrange(100))))
    return b''.join(ops) + rest


def legacy_parts(blob):
    """The programs of a legacy file of torch.save's (magic number, version, system, content, keys), and its numbers."""
    parts = []
    for _ in range(5):
        ops, blob = opcodes(blob)
        parts.append(b''.join(ops))
    return parts, blob


def lying_legacy(blob, rng):
    parts, numbers = legacy_parts(blob)
    match rng.randrange(5):
        case 0:
            keys = pickle.load(io.BytesIO(parts[4]))
            rng.shuffle(keys)
            changed = rng.choice((keys, keys[1:], keys + keys[:1], keys + ['x'], [], {}, None, [2 ** 70], [[]]))
            parts[4] = pickle.dumps(changed, protocol=2)
        case 1:
            at = rng.choice([0, *(i for i in range(8, len(numbers) - 8, 4) if numbers[i + 2:i + 8] == bytes(6))])
            said = struct.pack('<q', rng.choice([n for n in INTEGERS if -2 ** 63 <= n < 2 ** 63]))
            numbers = numbers[:at] + said + numbers[at + 8:]
        case 2:
            parts[3] = other_sizes(parts[3], rng)
        case _:
            i = rng.choice((0, 1, 2, 3, 3, 3, 4))
            parts[i] = lying(parts[i], rng) if rng.randrange(4) else made_up(rng)
    return b''.join(parts) + numbers
