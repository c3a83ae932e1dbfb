"""Ctrl-C anywhere in opening and closing: the store is closed, and whoever opens it next finds it free."""

from __future__ import annotations

import fcntl
import itertools
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from interrupting import interrupted

from fsstore import EventStore, Wireup, hooks, steps, store, wireup
from fsstore.dispatch import schedulers, subscriptions
from fsstore.engines.file import engine as file_engine
from fsstore.engines.file.lifetime import open_store, opening
from fsstore.engines.memory import engine as memory_engine
from fsstore.testing import first_attempt

FILES = (hooks, schedulers, steps, store, subscriptions, wireup, memory_engine, file_engine, open_store, opening)
URLS = ("memory:", "{}/a.store", "sqlite:///{}/a.db")


@pytest.fixture(params=URLS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if "sqlite" in request.param:
        pytest.importorskip("sqlalchemy", reason="pip install 'fsstore[sql]'")
    return str(request.param).format(tmp_path)


def built(url: str) -> EventStore:
    wireup = Wireup.init().using(url).using_asynchronous_dispatch_scheduler()
    return wireup.dispatch_to(lambda commit: None).build()


def check_free(url: str) -> None:
    """No thread of a store is left, and nobody holds a lock of one."""
    for thread in threading.enumerate():
        if thread.name.startswith("fsstore"):
            thread.join(30)
            assert not thread.is_alive(), thread
    if url.endswith(".store") and os.path.exists(url):
        handle = os.open(f"{url}/lock", os.O_RDWR)
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(handle)


def is_interrupted(at: int, act: Callable[[], object]) -> bool:
    return interrupted(at, act, *(module.__file__ for module in FILES))


def test_closing_that_is_interrupted_anywhere_is_done_all_the_same(url: str) -> None:
    def is_interrupted_at(at: int) -> bool:
        opened = built(url)
        opened.commit(first_attempt(f"stream {at}"))
        was_interrupted = is_interrupted(at, opened.close)
        if at == 1:  # before it began
            opened.close()
        check_free(url)
        return was_interrupted

    assert sum(1 for _ in itertools.takewhile(is_interrupted_at, itertools.count(1))) > 20


def test_a_store_whose_opening_is_interrupted_anywhere_can_be_opened(url: str) -> None:
    def is_interrupted_at(at: int) -> bool:
        got: list[EventStore] = []

        def open_it() -> None:
            got.append(built(url))

        was_interrupted = is_interrupted(at, open_it)
        for each in got:
            each.close()
        check_free(url)
        with built(url) as opened:
            assert opened.commit(first_attempt(f"stream {at}")) is not None
        return was_interrupted

    assert sum(1 for _ in itertools.takewhile(is_interrupted_at, itertools.count(1))) > 10


def test_a_hook_that_interrupts_closing_is_not_closed_again() -> None:
    closed: list[str] = []

    class Interrupting:
        def close(self) -> Any:
            closed.append("first")
            raise KeyboardInterrupt

    class Other:
        def close(self) -> None:
            closed.append("second")

    opened = Wireup.init().hook_into_pipeline_using(Interrupting(), Other()).build()
    with pytest.raises(KeyboardInterrupt):
        opened.close()
    assert closed == ["first", "second"]
