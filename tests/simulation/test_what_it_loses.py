"""What the simulated disk keeps and loses: each rule of a power cut, a death and a failed flush by itself."""

from __future__ import annotations

import errno
import inspect
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from fsstore.testing import PowerCut, ProcessKilled, SimulatedDisk
from fsstore.testing.simulation import CALLS, interleave, keep_everything, lose_everything, outcomes, seeded
from fsstore.testing.simulation.choices import Choose

SECTOR = 512


def disk_with(content: bytes, *, flushed: bool = True) -> tuple[SimulatedDisk, int]:
    disk = SimulatedDisk(keep_everything)
    handle = disk.open("/file", write=True, create=True)
    disk.write(handle, content, 0)
    if flushed:
        disk.flush(handle)
        disk.flush_directory("/")
    return disk, handle


def content(disk: SimulatedDisk, path: str = "/file") -> bytes | None:
    if not disk.exists(path):
        return None
    handle = disk.open(path)
    return disk.read(handle, 1 << 20, 0)


def left(disk: SimulatedDisk, path: str = "/file", most: int = 500) -> set[bytes | None]:
    """Everything that a power cut now can leave of a file."""
    return set(outcomes(lambda choose: content(disk.copy().restarted(choose), path), most=most))


def test_outcomes_are_as_many_as_was_asked_for_where_choices_lead_to_further_ones() -> None:
    def run(choose: Choose) -> tuple[int, ...]:
        return tuple(choose(10) for _ in range(3)) if choose(2) else ()

    assert len(list(outcomes(run, most=5))) == 5
    assert len(set(outcomes(run, most=2_000))) == 1_001


def test_what_was_flushed_is_there() -> None:
    disk, _ = disk_with(b"kept")
    assert left(disk) == {b"kept"}


def test_a_write_that_was_not_flushed_may_be_lost() -> None:
    disk, handle = disk_with(b"old")
    disk.write(handle, b"new", 0)
    assert left(disk) == {b"old", b"new"}


def test_a_write_is_torn_at_its_sectors_and_nowhere_else() -> None:
    disk, handle = disk_with(b"a" * 2 * SECTOR)
    disk.write(handle, b"b" * 2 * SECTOR, 0)
    pieces = (b"a" * SECTOR, b"b" * SECTOR)
    assert left(disk) == {first + second for first in pieces for second in pieces}


def test_a_later_write_may_be_there_without_an_earlier_one() -> None:
    disk, handle = disk_with(b"." * 3 * SECTOR)
    disk.write(handle, b"1", 0)
    disk.write(handle, b"2", 2 * SECTOR)
    found = {(one[0:1], one[2 * SECTOR : 2 * SECTOR + 1]) for one in left(disk) if one}
    assert found == {(b".", b"."), (b"1", b"."), (b".", b"2"), (b"1", b"2")}


def test_a_file_has_no_name_until_its_directory_is_flushed() -> None:
    disk, handle = disk_with(b"content", flushed=False)
    disk.flush(handle)
    assert left(disk) == {None, b"content"}
    disk.flush_directory("/")
    assert left(disk) == {b"content"}


def test_a_renamed_file_that_was_not_flushed_may_be_empty() -> None:
    disk, _ = disk_with(b"old")
    handle = disk.open("/new", write=True, create=True)
    disk.write(handle, b"new", 0)
    disk.rename("/new", "/file")
    assert left(disk) == {b"old", b"new", b"", bytes(3)}


def test_a_file_in_a_directory_that_was_lost_is_lost() -> None:
    disk = SimulatedDisk(keep_everything)
    disk.make_directory("/d")
    handle = disk.open("/d/file", write=True, create=True)
    disk.flush(handle)
    disk.flush_directory("/d")
    assert left(disk, "/d/file") == {None, b""}


def test_a_failed_flush_marks_the_page_clean() -> None:
    disk, handle = disk_with(b"old")
    disk.write(handle, b"new", 0)
    disk.fail("flush")
    disk.choose = lose_everything
    with pytest.raises(OSError, match="Input/output"):
        disk.flush(handle)
    disk.flush(handle)
    assert disk.read(handle, 3, 0) == b"new"
    assert left(disk) == {b"old"}
    disk.evict()
    assert disk.read(handle, 3, 0) == b"old"


def test_mapped_words_outlive_the_process_and_perhaps_the_power() -> None:
    disk, handle = disk_with(bytes(16))
    words = disk.map_words(handle, 2, write=True)
    words[0], words[1] = 1, 2
    disk.kill()
    assert content(disk.process()) == b"\1" + bytes(7) + b"\2" + bytes(7)
    found = {(one[0], one[8]) for one in left(disk.process()) if one}
    assert found == {(0, 0), (1, 0), (0, 2), (1, 2)}


def test_a_killed_process_leaves_its_locks_and_makes_no_call() -> None:
    disk, handle = disk_with(b"")
    other = disk.process()
    theirs = other.open("/file")
    disk.lock(handle)
    assert not other.lock(theirs, blocking=False)
    disk.kill_at(1)
    with pytest.raises(ProcessKilled):
        disk.write(handle, b"x", 0)
    with pytest.raises(ProcessKilled):
        disk.size(handle)
    assert other.lock(theirs, blocking=False)


def test_the_power_goes_in_the_call_that_was_asked_for() -> None:
    disk, handle = disk_with(b"")
    disk.cut_power_at(2)
    disk.size(handle)
    for _ in range(2):
        with pytest.raises(PowerCut):
            disk.size(handle)
    assert content(disk.restarted()) == b""


def test_a_full_disk_takes_what_it_has_room_for() -> None:
    disk, handle = disk_with(b"x" * SECTOR)
    disk.set_capacity(3 * SECTOR)
    with pytest.raises(OSError, match="No space") as full:
        disk.write(handle, b"y" * 4 * SECTOR, 0)
    assert full.value.errno == errno.ENOSPC
    assert content(disk) == b"y" * 3 * SECTOR
    disk.write(handle, b"z", 0)


def test_a_write_fails_where_it_was_asked_to() -> None:
    disk, handle = disk_with(b"old")
    disk.fail("write", errno.EIO, path="*/file", skip=1)
    disk.write(handle, b"1", 0)
    with pytest.raises(OSError, match="Input/output"):
        disk.write(handle, b"2", 0)
    disk.write(handle, b"3", 0)
    assert content(disk) == b"3ld"


def test_a_call_that_there_is_none_of_cannot_fail() -> None:
    disk, _ = disk_with(b"")
    with pytest.raises(ValueError, match=r"no call is named 'fsync'; there are .* flush, "):
        disk.fail("fsync")
    for count in ({"times": 0}, {"skip": -1}):
        with pytest.raises(ValueError, match="times at least 1"):
            disk.fail("flush", **count)


def test_the_calls_that_can_fail_are_all_that_there_are() -> None:
    made = set(re.findall(r"_begin\(\"(\w+)\"", Path(inspect.getfile(SimulatedDisk)).read_text()))
    assert made == set(CALLS)


@pytest.mark.parametrize("calls", [0, -1])
def test_calls_count_from_one(calls: int) -> None:
    disk, handle = disk_with(b"")
    for stop in (disk.cut_power_at, disk.kill_at):
        with pytest.raises(ValueError, match="calls count from 1"):
            stop(calls)
        stop(1)
        stop(None)
    assert disk.size(handle) == 0


def test_a_process_can_be_killed_in_the_call_that_is_watched() -> None:
    disk, handle = disk_with(b"")
    disk.watch(lambda call: disk.kill_at(0))
    with pytest.raises(ProcessKilled):
        disk.size(handle)


def test_nothing_rots_where_nothing_is() -> None:
    disk, _ = disk_with(b"12")
    for offset in (2, 1_000_000, -1):
        with pytest.raises(ValueError, match="/file has 2 bytes"):
            disk.rot("/file", offset)
    with pytest.raises(ValueError, match="bits 0 to 7"):
        disk.rot("/file", 0, 8)


def test_a_bit_rots() -> None:
    disk, _ = disk_with(b"\0")
    disk.rot("/file", 0, 3)
    assert content(disk) == b"\x08"
    assert left(disk) == {b"\x08"}


def test_the_same_seed_gives_the_same_loss() -> None:
    disk, handle = disk_with(b"." * 8 * SECTOR)
    for number in range(8):
        disk.write(handle, b"x", number * SECTOR)
    lost = [content(disk.copy().restarted(seeded(seed))) for seed in range(20)]
    assert lost == [content(disk.copy().restarted(seeded(seed))) for seed in range(20)]
    assert len(set(lost)) > 5


def test_every_interleaving_of_two_processes_is_found() -> None:
    def run(choose: Choose) -> str:
        order: list[str] = []
        disk, _ = disk_with(b"")

        def program(name: str) -> Callable[[SimulatedDisk], None]:
            def go(mine: SimulatedDisk) -> None:
                handle = mine.open("/file", write=True)
                for number in range(2):
                    mine.lock(handle)
                    order.append(f"{name}{number}")
                    mine.unlock(handle)

            return go

        interleave(disk, [program("a"), program("b")], choose)
        return " ".join(order)

    found = set(outcomes(run, most=2000))
    assert found == {
        "a0 a1 b0 b1",
        "a0 b0 a1 b1",
        "a0 b0 b1 a1",
        "b0 a0 a1 b1",
        "b0 a0 b1 a1",
        "b0 b1 a0 a1",
    }


class _Stop(BaseException):
    """What a source of choices may raise, as hypothesis does when it has had enough."""


def test_whatever_ends_a_process_the_others_go_on_and_it_is_given_back() -> None:
    disk, _ = disk_with(b"")
    order: list[str] = []

    def stops(mine: SimulatedDisk) -> None:
        mine.lock(mine.open("/file", write=True))
        raise _Stop

    def goes_on(mine: SimulatedDisk) -> None:
        mine.lock(mine.open("/file", write=True))
        order.append("went on")

    stopped, went_on = interleave(disk, [stops, goes_on], keep_everything)
    assert isinstance(stopped, _Stop)
    assert went_on is None
    assert order == ["went on"]


@pytest.mark.parametrize("choices", range(2))
def test_what_a_choice_raises_is_raised_once_every_process_has_ended(choices: int) -> None:
    disk, _ = disk_with(b"")
    left = [0] * choices
    ended: list[str] = []

    def choose(count: int) -> int:
        if not left:
            raise _Stop
        return left.pop()

    def program(mine: SimulatedDisk) -> None:
        mine.lock(mine.open("/file", write=True))
        ended.append("ended")

    with pytest.raises(_Stop):
        interleave(disk, [program, program], choose)
    assert ended == ["ended", "ended"]
