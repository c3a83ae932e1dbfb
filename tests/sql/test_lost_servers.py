"""A server that dies in the middle of something, and comes back: what is in doubt is said, the rest is tried again."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from threading import Thread

import pytest
from servers.process import Server
from sqlalchemy import event

from fsstore.engine import PersistenceEngine
from fsstore.engines.sql.engine import SqlEngine
from fsstore.engines.threaded import awaiting
from fsstore.errors import DuplicateCommitError, StorageUnavailableError
from fsstore.model import named
from fsstore.testing import AwaitedEngine
from fsstore.testing.attempts import fill, first_attempt, next_attempt


@pytest.fixture(scope="module", params=["postgresql", "mariadb"])
def server_and_url(request: pytest.FixtureRequest) -> Iterator[tuple[Server, str]]:
    with import_module(f"servers.{request.param}").private(fsync=True) as found:
        yield found


@pytest.fixture
def engine(server_and_url: tuple[Server, str]) -> Iterator[SqlEngine]:
    engine = SqlEngine(server_and_url[1], timeout_seconds=10)
    engine.initialize()
    yield engine
    engine.drop()


@pytest.fixture(params=["threads", "tasks"])
def either_engine(request: pytest.FixtureRequest, server_and_url: tuple[Server, str]) -> Iterator[PersistenceEngine]:
    """The engine as it is, and its twin for tasks."""

    def make() -> SqlEngine:
        return SqlEngine(server_and_url[1], timeout_seconds=10)

    engine = make() if request.param == "threads" else AwaitedEngine(lambda: awaiting(make()))
    engine.initialize()
    yield engine
    engine.drop()


@pytest.fixture
def server(server_and_url: tuple[Server, str]) -> Server:
    return server_and_url[0]


def test_a_server_killed_at_commit_leaves_a_doubt_that_committing_again_settles(
    engine: SqlEngine, server: Server
) -> None:
    stored = fill(engine, "stream", commits=5)
    attempt = next_attempt(stored[-1])
    event.listen(engine.sqlalchemy_engine, "commit", lambda connection: server.kill(), once=True)
    with pytest.raises(StorageUnavailableError, match="commit the same attempt again") as raised:
        engine.commit(attempt)
    assert raised.value.in_doubt
    assert str(raised.value).startswith(f"storing {named(attempt)}: ")
    server.start()
    assert list(engine.get_from("default", "stream")) == stored
    assert engine.commit(attempt).checkpoint_token == 6
    with pytest.raises(DuplicateCommitError):
        engine.commit(attempt)


def test_a_server_that_is_gone_leaves_no_doubt(either_engine: PersistenceEngine, server: Server) -> None:
    engine = either_engine
    stored = fill(engine, "stream", commits=5)
    server.kill()
    with pytest.raises(StorageUnavailableError, match="nothing was stored") as raised:
        engine.commit(next_attempt(stored[-1]))
    assert not raised.value.in_doubt
    server.start()
    assert list(engine.get_from_checkpoint()) == stored


def test_connections_that_died_are_replaced_without_an_error(engine: SqlEngine, server: Server) -> None:
    stored = fill(engine, "stream", commits=5)
    threads = [Thread(target=lambda: list(engine.get_from_checkpoint())) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    walk = engine.get_from_checkpoint()
    server.stop()
    server.start()
    assert list(walk) == stored
    assert engine.commit(next_attempt(stored[-1])).checkpoint_token == 6


def test_a_server_killed_while_many_write_loses_nothing_acknowledged(
    either_engine: PersistenceEngine, server: Server
) -> None:
    engine = either_engine
    acknowledged, ended = [], []

    def write(number: int) -> None:
        attempt = first_attempt(f"stream {number}")
        try:
            while True:
                acknowledged.append(engine.commit(attempt))
                attempt = next_attempt(attempt)
        except StorageUnavailableError as error:
            ended.append((attempt, error.in_doubt))

    threads = [Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    while len(acknowledged) < 100:
        threads[0].join(0.01)
    server.kill()
    for thread in threads:
        thread.join()
    server.start()
    found = list(engine.get_from_checkpoint())
    assert [commit.checkpoint_token for commit in found] == list(range(1, len(found) + 1))
    tokens = {commit.checkpoint_token: commit for commit in found}
    assert all(tokens[commit.checkpoint_token] == commit for commit in acknowledged)
    for attempt, in_doubt in ended:
        there = any(commit.commit_id == attempt.commit_id for commit in found)
        assert not there or in_doubt
