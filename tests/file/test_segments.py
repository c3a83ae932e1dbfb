"""A stream's own files: what is read from them, and what is said of damage in them."""

from __future__ import annotations

from typing import Any

import pytest
from hand_made import Log, Parts, with_header

from fsstore.engines.file.formats import file_headers, format, index_entries
from fsstore.engines.file.streams.segments import INDEX, SEGMENT, SNAPSHOTS, Stream
from fsstore.errors import CorruptionError
from fsstore.testing import SimulatedDisk

A, B = Stream.of("default", "a"), Stream.of("default", "b")
LARGE = bytes(200_000)  # more than is read at first


@pytest.fixture
def parts() -> Parts:
    return Parts.on(SimulatedDisk())


def written(parts: Parts, *payloads: bytes) -> tuple[list[format.RecordHeader], int]:
    """The headers of the stream's commits, and where its segment ends."""
    log = Log()
    headers = [log.commit(A, payload) for payload in payloads]
    parts.write_segment(A, with_header(A, log.of(A)))
    return headers, headers[-1].place + headers[-1].length_bytes


def sequences(parts: Parts, end: int, **options: Any) -> list[int]:
    return [fields[format.SEQUENCE] for page in parts.segments.pages(A, end, **options) for fields, _ in page]


def damaged(parts: Parts, at: int, kind: str = SEGMENT) -> None:
    data = bytearray(parts.file(A, kind))
    data[at] ^= 1
    parts.write_segment(A, bytes(data), kind)


@pytest.mark.parametrize("payloads", [[b"one"], [b"one", LARGE, b"three"], [LARGE, LARGE], [b"x"] * 1000])
def test_records_come_whole_and_in_order_whatever_their_sizes(parts: Parts, payloads: list[bytes]) -> None:
    headers, end = written(parts, *payloads)
    found = list(parts.segments.records(A, end))
    assert [header for header, _ in found] == headers
    assert [body for _, body in found] == [A.prefix + payload for payload in payloads]


def test_nothing_beyond_the_end_is_read(parts: Parts) -> None:
    headers, _ = written(parts, b"folded", b"of a fold that did not end")
    damaged(parts, headers[1].place)
    assert sequences(parts, headers[1].place) == [1]


def test_reading_from_a_revision_begins_with_the_commit_before_it_at_most(parts: Parts) -> None:
    headers, end = written(parts, *[b"x"] * 100)
    assert sequences(parts, end, min_revision=40) == list(range(1, 101))  # without an index, all of it
    header = file_headers.pack_file_header("index", parts.segments.seed, [A.key], index_entries.INDEX_HEADER_BYTES)
    entries = [
        index_entries.STREAM_INDEX_ENTRY.pack(one.place, one.length_bytes, one.revision, bytes(16)) for one in headers
    ]
    parts.write_segment(A, header + b"".join(entries), INDEX)
    assert sequences(parts, end, min_revision=40) == list(range(40, 101))
    assert sequences(parts, end, min_revision=1) == list(range(1, 101))
    assert sequences(parts, end, min_revision=200) == []


@pytest.mark.parametrize(("place", "behind"), [(0, 0), (7, 0), (1 << 40, 0), (None, 10), (None, -10)])
def test_an_index_that_lies_costs_time_and_nothing_else(parts: Parts, place: int | None, behind: int) -> None:
    """About where commits stand, or about how far they go."""
    headers, end = written(parts, *[b"x"] * 100)
    header = file_headers.pack_file_header("index", parts.segments.seed, [A.key], index_entries.INDEX_HEADER_BYTES)
    entries = [
        index_entries.STREAM_INDEX_ENTRY.pack(
            one.place if place is None else place, 1, max(one.revision - behind, 0), bytes(16)
        )
        for one in headers
    ]
    parts.write_segment(A, header + b"".join(entries), INDEX)
    assert sequences(parts, end, min_revision=40)[-61:] == list(range(40, 101))


def test_what_stands_before_the_damage_is_given_first(parts: Parts) -> None:
    headers, end = written(parts, *[b"payload"] * 5)
    damaged(parts, headers[3].place + format.RECORD_HEADER_BYTES)
    records = parts.segments.records(A, end)
    assert [next(records)[0].sequence for _ in range(3)] == [1, 2, 3]
    with pytest.raises(CorruptionError, match="the whole body of a record of stream 'a'") as caught:
        next(records)
    assert (caught.value.path, caught.value.offset_bytes) == (parts.segments.path(A.key, SEGMENT), headers[3].place)


def test_a_segment_that_is_too_short_is_damage(parts: Parts) -> None:
    _, end = written(parts, b"one")
    with pytest.raises(CorruptionError, match=f"{end + 1} bytes of stream 'a'") as caught:
        list(parts.segments.records(A, end + 1))
    assert caught.value.offset_bytes == end


def test_a_commit_that_is_missing_in_between_is_damage(parts: Parts) -> None:
    log = Log()
    first = log.commit(A)
    log.commit(A)
    third = log.commit(A)
    # The third where the second should be, and made to say so.
    moved = format.pack_header(third._replace(place=first.place + first.length_bytes), parts.segments.seed)
    data = with_header(A, bytes(log.records[0][1]) + moved + bytes(log.records[2][1][format.RECORD_HEADER_BYTES :]))
    parts.write_segment(A, data)
    with pytest.raises(CorruptionError, match="commit 2 of stream 'a'"):
        list(parts.segments.records(A, len(data)))


def test_another_streams_records_are_damage(parts: Parts) -> None:
    log = Log()
    log.commit(B)
    data = with_header(A, log.of(B))
    parts.write_segment(A, data)
    with pytest.raises(CorruptionError, match="a record of stream 'a'"):
        list(parts.segments.records(A, len(data)))


def test_another_streams_file_is_damage(parts: Parts) -> None:
    log = Log()
    log.commit(B)
    data = with_header(B, log.of(B))
    parts.write_segment(A, data)
    with pytest.raises(CorruptionError, match="the header of stream 'a'"):
        list(parts.segments.records(A, len(data)))


def test_a_streams_names_are_in_its_file(parts: Parts) -> None:
    written(parts, b"one")
    assert parts.segments.names(A.key) == ("default", "a")
    damaged(parts, 3)
    with pytest.raises(CorruptionError, match="a segment header"):
        parts.segments.names(A.key)


def test_a_whole_stream_is_measured_from_its_files(parts: Parts) -> None:
    headers, end = written(parts, b"one", b"two")
    log = Log()
    snapshot = log.snapshot(A, 2)
    parts.write_segment(A, with_header(A, log.of(A, format.SNAPSHOT), SNAPSHOTS), SNAPSHOTS)
    ids = index_entries.NO_IDS | index_entries.id_bits(headers[0].commit_id)
    ids |= index_entries.id_bits(headers[1].commit_id)
    assert parts.segments.measured(A) == index_entries.Head(
        A.key, end, snapshot.place + snapshot.length_bytes, ids, 2, 2, 2, format.bucket_mark("default")
    )
    assert parts.segments.measured(B) == index_entries.Head.empty(B.key, format.bucket_mark("default"))


def test_a_stream_with_anything_behind_its_last_whole_record_has_no_head(parts: Parts) -> None:
    _, end = written(parts, b"one", b"two")
    parts.write_segment(A, parts.file(A) + b"?")
    head = parts.segments.measured(A)
    assert (head.segment_bytes, head.sequence, head.revision, head.id_bits) == (
        end + 1,
        0,
        0,
        index_entries.UNKNOWN_IDS,
    )


def test_few_segments_stay_open_and_none_when_they_are_forgotten(parts: Parts) -> None:
    disk = parts.disk
    assert isinstance(disk, SimulatedDisk)
    before = len(disk.open_files())
    for number in range(5):
        stream = Stream.of("default", f"stream {number}")
        parts.write_segment(stream, b"content")
        assert parts.segments.read_at(stream.key, 3, 2) == b"te"
        assert len(disk.open_files()) - before == min(number + 1, 2)
    parts.segments.forget_handles()
    assert len(disk.open_files()) == before
    with pytest.raises(FileNotFoundError):
        parts.segments.read_at(A.key, 0, 1)
