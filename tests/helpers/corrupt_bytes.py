"""Changes that know nothing of what a file is: bits, bytes, stretches."""


def numbers_of(blob, arrays):
    """Stretches of a file that are the numbers of arrays, of which one cannot be told from another."""
    stretches = []
    for array in arrays:
        raw = array.tobytes()
        for data in {raw, raw.decode('latin1').encode()}:  # protocol 2 spells bytes as text
            at = blob.find(data) if len(data) >= 8 else -1
            while at >= 0:
                stretches.append((at, at + len(data)))
                at = blob.find(data, at + 1)
    return stretches


def structure(blob, arrays):
    """Positions outside the numbers themselves."""
    free = bytearray(b'\1') * len(blob)
    for start, end in numbers_of(blob, arrays):
        free[start:end] = bytes(end - start)
    return [i for i, is_free in enumerate(free) if is_free]


def changed(blob, rng, positions):
    """A few changes near positions."""
    out = bytearray(blob)
    for _ in range(rng.choice((1, 1, 1, 2, 8))):
        at = min(rng.choice(positions), len(out))
        end = min(at + rng.choice((1, 1, 2, 4, 8, 100)), len(out))
        match rng.randrange(9):
            case 0 | 1 | 2:
                out[at:at + 1] = bytes([out[at] ^ 1 << rng.randrange(8)]) if at < len(out) else b''
            case 3:
                out[at:at + 1] = rng.randbytes(1)
            case 4:
                out[at:at] = rng.randbytes(end - at)
            case 5:
                del out[at:end]
            case 6:
                out[at:end] = rng.choice((b'\0', b'\xff')) * (end - at)
            case 7:
                other = rng.choice(positions)
                out[at:end] = out[other:other + end - at]
            case 8:
                out[at:at] = out[at:end]
    return bytes(out)


def cut(blob, rng):
    return blob[:rng.choice((0, 1, 7, 8, 9, 16, len(blob) - 1, rng.randrange(len(blob)), rng.randrange(len(blob))))]


def overwritten(blob, rng):
    fill = rng.choice((b'\0', b'\xff', b'<html>', b'PK\x03\x04', b'\x80\x02', b'{'))
    return (fill * len(blob))[:len(blob)]


def extended(blob, rng):
    more = rng.choice((rng.randbytes(rng.randrange(1, 300)), blob, bytes(rng.randrange(1, 3000)),
        b'PK\x05\x06' + bytes(18)))
    return more + blob if rng.randrange(2) else blob + more
