"""A power cut in the middle of a fold: whatever of its work is on the device, the store reads and works as before."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace

import pytest

from fsstore.engines.file import FileEngine
from fsstore.engines.file.formats import file_headers, format
from fsstore.engines.file.streams.ids import IdIndex
from fsstore.errors import StorageUnavailableError
from fsstore.model import Commit, Snapshot
from fsstore.testing import SimulatedDisk, fill, next_attempt
from fsstore.testing.simulation import Call, ProcessKilled, keep_everything, lose_everything

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


def lose_the_indexes(disk: SimulatedDisk) -> None:
    """Both are made anew from the segments with the next opening."""
    for name in ("heads.index", "commits.index"):
        disk.unlink(f"/store/{name}")


def test_a_purge_that_did_not_end_is_not_undone_where_both_indexes_are_made_anew() -> None:
    """Its first fold removed the files, which the heads made anew do not name then, and could flush no directory."""
    disk = SimulatedDisk(lose_everything)
    engine = opened(disk)
    for stream_id in ("a", "b"):
        fill(engine, stream_id)
    engine.fold()
    engine.purge()
    disk.fail("flush_directory", path="/store/streams/*", times=100)
    with pytest.raises(StorageUnavailableError):
        engine.fold()
    disk.kill()
    disk.heal()
    disk = disk.process()
    lose_the_indexes(disk)
    engine = opened(disk)
    engine.fold()
    engine.close()
    disk = disk.restarted()
    lose_the_indexes(disk)
    disk.unlink("/store/control")
    engine = opened(disk)
    assert list(engine.get_from_checkpoint()) == []
    assert list(engine.verify()) == []
    engine.close()


@pytest.mark.parametrize("removed", range(9))
@pytest.mark.parametrize("power", [False, True])
def test_a_purge_that_did_not_end_leaves_no_file_where_both_indexes_are_made_anew(removed: int, power: bool) -> None:
    disk = SimulatedDisk(keep_everything if power else lose_everything)
    engine = opened(disk)
    for stream_id in ("a", "b"):
        engine.add_snapshot(Snapshot(stream_id, fill(engine, stream_id, commits=40)[-1].stream_revision, "state"))
    engine.fold()
    engine.purge()
    left = removed

    def look(call: Call) -> None:
        nonlocal left
        if call.name == "unlink" and "/streams/" in call.path:
            if not left:
                disk.watch(None)
                disk.kill()
                raise ProcessKilled
            left -= 1

    disk.watch(look)
    with pytest.raises(ProcessKilled) if removed < 8 else nullcontext():
        engine.fold()
    disk.watch(None)
    disk.kill()
    disk = disk.restarted() if power else disk.process()
    lose_the_indexes(disk)
    engine = opened(disk)
    engine.fold()
    assert [path for path in disk.sizes_bytes() if "/streams/" in path] == []
    engine.close()


def test_a_purge_of_a_store_without_streams_is_folded_again() -> None:
    disk = SimulatedDisk(lose_everything)
    engine = opened(disk)
    engine.purge()
    disk.kill()
    disk = disk.process()
    disk.unlink("/store/control")
    engine = opened(disk)
    engine.fold()
    assert list(engine.verify()) == []
    engine.close()


# After a flush that failed, Linux calls the pages clean: they read as written, are not on the device, and a second
# flush succeeds without them.


@pytest.mark.parametrize("forget", ["delete", "purge"])
@pytest.mark.parametrize("file", ["commits.index", "heads.index"])
def test_what_a_failed_flush_of_an_index_left_behind_is_written_by_the_next_fold(forget: str, file: str) -> None:
    disk = SimulatedDisk(lose_everything)
    engine = opened(disk)
    # First come others, so that what is to be forgotten shares no sector with a header.
    kept = fill(engine, "b", commits=20) if forget == "delete" else []
    fill(engine, "a", commits=40)
    engine.fold()
    engine.delete_stream("default", "a") if forget == "delete" else engine.purge()
    disk.fail("flush", path=f"*/{file}")
    with pytest.raises(StorageUnavailableError):
        engine.fold()
    engine.fold()
    engine = opened(disk.restarted())
    assert list(engine.get_from_checkpoint()) == kept
    assert list(engine.get_from("default", "a")) == []
    assert list(engine.verify()) == []
    assert fill(engine, "a")[0].commit_sequence == 1
    engine.close()


@pytest.mark.parametrize("same_process", [True, False])
def test_what_a_failed_flush_of_a_streams_ids_left_behind_is_made_anew(same_process: bool) -> None:
    disk = SimulatedDisk(lose_everything)
    engine = opened(disk)
    fold_long_streams(engine, "a")
    disk.fail("flush", path="*.ids")
    with pytest.raises(StorageUnavailableError):
        engine.fold()
    if not same_process:
        disk.kill()
        disk = disk.process()
        engine = opened(disk)
    engine.fold()
    assert ids_on_the_device(disk) == [80]


def test_a_shorter_fold_leaves_what_the_failed_one_wrote_beyond_it_to_be_written_again() -> None:
    disk = SimulatedDisk(lose_everything)
    engine = opened(disk)
    fold_long_streams(engine, "a", "b")
    disk.fail("flush", path="*.ids", skip=1)
    with pytest.raises(StorageUnavailableError):
        engine.fold()
    folding = engine.writable().folding
    folding._options = replace(folding._options, fold_bytes=600)
    engine.fold()
    assert ids_on_the_device(disk) == [80, 80]


def fold_long_streams(engine: FileEngine, *names: str) -> None:
    """Streams of 80 commits, of which the first 40 are folded."""
    last = {name: fill(engine, name, commits=40)[-1] for name in names}
    engine.fold()
    for name in names:
        for _ in range(40):
            last[name] = engine.commit(next_attempt(last[name]))


def ids_on_the_device(disk: SimulatedDisk) -> list[int]:
    """How many commit ids the index of each stream has after a power cut; 0 where it is not whole."""
    disk = disk.restarted()
    engine = opened(disk)
    assert list(engine.verify()) == []
    paths = [path for path in disk.sizes_bytes() if path.endswith(".ids")]
    return [sum(map(len, IdIndex(disk, path, engine.opened().seed).load(0, 1_000) or [])) for path in paths]


@pytest.mark.parametrize("forget", ["delete", "purge_bucket", "purge"])
def test_a_stream_that_is_begun_anew_is_no_damage_where_a_lost_index_is_rebuilt(forget: str) -> None:
    """The journal still has a commit of the stream before it was forgotten; the fold has removed its files already."""
    disk = SimulatedDisk(keep_everything)
    engine = opened(disk)
    before = fill(engine, "a", commits=3)
    kept = fill(engine, "b", bucket_id="other")
    engine.fold()
    engine.commit(next_attempt(before[-1]))
    engine.add_snapshot(Snapshot("a", 2, "two"))
    if forget == "delete":
        engine.delete_stream("default", "a")
    else:
        engine.purge("default" if forget == "purge_bucket" else None)
        kept = [] if forget == "purge" else kept
    written = fill(engine, "a")
    engine.add_snapshot(Snapshot("a", 1, "one"))
    deaths: list[SimulatedDisk] = []
    disk.watch(lambda call: deaths.append(disk.copy()))
    engine.fold()
    disk.watch(None)
    for left in deaths:
        left.unlink("/store/heads.index")
        after = opened(left)
        assert list(after.get_from_checkpoint()) == kept + written
        assert after.get_snapshot("default", "a") == Snapshot("a", 1, "one")
        assert not list(after.verify())
        after.close()
        assert not list(opened(left).verify())


def test_what_a_fold_wrote_in_part_is_no_damage_where_a_lost_index_is_rebuilt() -> None:
    """A power cut kept the second record of a segment and not the first; the journal has both."""
    disk = SimulatedDisk(keep_everything)
    engine = opened(disk)
    fill(engine, "gone", commits=2)
    engine.delete_stream("default", "gone")
    engine.fold()
    kept = fill(engine, "a", commits=3)
    cut: list[SimulatedDisk] = []

    def torn(call: Call) -> None:
        if call.name == "flush" and call.path.endswith(".segment"):
            left = disk.copy()
            handle = left.open(call.path, write=True)
            left.write(handle, bytes(100), file_headers.stream_file_header_bytes(format.stream_prefix("default", "a")))
            left.close(handle)
            cut.append(left)

    disk.watch(torn)
    engine.fold()
    disk.watch(None)
    assert cut
    for left in cut:
        left.unlink("/store/heads.index")
        after = opened(left)
        assert list(after.get_from_checkpoint()) == kept
        assert not list(after.verify())
        after.close()


def test_a_stream_that_was_begun_anew_keeps_its_place_when_its_fold_is_done_again() -> None:
    disk = SimulatedDisk(lose_everything)
    engine = opened(disk)
    fill(engine, "a", commits=2)
    engine.fold()
    engine.delete_stream("default", "a")
    commits = fill(engine, "a", commits=3)

    def fail(call: Call) -> None:
        if call.name == "flush" and call.path.endswith(".segment"):
            disk.watch(None)
            raise OSError(errno.EIO, "the device gave up", call.path)

    disk.watch(fail)  # after both indexes say that they reach as far as the fold
    with pytest.raises(StorageUnavailableError):
        engine.fold()
    engine.fold()
    assert list(engine.get_from_checkpoint()) == commits
    engine.close()
