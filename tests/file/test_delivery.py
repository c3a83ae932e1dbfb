"""The file engine's named values, marks and leases: what damage, forking, closing and a killed process do to them."""

from __future__ import annotations

import contextlib
import fcntl
import gc
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from stores import flip

from fsstore.dispatch import Subscription
from fsstore.engine import Lease
from fsstore.engines.file import FileEngine
from fsstore.engines.file.disk.disk import RealDisk
from fsstore.engines.file.folding.fold import Fold
from fsstore.engines.file.values import leases, slots
from fsstore.engines.file.values.slots import SLOT_BYTES
from fsstore.errors import StorageError, StoreClosedError
from fsstore.testing import SimulatedDisk, fill
from fsstore.testing.simulation import Call, keep_everything, lose_everything

PATIENCE_SECONDS = 30
HOLDER = """
import sys, time
from fsstore.engines.file import FileEngine
engine = FileEngine(sys.argv[1])
engine.initialize()
assert engine.acquire_lease("a", 600)
print("held", flush=True)
time.sleep(600)
"""


def opened(path: Path, **options: object) -> FileEngine:
    engine = FileEngine(path, **options)  # type: ignore[arg-type]
    engine.initialize()
    return engine


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[FileEngine]:
    engine = opened(tmp_path / "s")
    yield engine
    engine.close()


def acquired_within(engine: FileEngine, seconds: float) -> Lease:
    until = time.monotonic() + seconds
    while (lease := engine.acquire_lease("a", 600)) is None:
        assert time.monotonic() < until, "the lease never came free"
        time.sleep(0.001)
    return lease


def value_file(path: Path) -> Path:
    (found,) = (path / "dispatch").glob("*.value")
    return found


def test_a_damaged_newest_value_gives_the_one_before(engine: FileEngine) -> None:
    for value in (b"first", b"second", b"third"):
        engine.put_checkpoint("a", value)
    flip(value_file(Path(engine.path)), SLOT_BYTES + 9)
    assert engine.get_checkpoint("a") == b"second"
    engine.put_checkpoint("a", b"fourth")
    assert engine.get_checkpoint("a") == b"fourth"


@pytest.mark.parametrize("offset", [0, 3, 4, 9])
def test_a_value_damaged_twice_is_lost_and_can_be_put_again(engine: FileEngine, offset: int) -> None:
    engine.put_checkpoint("a", b"first")
    engine.put_checkpoint("a", b"second")
    for slot in (0, 1):
        flip(value_file(Path(engine.path)), slot * SLOT_BYTES + offset)
    assert engine.get_checkpoint("a") is None
    assert engine.get_checkpoint_names() == []
    assert len(list(engine.verify())) == 2
    engine.put_checkpoint("a", b"again")
    assert engine.get_checkpoint("a") == b"again"


def test_verify_has_nothing_to_say_of_whole_values(engine: FileEngine) -> None:
    engine.put_checkpoint("a", b"first")
    engine.put_checkpoint("a", b"second")
    engine.put_checkpoint("b", b"")
    engine.delete_checkpoint("b")
    assert list(engine.verify()) == []


def test_reading_only_sees_values_and_takes_no_lease(engine: FileEngine) -> None:
    engine.put_checkpoint("a", b"1")
    reader = opened(Path(engine.path), read_only=True)
    assert reader.get_checkpoint("a") == b"1"
    assert reader.get_checkpoint_names() == ["a"]
    assert reader.wait_for_commits(0, 0.0) is False
    for call in (lambda: reader.put_checkpoint("a", b""), lambda: reader.acquire_lease("a", 1.0)):
        with pytest.raises(StorageError, match="read-only"):
            call()
    reader.close()


def test_a_killed_holder_leaves_its_lease_at_once(engine: FileEngine) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, engine.path], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    assert engine.acquire_lease("a", 0.0) is None
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    holder.stdout.close()
    assert acquired_within(engine, 20).fence == 2


def test_a_lease_that_its_asker_never_got_as_it_was_interrupted_is_free(
    engine: FileEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextlib.contextmanager
    def interrupted_at_its_end(what: str) -> Iterator[None]:
        yield
        raise KeyboardInterrupt

    with monkeypatch.context() as interrupting:
        interrupting.setattr(leases, "asked", interrupted_at_its_end)
        with pytest.raises(KeyboardInterrupt):
            engine.acquire_lease("a", 600)
    other = opened(tmp_path / "s")
    lease = other.acquire_lease("a", 600)
    assert lease is not None
    other.close()
    assert engine.acquire_lease("a", 600) is not None


def test_a_subscription_may_be_collected_while_another_lease_is_asked_for(tmp_path: Path) -> None:
    class Disk(RealDisk):
        collects = False

        def lock(self, handle: int, *, shared: bool = False, blocking: bool = True) -> bool:
            if self.collects:
                gc.collect()
            return super().lock(handle, shared=shared, blocking=blocking)

    disk = Disk(str(tmp_path / "s"))
    engine = opened(tmp_path / "s", disk=disk)
    fill(engine, "a")
    abandoned = Subscription(engine, "audit")
    next(abandoned)
    abandoned.itself = abandoned  # type: ignore[attr-defined]
    del abandoned
    disk.collects = True
    asking = threading.Thread(target=engine.acquire_lease, args=("b", 1.0), daemon=True)
    asking.start()
    asking.join(20)
    assert not asking.is_alive()
    until = time.monotonic() + 20
    while engine.acquire_lease("subscription/audit", 1.0) is None:  # a thread lets go of it
        assert time.monotonic() < until
    disk.collects = False
    engine.close()


def test_a_forked_child_neither_holds_nor_ends_its_parents_lease(engine: FileEngine) -> None:
    acquired_within(engine, 1)
    go_on, ends = os.pipe()
    child = os.fork()
    if not child:
        try:
            engine.acquire_lease("b", 1.0)
        except StoreClosedError:
            os.close(ends)
            os.read(go_on, 1)  # lives on until the parent has looked
            os._exit(0)
        os._exit(1)
    os.close(go_on)
    other = opened(Path(engine.path))
    assert other.acquire_lease("a", 1.0) is None
    engine.close()
    acquired_within(other, 20)
    other.close()
    os.close(ends)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def within_time(call: Callable[[], Any]) -> Any:
    """What the call gives; it fails where it would wait for ever."""
    given: list[Any] = []
    thread = threading.Thread(target=lambda: given.append(call()), daemon=True)
    thread.start()
    thread.join(PATIENCE_SECONDS)
    assert given, "it waits for a lock that nobody gives back"
    return given[0]


@pytest.fixture
def fork() -> Iterator[Callable[[], None]]:
    """Forks a child that lives until the test ends, and does nothing."""
    go_on, ends = os.pipe()
    children = []

    def forked() -> None:
        child = os.fork()
        if not child:
            os.close(ends)
            os.read(go_on, 1)
            os._exit(0)
        children.append(child)

    yield forked
    os.close(ends)
    os.close(go_on)
    for child in children:
        os.waitpid(child, 0)


def test_a_child_that_is_forked_while_a_value_is_put_keeps_no_lock_of_it(
    engine: FileEngine, fork: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    write = slots.write
    with monkeypatch.context() as patched:
        patched.setattr(slots, "write", lambda *arguments: (fork(), write(*arguments)))
        engine.put_checkpoint("a", b"1")
    assert within_time(lambda: engine.get_checkpoint("a")) == b"1"
    within_time(lambda: engine.put_checkpoint("a", b"2") or True)


def test_a_child_that_is_forked_while_the_store_is_closed_keeps_no_lock_of_it(
    tmp_path: Path, fork: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = opened(tmp_path / "s", background=False)
    assert engine.acquire_lease("a", 1.0)
    fill(engine, "a")
    run = Fold.run
    with monkeypatch.context() as patched:
        patched.setattr(Fold, "run", lambda *arguments, **options: (fork(), run(*arguments, **options))[1])
        engine.close()
    again = within_time(lambda: opened(tmp_path / "s", background=False))
    assert again.acquire_lease("a", 1.0)
    assert within_time(lambda: again.close() or True)


def test_a_mark_that_waits_for_its_lock_while_the_store_is_closed_is_written(engine: FileEngine) -> None:
    commits = fill(engine, "a", commits=2)
    other = os.open(f"{engine.path}/dispatch/default.checkpoint", os.O_RDWR)
    fcntl.flock(other, fcntl.LOCK_EX)
    marking = threading.Thread(target=lambda: engine.mark_commit_as_dispatched(commits[0]), daemon=True)
    marking.start()
    while not engine.opened().marks._mutex.locked():
        time.sleep(0.001)
    closing = threading.Thread(target=engine.close, daemon=True)
    closing.start()
    closing.join(0.2)
    os.close(other)
    for thread in (marking, closing):
        thread.join(PATIENCE_SECONDS)
        assert not thread.is_alive()
    again = opened(Path(engine.path))
    assert list(again.get_undispatched_commits()) == commits[1:]
    again.close()


def test_a_call_that_the_closing_of_the_store_overtakes_hears_of_it_and_holds_nothing(
    engine: FileEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    commits = fill(engine, "a", commits=2)
    store = engine.writable()
    monkeypatch.setattr(engine, "writable", lambda: store)
    other = opened(Path(engine.path))
    engine.close()
    for call in (lambda: engine.acquire_lease("a", 1.0), lambda: engine.mark_commit_as_dispatched(commits[0])):
        with pytest.raises(StoreClosedError, match="closed"):
            call()
    assert other.acquire_lease("a", 1.0)
    other.close()


def test_a_commit_whose_deletion_may_be_undone_by_a_power_cut_does_not_count_as_dispatched() -> None:
    disk = SimulatedDisk()
    engine = FileEngine("/a.store", disk=disk, background=False)
    engine.initialize()
    (deleted,) = fill(engine, "deleted", commits=1)
    commits = fill(engine, "a", commits=2)
    engine.mark_commit_as_dispatched(commits[0])
    marks = engine.opened().marks

    def look(call: Call) -> None:
        if call.name == "flush":
            disk.watch(None)
            assert list(engine.get_undispatched_commits()) == commits[1:]
            assert deleted.checkpoint_token not in marks.read()

    disk.watch(look)
    engine.delete_stream("default", "deleted")
    assert list(engine.get_undispatched_commits()) == commits[1:]
    assert deleted.checkpoint_token in marks.read()
    engine.close()


@pytest.mark.parametrize("cuts", [1, 2])
def test_marks_that_outlast_their_commits_are_of_no_later_ones(cuts: int) -> None:
    """With `durability="os"` a power cut may take the commits and leave that they were dispatched."""
    disk = SimulatedDisk(keep_everything)
    engine = opened(Path("/s"), disk=disk, background=False, durability="os")
    for commit in fill(engine, "gone", commits=5):
        engine.mark_commit_as_dispatched(commit)
    disk.flush(disk.open("/s/dispatch/default.checkpoint", write=True))
    disk.flush_directory("/s/dispatch")
    engine = opened(Path("/s"), disk=disk.restarted(lose_everything), background=False)
    assert list(engine.get_from_checkpoint()) == []
    stored = fill(engine, "new", commits=7)
    if cuts == 2:
        engine = opened(Path("/s"), disk=engine._disk.restarted(lose_everything), background=False)
    assert list(engine.get_undispatched_commits()) == stored
    assert list(engine.verify()) == []
