"""Who waits for commits is woken by a change stream, which stays open, and asks where there is none."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from interrupting import interrupted
from pymongo.monitoring import CommandFailedEvent, CommandListener, CommandStartedEvent, CommandSucceededEvent
from servers import mongodb
from servers.process import Server

from fsstore import StorageUnavailableError
from fsstore.engine import DeliveryEngine
from fsstore.engines.mongo import open_engine, waking
from fsstore.engines.mongo.waking import Waking
from fsstore.testing.attempts import fill


class Said(CommandListener):
    """How often each command was said to the server; cursors are killed one by one or together."""

    def __init__(self) -> None:
        self.counted: Counter[str] = Counter()

    def started(self, event: CommandStartedEvent) -> None:
        self.counted[event.command_name] += len(event.command.get("cursors", " "))

    def succeeded(self, event: CommandSucceededEvent) -> None: ...

    def failed(self, event: CommandFailedEvent) -> None: ...


@pytest.fixture
def said() -> Said:
    return Said()


@pytest.fixture
def waiter(url: str, said: Said, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """An engine whose waits can be counted, and whose streams may rest for as long as a busy machine makes them."""
    monkeypatch.setattr(waking, "_LONGEST_REST_SECONDS", 60.0)
    engine = open_engine(url, event_listeners=[said])
    engine.initialize()
    yield engine
    engine.close()


def woken(url: str, who: str) -> bool:
    """Whether an engine that waits hears of a commit of another engine, which waits as `who`."""
    waiter, writer = open_engine(url), mongodb.waiting(who, url)
    assert isinstance(waiter, DeliveryEngine)
    for engine in (waiter, writer):
        engine.initialize()
    later = threading.Timer(0.2, fill, (writer, "stream"))
    later.start()
    try:
        return waiter.wait_for_commits(0, 30.0)
    finally:
        later.join()
        waiter.close()
        writer.close()


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """The answers to those who asked."""
    answers: list[bool] = []

    def asking(*arguments: Any, ask: Callable[..., bool] = Waking._asked) -> bool:
        answers.append(ask(*arguments))
        return answers[-1]

    monkeypatch.setattr(Waking, "_asked", asking)
    return answers


def test_a_change_stream_wakes(url: str, who: str, asked: list[bool]) -> None:
    assert woken(url, who)
    assert asked == []


def test_an_account_that_may_not_watch_asks(url: str, who: str, failing: mongodb.FailPoint, asked: list[bool]) -> None:
    with failing("aggregate", errorCode=13):
        assert woken(url, who)
    assert asked == [True]


def test_who_waits_again_and_again_keeps_one_stream_open_until_the_engine_is_closed(waiter: Any, said: Said) -> None:
    [token] = [commit.checkpoint_token for commit in fill(waiter, "stream")]
    for _ in range(5):
        assert not waiter.wait_for_commits(token, 0.5)
    assert (said.counted["aggregate"], said.counted["killCursors"]) == (1, 0)
    waiter.close()
    assert said.counted["killCursors"] == 1


def test_a_refusal_is_not_asked_for_again_and_again(waiter: Any, said: Said, failing: mongodb.FailPoint) -> None:
    with failing("aggregate", errorCode=13, times=5):
        for _ in range(5):
            assert not waiter.wait_for_commits(0, 0.5)
        assert said.counted["aggregate"] == 1


def test_what_was_read_meanwhile_wakes_nobody(waiter: Any, url: str, said: Said) -> None:
    assert not waiter.wait_for_commits(0, 0.5)
    token = fill(waiter, "stream", commits=20)[-1].checkpoint_token
    assert not waiter.wait_for_commits(token, 0.5)
    other = open_engine(url)
    later = threading.Timer(0.2, fill, (other, "next"))
    later.start()
    assert waiter.wait_for_commits(token, 30.0)
    later.join()
    other.close()
    assert said.counted["aggregate"] == 1


def test_a_stream_that_rested_for_long_is_not_read_to_its_end(
    waiter: Any, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waking, "_LONGEST_REST_SECONDS", 0.0)
    for _ in range(2):
        assert not waiter.wait_for_commits(0, 0.5)
    assert (said.counted["aggregate"], said.counted["killCursors"]) == (2, 1)


def test_a_stream_whose_collection_is_dropped_is_let_go_of(waiter: Any, database: Any, said: Said) -> None:
    assert not waiter.wait_for_commits(0, 0.1)
    database.Commits.drop()
    for _ in range(2):
        assert not waiter.wait_for_commits(0, 0.2)
    assert said.counted["getMore"] < 20


def test_who_waits_and_is_interrupted_anywhere_can_wait_again(waiter: Any, said: Said) -> None:
    [token] = [commit.checkpoint_token for commit in fill(waiter, "stream")]
    places = 0
    while interrupted(places + 1, lambda: waiter.wait_for_commits(token, 0.1), waking.__file__):
        places += 1
        assert waiter.wait_for_commits(token - 1, 0.1)
        assert not waiter.wait_for_commits(token, 0.1)
    assert places > 10
    waiter.close()
    assert said.counted["aggregate"] == said.counted["killCursors"]


def test_a_server_that_is_lost_is_waited_for_with_another_stream(killable: tuple[Server, str]) -> None:
    server, url = killable
    engine: Any = open_engine(url, serverSelectionTimeoutMS=2000)
    engine.initialize()
    assert not engine.wait_for_commits(0, 0.1)
    server.kill()
    with pytest.raises(StorageUnavailableError):
        engine.wait_for_commits(0, 0.1)
    server.start()
    fill(engine, "stream")
    assert not engine.wait_for_commits(1, 0.1)
    server.kill()
    engine.close()
