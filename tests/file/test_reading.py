"""Reading a stream, and the heads of streams, while other threads and processes write, delete and fold."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from fsstore import EventMessage
from fsstore.engines.file import FileEngine
from fsstore.errors import CorruptionError, StoreClosedError
from fsstore.model import Snapshot, StreamHead
from fsstore.testing import ProcessKilled, SimulatedDisk, fill, first_attempt, next_attempt
from fsstore.testing.simulation import Call


def opened(disk: SimulatedDisk, **options: Any) -> FileEngine:
    engine = FileEngine("/a.store", disk=disk, background=False, **options)
    engine.initialize()
    return engine


def write(engine: FileEngine, commits: int, body: str) -> None:
    last = engine.commit(first_attempt("a", events=[EventMessage(body)]))
    for _ in range(commits - 1):
        last = engine.commit(next_attempt(last, events=[EventMessage(body)]))


def at(disk: SimulatedDisk, name: str, ending: str, look: Callable[[], None]) -> None:
    """Once, at the next call of that name on such a file."""

    def watch(call: Call) -> None:
        if call.name == name and call.path.endswith(ending):
            disk.watch(None)
            look()

    disk.watch(watch)


def test_a_stream_that_is_begun_anew_while_it_is_read_is_not_taken_for_the_old_one() -> None:
    disk = SimulatedDisk()
    other, engine = opened(disk.process(), journal_bytes=4096), opened(disk)
    write(other, 300, "old")
    reading = engine.get_from("default", "a")
    read = [next(reading) for _ in range(100)]
    other.delete_stream("default", "a")
    write(other, 400, "new")
    other.fold()
    assert len(list(engine.get_from("default", "a"))) == 400
    read += reading
    assert {commit.events[0].body for commit in read} == {"old"}
    for one in (other, engine):
        one.close()


@pytest.mark.parametrize("folded", [True, False])
def test_heads_say_what_everybody_may_see(folded: bool) -> None:
    """What is written and not flushed may be gone after a power cut."""
    disk = SimulatedDisk()
    engine = opened(disk)
    last = fill(engine, "a", commits=2, events=1)[-1]
    if folded:
        engine.fold()
    seen: list[list[StreamHead]] = []
    for change in (
        lambda: engine.commit(next_attempt(last)),
        lambda: engine.commit(first_attempt("b")),
        lambda: engine.add_snapshot(Snapshot("a", 2, "state")),
    ):
        before = list(engine.get_streams_to_snapshot("default", 1))
        at(disk, "flush", ".journal", lambda: seen.append(list(engine.get_streams_to_snapshot("default", 1))))
        assert change()
        assert seen.pop() == before != list(engine.get_streams_to_snapshot("default", 1))
    engine.close()


@pytest.mark.parametrize("what", ["heads", "numbers"])
def test_commits_do_not_wait_while_the_table_of_heads_is_read(what: str) -> None:
    disk = SimulatedDisk()
    engine = opened(disk)
    for number in range(3):
        fill(engine, f"a {number}", commits=2)
    engine.fold()
    mutex = engine.opened().mutex
    is_free: list[bool] = []

    def try_it() -> None:
        is_free.append(mutex.acquire(blocking=False))
        if is_free[-1]:
            mutex.release()

    def look(call: Call) -> None:
        if call.name == "read" and call.path.endswith("heads.index"):
            other = threading.Thread(target=try_it)
            other.start()
            other.join()

    disk.watch(look)
    if what == "heads":
        assert len(list(engine.get_streams_to_snapshot("default", 1))) == 3
    else:
        assert engine.stat()["folded_streams"] == 3
    assert is_free[-1], "the last of these reads is that of the table"
    disk.watch(None)
    engine.close()
    assert not disk.open_files()


@pytest.mark.parametrize("folded", [True, False])
def test_heads_that_are_walked_through_when_the_store_is_closed_say_so(folded: bool) -> None:
    disk = SimulatedDisk()
    engine = opened(disk)
    for number in range(3):
        fill(engine, f"a {number}", commits=2)
    if folded:
        engine.fold()
    heads = engine.get_streams_to_snapshot("default", 1)
    assert next(heads)
    engine.close()
    with pytest.raises(StoreClosedError):
        next(heads)
    assert not disk.open_files()


def test_the_head_of_a_stream_whose_file_is_just_being_begun_anew_is_no_damage() -> None:
    disk = SimulatedDisk()
    other_disk = disk.process()
    other, engine = opened(other_disk), opened(disk)
    for name in ("a", "b", "c"):
        fill(other, name, commits=2)
    other.fold()
    heads = engine.get_streams_to_snapshot("default", 1)
    found = [next(heads)]
    going = [name for name in ("a", "b", "c") if name != found[0].stream_id]
    for name in going:
        other.delete_stream("default", name)
        fill(other, name, commits=2)
    at(other_disk, "write", ".segment", lambda: found.extend(heads))
    other.fold()
    assert found[0].stream_id not in {head.stream_id for head in found[1:]}
    assert {head.stream_id for head in found[1:]} <= set(going)
    for one in (other, engine):
        one.close()


def test_an_entry_that_a_purge_has_half_overwritten_is_no_damage() -> None:
    disk = SimulatedDisk()
    other_disk = disk.process()
    other, engine = opened(other_disk), opened(disk)
    fill(other, "a", commits=40)
    kept = fill(other, "b", bucket_id="other", commits=4)
    other.fold()
    other.purge("default")
    assert list(engine.get_from_checkpoint()) == kept
    commits = engine.opened().view.indexes.commits
    read = commits.read
    found: list[Any] = []

    def half_overwritten(first: int, last: int) -> bytes:
        commits.read = read  # type: ignore[method-assign]
        data = read(first, last)
        return data[:20] + bytes(len(data) // 2) + data[20 + len(data) // 2 :]

    def look() -> None:
        commits.read = half_overwritten  # type: ignore[method-assign]
        found.extend(engine.get_from_checkpoint())

    at(other_disk, "write", "commits.index", look)
    other.fold()
    assert found == kept
    commits = engine.opened().view.indexes.commits
    read = commits.read
    commits.read = half_overwritten  # type: ignore[method-assign]
    with pytest.raises(CorruptionError, match=r"commits\.index"):
        list(engine.get_from_checkpoint())
    for one in (other, engine):
        one.close()


def test_a_reader_of_a_store_at_rest_follows_its_writers_whatever_a_killed_one_left_on_the_page_of_marks() -> None:
    disk = SimulatedDisk()
    engine = opened(disk)
    fill(engine, "a")
    engine.close()
    reader = opened(disk.process(), read_only=True)
    assert len(list(reader.get_from_checkpoint())) == 1
    engine = opened(disk)
    other, stores = disk.process(), list[Call]()

    def die_between_a_mark_and_its_complement(call: Call) -> None:
        stores.extend([call] if call.name == "store" else [])
        if len(stores) == 2:
            other.kill_at(0)

    disk.watch(die_between_a_mark_and_its_complement)
    with pytest.raises(ProcessKilled):
        opened(other)
    disk.watch(None)
    fill(engine, "b")
    assert list(reader.get_from_checkpoint()) == list(engine.get_from_checkpoint())
    for one in (reader, engine):
        one.close()
