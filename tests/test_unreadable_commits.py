"""A commit or snapshot that cannot be read is named, and what stands before it given first, by every engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fsstore import Commit, PersistenceEngine, SerializationError, Snapshot
from fsstore.engines import engine_for
from fsstore.engines.threaded import awaiting
from fsstore.serialization import MsgpackSerializer
from fsstore.testing import AwaitedEngine
from fsstore.testing.attempts import fill

UNREADABLE = 8


class Forgetful:
    """Cannot read the commit of that sequence any more, as when its type is not registered."""

    def __init__(self) -> None:
        self._inner = MsgpackSerializer()
        self._written: dict[bytes, int] = {}

    def dumps(self, value: Any, /) -> bytes:
        data = self._inner.dumps(value)
        self._written.setdefault(data, len(self._written) + 1)
        return data

    def loads(self, data: bytes, /) -> Any:
        if self._written.get(bytes(data)) == UNREADABLE:
            raise SerializationError("its type is not registered")
        return self._inner.loads(data)


@pytest.fixture(params=["memory", "file", "sqlite", "mongodb"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "mongodb":
        pytest.importorskip("pymongo", reason="pip install 'fsstore[mongodb]'")
        request.getfixturevalue("mongodb_server")
    return {"memory": "memory:", "file": f"{tmp_path}/store", "sqlite": f"sqlite:///{tmp_path}/store.db"}.get(
        request.param, ""
    )


@pytest.fixture(params=["threads", "tasks"])
def engine(request: pytest.FixtureRequest, url: str, tmp_path: Path) -> Iterator[PersistenceEngine]:
    def make() -> PersistenceEngine:
        if url:
            return engine_for(url, serializer=Forgetful())
        from servers import mongodb

        server = request.getfixturevalue("mongodb_server")
        return engine_for(server, serializer=Forgetful(), database=mongodb.database(tmp_path))

    made = make() if request.param == "threads" else AwaitedEngine(lambda: awaiting(make()))
    made.initialize()
    yield made
    made.drop()


def test_what_stands_before_it_is_given_first(engine: PersistenceEngine) -> None:
    stored = fill(engine, "stream", commits=10)
    unreadable = stored[UNREADABLE - 1].commit_id
    said = f"commit {unreadable}.* of stream 'stream' in bucket 'default' cannot be read: its type is not registered"
    reads: tuple[Callable[[], Iterator[Commit]], ...] = (
        lambda: engine.get_from("default", "stream"),
        engine.get_from_checkpoint,
        engine.get_undispatched_commits,
    )
    for read in reads:
        given: list[Commit] = []
        with pytest.raises(SerializationError, match=said):
            given.extend(read())
        assert given == stored[: UNREADABLE - 1]


def test_a_snapshot_that_cannot_be_read_is_named(engine: PersistenceEngine) -> None:
    revision = fill(engine, "stream", commits=UNREADABLE - 1)[-1].stream_revision
    assert engine.add_snapshot(Snapshot("stream", revision, "state"))
    said = f"the snapshot of revision {revision} of stream 'stream' in bucket 'default' cannot be read: its type"
    with pytest.raises(SerializationError, match=said):
        engine.get_snapshot("default", "stream")
