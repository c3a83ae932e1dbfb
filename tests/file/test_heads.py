"""The table of heads: what was put is found, however often the table was made anew on the way."""

from __future__ import annotations

import pytest
from hand_made import Parts

from fsstore.engines.file.heads import Heads
from fsstore.engines.file.index_entries import Head
from fsstore.engines.file.segments import Stream
from fsstore.testing import SimulatedDisk

FULL, LIVE = 511, 255


def head(stream_id: str, segment_bytes: int) -> Head:
    made = Head.empty(Stream.of("default", stream_id).key)
    made.segment_bytes = segment_bytes
    return made


def put(heads: Heads, stream_id: str, segment_bytes: int = 100) -> None:
    """As folding does: it looks the stream up first."""
    heads.get(head(stream_id, 0).key)
    heads.put(head(stream_id, segment_bytes))


@pytest.fixture
def heads() -> Heads:
    return Parts.on(SimulatedDisk()).heads


@pytest.mark.parametrize("attempt", range(8))
def test_who_makes_the_table_anew_finds_its_place_in_the_new_one(heads: Heads, attempt: int) -> None:
    """The table is half full of streams that are gone for the most part: the new one is as large and has others."""
    live = [f"live {number}" for number in range(LIVE)]
    for name in live:
        put(heads, name)
    for number in range(LIVE, FULL):
        put(heads, f"gone {number}", 0)
    live += ["last", f"first of the new table {attempt}"]
    for name in live[-2:]:
        put(heads, name)
    assert (heads.capacity, heads.count) == (1024, len(live))
    for name in live:
        found = heads.get(head(name, 0).key)
        assert found is not None, name
    put(heads, live[-1], 200)
    assert sorted(one.key for one in heads.all()) == sorted(head(name, 0).key for name in live)


def test_slots_of_a_fold_that_did_not_end_are_counted_when_it_is_done_again(heads: Heads) -> None:
    """Else the table would fill up: what it has too few of in its header it would not make room for."""
    heads.mark_folded(128, 1)
    names = [f"stream {number}" for number in range(100)]
    for name in names:
        put(heads, name)
    again = Heads(heads._files, write=True)
    again.open(at_least_folded=128)
    again.write_again()
    for name in names:
        put(again, name)
    again.mark_folded(256, 101)
    assert again.count == len(names)
