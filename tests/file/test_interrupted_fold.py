"""A power cut in the middle of a fold: whatever of its work is on the device, the store reads and works as before."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fsstore.engines.file import FileEngine
from fsstore.model import Commit, Snapshot
from fsstore.testing import SimulatedDisk, fill, next_attempt
from fsstore.testing.simulation import Call, ProcessKilled, lose_everything

OPTIONS = {"background": False, "journal_bytes": 4096, "index_from_bytes": 600}


def opened(disk: SimulatedDisk) -> FileEngine:
    engine = FileEngine("/store", disk=disk, **OPTIONS)
    engine.initialize()
    return engine


@pytest.fixture
def crashed() -> Iterator[tuple[FileEngine, list[Commit]]]:
    """Of a fold, only the table of heads reached the device before the power went; the fold mark is not moved."""
    disk = SimulatedDisk(lose_everything)
    engine = opened(disk)
    commits = fill(engine, "a", commits=4)
    engine.add_snapshot(Snapshot("a", 2, "two"))
    engine.fold()
    for _ in range(3):
        commits.append(engine.commit(next_attempt(commits[-1])))
    engine.add_snapshot(Snapshot("a", 9, "nine"))
    commits += fill(engine, "b")
    engine.add_snapshot(Snapshot("b", 1, "one"))

    killed_before_the_flush(disk, engine)
    reach_the_device(disk, "/store/heads.index", "/store/control")
    engine = opened(disk.restarted())
    yield engine, commits
    engine.close()


def killed_before_the_flush(disk: SimulatedDisk, engine: FileEngine) -> None:
    """A fold that has written everything, and flushed nothing."""

    def look(call: Call) -> None:
        if call.name.startswith("flush") and "journal" not in call.path:
            disk.watch(None)
            disk.kill()
            raise ProcessKilled

    disk.watch(look)
    with pytest.raises(ProcessKilled):
        engine.fold()


def reach_the_device(disk: SimulatedDisk, *paths: str) -> None:
    """The system wrote these back by itself."""
    other = disk.process()
    for path in paths:
        other.flush(other.open(path))


def emptied(disk: SimulatedDisk, ending: str) -> None:
    """The file's size reached the device, its content did not."""
    (path,) = (path for path in disk.sizes_bytes() if "/streams/" in path and path.endswith(ending))
    handle = disk.open(path, write=True)
    disk.write(handle, bytes(disk.size(handle)), 0)
    disk.close(handle)


def test_every_snapshot_is_read(crashed: tuple[FileEngine, list[Commit]]) -> None:
    engine, _ = crashed
    found = [engine.get_snapshot("default", stream, limit) for stream, limit in (("a", 8), ("a", None), ("b", None))]
    assert found == [Snapshot("a", 2, "two"), Snapshot("a", 9, "nine"), Snapshot("b", 1, "one")]


def test_a_stream_is_committed_to_and_duplicates_are_seen(crashed: tuple[FileEngine, list[Commit]]) -> None:
    engine, commits = crashed
    last = [commit for commit in commits if commit.stream_id == "a"][-1]
    commits.append(engine.commit(next_attempt(last)))
    assert list(engine.get_from_checkpoint()) == commits
    assert not engine.add_snapshot(Snapshot("a", 9, "again"))
    assert engine.add_snapshot(Snapshot("a", 10, "ten"))


def test_the_store_is_healthy_before_and_after_the_next_fold(crashed: tuple[FileEngine, list[Commit]]) -> None:
    engine, commits = crashed
    assert not list(engine.verify())
    engine.fold()
    assert not list(engine.verify())
    assert list(engine.get_from_checkpoint()) == commits


def test_a_file_that_an_interrupted_fold_made_stays_after_the_next_fold() -> None:
    disk = SimulatedDisk(lose_everything)
    engine = opened(disk)
    commits = fill(engine, "a")
    killed_before_the_flush(disk, engine)
    disk = disk.process()
    opened(disk).fold()
    reach_the_device(disk, "/store/control")
    engine = opened(disk.restarted())
    assert list(engine.get_from_checkpoint()) == commits


def test_a_stream_that_an_interrupted_fold_removed_stays_away_after_the_next_fold() -> None:
    disk = SimulatedDisk(lose_everything)
    engine = opened(disk)
    fill(engine, "a", commits=4)
    engine.fold()
    engine.delete_stream("default", "a")
    killed_before_the_flush(disk, engine)
    disk = disk.process()
    opened(disk).fold()
    reach_the_device(disk, "/store/control")
    disk = disk.restarted()
    assert not [path for path in disk.sizes_bytes() if "/streams/" in path]


def test_an_index_that_was_begun_and_lost_is_made_anew() -> None:
    disk = SimulatedDisk(lose_everything)
    engine = opened(disk)
    commits = fill(engine, "a", commits=8)
    killed_before_the_flush(disk, engine)
    disk = disk.process()
    emptied(disk, ".index")
    engine = opened(disk)
    engine.fold()
    engine.commit(next_attempt(commits[-1]))
    engine.fold()
    assert not list(engine.verify())


def test_snapshots_that_were_begun_and_lost_are_no_damage() -> None:
    disk = SimulatedDisk(lose_everything)
    engine = opened(disk)
    fill(engine, "a")
    engine.add_snapshot(Snapshot("a", 2, "two"))
    killed_before_the_flush(disk, engine)
    disk = disk.process()
    emptied(disk, ".snapshots")
    engine = opened(disk)
    assert not list(engine.verify())
    engine.fold()
    assert engine.get_snapshot("default", "a") == Snapshot("a", 2, "two")
