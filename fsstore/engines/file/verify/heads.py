"""Verification of heads.index: every slot is whole, can be found from its key, and its stream's files are there."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from fsstore.engines.file.files import layout
from fsstore.engines.file.files.handles import read_from
from fsstore.engines.file.formats import index_entries
from fsstore.engines.file.streams.heads import Heads, used
from fsstore.engines.file.verify.finding import NOTHING_LOST, Finding
from fsstore.engines.file.verify.look import Look
from fsstore.engines.file.verify.streams import StreamsCheck

_BATCH_SLOTS = 16_384


def damaged_slots(look: Look, streams: StreamsCheck, advance: Callable[[int], None]) -> Iterator[Finding]:
    """What is damaged in the slots, and what they say should be there and is not."""
    first, capacity = 0, 0
    while look.heads is not None:
        with look.folding_stopped():
            if capacity != look.heads.capacity:
                first, capacity = 0, look.heads.capacity
            found = list(_batch(look, look.heads, streams, first, min(_BATCH_SLOTS, capacity - first)))
        yield from found
        advance(_BATCH_SLOTS * index_entries.HEAD_BYTES)
        first += _BATCH_SLOTS
        if first >= capacity:
            return


def _batch(look: Look, heads: Heads, streams: StreamsCheck, first: int, count: int) -> Iterator[Finding]:
    path = f"{look.path}/{layout.HEADS_INDEX}"
    start = index_entries.INDEX_HEADER_BYTES + first * index_entries.HEAD_BYTES
    data = read_from(look.disk, path, start, count * index_entries.HEAD_BYTES)
    for offset in used(data):
        head = index_entries.read_head(data, offset, look.seed)
        if head is None:
            yield Finding(path, start + offset, "a slot is damaged", "a stream's head", NOTHING_LOST, True)
            continue
        if heads.get(head.key) != head:
            what = f"the slot of the stream with key {head.key.hex()} cannot be found from its key"
            yield Finding(path, start + offset, what, "one slot that can", NOTHING_LOST, True)
        yield from streams.missing(head)
