"""Folding: what the journal says, written into the streams' files."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from hand_made import Log, Parts, with_header

from fsstore.engines.file.folding.fold import Fold
from fsstore.engines.file.formats import format, index_entries
from fsstore.engines.file.streams.segments import IDS, INDEX, SEGMENT, SNAPSHOTS, Stream
from fsstore.errors import CorruptionError
from fsstore.testing import SimulatedDisk
from fsstore.testing.simulation import lose_everything

A, B = Stream.of("default", "a"), Stream.of("other", "b")
ALL = 1 << 40


@pytest.fixture
def parts() -> Parts:
    return Parts.on(SimulatedDisk())


def fold(parts: Parts, log: Log, **options: Any) -> int:
    begin = options.pop("begin", lambda end: None)
    again = options.pop("again", False)
    start, target, most = (options.pop(name, value) for name, value in (("start", 128), ("to", log.end), ("most", ALL)))
    work = Fold(parts.files, log, parts.indexes, **{"index_from_bytes": ALL, **options})  # type: ignore[arg-type]
    return work.run(start, target, most, again=again, begin=begin)


def files(parts: Parts, stream: Stream) -> set[str]:
    kinds = (SEGMENT, SNAPSHOTS, INDEX, IDS)
    return {kind for kind in kinds if parts.disk.exists(parts.segments.path(stream.key, kind))}


def test_each_streams_records_stand_in_its_files_as_they_stood_in_the_journal(parts: Parts) -> None:
    log = Log()
    for stream in (A, B, A):
        log.commit(stream)
    log.snapshot(A, 2)
    assert fold(parts, log) == log.end
    assert parts.file(A) == with_header(A, log.of(A))
    assert parts.file(B) == with_header(B, log.of(B))
    assert parts.file(A, SNAPSHOTS) == with_header(A, log.of(A, format.SNAPSHOT), SNAPSHOTS)


def test_the_indexes_know_what_was_folded(parts: Parts) -> None:
    log = Log()
    first, last = log.commit(A), log.commit(A)
    snapshot = log.snapshot(A, 1)
    fold(parts, log)
    head = parts.heads.get(A.key)
    assert head == index_entries.Head(
        A.key, last.place + last.length_bytes, snapshot.place + snapshot.length_bytes,
        index_entries.NO_IDS | index_entries.id_bits(first.commit_id) | index_entries.id_bits(last.commit_id), 2, 2, 1,
        format.bucket_mark("default"),
    )  # fmt: skip
    entries = list(index_entries.read_commits_entries(parts.commits.read(1, 2)))
    assert [(entry.key, entry.place) for entry in entries] == [(A.key, first.place), (A.key, last.place)]
    assert (parts.heads.folded, parts.commits.folded, parts.commits.next_token) == (log.end, log.end, 3)


@pytest.mark.parametrize("step", [1, 5, 40])
def test_a_head_knows_the_ids_of_few_commits_and_says_nothing_of_many(parts: Parts, step: int) -> None:
    log, ids = Log(), []
    for number in range(0, 40, step):
        start = log.end
        ids += [log.commit(A).commit_id for _ in range(step)]
        fold(parts, log, start=start)
        head = parts.heads.get(A.key)
        assert head is not None
        assert not any(index_entries.lacks(head.id_bits, index_entries.id_bits(one)) for one in ids)
        others = [index_entries.id_bits(UUID(int=one << 64).bytes) for one in range(1, 1000)]
        lacked = sum(index_entries.lacks(head.id_bits, other) for other in others)
        assert lacked == 0 if number + step > 16 else lacked > 500


@pytest.mark.parametrize("again", [True, False])
def test_folding_once_more_changes_no_byte(parts: Parts, again: bool) -> None:
    log = Log()
    for stream in (A, B, A, A):
        log.commit(stream)
    log.snapshot(B, 1)
    fold(parts, log, index_from_bytes=100)
    before = parts.disk.content()  # type: ignore[attr-defined]
    fold(parts, log, index_from_bytes=100, again=again)
    assert parts.disk.content() == before  # type: ignore[attr-defined]


def test_nothing_is_written_before_it_is_said_how_far_it_goes(parts: Parts) -> None:
    log = Log()
    log.commit(A)
    said = []

    def begin(end: int) -> None:
        said.append(end)
        assert not files(parts, A)

    fold(parts, log, begin=begin)
    assert said == [log.end]


def test_a_fold_that_has_enough_ends_with_a_batch(parts: Parts) -> None:
    log = Log()
    log.commit(A, following=1)
    batch_end = log.commit(A).end
    log.commit(A)
    assert fold(parts, log, most=1) == batch_end
    assert fold(parts, log, start=batch_end, most=1) == log.end
    assert parts.file(A) == with_header(A, log.of(A))


def test_a_journal_that_ends_too_early_is_damage(parts: Parts) -> None:
    log = Log()
    log.commit(A)
    with pytest.raises(CorruptionError, match=f"up to position {log.end + 1}"):
        fold(parts, log, to=log.end + 1)
    assert not files(parts, A)


def test_the_files_of_a_deleted_stream_go_and_its_tokens_say_so(parts: Parts) -> None:
    log = Log()
    log.commit(A)
    log.commit(B)
    log.snapshot(A, 1)
    fold(parts, log, index_from_bytes=1)
    assert files(parts, A) == {SEGMENT, SNAPSHOTS, INDEX, IDS}
    folded = log.end
    log.delete(A)
    fold(parts, log, start=folded)
    assert files(parts, A) == set()
    assert files(parts, B) == {SEGMENT, INDEX, IDS}
    assert [entry.deleted for entry in index_entries.read_commits_entries(parts.commits.read(1, 2))] == [True, False]
    head = parts.heads.get(A.key)
    assert head is not None
    assert not head.segment_bytes


def test_very_many_commits_that_are_deleted_are_not_in_memory_at_once(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = Log()
    first = log.commit(A)
    fold(parts, log)
    folded, many = log.end, 150_000
    entry = parts.commits.read(1, 1)
    parts.commits.write(1, entry * many)
    parts.commits.mark_folded(folded, many + 1)
    write_entries, most = Fold._write_entries, 0

    def counted(self: Fold, entries: dict[int, bytes]) -> None:
        nonlocal most
        most = max(most, len(entries))
        write_entries(self, entries)

    monkeypatch.setattr(Fold, "_write_entries", counted)
    log.delete(A)
    fold(parts, log, start=folded)
    assert all(one.deleted for one in index_entries.read_commits_entries(parts.commits.read(first.token, many)))
    assert 0 < most < many // 2


def test_what_is_committed_and_deleted_within_one_fold_is_never_written(parts: Parts) -> None:
    log = Log()
    log.commit(A)
    log.delete(A)
    log.commit(A, b"begun anew")
    fold(parts, log)
    assert parts.file(A) == with_header(A, bytes(log.records[-1][1]))
    assert [entry.deleted for entry in index_entries.read_commits_entries(parts.commits.read(1, 2))] == [True, False]


def test_a_purge_takes_its_bucket_and_no_other(parts: Parts) -> None:
    log = Log()
    log.commit(A)
    log.commit(B)
    fold(parts, log)
    folded = log.end
    log.purge("other")
    fold(parts, log, start=folded)
    assert (files(parts, A), files(parts, B)) == ({SEGMENT}, set())
    folded = log.end
    log.purge(None)
    fold(parts, log, start=folded)
    assert files(parts, A) == set()


def test_a_stream_that_is_begun_again_after_a_purge_keeps_nothing_of_the_old_one(parts: Parts) -> None:
    log = Log()
    for _ in range(3):
        log.commit(B)
    log.snapshot(B, 1)
    fold(parts, log)
    folded = log.end
    log.purge("other")
    log.commit(B, b"begun anew")
    fold(parts, log, start=folded)
    assert parts.file(B) == with_header(B, bytes(log.records[-1][1]))
    assert files(parts, B) == {SEGMENT}


def test_a_stream_is_indexed_from_its_size_on(parts: Parts) -> None:
    log = Log()
    log.commit(A)
    last = log.commit(A)
    size = last.place + last.length_bytes
    fold(parts, log, to=log.records[0][0].end, index_from_bytes=size)
    assert files(parts, A) == {SEGMENT}
    fold(parts, log, start=log.records[0][0].end, index_from_bytes=size)
    assert files(parts, A) == {SEGMENT, INDEX, IDS}
    entries = parts.file(A, INDEX)[index_entries.INDEX_HEADER_BYTES :]
    places = [place for place, _, _, _ in index_entries.STREAM_INDEX_ENTRY.iter_unpack(entries)]
    assert places == [header.place for header, _ in log.records]


def test_a_stream_whose_segment_is_gone_keeps_no_other_from_being_folded(parts: Parts) -> None:
    log = Log()
    log.commit(A)
    fold(parts, log)
    folded = log.end
    parts.disk.unlink(parts.segments.path(A.key, SEGMENT))
    log.commit(A)
    log.commit(B)
    fold(parts, log, start=folded)
    assert parts.file(B) == with_header(B, log.of(B))
    with pytest.raises(CorruptionError, match="a whole segment header"):
        list(parts.segments.records(A, len(parts.file(A))))


@pytest.mark.parametrize("streams", [1, 40])
def test_what_was_folded_is_on_the_device_whether_the_files_are_few_or_many(streams: int) -> None:
    disk = SimulatedDisk(lose_everything)
    parts = Parts.on(disk)
    disk.flush_directory("/")
    log = Log()
    names = [Stream.of("default", f"stream {number}") for number in range(streams)]
    for stream in names:
        log.commit(stream)
        log.snapshot(stream, 1)
    fold(parts, log, index_from_bytes=1)
    left = Parts(replace(parts.files, disk=disk.restarted()), parts.indexes, parts.segments)
    for stream in names:
        assert left.file(stream) == with_header(stream, log.of(stream))
        assert left.file(stream, SNAPSHOTS) == with_header(stream, log.of(stream, format.SNAPSHOT), SNAPSHOTS)


def test_no_handle_stays_open_after_a_fold(parts: Parts) -> None:
    disk = parts.disk
    assert isinstance(disk, SimulatedDisk)
    before = sorted(disk.open_files())
    log = Log()
    for number in range(40):
        log.commit(Stream.of("default", f"stream {number}"))
    fold(parts, log, index_from_bytes=1)
    assert sorted(disk.open_files()) == before
    disk.fail("write", path="*.segment")
    log.commit(A)
    with pytest.raises(OSError, match="error"):
        fold(parts, log)
    assert sorted(disk.open_files()) == before
