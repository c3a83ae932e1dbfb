"""Projections: each commit counts exactly once, whatever fails and whoever folds."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from receivers import wait_for

from fsstore import Commit, CorruptionError, EventStore, LeaseLostError, SerializationError, Wireup
from fsstore.dispatch import SqliteProjection, StoreProjection
from fsstore.dispatch.turns import KeptTurn, Turn
from fsstore.engines.memory import MemoryEngine
from fsstore.testing import fill, first_attempt

Counts = dict[str, int]


def count(counts: Counts, commit: Commit) -> Counts:
    counts[commit.stream_id] = counts.get(commit.stream_id, 0) + len(commit.events)
    return counts


def test_a_state_is_folded_and_kept_with_its_place(store: EventStore) -> None:
    fill(store.advanced, "a", commits=3)
    projection = store.projection("counts", count, Counts, batch=2)
    projection.catch_up()
    projection.catch_up()
    assert (projection.state, projection.position) == ({"a": 6}, 3)
    fill(store.advanced, "b")
    again = store.projection("counts", count, Counts)
    assert again.state == {"a": 6}
    again.catch_up()
    assert again.state == {"a": 6, "b": 2}
    assert projection.load() == again.state


@pytest.mark.parametrize("option", ["bogus", "select"])
def test_an_option_that_nobody_has_is_named_with_those_that_there_are(store: EventStore, option: str) -> None:
    known = "batch, bucket_id, serializer and stream_prefix"
    with pytest.raises(TypeError, match=f"^a projection has no option '{option}'; it has {known}$"):
        store.projection("counts", count, Counts, **{option: 1})
    known = "batch, bucket_id, clear and stream_prefix"
    with pytest.raises(TypeError, match=f"^a projection has no option '{option}'; it has {known}$"):
        store.sqlite_projection("counts", sqlite3.connect(":memory:"), lambda *_: None, **{option: 1})


@pytest.mark.parametrize(("batch", "error"), [(0, ValueError), ("x", TypeError), (True, TypeError)])
def test_a_wrong_batch_is_refused(store: EventStore, batch: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"^batch must be "):
        store.projection("counts", count, Counts, batch=batch)


@pytest.mark.parametrize(("wrong", "error"), [({"bucket_id": ""}, ValueError), ({"stream_prefix": 3}, TypeError)])
def test_a_wrong_filter_is_refused(store: EventStore, wrong: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error, match=f"^{next(iter(wrong))} must "):
        store.projection("counts", count, Counts, **wrong)


def test_a_fold_that_fails_counts_nothing_twice(store: EventStore) -> None:
    fill(store.advanced, "a", commits=5)
    failing = [4]

    def sometimes(counts: Counts, commit: Commit) -> Counts:
        count(counts, commit)
        if commit.checkpoint_token in failing:
            raise RuntimeError("cannot fold")
        return counts

    projection = store.projection("counts", sometimes, Counts, batch=2)
    for _ in range(2):
        with pytest.raises(RuntimeError):
            projection.catch_up()
        assert (projection.state, projection.position) == ({"a": 4}, 2)
    failing.clear()
    projection.catch_up()
    assert projection.state == {"a": 10}


def test_rebuilding_begins_with_the_first_commit_and_says_how_far_it_is(store: EventStore) -> None:
    fill(store.advanced, "a", commits=7)
    store.projection("counts", lambda _, commit: {"wrong": 1}, Counts).catch_up()
    projection = store.projection("counts", count, Counts, batch=3)
    assert projection.state == {"wrong": 1}
    told: list[tuple[int, int]] = []
    projection.rebuild(lambda position, head: told.append((position, head)))
    assert projection.state == {"a": 14}
    assert told == [(3, 7), (6, 7), (7, 7)]


def test_filters_and_hooks_apply(store: EventStore) -> None:
    fill(store.advanced, "order-1")
    fill(store.advanced, "order-2", bucket_id="eu")
    fill(store.advanced, "cart")
    projection = store.projection("counts", count, Counts, stream_prefix="order-", bucket_id="default")
    projection.catch_up()
    assert projection.state == {"order-1": 2}
    assert projection.position == 3


def test_following_until_closed(store: EventStore) -> None:
    projection = store.projection("counts", count, Counts)
    thread = threading.Thread(target=projection.follow)
    thread.start()
    fill(store.advanced, "a", commits=2)
    wait_for(lambda: projection.position == 2)
    fill(store.advanced, "b")
    wait_for(lambda: projection.position == 3)
    projection.close()
    thread.join(20)
    assert not thread.is_alive()
    assert projection.state == {"a": 4, "b": 2}


def test_a_batch_that_takes_longer_than_the_lease_is_folded_by_one() -> None:
    engine = MemoryEngine()
    engine.initialize()
    fill(engine, "a", commits=30)

    def slow(state: int, commit: Commit) -> int:
        time.sleep(0.01)
        return state + 1

    projections = [StoreProjection(engine, "counts", slow, int) for _ in range(2)]
    failed: list[Exception] = []

    def catch_up(projection: StoreProjection[int]) -> None:
        projection._turn = Turn(engine, "projection/counts", lease_seconds=0.1)
        try:
            projection.catch_up()
        except LeaseLostError as error:
            failed.append(error)

    threads = [threading.Thread(target=catch_up, args=(projection,)) for projection in projections]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert [projection.state for projection in projections] == [30, 30]


@pytest.mark.parametrize("kind", [Turn, KeptTurn])
def test_a_fold_that_takes_longer_than_the_lease_ends_no_projection(kind: type[Turn]) -> None:
    """As one does in a process that was halted for so long."""
    engine = MemoryEngine()
    engine.initialize()
    fill(engine, "a", commits=5)
    folded: list[int] = []
    awake = threading.Event()

    def slow(state: int, commit: Commit) -> int:
        folded.append(commit.checkpoint_token)
        if folded == [1, 2, 3]:
            time.sleep(0.5)
            awake.set()
        return state + 1

    projections = [StoreProjection(engine, "counts", slow, int) for _ in range(2)]
    threads = [threading.Thread(target=projection.follow) for projection in projections]
    for projection, thread in zip(projections, threads, strict=True):
        projection._turn = kind(engine, "projection/counts", lease_seconds=0.1)
        thread.start()
        wait_for(lambda: 3 in folded)
    wait_for(lambda: [projection.load() for projection in projections] == [5, 5])
    assert awake.wait(30)
    time.sleep(0.1)
    fill(engine, "b")
    wait_for(lambda: [projection.load() for projection in projections] == [6, 6])
    assert all(thread.is_alive() for thread in threads)
    for projection, thread in zip(projections, threads, strict=True):
        projection.close()
        thread.join(20)
    assert (folded == [1, 2, 3, 4, 5, 6]) == (kind is KeptTurn)


@pytest.mark.parametrize("stored", [b"no msgpack", bytes([0x91, 1])])
def test_what_cannot_be_read_is_said_and_can_be_rebuilt(store: EventStore, stored: bytes) -> None:
    fill(store.advanced, "a", commits=2)
    store.advanced.put_checkpoint("projection/counts", stored)  # type: ignore[attr-defined]
    projection = store.projection("counts", count, Counts)
    with pytest.raises((CorruptionError, SerializationError), match=r"projection 'counts'.*rebuild"):
        projection.catch_up()
    projection.rebuild()
    assert projection.state == {"a": 4}


def test_a_state_that_cannot_be_stored_is_said_of_its_projection(store: EventStore) -> None:
    fill(store.advanced, "a", commits=1)
    projection = store.projection("counts", lambda state, commit: {"seen": object()}, dict)
    with pytest.raises(SerializationError, match="the state of projection 'counts' cannot be written"):
        projection.catch_up()


@dataclass(frozen=True)
class Total:
    events: int


def fold_total(total: Total, commit: Commit) -> Total:
    return Total(total.events + len(commit.events))


def test_a_state_may_be_of_a_type_that_the_store_knows(wireup: Wireup) -> None:
    with wireup.register_types(Total).build() as store:
        fill(store.advanced, "a", commits=3)
        store.projection("total", fold_total, lambda: Total(0)).catch_up()
        assert store.projection("total", fold_total, lambda: Total(0)).state == Total(6)


@pytest.mark.parametrize("url", ["memory:", "file:{}/some.store", "sqlite:///{}/some.db"])
def test_a_state_is_encrypted_as_the_store_is(url: str, tmp_path: Path) -> None:
    pytest.importorskip("cryptography", reason="pip install 'fsstore[encryption]'")
    wireup = Wireup.init().using(url.format(tmp_path)).encrypt_with(bytes(range(32)))
    with wireup.build() as store, store.create_stream("a") as stream:
        stream.add({"card": "4111 1111"})
        stream.commit_changes()
        cards = store.projection("cards", lambda cards, commit: [*cards, commit.events[0].body["card"]], list)
        cards.catch_up()
        assert cards.load() == ["4111 1111"]
        assert b"4111" not in store.advanced.get_checkpoint("projection/cards")  # type: ignore[attr-defined]


class TestSqlite:
    @pytest.fixture
    def database(self, tmp_path: Path) -> sqlite3.Connection:
        connection = sqlite3.connect(tmp_path / "read.db")
        connection.execute("CREATE TABLE counts (stream TEXT PRIMARY KEY, events INTEGER)")
        return connection

    @staticmethod
    def apply(connection: sqlite3.Connection, commit: Commit) -> None:
        connection.execute(
            "INSERT INTO counts VALUES (?, ?) ON CONFLICT (stream) DO UPDATE SET events = events + excluded.events",
            (commit.stream_id, len(commit.events)),
        )

    @staticmethod
    def rows(connection: sqlite3.Connection) -> Counts:
        return dict(connection.execute("SELECT stream, events FROM counts").fetchall())

    def test_tables_and_place_move_in_one_transaction(self, store: EventStore, database: sqlite3.Connection) -> None:
        fill(store.advanced, "a", commits=5)
        failing = [4]

        def apply(connection: sqlite3.Connection, commit: Commit) -> None:
            self.apply(connection, commit)
            if commit.checkpoint_token in failing:
                raise RuntimeError("cannot apply")

        projection = store.sqlite_projection("counts", database, apply, batch=2)
        with pytest.raises(RuntimeError):
            projection.catch_up()
        assert self.rows(database) == {"a": 4}
        failing.clear()
        projection.catch_up()
        assert self.rows(database) == {"a": 10}
        fill(store.advanced, "b")
        store.sqlite_projection("counts", database, self.apply).catch_up()
        assert self.rows(database) == {"a": 10, "b": 2}

    def test_rebuilding_clears_the_tables(self, store: EventStore, database: sqlite3.Connection) -> None:
        fill(store.advanced, "a", commits=3)
        projection = store.sqlite_projection("counts", database, self.apply)
        projection.catch_up()
        with pytest.raises(ValueError, match="without clear="):
            projection.rebuild()
        store.sqlite_projection(
            "counts", database, self.apply, clear=lambda connection: connection.execute("DELETE FROM counts")
        ).rebuild()
        assert self.rows(database) == {"a": 6}

    def test_a_connection_in_a_transaction_is_refused(self, store: EventStore, database: sqlite3.Connection) -> None:
        fill(store.advanced, "a")
        projection = store.sqlite_projection("counts", database, self.apply, clear=lambda connection: None)
        database.execute("INSERT INTO counts VALUES ('mine', 1)")
        refused = pytest.raises(ValueError, match=r"^projection 'counts': its connection is in a transaction")
        for call in (
            projection.catch_up,
            projection.rebuild,
            lambda: store.sqlite_projection("counts", database, self.apply),
        ):
            with refused:
                call()
        database.commit()
        projection.catch_up()
        assert self.rows(database) == {"mine": 1, "a": 2}

    @pytest.mark.parametrize("isolation_level", ["", None])
    def test_an_apply_that_commits_is_told_that_it_must_not(
        self, store: EventStore, database: sqlite3.Connection, isolation_level: str | None
    ) -> None:
        fill(store.advanced, "a", commits=2)
        database.isolation_level = isolation_level  # type: ignore[assignment]

        def apply(connection: sqlite3.Connection, commit: Commit) -> None:
            with connection:
                self.apply(connection, commit)

        projection = store.sqlite_projection("counts", database, apply, clear=lambda connection: connection.rollback())
        for call, what in ((projection.catch_up, "apply"), (projection.rebuild, "clear")):
            with pytest.raises(ValueError, match=f"^projection 'counts': {what} ended the transaction"):
                call()
            assert (projection.position, database.in_transaction) == (0, False)

    def test_an_engine_that_cannot_be_waited_for_is_followed(self, tmp_path: Path) -> None:
        class Plain:
            """What is asked of any engine."""

            def __init__(self, engine: MemoryEngine) -> None:
                self.get_from_checkpoint = engine.get_from_checkpoint

        engine = MemoryEngine()
        engine.initialize()
        database = sqlite3.connect(tmp_path / "read.db", check_same_thread=False)
        projection = SqliteProjection(Plain(engine), "counts", database, lambda connection, commit: None)  # type: ignore[arg-type]
        following = threading.Thread(target=projection.follow, daemon=True)
        following.start()
        for token in (1, 2):
            fill(engine, str(token))
            wait_for(lambda: projection.position == engine._last_token)
        engine.close()
        following.join(20)
        assert not following.is_alive()
        database.close()

    def test_a_batch_that_readers_keep_from_being_committed_leaves_no_transaction_open(
        self, store: EventStore, database: sqlite3.Connection, tmp_path: Path
    ) -> None:
        fill(store.advanced, "a", commits=2)
        database.execute("PRAGMA busy_timeout = 10")
        projection = store.sqlite_projection("counts", database, self.apply)
        reader = sqlite3.connect(tmp_path / "read.db")
        reader.execute("BEGIN")
        assert self.rows(reader) == {}
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            projection.catch_up()
        assert not database.in_transaction
        reader.close()
        projection.catch_up()
        assert self.rows(database) == {"a": 4}

    def test_several_may_fold_into_one_database(
        self, store: EventStore, database: sqlite3.Connection, tmp_path: Path
    ) -> None:
        fill(store.advanced, "a", commits=60)

        def fold() -> None:
            connection = sqlite3.connect(tmp_path / "read.db", timeout=30)
            store.sqlite_projection("counts", connection, self.apply, batch=3).catch_up()
            connection.close()

        threads = [threading.Thread(target=fold) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert self.rows(database) == {"a": 120}


FOLDING = """
import sys
import fsstore

def count(state, commit):
    return state + len(commit.events)

store = fsstore.open(sys.argv[1])
projection = store.projection("total", count, int, batch=1)
print("ready", flush=True)
projection.follow()
"""


def test_killed_processes_count_every_commit_once(tmp_path: Path) -> None:
    with Wireup.init().using(tmp_path / "s").build() as store:
        projection = store.projection("total", lambda state, commit: state + len(commit.events), int)
        for round_ in range(3):
            command = [sys.executable, "-c", FOLDING, str(tmp_path / "s")]
            process = subprocess.Popen(command, stdout=subprocess.PIPE)
            assert process.stdout is not None
            process.stdout.readline()
            for number in range(30):
                store.commit(first_attempt(f"{round_} {number}", events=2))
            process.kill()
            process.communicate()
        projection.catch_up()
        assert projection.state == 180
