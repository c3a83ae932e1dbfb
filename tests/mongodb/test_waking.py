"""Who waits for commits is woken by a change stream, and asks where there is none."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from servers import mongodb

from fsstore.engine import DeliveryEngine
from fsstore.engines.mongo import open_engine, waking
from fsstore.testing.attempts import fill


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


def test_a_change_stream_wakes(url: str, who: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def asked(*_: Any) -> bool:
        raise AssertionError("nobody needs to ask")

    monkeypatch.setattr(waking, "_ask", asked)
    assert woken(url, who)


def test_an_account_that_may_not_watch_asks(
    url: str, who: str, failing: mongodb.FailPoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []

    def asking(*arguments: Any, ask: Any = waking._ask) -> bool:
        asked.append(ask(*arguments))
        return asked[-1]

    monkeypatch.setattr(waking, "_ask", asking)
    with failing("aggregate", errorCode=13):
        assert woken(url, who)
    assert asked == [True]
