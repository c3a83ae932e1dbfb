"""The same values from the same bytes in less time, where msgspec is installed (`fsstore[speed]`).

msgspec is taken for what both libraries read alike; everything else is left to msgpack, which also says what is
wrong with bytes that cannot be read. So nothing depends on which of them is installed, but an array as the key of a
map, which nothing here writes: msgspec reads a tuple, msgpack refuses it. Writing stays msgpack's:
msgspec would write many types its own way without asking. This module is imported only when it is wanted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

# A byte of extension -1, the timestamps of msgpack that this library never writes; msgspec knows them, and would
# make datetimes of them. No text holds this byte. Looking for a number in bytes is a seventh of looking for bytes.
_TIMESTAMP = 0xFF


def decoder(extension: Callable[[int, Any], Any], otherwise: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    """A function from bytes to a value. `otherwise` is asked for what is not read alike, and for its errors."""
    decode = msgspec.msgpack.Decoder(ext_hook=extension).decode

    def read(data: bytes) -> Any:
        if _TIMESTAMP in data:
            return otherwise(data)
        try:
            return decode(data)
        except Exception:  # whatever it is, the other library says it in its own words, or reads it
            return otherwise(data)

    return read
