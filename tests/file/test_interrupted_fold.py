"""A power cut in the middle of a fold: whatever of its work is on the device, the store reads and works as before."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fsstore.engines.file import FileEngine
from fsstore.model import Commit, Snapshot
from fsstore.testing import SimulatedDisk, fill, next_attempt
from fsstore.testing.simulation import Call, PowerCut, lose_everything

OPTIONS = {"background": False, "journal_bytes": 4096, "index_from_bytes": 600}
REACHED_THE_DEVICE = ("/store/heads.index", "/store/control")


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

    def flush_heads_alone(call: Call) -> None:
        if call.name == "flush_file_system" or (call.name == "flush" and "streams" in call.path):
            disk.watch(None)
            other = disk.process()
            for path in REACHED_THE_DEVICE:
                other.flush(other.open(path))
            raise PowerCut

    disk.watch(flush_heads_alone)
    with pytest.raises(PowerCut):
        engine.fold()
    engine = opened(disk.restarted())
    yield engine, commits
    engine.close()


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
