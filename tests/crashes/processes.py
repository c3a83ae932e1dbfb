"""Two or three processes on one store, interleaved at lock boundaries, some killed, until the power goes.

They commit to the same streams and fold one another's commits, and each has a stream that it alone commits to and
deletes, or purges with its bucket. What one of them was told is stored, and what one of them has seen, has to be there
afterwards, in the same order; of what nobody was told, each batch whole or not at all.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field
from uuid import UUID

from crashes.workloads import OPTIONS, STORE
from fsstore.engines.file import FileEngine
from fsstore.errors import ConcurrencyError
from fsstore.model import Commit, Snapshot
from fsstore.testing import PowerCut, ProcessKilled, SimulatedDisk, first_attempt, next_attempt
from fsstore.testing.simulation import Choose, interleave, seeded

OPERATIONS = ("commit", "commit", "commit", "commit_many", "snapshot", "delete", "mark", "fold", "reopen", "read_only")
SHARED = ("a", "b")


@dataclass
class Told:
    """What the processes know, all together."""

    acknowledged: list[Commit] = field(default_factory=list)
    seen: list[Commit] = field(default_factory=list)
    batches: list[frozenset[UUID]] = field(default_factory=list)
    refused: set[UUID] = field(default_factory=set)
    snapshots: list[Snapshot] = field(default_factory=list)
    marked: set[int] = field(default_factory=set)
    deleted: set[int] = field(default_factory=set)
    own: dict[str, list[list[UUID]]] = field(default_factory=dict)
    """For each stream of one process alone: the ids that it may hold now."""


def opened(disk: SimulatedDisk) -> FileEngine:
    engine = FileEngine(STORE, disk=disk, **OPTIONS)
    engine.initialize()
    return engine


def race_seed(seed: int) -> Counter[str]:
    """The race of that seed; `AssertionError` says what it was."""
    try:
        return race(random.Random(seed).randrange, seeded(seed))
    except Exception as error:
        raise AssertionError(f"race {seed}: {error!r}; again with: tools/soak --races 1 {seed}") from error


def race(decide: Choose, choose: Choose) -> Counter[str]:
    """One race; gives what happened in it, and how often."""
    disk = SimulatedDisk(choose)
    opened(disk).close()
    told = Told()
    plans = [[OPERATIONS[decide(len(OPERATIONS))] for _ in range(2 + decide(5))] for _ in range(2 + decide(2))]
    if decide(3):
        disk.cut_power_at(1 + decide(400))
    programs = [_Program(f"own {number}", plan, decide, told).run for number, plan in enumerate(plans)]
    errors = interleave(disk, programs, decide)
    for error in errors:
        if error is not None and not isinstance(error, PowerCut | ProcessKilled):
            raise error
    engine = opened(disk.restarted())
    judge(engine, told, processes=len(plans))
    engine.commit(first_attempt("afterwards"))
    ends = Counter(type(error) for error in errors)
    return Counter(
        {
            "processes": len(plans),
            "processes that were killed": ends[ProcessKilled],
            "power cuts": int(PowerCut in ends),
            "commits": len(told.acknowledged),
            "commits that came too late and were made anew": len(told.refused),
        }
    )


def judge(engine: FileEngine, told: Told, *, processes: int) -> None:
    """Everything that was told is there, and nothing else but what was under way, whole."""
    stored = list(engine.get_from_checkpoint())
    tokens = [commit.checkpoint_token for commit in stored]
    assert tokens == sorted(set(tokens))
    assert set(range(1, max(tokens, default=0) + 1)) - set(tokens) <= told.deleted
    shared = [commit for commit in stored if commit.stream_id in SHARED]
    assert shared[: len(told.seen)] == told.seen
    assert {commit.checkpoint_token for commit in told.acknowledged} <= set(tokens)
    assert all(commit in shared for commit in told.acknowledged)
    ids = {commit.commit_id for commit in shared}
    assert not ids & told.refused
    there = [batch for batch in told.batches if batch & ids]
    assert all(batch <= ids for batch in there)
    known = {commit.commit_id for commit in told.acknowledged}
    assert sum(not batch <= known for batch in there) <= processes
    for own, allowed in told.own.items():
        assert [commit.commit_id for commit in engine.get_from(own, own)] in allowed
    for snapshot in told.snapshots:
        assert engine.get_snapshot("default", snapshot.stream_id, snapshot.stream_revision) == snapshot
    undispatched = {commit.checkpoint_token for commit in engine.get_undispatched_commits()}
    assert set(tokens) - told.marked <= undispatched <= set(tokens)
    assert not [one for one in engine.verify() if "/dispatch/" not in one.path]


class _Program:
    """What one process does."""

    def __init__(self, own: str, plan: list[str], decide: Choose, told: Told) -> None:
        self._own = own
        self._plan = plan
        self._decide = decide
        self._told = told
        told.own[own] = [[]]

    def run(self, disk: SimulatedDisk) -> None:
        self._disk = disk
        engine = opened(disk)
        if self._decide(5) == 1:
            disk.kill_at(1 + self._decide(150))
        for operation in self._plan:
            if operation == "reopen":
                engine.close()
                engine = opened(disk)
            else:
                getattr(self, operation)(engine)
            self._look(engine)
        engine.close()

    def fold(self, engine: FileEngine) -> None:
        engine.fold()

    def commit(self, engine: FileEngine) -> None:
        self._commit(engine, SHARED[self._decide(2)])

    def commit_many(self, engine: FileEngine) -> None:
        self._commit(engine, *SHARED)

    def _commit(self, engine: FileEngine, *streams: str) -> None:
        """One commit to each as one batch, and again where another process came first."""
        told = self._told
        while True:
            own = [list(engine.get_from("default", stream_id)) for stream_id in streams]
            attempts = [
                next_attempt(commits[-1]) if commits else first_attempt(stream_id)
                for stream_id, commits in zip(streams, own, strict=True)
            ]
            batch = frozenset(attempt.commit_id for attempt in attempts)
            told.batches.append(batch)
            try:
                told.acknowledged += engine.commit_many(attempts)
            except ConcurrencyError:
                told.refused |= batch
            else:
                return

    def delete(self, engine: FileEngine) -> None:
        """Delete its own stream, or purge the bucket of that name, or begin it when there is none."""
        told, stream_id = self._told, self._own
        commits = list(engine.get_from(stream_id, stream_id))
        now = told.own[stream_id][0]
        assert [commit.commit_id for commit in commits] == now
        if commits:
            told.deleted |= {commit.checkpoint_token for commit in commits}
            told.own[stream_id] = [now, []]
            if self._decide(2):
                engine.purge(stream_id)
            else:
                engine.delete_stream(stream_id, stream_id)
            told.own[stream_id] = [[]]
        else:
            attempt = first_attempt(stream_id, bucket_id=stream_id)
            told.own[stream_id] = [now, [attempt.commit_id]]
            engine.commit(attempt)
            told.own[stream_id] = [[attempt.commit_id]]

    def snapshot(self, engine: FileEngine) -> None:
        commits = list(engine.get_from("default", SHARED[0]))
        if commits:
            wanted = Snapshot(SHARED[0], commits[-1].stream_revision, {"at": commits[-1].stream_revision})
            engine.add_snapshot(wanted)  # another process may have added the same
            self._told.snapshots.append(wanted)

    def mark(self, engine: FileEngine) -> None:
        for commit in list(engine.get_undispatched_commits())[:1]:
            self._told.marked.add(commit.checkpoint_token)
            engine.mark_commit_as_dispatched(commit)

    def read_only(self, engine: FileEngine) -> None:
        """Look at what one sees that may not write."""
        reader = FileEngine(STORE, disk=self._disk, read_only=True, **OPTIONS)
        reader.initialize()
        self._look(reader)
        reader.close()

    def _look(self, engine: FileEngine) -> None:
        self._look_at_own(engine)
        seen = self._told.seen
        now = [commit for commit in engine.get_from_checkpoint() if commit.stream_id in SHARED]
        known = min(len(now), len(seen))
        assert now[:known] == seen[:known]
        seen.extend(now[known:])

    def _look_at_own(self, engine: FileEngine) -> None:
        """The streams of each: what was seen to be there, or to be gone, stays so whatever becomes of who did it."""
        for own, before in list(self._told.own.items()):
            found = [commit.commit_id for commit in engine.get_from(own, own)]
            after = self._told.own[own]
            assert found in [*before, *after]
            if after is before and found == before[-1]:
                self._told.own[own] = [found]
