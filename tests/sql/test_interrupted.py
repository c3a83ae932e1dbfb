"""Ctrl-C anywhere in a call: no connection goes back to the pool in a transaction, and the next call works."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy.engine.base
import sqlalchemy.engine.default
from interrupting import interrupted

from fsstore import CommitAttempt
from fsstore.engines.sql import dialects, transactions
from fsstore.engines.sql.engine import SqlEngine
from fsstore.testing import first_attempt

FILES = (dialects.__file__, transactions.__file__, sqlalchemy.engine.base.__file__, sqlalchemy.engine.default.__file__)
Call = Callable[[SqlEngine, CommitAttempt], object]
CALLS: list[Call] = [SqlEngine.commit, lambda engine, attempt: list(engine.get_from_checkpoint(0, 3))]


@pytest.fixture(params=["sqlite", "postgresql", "memory"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    if request.param == "postgresql":
        url = request.getfixturevalue("postgresql_databases").store_url(tmp_path)
    else:
        url = f"sqlite:///{tmp_path}/a.db" if request.param == "sqlite" else "sqlite://"
    opened = SqlEngine(url, pool_size=1, timeout_seconds=2)
    opened.initialize()
    yield opened
    opened.close()


def is_in_transaction(engine: SqlEngine) -> bool:
    """Whether the one connection of the pool is."""
    connection = engine.sqlalchemy_engine.raw_connection()
    try:
        driver: Any = connection.driver_connection
        return bool(driver.in_transaction if hasattr(driver, "in_transaction") else driver.info.transaction_status)
    finally:
        connection.close()


@pytest.mark.parametrize("call", CALLS)
def test_a_call_that_is_interrupted_anywhere_leaves_no_transaction(engine: SqlEngine, call: Call) -> None:
    def is_interrupted_at(at: int) -> bool:
        attempt = first_attempt(f"interrupted {at}")
        was_interrupted = interrupted(at, lambda: call(engine, attempt), *FILES)
        assert not is_in_transaction(engine), at
        engine.commit(first_attempt(f"next {at}"))
        stored = list(engine.get_from("default", f"interrupted {at}"))
        assert [each.commit_id for each in stored] in ([], [attempt.commit_id]), at
        return was_interrupted

    assert sum(1 for _ in itertools.takewhile(is_interrupted_at, itertools.count(1))) > 15
