"""The table of heads: what was put is found, however often the table was made anew on the way."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest
from hand_made import SEED, Parts

from fsstore.engines.file.disk.disk import RealDisk
from fsstore.engines.file.files.layout import StoreFiles
from fsstore.engines.file.formats.index_entries import Head
from fsstore.engines.file.streams.heads import Heads
from fsstore.engines.file.streams.index_file import StaleIndexError
from fsstore.engines.file.streams.segments import Stream
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


def fill(heads: Heads, homes: list[int], *, gone: int = 0) -> list[bytes]:
    """Put streams whose keys lead to these slots, the first `gone` of which are deleted; gives all keys."""
    keys = [home.to_bytes(8, "big") + number.to_bytes(8, "big") for number, home in enumerate(homes)]
    for number, key in enumerate(keys):
        one = Head.empty(key)
        one.segment_bytes = 0 if number < gone else 100 + number
        heads.get(key)
        heads.put(one)
    return keys


@pytest.mark.parametrize("part", [4, 64, 1024, 16_384])
@pytest.mark.parametrize("crowded", [[], [3, 63, 64, 1023], [1023, 2047, 4095]])
def test_a_table_that_grows_part_by_part_has_every_stream(
    heads: Heads, monkeypatch: pytest.MonkeyPatch, part: int, crowded: list[int]
) -> None:
    """Also where a stretch that is full goes beyond the end of a part, or of the table."""
    monkeypatch.setattr("fsstore.engines.file.streams.heads._PART_SLOTS", part)
    homes = [home for home in crowded for _ in range(40)] + [977 * number % 8192 for number in range(1_100)]
    keys = fill(heads, homes)
    assert (heads.capacity, heads.count) == (4096, len(keys))
    found = [heads.get(key) for key in keys]
    assert [one and one.segment_bytes for one in found] == [100 + number for number in range(len(keys))]
    assert sorted(one.key for one in heads.all()) == sorted(keys)
    assert heads.get(b"not there 123456") is None


def test_a_table_of_deleted_streams_becomes_a_smaller_one(heads: Heads, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fsstore.engines.file.streams.heads._PART_SLOTS", 64)
    keys = fill(heads, [4 * number for number in range(2_000)])
    assert heads.capacity == 4096
    for key in keys[:-100]:
        heads.put(Head.empty(key))
    live = keys[-100:] + fill(heads, [8191 - number for number in range(49)])
    assert (heads.capacity, heads.count) == (1024, len(live))
    assert sorted(one.key for one in heads.all()) == sorted(live)
    assert all(heads.get(key) is not None for key in live)


def test_growing_takes_no_more_memory_where_there_are_more_streams(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fsstore.engines.file.streams.heads._PART_SLOTS", 128)
    heads = Heads(StoreFiles(RealDisk(), str(tmp_path), SEED), write=True)
    heads.create()
    fill(heads, [2 * number for number in range(2_048)])
    assert heads.capacity == 4096
    tracemalloc.start()
    fill(heads, [7])
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (heads.capacity, heads.count) == (8192, 2_049)
    assert peak_bytes < 400_000  # a packer of msgpack has a buffer of 256 KiB
    heads.close()


def test_a_table_whose_size_no_store_gives_it_is_made_anew(heads: Heads) -> None:
    heads.mark_folded(128, 1)
    heads.capacity = 1000
    heads.mark_folded(128, 1)
    with pytest.raises(StaleIndexError):
        Heads(heads._files, write=True).open(at_least_folded=128)
