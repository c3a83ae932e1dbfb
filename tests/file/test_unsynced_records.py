"""What stands behind the last durable record at opening: shown only once it is durable, or gone for good."""

from __future__ import annotations

import pytest

from fsstore.engines.file import FileEngine
from fsstore.engines.file.processes.control import TAIL
from fsstore.errors import StorageUnavailableError
from fsstore.testing import ProcessKilled, SimulatedDisk, fill, first_attempt
from fsstore.testing.simulation import Call, lose_everything


def opened(disk: SimulatedDisk) -> FileEngine:
    engine = FileEngine("/store", disk=disk, background=False)
    engine.initialize()
    return engine


def content(disk: SimulatedDisk, path: str) -> bytes:
    handle = disk.open(path)
    try:
        return disk.read(handle, disk.size(handle), 0)
    finally:
        disk.close(handle)


def killed(disk: SimulatedDisk) -> SimulatedDisk:
    """The disk as another process finds it, without the page of marks."""
    disk.kill()
    other = disk.process()
    other.unlink("/store/control")
    return other


def test_a_commit_whose_flush_failed_is_shown_after_reopening_only_if_the_power_cannot_take_it() -> None:
    disk = SimulatedDisk(lose_everything)
    engine = opened(disk)
    fill(engine, "a")
    disk.fail("flush", path="*.journal")
    with pytest.raises(StorageUnavailableError) as raised:
        engine.commit(first_attempt("b"))
    assert raised.value.in_doubt
    engine.close()
    shown = list(opened(disk).get_from_checkpoint())
    assert list(opened(disk.restarted()).get_from_checkpoint()) == shown


@pytest.mark.parametrize("damaged", [1, 2])
@pytest.mark.parametrize("page", ["lost", "as it was when the store was closed"])
def test_what_was_cut_off_as_a_torn_tail_never_comes_back_behind_what_is_written_in_its_place(
    page: str, damaged: int
) -> None:
    """One record of a batch is damaged, the other whole; another of the first one's length takes its place."""
    disk = SimulatedDisk(lose_everything)
    engine = opened(disk)
    stored = fill(engine, "x")
    engine.close()
    closed = content(disk, "/store/control")
    engine = opened(disk)
    torn = engine.opened().control.get(TAIL)
    engine.commit_many([first_attempt("a"), first_attempt("b")])
    length = engine.opened().control.get(TAIL) - torn
    (journal,) = (path for path in disk.sizes_bytes() if path.endswith(".journal"))
    disk.rot(journal, torn + 100 + (length // 2 if damaged == 2 else 0))

    disk = killed(disk)
    if page != "lost":
        handle = disk.open("/store/control", write=True, create=True)
        disk.write(handle, closed, 0)
        disk.close(handle)
    engine = opened(disk)
    assert list(engine.get_from_checkpoint()) == stored
    stored.append(engine.commit(first_attempt("c")))
    assert engine.opened().control.get(TAIL) == torn + length // 2, "the test needs records of one length"

    engine = opened(killed(disk))
    assert list(engine.get_from_checkpoint()) == stored
    assert list(engine.verify()) == []


def test_what_a_killed_process_did_not_flush_is_on_the_device_before_a_reader_shows_it() -> None:
    disk = SimulatedDisk(lose_everything)
    engine = opened(disk)
    fill(engine, "a")

    def die(call: Call) -> None:
        if call.name == "flush":
            disk.kill_at(0)

    disk.watch(die)
    with pytest.raises(ProcessKilled):
        engine.commit(first_attempt("b"))
    disk.watch(None)
    before = disk.copy()
    reader = FileEngine("/store", disk=disk.process(), read_only=True)
    reader.initialize()
    shown = list(reader.get_from_checkpoint())
    assert list(opened(disk.restarted()).get_from_checkpoint()) == shown
    assert len(list(opened(before.restarted()).get_from_checkpoint())) == len(shown) - 1


def test_what_a_failed_flush_left_is_shown_to_no_reader_before_it_is_written_again() -> None:
    disk = SimulatedDisk(lose_everything)
    engine = opened(disk)
    fill(engine, "a")
    disk.fail("flush", path="*.journal")
    with pytest.raises(StorageUnavailableError):
        engine.commit(first_attempt("b"))
    beside = FileEngine("/store", disk=disk.process(), read_only=True)
    beside.initialize()
    assert "b" not in {commit.stream_id for commit in beside.get_from_checkpoint()}
    engine.close()
    reader = FileEngine("/store", disk=disk.process(), read_only=True)
    with pytest.raises(StorageUnavailableError, match="open /store for writing once"):
        reader.initialize()
    opened(disk).close()
    reader.initialize()
    shown = list(reader.get_from_checkpoint())
    assert list(opened(disk.restarted()).get_from_checkpoint()) == shown
