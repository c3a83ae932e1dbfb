"""Every call of the engine, with each disk call within it failing once: an error of this package says so, nothing that
was acknowledged is lost, what is said not to be stored is not, and the same call succeeds afterwards.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import partial
from typing import Any

import anyio
import pytest

from fsstore.engines.file import FileEngine
from fsstore.engines.file.disk.disk import RealDisk
from fsstore.engines.file.repair import apply, plan
from fsstore.engines.file.writing.planning import SeveralCommits
from fsstore.errors import DuplicateCommitError, StorageUnavailableError
from fsstore.model import Commit, Snapshot
from fsstore.serialization import MsgpackSerializer
from fsstore.testing import SimulatedDisk, fill, first_attempt, next_attempt
from fsstore.testing.simulation import Call, keep_everything, lose_everything

STORE = "/data/orders.store"
OPTIONS: dict[str, Any] = {"background": False, "index_from_bytes": 700, "serializer": MsgpackSerializer()}
_UUID = "[0-9a-f-]{36}"
LOOKING = ("open", "read", "size", "names", "exists")
CODES = {"open": (errno.EIO, errno.EMFILE), "write": (errno.EIO, errno.ENOSPC)}


def opened(disk: SimulatedDisk, *, read_only: bool = False) -> FileEngine:
    engine = FileEngine(STORE, disk=disk, read_only=read_only, **OPTIONS)
    engine.initialize()
    return engine


def begin() -> tuple[SimulatedDisk, list[Commit], list[Commit]]:
    """A store with a stream that is folded, one that is in part, and one that is not, as a killed process leaves it."""
    disk = SimulatedDisk()
    engine = opened(disk)
    old = fill(engine, "old", commits=8)
    part = fill(engine, "part", commits=3)
    engine.add_snapshot(Snapshot("old", 4, {"at": 4}))
    engine.put_checkpoint("known", b"7")
    engine.mark_commit_as_dispatched(old[0])
    engine.mark_commit_as_dispatched(old[2])
    engine.close()
    engine = opened(disk)
    for _ in range(3):
        part.append(engine.commit(next_attempt(part[-1])))
    fill(engine, "new", commits=2)
    engine.add_snapshot(Snapshot("part", 2, {"at": 2}))
    disk.kill()
    left = disk.process()
    assert not left.open_files()
    return left, old, part


BEGIN, OLD, PART = begin()
FIRST = first_attempt("another")
NEXT = next_attempt(PART[-1])
BATCH = [first_attempt("x"), first_attempt("y")]


@dataclass
class Answers:
    """What a call gave; of a walk, what came before it failed."""

    given: list[Any] = field(default_factory=list)

    def of(self, answer: Any) -> None:
        if isinstance(answer, Iterable) and not isinstance(answer, bytes):
            for one in answer:
                self.given.append(one)
        else:
            self.given.append(answer)


def refused(engine: FileEngine, attempt: Any) -> str:
    with pytest.raises(DuplicateCommitError):
        engine.commit(attempt)
    return "stored already"


def held(engine: FileEngine) -> bool:
    lease = engine.acquire_lease("turn", 1)
    assert lease is not None
    engine.renew_lease(lease, 1)
    engine.release_lease(lease)
    return True


READS: dict[str, Callable[[FileEngine], Any]] = {
    "get_from, folded": lambda engine: engine.get_from("default", "old"),
    "get_from, by its index": lambda engine: engine.get_from("default", "old", 6),
    "get_from, in part folded": lambda engine: engine.get_from("default", "part"),
    "get_from, unfolded": lambda engine: engine.get_from("default", "new"),
    "get_from_checkpoint": lambda engine: engine.get_from_checkpoint(),
    "get_from_date": lambda engine: engine.get_from_date(OLD[1].commit_stamp),
    "get_undispatched_commits": lambda engine: engine.get_undispatched_commits(),
    "get_snapshot, folded": lambda engine: engine.get_snapshot("default", "old"),
    "get_snapshot, unfolded": lambda engine: engine.get_snapshot("default", "part"),
    "get_streams_to_snapshot": lambda engine: engine.get_streams_to_snapshot("default", 1),
    "get_checkpoint": lambda engine: engine.get_checkpoint("known"),
    "get_checkpoint_names": lambda engine: engine.get_checkpoint_names(),
    "wait_for_commits": lambda engine: engine.wait_for_commits(0, 0),
    "verify": lambda engine: engine.verify(),
    "stat": lambda engine: engine.stat()["last_checkpoint"],
}
WRITES: dict[str, Callable[[FileEngine], Any]] = {
    "commit, new stream": lambda engine: engine.commit(FIRST),
    "commit, known stream": lambda engine: engine.commit(NEXT),
    "commit, duplicate": lambda engine: refused(engine, first_attempt("old", commit_id=OLD[3].commit_id)),
    "commit_many": lambda engine: engine.commit_many(BATCH),
    "add_snapshot": lambda engine: engine.add_snapshot(Snapshot("old", 6, {"at": 6})),
    "mark_commit_as_dispatched": lambda engine: engine.mark_commit_as_dispatched(PART[0]),
    "delete_stream": lambda engine: engine.delete_stream("default", "old"),
    "purge": lambda engine: engine.purge(),
    "fold": lambda engine: engine.fold(),
    "put_checkpoint": lambda engine: engine.put_checkpoint("known", b"8"),
    "put_checkpoint, new": lambda engine: engine.put_checkpoint("new", b"1"),
    "delete_checkpoint": lambda engine: engine.delete_checkpoint("known"),
    "acquire_lease": held,
    "close": lambda engine: engine.close(),
}


class OneFails:
    """The n-th call from now on fails. `met` says which one that was."""

    def __init__(self, disk: SimulatedDisk, at: int, code_number: int) -> None:
        self._disk = disk
        self._left = at
        self._code_number = code_number
        self.met: Call | None = None
        self.code = 0
        disk.watch(self)

    def __call__(self, call: Call) -> None:
        self._left -= 1
        if not self._left:
            codes = CODES.get(call.name, (errno.EIO,))
            self.met, self.code = call, codes[self._code_number % len(codes)]
            self._disk.fail(call.name, self.code, path=call.path)

    def end(self) -> None:
        self._disk.watch(None)
        self._disk.heal()


def state(engine: FileEngine) -> dict[str, Any]:
    """Everything that the store remembers."""
    return {
        "commits": list(engine.get_from_checkpoint()),
        "snapshots": [engine.get_snapshot("default", name) for name in ("old", "part")],
        "undispatched": [commit.checkpoint_token for commit in engine.get_undispatched_commits()],
        "values": {name: engine.get_checkpoint(name) for name in engine.get_checkpoint_names()},
    }


def met(fault: OneFails, call: Callable[[], object]) -> StorageUnavailableError | None:
    """The error of the call; any other one comes out."""
    error = None
    try:
        call()
    except StorageUnavailableError as raised:
        error = raised
    fault.end()
    if error is not None:
        assert fault.met, f"nothing failed, and yet: {error}"
        assert STORE in str(error)
        assert os.strerror(fault.code) in str(error)
        assert isinstance(error.__cause__, OSError)
    return error


def failed_once(
    call: Callable[[FileEngine], Any], at: int, code_number: int, *, read_only: bool = False
) -> tuple[SimulatedDisk, FileEngine, OneFails, StorageUnavailableError | None, Answers]:
    disk = BEGIN.copy()
    engine = opened(disk, read_only=read_only)
    disk.choose = (keep_everything, lose_everything)[code_number]  # how much of a failed write is there
    fault, answers = OneFails(disk, at, code_number), Answers()
    error = met(fault, lambda: answers.of(call(engine)))
    return disk, engine, fault, error, answers


@pytest.mark.parametrize("read_only", [False, True])
@pytest.mark.parametrize("name", list(READS))
def test_a_read_fails_at_the_step_that_fails_and_succeeds_afterwards(name: str, read_only: bool) -> None:
    call, expected = READS[name], Answers()
    engine = opened(BEGIN.copy(), read_only=read_only)
    expected.of(call(engine))
    steps = set()
    for code_number in (0, 1):
        at = 0
        while True:
            at += 1
            disk, engine, fault, error, answers = failed_once(call, at, code_number, read_only=read_only)
            if fault.met is None:
                break
            if error is None:
                assert answers == expected, fault.met
            else:
                assert not error.in_doubt
                steps.add(len(answers.given))
                assert answers.given == expected.given[: len(answers.given)], fault.met
            again = Answers()
            again.of(call(engine))
            assert again == expected, fault.met
            engine.close()
            assert not disk.open_files(), fault.met
    assert at > 1 or name in ("wait_for_commits", "stat"), "nothing could fail"
    assert name not in ("get_from, in part folded", "get_from_checkpoint") or len(steps) > 1


@pytest.mark.parametrize("name", list(WRITES))
def test_a_call_that_failed_left_what_it_says_and_succeeds_afterwards(name: str) -> None:
    call, expected = WRITES[name], Answers()
    disk = BEGIN.copy()
    engine = opened(disk)
    before = state(engine)
    expected.of(call(engine))
    engine.close()
    after = state(opened(disk))
    for code_number in (0, 1):
        at = 0
        while True:
            at += 1
            disk, engine, fault, error, answers = failed_once(call, at, code_number)
            if fault.met is None:
                break
            if error is not None and name.startswith("commit"):
                assert re.match(rf"storing commit {_UUID} of stream '\w+' in bucket 'default'", str(error)), fault.met
            if name == "close" or engine.stat()["failed"]:
                engine.close()
                engine = opened(disk)
            if error is None:
                assert answers == expected, fault.met
            elif not error.in_doubt:
                assert state(engine) == before, fault.met
            else:
                # What is looked at comes before anything is written, but for marks, which promise less.
                assert fault.met.name not in LOOKING or name == "mark_commit_as_dispatched", fault.met
                assert state(engine) in (before, after), fault.met
            if name != "close":
                again = Answers()
                try:
                    again.of(call(engine))
                except DuplicateCommitError:
                    assert error is None or error.in_doubt, fault.met
                assert again.given in (expected.given, [], [False]), fault.met
            assert state(engine) == after, fault.met
            engine.close()
            assert not disk.open_files(), fault.met
            assert state(opened(disk)) == after, fault.met
    assert at > 1, "nothing could fail"


@pytest.mark.parametrize("while_open", [True, False])
def test_a_drop_that_failed_says_so_and_can_be_done_again(while_open: bool) -> None:
    at = 0
    while True:
        at += 1
        disk = BEGIN.copy()
        engine = opened(disk)
        if not while_open:
            engine.close()
        fault = OneFails(disk, at, 0)
        error = met(fault, engine.drop)
        if fault.met is None:
            break
        if error is not None and f"{STORE}/store.meta" in disk.sizes_bytes():
            assert not error.in_doubt
            engine.drop()
            error = None
        assert error is not None or not disk.sizes_bytes(), fault.met
        engine.close()
        assert not disk.open_files(), fault.met
    assert at > 10


@pytest.mark.parametrize("damaged", ["*.segment", "*.journal", "*/control"])
def test_a_repair_that_failed_says_so_and_can_be_done_again(damaged: str) -> None:
    """Of its calls every seventh, as there are very many."""
    begin = BEGIN.copy()
    for path in begin.sizes_bytes():
        if fnmatchcase(path, damaged):
            begin.rot(path, {"*/control": 48}.get(damaged, 600))
    expected = plan(begin, STORE)
    assert expected
    at = -6
    while True:
        at += 7
        disk = begin.copy()
        disk.choose = (keep_everything, lose_everything)[at % 2]
        error = met(OneFails(disk, at, at % 2), partial(plan, disk, STORE))
        assert error is None or not error.in_doubt
        fault = OneFails(disk, at, at % 2)
        met(fault, partial(apply, disk, STORE))
        assert not disk.open_files(), fault.met
        if fault.met is None:
            break
        apply(disk, STORE)
        assert plan(disk, STORE) == [], fault.met
        assert not disk.open_files(), fault.met
        engine = opened(disk)
        assert list(engine.get_from("default", "part")) == PART or damaged == "*.journal", fault.met
        engine.close()
    assert at > 50


@pytest.mark.parametrize(("there", "read_only"), [(True, False), (True, True), (False, False)])
def test_an_opening_that_failed_succeeds_afterwards(there: bool, read_only: bool) -> None:
    at = 0
    while True:
        at += 1
        disk = BEGIN.copy() if there else SimulatedDisk()
        engine = FileEngine(STORE, disk=disk, read_only=read_only, **OPTIONS)
        fault = OneFails(disk, at, 0)
        error = met(fault, engine.initialize)
        assert error is None or not error.in_doubt
        if fault.met is None:
            break
        engine.initialize()
        assert len(list(engine.get_from_checkpoint())) == 16 * there
        engine.close()
        assert not disk.open_files(), fault.met
    assert at > 20


@pytest.mark.parametrize("name", ["read", "write"])
def test_a_lease_whose_acquiring_failed_is_free_for_others(name: str) -> None:
    disk = BEGIN.copy()
    engine, other = opened(disk), opened(disk.process())
    disk.fail(name, path="*.lease")
    with pytest.raises(StorageUnavailableError, match="acquiring the lease 'turn'"):
        engine.acquire_lease("turn", 1)
    assert other.acquire_lease("turn", 1) is not None


# ---- many callers in one pass ----


def test_only_whose_commit_it_was_hears_of_a_stream_that_cannot_be_read() -> None:
    disk = BEGIN.copy()
    engine = opened(disk)
    broken = engine.request([first_attempt("old", commit_id=OLD[3].commit_id)])
    whole = engine.request([NEXT])
    disk.fail("open", path="*.segment")
    engine.group.run(SeveralCommits([broken, whole]))
    assert isinstance(broken.error, StorageUnavailableError)
    assert str(OLD[3].commit_id) in str(broken.error)
    assert whole.error is None
    assert list(engine.get_from("default", "part"))[-1].commit_id == NEXT.commit_id


def test_a_pass_that_fails_is_not_said_of_commits_that_an_earlier_pass_stored() -> None:
    disk = BEGIN.copy()
    engine = opened(disk)
    commit, purge = engine.request([NEXT]), engine._encoder.purge(None)
    disk.fail("lock", path="*/write.lock", skip=1)
    engine.writable()._writer.lead([commit, purge])
    assert commit.error is None
    assert isinstance(purge.error, StorageUnavailableError)
    assert list(engine.get_from("default", "part"))[-1].commit_id == NEXT.commit_id


def test_a_commit_that_was_written_and_could_not_be_flushed_for_want_of_handles_is_in_doubt() -> None:
    disk = BEGIN.copy()
    engine = opened(disk)
    journal = engine.writable().view.journal
    pin = journal.pin

    def pin_anew(position: int) -> Any:
        journal.forget()
        disk.fail("open", errno.EMFILE, path="*.journal")
        return pin(position)

    journal.pin = pin_anew  # type: ignore[method-assign]
    with pytest.raises(StorageUnavailableError, match="in doubt: close files") as raised:
        engine.commit(NEXT)
    assert raised.value.in_doubt
    journal.pin = pin  # type: ignore[method-assign]
    with pytest.raises(DuplicateCommitError):
        engine.commit(NEXT)
    assert list(engine.get_from("default", "part"))[-1].commit_id == NEXT.commit_id


def test_tasks_hear_the_same() -> None:
    disk = BEGIN.copy()

    async def work() -> None:
        engine = FileEngine(STORE, disk=disk, **OPTIONS).awaiting()
        await engine.initialize()
        disk.fail("open", path="*.segment")
        with pytest.raises(StorageUnavailableError, match=r"storing commit .* stream 'old'.* failed"):
            await engine.commit(first_attempt("old", commit_id=OLD[3].commit_id))
        disk.fail("open", path="*.segment")
        with pytest.raises(StorageUnavailableError, match="reading stream 'old'"):
            _ = [commit async for commit in engine.get_from("default", "old")]
        assert (await engine.commit(NEXT)).commit_id == NEXT.commit_id
        await engine.close()

    anyio.run(work)


def test_a_lock_that_the_system_refuses_is_its_error(tmp_path: Any) -> None:
    disk = RealDisk()
    handle = disk.open(f"{tmp_path}/lock", write=True, create=True)
    disk.close(handle)
    with pytest.raises(OSError, match="Bad file descriptor"):
        disk.lock(handle, shared=True)
