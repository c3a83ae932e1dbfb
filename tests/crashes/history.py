"""What a store must hold: states of a history, and the comparison of a recovered engine with the states allowed.

A state is what everything acknowledged adds up to. While a call is under way there are two: without it and with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass

from fsstore.engine import PersistenceEngine
from fsstore.model import Commit, Snapshot
from fsstore.testing import EngineModel

STREAMS = ("a", "b", "c")


def copied(model: EngineModel) -> EngineModel:
    """Another model with the same content."""
    other = copy(model)
    other.commits, other.snapshots = model.commits.copy(), model.snapshots.copy()
    other.dispatched = model.dispatched.copy()
    return other


@dataclass(slots=True)
class Found:
    """Everything an engine says that it holds."""

    commits: list[Commit]
    snapshots: list[Snapshot]
    undispatched: set[int]


def look(engine: PersistenceEngine) -> Found:
    """Ask in every way there is; the answers have to agree."""
    commits = list(engine.get_from_checkpoint())
    snapshots = []
    for stream_id in STREAMS:
        own = [commit for commit in commits if commit.stream_id == stream_id]
        assert list(engine.get_from("default", stream_id)) == own
        revision: int | None = None
        while (snapshot := engine.get_snapshot("default", stream_id, revision)) is not None:
            snapshots.append(snapshot)
            revision = snapshot.stream_revision - 1
    undispatched = [commit.checkpoint_token for commit in engine.get_undispatched_commits()]
    assert undispatched == sorted(undispatched)
    return Found(commits, snapshots, set(undispatched))


def matching(found: Found, allowed: Sequence[EngineModel], *, marks_may_be_lost: bool) -> EngineModel:
    """The state that was found, with the dispatch marks that were; `AssertionError` when it is none of those allowed.

    The least that is allowed comes first.
    """
    for state in allowed:
        same = found.commits == state.commits and _sorted(found.snapshots) == _sorted(state.snapshots)
        if same and _marks_fit(found, state, exactly=not marks_may_be_lost):
            there = copied(state)
            there.dispatched -= found.undispatched
            return there
    raise AssertionError(
        f"found {_told(found.commits, found.snapshots, found.undispatched)}; allowed was "
        + " or ".join(
            _told(one.commits, one.snapshots, {each.checkpoint_token for each in one.get_undispatched_commits()})
            for one in allowed
        )
    )


def _marks_fit(found: Found, state: EngineModel, *, exactly: bool) -> bool:
    needed = {commit.checkpoint_token for commit in state.get_undispatched_commits()}
    return found.undispatched == needed if exactly else found.undispatched >= needed


def _sorted(snapshots: list[Snapshot]) -> list[Snapshot]:
    return sorted(snapshots, key=lambda one: (one.stream_id, one.stream_revision))


def _told(commits: list[Commit], snapshots: list[Snapshot], undispatched: set[int]) -> str:
    told = [f"{one.checkpoint_token}:{one.stream_id}{one.commit_sequence}" for one in commits]
    told += [f"snapshot {one.stream_id}@{one.stream_revision}" for one in _sorted(snapshots)]
    return f"[{' '.join(told)}; not dispatched {sorted(undispatched)}]"
