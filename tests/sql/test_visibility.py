"""Transactions that take their time: whoever polls sees commits in the order of their tokens, and no gap.

An identity or a sequence would fail here: its number is taken before its transaction commits.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import partial
from threading import Event, Thread

import pytest
from sqlalchemy import Connection, event

from fsstore.engines.sql import writes
from fsstore.engines.sql.dialects import parsed
from fsstore.engines.sql.engine import SqlEngine
from fsstore.engines.sql.rows import Rows
from fsstore.engines.sql.transactions import Transactions, connected
from fsstore.model import Commit, CommitAttempt
from fsstore.serialization import MsgpackSerializer
from fsstore.testing.attempts import fill, first_attempt


class SlowWriter:
    """A writer, as another process would be, that stores a commit and then does not come to an end."""

    def __init__(self, url: str, attempt: CommitAttempt) -> None:
        found, database = parsed(url)
        self._engine = connected(found, database, 30, 1, {})
        self._transactions = Transactions(self._engine, database)
        self._attempt = attempt
        self._stored, self._go_on = Event(), Event()
        self._fails = False
        self._thread = Thread(target=self._run)
        self._thread.start()
        assert self._stored.wait(30)

    def _run(self) -> None:
        def store(connection: Connection) -> list[Commit]:
            rows = [Rows(MsgpackSerializer()).row_of(self._attempt)]
            commits = writes.append(connection, [self._attempt], rows)
            self._stored.set()
            assert self._go_on.wait(30)
            if self._fails:
                raise InterruptedError
            return commits

        with contextlib.suppress(InterruptedError):
            self._transactions.write(store, "storing slowly")

    def end(self, *, fail: bool = False) -> None:
        """Commit, or roll back."""
        self._fails = fail
        self._go_on.set()
        self._thread.join()
        self._engine.dispose()


@pytest.fixture
def engine(url: str) -> Iterator[SqlEngine]:
    engine = SqlEngine(url)
    engine.initialize()
    yield engine
    engine.close()


def committing(engine: SqlEngine, stream_id: str) -> tuple[Thread, list[Commit]]:
    stored: list[Commit] = []
    thread = Thread(target=lambda: stored.append(engine.commit(first_attempt(stream_id))))
    thread.start()
    return thread, stored


@pytest.mark.parametrize("fail", [False, True], ids=["that commits", "that fails"])
def test_nobody_gets_past_a_slow_transaction(engine: SqlEngine, url: str, fail: bool) -> None:
    fill(engine, "before")
    slow = SlowWriter(url, first_attempt("slow"))
    thread, stored = committing(engine, "quick")
    try:
        thread.join(0.3)
        # A commit that were visible now would have a token after that of the slow one.
        assert stored == []
        assert [commit.stream_id for commit in engine.get_from_checkpoint(1)] == []
    finally:
        slow.end(fail=fail)
        thread.join()
    found = [(commit.checkpoint_token, commit.stream_id) for commit in engine.get_from_checkpoint(1)]
    assert found == ([(2, "quick")] if fail else [(2, "slow"), (3, "quick")])


def test_reading_does_not_wait_for_a_slow_transaction(engine: SqlEngine, url: str) -> None:
    stored = fill(engine, "before", commits=3)
    slow = SlowWriter(url, first_attempt("slow"))
    try:
        assert list(engine.get_from_checkpoint()) == stored
        assert list(engine.get_from("default", "before")) == stored
        assert list(engine.get_from("default", "slow")) == []
        assert engine.wait_for_commits(3, 0.0) is False
    finally:
        slow.end()
    assert engine.wait_for_commits(3, 30) is True


def test_deleting_waits_for_a_commit_to_the_stream(engine: SqlEngine, url: str) -> None:
    slow = SlowWriter(url, first_attempt("stream"))
    thread = Thread(target=partial(engine.delete_stream, "default", "stream"))
    thread.start()
    thread.join(0.1)
    slow.end()
    thread.join()
    assert list(engine.get_from("default", "stream")) == []
    assert fill(engine, "stream")[0].checkpoint_token == 2


def test_who_waits_in_short_steps_looks_as_rarely_as_who_waits_for_long(engine: SqlEngine, url: str) -> None:
    looks: list[str] = []

    def looked(connection: Connection, cursor: object, statement: str, *_: object) -> None:
        looks.append(statement)

    fill(engine, "before")
    assert engine.wait_for_commits(1, 1.0) is False
    event.listen(engine.sqlalchemy_engine, "before_cursor_execute", looked)
    for _ in range(50):
        assert engine.wait_for_commits(1, 0.02) is False
    assert len([statement for statement in looks if "SELECT" in statement]) <= 20
    other = SqlEngine(url)
    other.initialize()
    fill(other, "of another process")
    assert engine.wait_for_commits(1, 30.0) is True
    other.close()
    event.remove(engine.sqlalchemy_engine, "before_cursor_execute", looked)
