"""Leader and followers: a thread that is interrupted takes back what it asked for, and never the lead with it."""

from __future__ import annotations

import contextlib
import gc
import itertools
import signal
import sys
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path

import pytest
from interrupting import Interrupting

from fsstore import DuplicateCommitError, StorageUnavailableError
from fsstore.engines.file import FileEngine
from fsstore.engines.file.disk.disk import RealDisk
from fsstore.engines.file.writing import group
from fsstore.engines.file.writing.group import Group, Queued
from fsstore.testing import first_attempt

PATIENCE_SECONDS = 30


class Passes:
    """What a group leads; every pass waits until it is let on."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.let_on = threading.Semaphore(0)
        self.done: list[list[Queued]] = []

    def __call__(self, requests: list[Queued]) -> None:
        self.begun.release()
        assert self.let_on.acquire(timeout=PATIENCE_SECONDS)
        self.done.append(requests)


class LockThatInterrupts:
    """Interrupts its thread right after that was woken, before it could know."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls = 0
        self.release = self._lock.release

    def acquire(self) -> None:
        self._lock.acquire()
        self._calls += 1
        if self._calls == 2:
            raise KeyboardInterrupt


def started(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def ends(thread: threading.Thread) -> bool:
    thread.join(PATIENCE_SECONDS)
    return not thread.is_alive()


def test_a_waiting_thread_that_is_interrupted_has_stored_nothing() -> None:
    passes = Passes()
    one: Group[Queued] = Group(passes, max_pass_bytes=100)
    first, second = Queued(), Queued()
    leader = started(lambda: one.run(first))
    assert passes.begun.acquire(timeout=PATIENCE_SECONDS)
    main = threading.main_thread().ident
    assert main is not None

    def interrupt_once_it_waits() -> None:
        while not one._queue:
            pass
        while one._queue:  # again: a signal between Python's last look and the wait is only seen after that
            signal.pthread_kill(main, signal.SIGINT)
            time.sleep(1)

    interrupting = started(interrupt_once_it_waits)
    with pytest.raises(KeyboardInterrupt) as interrupted:
        one.run(second)
    assert ends(interrupting)
    assert interrupted.value.__notes__ == ["interrupted before it was stored: nothing was stored"]
    passes.let_on.release()
    assert ends(leader)
    assert ends(started(one.stop))
    assert passes.done == [[first]]


@pytest.mark.parametrize("others", [0, 2])
def test_a_thread_that_is_interrupted_when_it_is_to_lead_hands_the_lead_on(
    monkeypatch: pytest.MonkeyPatch, others: int
) -> None:
    passes = Passes()
    one: Group[Queued] = Group(passes, max_pass_bytes=100)
    first, second, later = Queued(), Queued(), [Queued() for _ in range(others)]
    leader = started(lambda: one.run(first))
    assert passes.begun.acquire(timeout=PATIENCE_SECONDS)
    followers = []

    def follow_then_let_on() -> None:
        while not one._queue:
            pass
        monkeypatch.undo()
        for number, request in enumerate(later, 2):
            followers.append(started(lambda request=request: one.run(request)))
            while len(one._queue) < number:
                pass
        for _ in range(2):
            passes.let_on.release()

    monkeypatch.setattr(group, "Lock", LockThatInterrupts)
    following = started(follow_then_let_on)
    with pytest.raises(KeyboardInterrupt):
        one.run(second)
    for thread in (leader, following, *followers, started(one.stop)):
        assert ends(thread)
    assert passes.done == ([[first], later] if later else [[first]])


def is_interrupted_at(at: int) -> bool:
    """Whether a thread that waits, leads for itself and another and hands the lead on comes to that place."""
    begun, let_on = threading.Event(), threading.Event()
    first, second, later = Queued(1), Queued(1), [Queued(1), Queued(1)]
    done, told, failed = [], [], []
    interrupting = Interrupting(at, group.__file__)

    def lead(requests: list[Queued]) -> None:
        begun.set()
        assert let_on.wait(PATIENCE_SECONDS)
        for request in requests:
            done.append(request)
            request.done = True

    def fail(requests: list[Queued]) -> None:
        for request in requests:
            if not request.done:
                request.error = StorageUnavailableError("interrupted")
                failed.append(request)

    def run(request: Queued) -> None:
        with contextlib.suppress(StorageUnavailableError):
            one.run(request)
            told.append(request)

    def follow_then_let_on() -> None:
        while second not in one._queue and not interrupting.interrupted:
            pass
        for request in later:
            threads.append(started(lambda request=request: run(request)))
            while request not in one._queue:
                pass
        let_on.set()

    one: Group[Queued] = Group(lead, interrupted=fail, max_pass_bytes=2)
    threads = [started(lambda: run(first))]
    assert begun.wait(PATIENCE_SECONDS)
    following = started(follow_then_let_on)
    sys.settrace(interrupting)
    try:
        run(second)
    except KeyboardInterrupt:
        pass
    finally:
        sys.settrace(None)
    assert ends(following), at
    assert all(map(ends, threads)), at
    assert ends(started(lambda: run(Queued(1)))), at
    assert ends(started(one.stop)), at
    assert set(told) <= set(done), at
    assert set(later) <= {*told, *failed}, at
    return interrupting.interrupted


def test_whoever_leads_and_is_interrupted_anywhere_leaves_nobody_waiting_and_tells_nobody_of_what_no_pass_did() -> None:
    interrupted = itertools.takewhile(is_interrupted_at, itertools.count(1))
    assert sum(1 for _ in interrupted) > 10


class InterruptedDisk(RealDisk):
    """Before its next flushes it does what is in `before`, one for each."""

    def __init__(self) -> None:
        super().__init__()
        self.before: list[Callable[[], object]] = []

    def flush(self, handle: int) -> None:
        if self.before:
            self.before.pop(0)()
        super().flush(handle)


def test_who_leads_keeps_its_interruption_to_itself_and_the_store_goes_on(tmp_path: Path) -> None:
    """The second thread to commit leads for the third."""
    disk = InterruptedDisk()
    engine = FileEngine(tmp_path / "a.store", disk=disk, background=False)
    engine.initialize()
    begun, let_on = threading.Event(), threading.Event()

    def wait() -> None:
        begun.set()
        assert let_on.wait(PATIENCE_SECONDS)

    def interrupt() -> None:
        raise KeyboardInterrupt

    disk.before = [wait, interrupt]
    errors: dict[str, BaseException] = {}

    def commit(stream_id: str) -> None:
        try:
            engine.commit(first_attempt(stream_id))
        except BaseException as error:
            errors[stream_id] = error

    threads = [started(lambda: commit("before"))]
    assert begun.wait(PATIENCE_SECONDS)
    for number, name in enumerate(("leader", "other"), 1):
        threads.append(started(lambda name=name: commit(name)))
        while len(engine.group._queue) < number:
            pass
    let_on.set()
    assert all(map(ends, threads))
    assert set(errors) == {"leader", "other"}
    assert isinstance(errors["leader"], KeyboardInterrupt)
    assert isinstance(errors["other"], StorageUnavailableError)
    assert errors["other"].in_doubt
    assert engine.commit(first_attempt("after")).checkpoint_token == 4
    assert len(list(engine.get_from("default", "other"))) == 1
    engine.close()


def test_an_error_that_was_told_is_kept_by_nobody_with_what_was_open_when_it_was_met(tmp_path: Path) -> None:
    engine = FileEngine(tmp_path / "a.store", background=False)
    engine.initialize()
    attempt = first_attempt("a")
    engine.commit(attempt)
    gc.disable()
    try:
        engine.commit(attempt)
    except DuplicateCommitError as error:
        told = weakref.ref(error)
    finally:
        gc.enable()
    assert told() is None
    engine.close()
