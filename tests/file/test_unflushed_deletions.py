"""A deletion is seen once no power cut can undo it, as a commit is: by its own process no sooner than by others."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from fsstore.engines.file import FileEngine
from fsstore.engines.file.disk.disk import RealDisk
from fsstore.errors import StorageUnavailableError
from fsstore.model import Commit
from fsstore.testing import ProcessKilled, SimulatedDisk, fill, first_attempt
from fsstore.testing.simulation import Call, lose_everything

DELETIONS: dict[str, Callable[[FileEngine], None]] = {
    "a stream": lambda engine: engine.delete_stream("default", "a"),
    "a bucket": lambda engine: engine.purge("default"),
    "everything": lambda engine: engine.purge(),
}


def opened(disk: SimulatedDisk) -> FileEngine:
    engine = FileEngine("/store", disk=disk, background=False)
    engine.initialize()
    return engine


def seen(engine: FileEngine) -> list[Commit]:
    """What is there, if all ways of reading say so."""
    commits = list(engine.get_from_checkpoint())
    assert list(engine.get_from("default", "a")) == commits
    assert [head.head_revision for head in engine.get_streams_to_snapshot("default", 0)] == (
        [commits[-1].stream_revision] if commits else []
    )
    return commits


@pytest.mark.parametrize("folded", [False, True])
@pytest.mark.parametrize("what", DELETIONS)
def test_a_deletion_whose_flush_failed_is_seen_by_nobody_until_the_store_is_opened_again(
    what: str, folded: bool
) -> None:
    disk = SimulatedDisk(lose_everything)
    engine = opened(disk)
    commits = fill(engine, "a", commits=3)
    if folded:
        engine.fold()
    disk.fail("flush", path="*.journal")
    with pytest.raises(StorageUnavailableError) as raised:
        DELETIONS[what](engine)
    assert raised.value.in_doubt
    assert seen(engine) == commits
    assert seen(opened(disk.restarted())) == commits


@pytest.mark.parametrize("look", ["commits, which fails", "commits", "folds", "opens the store"])
def test_a_deletion_of_a_process_that_was_killed_before_its_flush_is_seen_by_others_only_once_it_is_flushed(
    look: str,
) -> None:
    disk = SimulatedDisk(lose_everything)
    engine = opened(disk)
    commits = fill(engine, "a", commits=3)
    other = disk.process()

    def die_in_the_flush(call: Call) -> None:
        if call.name == "flush":
            other.kill_at(0)

    deleting = opened(other)
    disk.watch(die_in_the_flush)
    with pytest.raises(ProcessKilled):
        deleting.delete_stream("default", "a")
    disk.watch(None)
    assert seen(engine) == commits
    if look == "commits, which fails":
        disk.fail("flush", path="*.journal")
        with pytest.raises(StorageUnavailableError):
            engine.commit(first_attempt("b"))
    elif look == "commits":
        commits = [engine.commit(first_attempt("b"))]
        engine = opened(disk.restarted())
        assert list(engine.get_from_checkpoint()) == commits
        return
    elif look == "folds":
        engine.fold()
    else:
        engine = opened(disk.process())
    assert seen(engine) == commits
    assert seen(opened(disk.restarted())) == commits


class _SlowDisk(RealDisk):
    """Calls `while_flushing` in every flush, once it is set."""

    while_flushing: Callable[[], None] | None = None

    def flush(self, handle: int) -> None:
        if self.while_flushing is not None:
            self.while_flushing()
        super().flush(handle)


def test_who_reads_while_a_deletion_is_flushed_does_not_see_it_before_it_is(tmp_path: Path) -> None:
    disk = _SlowDisk(str(tmp_path / "a.store"))
    engine = FileEngine(tmp_path / "a.store", disk=disk, background=False)
    engine.initialize()
    commits = fill(engine, "a", commits=3)
    found: list[list[Commit]] = []
    reader = threading.Thread(target=lambda: found.append(seen(engine)))

    def read() -> None:
        disk.while_flushing = None
        reader.start()
        reader.join(0.3)
        assert found in ([], [commits])

    disk.while_flushing = read
    engine.delete_stream("default", "a")
    reader.join()
    assert found in ([[]], [commits])
    assert seen(engine) == []
    engine.close()
