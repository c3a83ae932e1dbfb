"""What every test of the suite stands on: a fresh store, opened, opened again and cleared away.

Knows the protocol and what the author of an engine gave; nothing of the promises.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest

from fsstore.engine import PersistenceEngine
from fsstore.model import DEFAULT_BUCKET, Commit, CommitAttempt, EventMessage, Snapshot
from fsstore.testing.capabilities import Capabilities


class Stores:
    """Opens the store at one place for one test, as often as that test likes."""

    def __init__(self, suite: EngineTests, where: Path) -> None:
        self._suite = suite
        self._where = where
        self._opened: list[PersistenceEngine] = []

    def open(self) -> PersistenceEngine:
        """An initialized engine on the store."""
        engine = self._suite.open_engine(self._where)
        self._opened.append(engine)
        engine.initialize()
        return engine

    def reopen(self, engine: PersistenceEngine) -> PersistenceEngine:
        """Close `engine` and open the store anew."""
        engine.close()
        return self.open()

    def clear(self) -> None:
        """Close every engine and destroy what they left."""
        try:
            for engine in self._opened:
                engine.close()
        finally:
            self._suite.discard_store(self._where)


class EngineTests:
    """The part that the author of an engine fills in."""

    capabilities: ClassVar[Capabilities] = Capabilities()

    race_commits: ClassVar[int] = 10
    """How many commits each of several writers gets in at once, at least 2; a slow engine may want fewer."""

    def open_engine(self, where: Path) -> PersistenceEngine:
        """A new engine on the store at `where`, made when it is missing, not yet initialized.

        Every test gets a `where` of its own, an unused path in a temporary directory; an engine elsewhere
        takes it as a name. Called again with the same `where` it must give the same store.
        """
        raise NotImplementedError(f"{type(self).__name__} must define open_engine(self, where)")

    def discard_store(self, where: Path) -> None:
        """Remove the store at `where` after a test; needed where it outlives the temporary directory."""

    @pytest.fixture
    def stores(self, tmp_path: Path) -> Iterator[Stores]:
        stores = Stores(self, tmp_path / "store")
        yield stores
        stores.clear()

    @pytest.fixture
    def engine(self, stores: Stores) -> PersistenceEngine:
        return stores.open()


@contextmanager
def case(name: str) -> Iterator[None]:
    """One of the cases that a test tries on one store, as making a store takes longer; a failure says of which."""
    try:
        yield
    except BaseException as error:
        error.add_note(f"in the case {name!r}")
        raise


@dataclass(frozen=True, slots=True)
class Contents:
    """Everything that can be seen of a store through the protocol, for comparing before with after."""

    commits: list[Commit]
    undispatched: list[Commit]
    streams: dict[tuple[str, str], list[Commit]]
    heads: set[tuple[str, str, int, int]]
    snapshots: list[Snapshot]


def contents(engine: PersistenceEngine, *also: CommitAttempt | Commit) -> Contents:
    """What is in the store; the streams of `also` are looked up even when no commit names them."""
    commits = list(engine.get_from_checkpoint())
    streams = {(each.bucket_id, each.stream_id) for each in [*commits, *also]}
    buckets = {bucket_id for bucket_id, _ in streams} | {DEFAULT_BUCKET}
    snapshots = []
    for bucket_id, stream_id in sorted(streams):
        snapshot = engine.get_snapshot(bucket_id, stream_id)
        while snapshot is not None:
            snapshots.append(snapshot)
            snapshot = engine.get_snapshot(bucket_id, stream_id, snapshot.stream_revision - 1)
    return Contents(
        commits,
        list(engine.get_undispatched_commits()),
        {stream: list(engine.get_from(*stream)) for stream in streams},
        {
            (head.bucket_id, head.stream_id, head.head_revision, head.snapshot_revision)
            for bucket_id in buckets
            for head in engine.get_streams_to_snapshot(bucket_id, 0)
        },
        snapshots,
    )


@contextmanager
def nothing_changes(engine: PersistenceEngine, *also: CommitAttempt | Commit) -> Iterator[None]:
    """Fails unless the store is the same afterwards."""
    before = contents(engine, *also)
    yield
    assert contents(engine, *also) == before


def tokens(commits: Any) -> list[int]:
    """The commits' checkpoint tokens."""
    return [commit.checkpoint_token for commit in commits]


def unwritable() -> EventMessage:
    """An event that no serializer can write."""
    return EventMessage({"items": [{"price": object()}]})
