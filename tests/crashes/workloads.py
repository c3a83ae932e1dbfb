"""The operations that crash, and `Run`: a store on a simulated disk together with what it must hold.

An operation is a method of `Run`. It says beforehand which states are allowed from now on, calls the engine, and
narrows them once the call has come back.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

from crashes.history import copied, look, matching
from fsstore.engines.file import FileEngine
from fsstore.engines.file.repair import apply, plan
from fsstore.errors import DuplicateCommitError, StorageUnavailableError
from fsstore.model import CommitAttempt, Snapshot
from fsstore.serialization import MsgpackSerializer
from fsstore.testing import EngineModel, SimulatedDisk, first_attempt, next_attempt
from fsstore.testing.attempts import EPOCH

STORE = "/data/orders.store"
OPTIONS: dict[str, Any] = {
    "background": False,
    "journal_bytes": 8192,  # after a first file of 4096, to which the last to close returns
    "index_from_bytes": 700,
    "serializer": MsgpackSerializer(),  # one for all: making it costs more than a commit
}
# Folded when an operation says so, all at once; or by a commit that finds more than that unfolded, bit by bit.
FOLD_AT_ONCE_BYTES = 1 << 20
FOLD_OFTEN_BYTES = 500
OPERATIONS = ("commit", "commit_many", "snapshot", "delete", "fold", "close", "reopen", "mark")
# What only schedules have: of these, each crash of each workload would be too many.
MORE_OPERATIONS = ("purge", "read", "read_only", "join", "repair", "forget")
DISPOSABLE = ("heads.index", "commits.index", "control", "lock", "write.lock", "fold.lock")


class Run:
    """One process's work on one store. `allowed` are the states that a crash may leave now, the least first."""

    def __init__(
        self,
        disk: SimulatedDisk,
        model: EngineModel | None = None,
        *,
        path: str = STORE,
        fold_bytes: int = FOLD_AT_ONCE_BYTES,
    ) -> None:
        self.disk = disk
        self.path = path
        self.fold_bytes = fold_bytes
        self.allowed = [model or EngineModel()]
        self.marks_may_be_lost = False
        self.power_was_cut = False
        self.in_flight: list[CommitAttempt] = []
        self._engine: FileEngine | None = None
        self._other: FileEngine | None = None
        self._other_disk: SimulatedDisk | None = None
        self._operations = 0
        self._lacks_nothing = False
        self.count = len(self.model.commits) * 100

    @property
    def model(self) -> EngineModel:
        """The state as of the last acknowledgement."""
        return self.allowed[0]

    @property
    def engine(self) -> FileEngine:
        """Open, if need be. Where another process has joined, the two take turns."""
        if self._other is not None and self._operations % 2:
            return self._other
        if self._engine is None:
            self._engine = self._opened(self.disk)
        return self._engine

    def _opened(self, disk: SimulatedDisk, *, read_only: bool = False) -> FileEngine:
        engine = FileEngine(self.path, disk=disk, read_only=read_only, fold_bytes=self.fold_bytes, **OPTIONS)
        engine.initialize()
        self._lacks_nothing = self._lacks_nothing or not read_only
        return engine

    def do(self, operation: str) -> None:
        self._operations += 1
        getattr(self, operation)()

    # ---- operations ----

    def commit(self) -> None:
        """One commit to a stream: two streams in turns, a third one begun now and then."""
        self.commit_again([self._attempt(self._stream(0), self.model)])

    def commit_many(self) -> None:
        """Two commits of one stream and one of another, as one batch: enough for more than a sector."""
        state = copied(self.model)
        attempts = []
        for stream_id in ("b", "a", "b"):
            attempt = self._attempt(stream_id, state)
            state.commit(attempt)
            attempts.append(attempt)
        self.commit_again(attempts)

    def commit_again(self, attempts: list[CommitAttempt]) -> None:
        """Commit these, for the first time or after a crash left them out."""
        after = copied(self.model)
        expected = after.commit_many(attempts)
        self.in_flight = attempts
        assert self._changes(after, lambda: self.engine.commit_many(attempts)) in (expected, None)
        self.in_flight = []

    def snapshot(self) -> None:
        stream_id = self._stream(1)
        revision = max((one.stream_revision for one in self.model.get_from("default", stream_id)), default=1)
        wanted = Snapshot(stream_id, revision, {"at": revision})
        after = copied(self.model)
        expected = after.add_snapshot(wanted)
        assert self._changes(after, lambda: self.engine.add_snapshot(wanted)) in (expected, None)

    def delete(self) -> None:
        stream_id = self._stream(1)
        after = copied(self.model)
        after.delete_stream("default", stream_id)
        self._changes(after, lambda: self.engine.delete_stream("default", stream_id))

    def purge(self) -> None:
        after = copied(self.model)
        after.purge("default")
        self._changes(after, lambda: self.engine.purge("default"))

    def mark(self) -> None:
        """Mark the oldest commit that is not marked, and with every second call the newest too."""
        waiting = self.model.get_undispatched_commits()
        for commit in waiting[:: max(1, len(waiting) - 1)][:2]:
            after = copied(self.model)
            after.mark_commit_as_dispatched(commit)
            self.marks_may_be_lost = True
            self._changes(after, lambda commit=commit: self.engine.mark_commit_as_dispatched(commit))

    def fold(self) -> None:
        self.engine.fold()

    def close(self) -> None:
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.close()

    def reopen(self) -> None:
        self.close()
        assert self.engine

    def join(self) -> None:
        """Another process opens the store, too, or closes it."""
        other, self._other = self._other, None
        if other is not None:
            other.close()
            return
        self._other_disk = self.disk.process()
        self._other = self._opened(self._other_disk)

    def leave_alone(self) -> None:
        """The other process dies."""
        if self._other_disk is not None:
            self._other_disk.kill()
        self._other = self._other_disk = None

    def read(self) -> None:
        """Every process finds what there is."""
        for engine in (self._engine, self._other):
            if engine is not None:
                matching(look(engine), self.allowed, marks_may_be_lost=False)

    def read_only(self) -> None:
        """So does one that may not write, beside writers and at rest."""
        engine = self._opened(self.disk.process(), read_only=True)
        try:
            matching(look(engine), self.allowed, marks_may_be_lost=False)
        finally:
            engine.close()

    def repair(self) -> None:
        """There is nothing to repair but what is missing, or was begun by an opening that failed."""
        self._all_close()
        planned = [action for action in plan(self.disk, self.path) if "/dispatch/" not in action.path]
        there = [action for action in planned if self.disk.exists(action.path)]
        assert not there or not self._lacks_nothing, there
        apply(self.disk, self.path)

    def forget(self) -> None:
        """One of the files that the store does without is deleted."""
        self._all_close()
        path = f"{self.path}/{DISPOSABLE[self._operations % len(DISPOSABLE)]}"
        if self.disk.exists(path):
            self._lacks_nothing = False
            self.disk.unlink(path)

    def _all_close(self) -> None:
        self.close()
        if self._other is not None:
            self.join()

    # ---- how ----

    def _changes(self, after: EngineModel, call: Callable[[], object]) -> object:
        """Carry out a call that leads to `after`. When it fails the error says whether it may have."""
        before = self.model
        assert self.engine
        self.allowed = [before, after]
        try:
            answer = call()
        except StorageUnavailableError as error:
            self.allowed = [before, after] if error.in_doubt else [before]
            raise
        self.allowed = [after]
        return answer

    def _stream(self, offset: int) -> str:
        return "abcab"[(len(self.model.commits) + offset) % 5]

    def _attempt(self, stream_id: str, state: EngineModel) -> CommitAttempt:
        self.count += 1
        own = state.get_from("default", stream_id)
        stamp = EPOCH + timedelta(seconds=self.count)
        commit_id = UUID(int=self.count << 64 | len(state.commits))
        if own:
            return next_attempt(own[-1], events=1, commit_id=commit_id, stamp=stamp)
        return first_attempt(stream_id, events=2, commit_id=commit_id, stamp=stamp)


# ---- after a crash ----


def recovered(disk: SimulatedDisk, crashed: Run, *, power_was_cut: bool) -> Run:
    """The next process opens the store; what it finds is allowed, whole, and verified."""
    run = Run(disk, crashed.model, path=crashed.path, fold_bytes=crashed.fold_bytes)
    lost = power_was_cut and crashed.marks_may_be_lost
    state = matching(look(run.engine), crashed.allowed, marks_may_be_lost=lost)
    run.allowed = [state]
    run.marks_may_be_lost = crashed.marks_may_be_lost and not power_was_cut
    run.in_flight = crashed.in_flight
    run.count = crashed.count
    verify(run)
    return run


def verify(run: Run) -> None:
    """Nothing is damaged. Dispatch marks are not flushed: a power cut may tear the newest, and leaves the other."""
    findings = [one for one in run.engine.verify() if "/dispatch/" not in one.path]
    assert not findings, findings


def settle(run: Run) -> None:
    """Do again what was under way: it is a duplicate where it was stored, and is stored where it was not."""
    attempts, run.in_flight = run.in_flight, []
    if attempts and attempts[0].commit_id in {commit.commit_id for commit in run.model.commits}:
        try:
            run.engine.commit_many(attempts)
        except DuplicateCommitError:
            return
        raise AssertionError("a commit that was stored was stored again")
    if attempts:
        run.commit_again(attempts)


def goes_on(run: Run) -> None:
    """The store works: what was under way is settled, and every operation does its work."""
    settle(run)
    for operation in ("commit", "fold", "commit_many", "close"):
        run.do(operation)
    matching(look(run.engine), run.allowed, marks_may_be_lost=False)
    verify(run)
    run.close()
