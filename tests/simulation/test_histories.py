"""Any history of a file store, of several processes that also fold, verify, die and read along, against the model.

What `EngineConformance` tries of every engine on the real disk, with what only the file engine has in between: after
each step everything is read, by writers and by readers, so that what a fold leaves is looked at as often as what it
found. Walks that were begun before are gone on with.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule, run_state_machine_as_test

from fsstore.engines.file import FileEngine
from fsstore.engines.file.repair import apply, plan
from fsstore.model import Commit
from fsstore.serialization import MsgpackSerializer
from fsstore.testing import Capabilities, EngineMachine, SimulatedDisk
from fsstore.testing.machine import BUCKETS, STREAMS, numbers
from fsstore.testing.simulation import keep_everything

STORE = "/data/orders.store"
SERIALIZER = MsgpackSerializer()
DISPOSABLE = ("control", "heads.index", "commits.index", "lock", "write.lock", "fold.lock")
MOST_READERS = 2


def read_everything(engine: FileEngine) -> dict[str, Any]:
    """Every answer that a history has."""
    return {
        "commits": list(engine.get_from_checkpoint()),
        "undispatched": list(engine.get_undispatched_commits()),
        "streams": [list(engine.get_from(bucket, stream)) for bucket in BUCKETS for stream in STREAMS],
        "snapshots": [engine.get_snapshot(bucket, stream) for bucket in BUCKETS for stream in STREAMS],
        "heads": [sorted(map(repr, engine.get_streams_to_snapshot(bucket, 0))) for bucket in BUCKETS],
    }


class Walk:
    """A walk over the whole store that goes on while others write, and what it may give."""

    def __init__(self, commits: Iterator[Commit], there: list[Commit]) -> None:
        self.commits = commits
        self.left = there
        self.may_give = list(there)
        self.given: list[Commit] = []


class FileMachine(EngineMachine):
    """Each engine is a process of its own on one disk that loses nothing."""

    def __init__(self) -> None:
        self.disk = SimulatedDisk(keep_everything)
        self.disks: dict[int, SimulatedDisk] = {}
        self.readers: list[FileEngine] = []
        self.walks: list[Walk] = []
        super().__init__(self._in_a_process, Capabilities(durable=True, shared=True, delivery=True))

    def _in_a_process(self, *, read_only: bool = False) -> FileEngine:
        disk = self.disk.process()
        engine = FileEngine(
            STORE,
            disk=disk,
            read_only=read_only,
            background=False,
            journal_bytes=16_384,
            fold_bytes=6000,
            index_from_bytes=700,
            max_cached_streams=2,
            max_open_segments=2,
            page_commits=3,
            serializer=SERIALIZER,
        )
        self.disks[id(engine)] = disk
        return engine

    def teardown(self) -> None:
        for reader in self.readers:
            reader.close()
        super().teardown()
        for disk in self.disks.values():
            assert not disk.open_files()

    @rule()
    def fold(self) -> None:
        self.engine.fold()

    @rule()
    def verify(self) -> None:
        assert not list(self.engine.verify())

    @rule()
    def stat(self) -> None:
        self.engine.stat()

    @rule(nth=numbers)
    def kill_one(self, nth: int) -> None:
        """Its system's clean pages are forgotten, and another process comes."""
        engine = self.engines.pop(nth % len(self.engines))
        self.walks.clear()
        self.disks.pop(id(engine)).kill()
        self.disk.evict()
        if not self.engines:
            self.engines.append(self._opened())

    @precondition(lambda self: len(self.readers) < MOST_READERS)
    @rule()
    def read_along(self) -> None:
        reader = self._in_a_process(read_only=True)
        reader.initialize()
        self.readers.append(reader)

    @precondition(lambda self: self.readers)
    @rule()
    def read_along_no_more(self) -> None:
        self.walks.clear()
        self.readers.pop(0).close()

    def _all_close(self, *, die: bool) -> None:
        self.walks.clear()
        for engine in self.engines:
            if die:
                self.disks.pop(id(engine)).kill()
            else:
                engine.close()
        self.engines.clear()

    @rule(die=st.booleans(), read=st.booleans())
    def nobody_writes_for_a_while(self, *, die: bool, read: bool) -> None:
        """The store at rest, or as they left it who were killed: readers see it, and there is nothing to repair."""
        self._all_close(die=die)
        if read:
            reader = self._in_a_process(read_only=True)
            reader.initialize()
            assert not list(reader.verify())
            self.readers.append(reader)
            self.readers_see_everything()
            self.readers.pop().close()
        assert not plan(self.disk, STORE)
        self.engines.append(self._opened())

    @precondition(lambda self: not self.readers)
    @rule(names=st.sets(st.sampled_from(DISPOSABLE), min_size=1), mend=st.booleans())
    def disposable_files_are_deleted(self, names: set[str], *, mend: bool) -> None:
        self._all_close(die=False)
        for name in names:
            if self.disk.exists(f"{STORE}/{name}"):
                self.disk.unlink(f"{STORE}/{name}")
        if mend:
            apply(self.disk, STORE)
        self.engines.append(self._opened())

    # ---- walks that were begun before ----

    @precondition(lambda self: len(self.walks) < 3)
    @rule(taken=st.integers(1, 3))
    def begin_a_walk(self, taken: int) -> None:
        engine = (self.readers or self.engines)[0]
        walk = Walk(engine.get_from_checkpoint(), list(self.model.commits))
        self.walks.append(walk)
        for _ in range(taken):
            if (commit := next(walk.commits, None)) is not None:
                walk.given.append(commit)

    @precondition(lambda self: self.walks)
    @rule()
    def end_a_walk(self) -> None:
        walk = self.walks.pop(0)
        walk.given += walk.commits
        tokens = [commit.checkpoint_token for commit in walk.given]
        assert tokens == sorted(set(tokens))
        assert all(commit in walk.may_give for commit in walk.given)
        assert all(commit in walk.given for commit in walk.left)

    @invariant()
    def walks_go_on(self) -> None:
        there = self.model.commits
        for walk in self.walks:
            walk.may_give += [commit for commit in there if commit not in walk.may_give]
            walk.left = [commit for commit in walk.left if commit in there]

    @invariant()
    def readers_see_everything(self) -> None:
        for reader in self.readers:
            self._same(reader)
        for engine in self.engines:
            self._same(engine)

    def _same(self, engine: Any) -> None:
        found, wanted = read_everything(engine), read_everything(self.model)  # type: ignore[arg-type]
        for what, answer in found.items():
            assert answer == wanted[what], what

    def reopen(self) -> None:
        self.walks.clear()
        super().reopen()

    def close_one(self, nth: int) -> None:
        self.walks.clear()
        super().close_one(nth)


def test_no_history_of_processes_that_fold_gives_a_wrong_answer() -> None:
    run_state_machine_as_test(
        FileMachine,
        settings=settings(
            max_examples=20, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
