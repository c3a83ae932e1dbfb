"""A power cut while a store is made, or right after: there is a whole store, or one that the next opening makes."""

from __future__ import annotations

import pytest

from fsstore.engines.file import FileEngine
from fsstore.errors import StorageError, StorageUnavailableError
from fsstore.testing import ProcessKilled, SimulatedDisk, fill
from fsstore.testing.simulation import Call, Choose, lose_everything, outcomes

STORE = "/data/orders.store"


def opened(disk: SimulatedDisk) -> FileEngine:
    engine = FileEngine(STORE, disk=disk, background=False, journal_bytes=4096)
    engine.initialize()
    return engine


def test_a_store_opens_whatever_a_power_cut_left_of_its_making() -> None:
    disk = SimulatedDisk(lose_everything)
    left: list[SimulatedDisk] = []

    def look(call: Call) -> None:
        def cut(choose: Choose) -> SimulatedDisk:
            return disk.copy().restarted(choose)

        left.extend(outcomes(cut, most=12))

    disk.watch(look)
    opened(disk)
    assert len(left) > 200
    for one in left:
        engine = opened(one)
        assert fill(engine, "a") == list(engine.get_from_checkpoint())


@pytest.mark.parametrize("calls", range(1, 40))
def test_a_store_that_a_killed_process_began_is_there_after_a_power_cut(calls: int) -> None:
    disk = SimulatedDisk(lose_everything)
    disk.kill_at(calls)
    try:
        opened(disk)
    except ProcessKilled:
        disk = disk.process()
    commits = fill(opened(disk), "a")
    assert list(opened(disk.restarted()).get_from_checkpoint()) == commits


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("/proc/nope/x", "no directory can be made at /proc/nope; name another path"),
        ("/dev/null/x", "/dev/null/x cannot be opened: .*Not a directory: '/dev/null/x'; name another path"),
        (f"/tmp/{'x' * 300}", f"/tmp/{'x' * 300} cannot be opened: .*File name too long: .*; name another path"),
    ],
)
def test_where_no_store_can_be_nobody_is_told_to_come_again(where: str, said: str) -> None:
    with pytest.raises(StorageError, match=f"^{said}") as raised:
        FileEngine(where).initialize()
    assert type(raised.value) is StorageError


def test_a_store_whose_last_flushes_failed_is_there_after_a_power_cut() -> None:
    disk = SimulatedDisk(lose_everything)
    disk.fail("flush_directory", path=STORE, skip=1, times=2)
    for _ in range(2):
        with pytest.raises(StorageUnavailableError):
            opened(disk)
    commits = fill(opened(disk), "a")
    assert list(opened(disk.restarted()).get_from_checkpoint()) == commits


def test_a_new_store_assumes_no_fold_that_did_not_end() -> None:
    """One that a killed process made as well: before the first commit there was nothing to fold."""
    disk = SimulatedDisk(lose_everything)
    opened(disk)
    disk = disk.restarted()
    engine = opened(disk)
    for stream_id in "abc":
        fill(engine, stream_id)
    asked: list[str] = []
    disk.watch(lambda call: asked.append(call.path) if call.name == "exists" else None)
    engine.fold()
    assert not [path for path in asked if "/streams/" in path]
