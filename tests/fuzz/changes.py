"""Small changes of bytes, texts and numbers, of the kind that finds the edges of whatever reads them."""

from __future__ import annotations

import random

INTERESTING = sorted({0, 1, 2, 15, 16, 127, *(1 << bits for bits in (7, 8, 15, 16, 31, 32, 38, 46, 53, 60, 63, 64))})


def number(chance: random.Random, bits: int) -> int:
    """A number of at most so many bits, mostly near one at which something ends."""
    near = chance.choice(INTERESTING) + chance.randint(-1, 1)
    return near % (1 << bits) if chance.random() < 0.8 else chance.getrandbits(bits)


def changed(data: bytes, chance: random.Random) -> bytes:
    """One to four changes of `data`."""
    out = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        at = chance.randint(0, len(out))
        end = min(len(out), at + chance.choice((1, 1, 2, 4, 9, 40)))
        match chance.randrange(7):
            case 0:
                out[at:end] = chance.randbytes(end - at)
            case 1:
                del out[at:end]
            case 2:
                out[at:at] = chance.randbytes(chance.randint(1, 8))
            case 3:
                out[at:at] = out[at:end] * chance.choice((1, 2, 300))
            case 4:
                out[at:end] = number(chance, 64).to_bytes(8, "big")[-(end - at) :] if end > at else b""
            case 5:
                # What msgpack's lengths begin with, and how deep things can be.
                mark = bytes([chance.choice(b"\x81\x91\xc1\xc4\xc6\xc7\xc9\xd4\xd8\xdb\xdc\xdd\xde\xdf\xff")])
                out[at:at] = mark * chance.choice((1, 1, 1, 40, 1200))
            case _:
                if at < len(out):
                    out[at] ^= 1 << chance.randrange(8)
    return bytes(out)
