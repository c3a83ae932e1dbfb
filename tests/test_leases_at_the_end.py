"""A lease that is given back while its engine closes is free at once: others need not wait until it has run out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
from servers import mongodb

from fsstore import StoreClosedError
from fsstore.engines import engine_for
from fsstore.engines.under_way import UnderWay

NAMES = [f"name {number}" for number in range(20)]


@pytest.fixture(params=["sqlite", "mongodb"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, dict[str, str]]:
    """A URL, and the options with it."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/store.db", {}
    pytest.importorskip("pymongo", reason="pip install 'fsstore[mongodb]'")
    return request.getfixturevalue("mongodb_server"), {"database": mongodb.database(tmp_path)}


@contextmanager
def call_under_way(engine: Any) -> Iterator[None]:
    """Within this a call does not come to an end, so that closing waits for it."""
    begun, go_on = Event(), Event()

    def stay() -> None:
        begun.set()
        assert go_on.wait(30)

    under_way: UnderWay = getattr(engine, "_driver", engine)._under_way
    thread = Thread(target=under_way.make, args=(stay,))
    thread.start()
    assert begun.wait(30)
    yield
    go_on.set()
    thread.join()


def test_a_lease_that_is_given_back_meanwhile_is_free_at_once(target: tuple[str, dict[str, str]]) -> None:
    url, options = target
    engine, other = (engine_for(url, **options) for _ in range(2))
    for each in (engine, other):
        each.initialize()
    leases = [engine.acquire_lease(name, 600) for name in NAMES]
    closing = Thread(target=engine.close)
    with call_under_way(engine):
        closing.start()
        with suppress(StoreClosedError):
            while True:
                engine.get_checkpoint("name")
        for lease in leases[::2]:
            engine.release_lease(lease)
    closing.join()
    assert [name for name in NAMES if other.acquire_lease(name, 600) is None] == []
    other.drop()
