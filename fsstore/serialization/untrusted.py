"""Looking at msgpack before anything is made of it, for bytes that somebody may have crafted.

A few bytes can claim an array of any length, each within the next, and an unpacker makes room for what is claimed.
Walking over the bytes makes nothing, so after that an unpacker takes no more than what is really there.
"""

from __future__ import annotations

import msgpack


def check_msgpack(data: bytes) -> None:
    """`ValueError` unless `data` is exactly one msgpack value with all its parts."""
    walker = msgpack.Unpacker(max_buffer_size=max(len(data), 1))
    walker.feed(data)
    try:
        walker.skip()
    except msgpack.UnpackException as error:
        raise ValueError(str(error) or "it is nested too deeply") from error
    if walker.tell() != len(data):
        raise ValueError("something follows the value")
