"""The control page after a power cut: its words reach the device one by one, and none from before may be believed."""

from __future__ import annotations

from crashes.exploring import cut
from crashes.workloads import FOLD_AT_ONCE_BYTES, OPTIONS, STORE

from fsstore.engines.file import FileEngine
from fsstore.engines.file.processes.control import CLEAN
from fsstore.testing import SimulatedDisk, fill, next_attempt
from fsstore.testing.simulation import Call, keep_everything, outcomes


def opened(disk: SimulatedDisk, fold_bytes: int = FOLD_AT_ONCE_BYTES) -> FileEngine:
    engine = FileEngine(STORE, disk=disk, fold_bytes=fold_bytes, **OPTIONS)
    engine.initialize()
    return engine


def test_a_fold_mark_that_was_not_believed_does_not_come_back_while_all_is_folded_again() -> None:
    """The page is torn, so all is folded again, bit by bit; the next power cut makes the page whole."""
    disk = SimulatedDisk(keep_everything)
    engine = opened(disk)
    written = fill(engine, "a", commits=6)
    engine.close()
    disk = disk.copy().restarted()
    disk.rot(f"{STORE}/control", (CLEAN + 1) * 8)
    engine = opened(disk, fold_bytes=400)
    crashes: list[SimulatedDisk] = []

    def look(call: Call) -> None:
        if call.name == "write" and call.path.endswith((".ids", "commits.index")):
            crashes.append(disk.copy())

    disk.watch(look)
    engine.fold()
    disk.watch(None)
    assert crashes
    for crash in crashes[2:5]:
        for choices, left in outcomes(lambda choose, crash=crash: cut(crash, choose), most=110):
            after = opened(left)
            assert list(after.get_from("default", "a")) == written, choices
            assert not list(after.verify()), choices
            after.commit(next_attempt(written[-1]))
            after.close()
