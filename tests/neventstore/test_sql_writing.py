"""Rows that this library writes into a C# store, byte for byte those that the C# library had written."""

from __future__ import annotations

import shutil
import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from pathlib import Path
from threading import Event, Thread
from typing import Any, cast
from uuid import UUID, uuid4

import pytest
import sqlalchemy

from fsstore.engines.sql.neventstore.engine import NEventStoreEngine
from fsstore.errors import ConcurrencyError, DuplicateCommitError, SerializationError, StorageError
from fsstore.model import CommitAttempt, EventMessage, Snapshot
from fsstore.serialization import TypeName, TypeRegistry
from fsstore.serialization.neventstore import NEventStorePayloads, PayloadWriter, forms
from fsstore.store import EventStore
from fsstore.wireup import Wireup
from tests.neventstore import ordering
from tests.neventstore.conftest import loaded_mysql
from tests.neventstore.samples import DATA, KEY

WRITABLE = [
    "nes10-sqlite-microsoft-json",
    "nes10-sqlite-system-deflated",
    "nes10-sqlite-microsoft-deflated-encrypted",
    "nes102-sqlite-microsoft-stj",
]
Row = tuple[Any, ...]


def copied(name: str, directory: Path) -> Path:
    path = directory / f"{name}.db"
    shutil.copy(DATA / f"{name}.db", path)
    path.chmod(0o644)
    return path


def writing(path: Path, *types: TypeName) -> EventStore:
    wireup = Wireup.init().using(f"sqlite:///{path}").using_serializer("neventstore_json").register_types(*types)
    return (wireup.encrypt_with(KEY) if "encrypted" in path.name else wireup).build()


def table(path: Path, sql: str = "SELECT * FROM Commits ORDER BY CheckpointNumber") -> list[Row]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql).fetchall()


def plain(name: str, cell: Any) -> Any:
    """The cell without encryption, whose vector is new each time, and inflated: another zlib compresses otherwise."""
    if not isinstance(cell, bytes) or len(cell) < 17:
        return cell
    if "encrypted" in name:
        opened = forms._decrypted(cell, KEY)
        assert opened is not None
        cell = opened
    if "deflated" in name:
        assert cell.endswith(b"\x00\x00\xff\xff\x03\x00")  # flushed, then ended, as DeflateStream does
        return zlib.decompress(cell, -zlib.MAX_WBITS)
    return cell


def comparable(name: str, row: Row) -> Row:
    """The row without its number. Python's times have six digits: the seventh of C#'s stamps is cut off."""
    stamp = row[7]
    digits = len(stamp.partition(".")[2].rstrip("Z"))
    if digits == 7:
        stamp = stamp.rstrip("Z")[:-1].rstrip("0") + ("Z" if stamp.endswith("Z") else "")
    return (*(plain(name, cell) for cell in row[:7]), stamp, *(plain(name, cell) for cell in row[9:]))


@pytest.mark.parametrize("name", WRITABLE)
@pytest.mark.parametrize("types", [(), tuple(ordering.TYPES)], ids=["dictionaries", "classes"])
def test_a_commit_that_was_taken_out_is_written_back_to_the_same_row(
    name: str, types: tuple[TypeName, ...], tmp_path: Path
) -> None:
    path = copied(name, tmp_path)
    before = table(path)
    with writing(path) as store:
        commits = {commit.checkpoint_token: commit for commit in store.advanced.get_from_checkpoint()}
    heads = {(commit.bucket_id, commit.stream_id): commit for commit in commits.values()}
    for commit in list(heads.values())[::6]:
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("DELETE FROM Commits WHERE CheckpointNumber = ?", (commit.checkpoint_token,))
            connection.commit()
        with writing(path, *types) as store:
            written = store.commit(CommitAttempt.of(commit))
            assert written is not None
            assert replace(written, checkpoint_token=commit.checkpoint_token) == commit
            assert written.checkpoint_token > before[-1][8]  # numbers are never given out again
    after = table(path)
    assert sorted(map(partial(comparable, name), after)) == sorted(map(partial(comparable, name), before))
    assert {tuple(map(type, row)) for row in after} == {tuple(map(type, row)) for row in before}


def test_attempts_are_checked_as_by_every_engine(tmp_path: Path) -> None:
    path = copied(WRITABLE[0], tmp_path)
    before = table(path)
    event = EventMessage("made")
    attempt = CommitAttempt("new", 1, uuid4(), 1, datetime.now(UTC), {}, (event,))
    with writing(path) as store:
        engine: Any = store.advanced
        for wrong in (
            lambda: engine.commit(None),
            lambda: engine.commit_many(iter([attempt, None])),
            lambda: engine.mark_commit_as_dispatched(None),
            lambda: engine.add_snapshot(None),
        ):
            with pytest.raises(TypeError, match="is needed, not NoneType"):
                wrong()
        with pytest.raises(ValueError, match="revision is at most"):
            engine.add_snapshot(Snapshot("order-1", 1 << 31, "state"))
        assert table(path) == before
        assert engine.commit_many(iter([attempt])) == list(engine.get_from("default", "new"))
        assert engine.commit_many([]) == []


@pytest.mark.parametrize("name", ["nes10-sqlite-microsoft-json", "nes102-sqlite-microsoft-stj"])
def test_registered_classes_are_written_back_to_the_same_bytes(name: str) -> None:
    """Those without times: Python's have no seventh digit."""
    path = DATA / f"{name}.db"
    stored = [payload for (payload,) in table(path, "SELECT Payload FROM Commits")]
    payloads = NEventStorePayloads(TypeRegistry(*ordering.TYPES))
    writer = PayloadWriter(payloads, stored)
    timeless = ordering.PaymentReceived | ordering.OrderClosed | str | dict
    again = 0
    for payload in stored:
        events = payloads.events(payload)
        if not any(isinstance(event.body, ordering.OrderPlaced | ordering.ParcelMeasured) for event in events):
            assert all(isinstance(event.body, timeless) for event in events)
            is_whole = name.startswith("nes10-") or not any(
                isinstance(event.body, ordering.PaymentReceived) for event in events
            )
            if is_whole:
                assert writer.commit({}, events)[1] == payload
                again += 1
    for (payload,) in table(path, "SELECT Payload FROM Snapshots"):
        assert writer.snapshot(payloads.snapshot(payload)) == payload
    assert again > 3


@dataclass(frozen=True)
class Moved:
    parcel_id: UUID
    moved_at: datetime
    by: ordering.Channel
    weight: float
    fee: Decimal
    count: int = 0
    to: ordering.Address | None = None
    stops: tuple[ordering.Address, ...] = ()
    extra: Any = None


MOVED = Moved(
    UUID("3f2504e0-4f89-11d3-9a0c-0305e82c3301"),
    datetime(2024, 5, 6, 7, 8, 9, 120000, tzinfo=UTC),
    ordering.Channel.SHOP,
    3,
    Decimal("1.50"),
    to=ordering.Address("Ä <b>", "Utrecht"),
    stops=(ordering.Address("x", "y", "NL"),),
    extra={"k": [1, None]},
)
NEWTONSOFT = (
    '\ufeff[{"Headers":{},"Body":{"$type":"Ordering.Moved, Ordering",'
    '"ParcelId":"3f2504e0-4f89-11d3-9a0c-0305e82c3301","MovedAt":"2024-05-06T07:08:09.12Z","By":1,"Weight":3.0,'
    '"Fee":1.50,"To":{"Street":"Ä <b>","City":"Utrecht"},"Stops":[{"Street":"x","City":"y","Country":"NL"}],'
    '"Extra":{"$type":"System.Collections.Generic.Dictionary`2[[System.String, System.Private.CoreLib],'
    '[System.Object, System.Private.CoreLib]], System.Private.CoreLib","k":{"$type":"System.Collections.Generic.'
    'List`1[[System.Object, System.Private.CoreLib]], System.Private.CoreLib","$values":[1,null]}}}}]'
)
ASSEMBLY = "Version=1.0.0.0, Culture=neutral, PublicKeyToken=null"
CORE = "System.Private.CoreLib, Version=10.0.0.0, Culture=neutral, PublicKeyToken=7cec85d7bea7798e"
SYSTEM = (
    f'[{{"Headers":{{}},"Body":{{"$type":"Ordering.Moved, Ordering, {ASSEMBLY}",'
    '"ParcelId":"3f2504e0-4f89-11d3-9a0c-0305e82c3301","MovedAt":"2024-05-06T07:08:09.12Z","By":1,"Weight":3,'
    '"Fee":1.50,"Count":0,"To":{"Street":"\\u00C4 \\u003Cb\\u003E","City":"Utrecht"},'
    '"Stops":[{"Street":"x","City":"y","Country":"NL"}],'
    f'"Extra":{{"$type":"System.Collections.Generic.Dictionary\\u00602[[System.String, {CORE}],'
    f'[System.Object, {CORE}]], {CORE}","k":{{"$type":"System.Collections.Generic.'
    f'List\\u00601[[System.Object, {CORE}]], {CORE}","$values":[1,null]}}}}}}}}]'
)


@pytest.mark.parametrize(
    ("name", "wanted"), [("nes10-sqlite-microsoft-json", NEWTONSOFT), ("nes102-sqlite-microsoft-stj", SYSTEM)]
)
def test_a_new_event_of_a_registered_class(name: str, wanted: str, tmp_path: Path) -> None:
    path = copied(name, tmp_path)
    with writing(path, *ordering.TYPES, TypeName(Moved, "moved", ("Ordering.Moved",))) as store:
        stream = store.create_stream("parcel-1", bucket_id="tenant-b")
        stream.add(EventMessage(MOVED))
        stream.commit_changes()
        (found,) = store.get_from("parcel-1", bucket_id="tenant-b")
        assert found.events[0].body == MOVED
    assert table(path)[-1][10].decode("utf-8") == wanted


@pytest.mark.parametrize("name", WRITABLE)
def test_snapshots_are_written_back_to_the_same_rows(name: str, tmp_path: Path) -> None:
    path = copied(name, tmp_path)
    sql = "SELECT * FROM Snapshots ORDER BY BucketId, StreamId, StreamRevision"
    before = table(path, sql)
    with writing(path) as store:
        engine = store.advanced
        streams = {(commit.bucket_id, commit.stream_id) for commit in engine.get_from_checkpoint()}
        snapshots = [snapshot for where in streams if (snapshot := engine.get_snapshot(*where))]
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("DELETE FROM Snapshots")
            connection.commit()
        assert [engine.add_snapshot(snapshot) for snapshot in snapshots] == [True] * len(before)
        assert not engine.add_snapshot(snapshots[0])
        assert not engine.add_snapshot(Snapshot("nobody", 1, "state"))
    after = table(path, sql)
    assert [[plain(name, cell) for cell in row] for row in after] == [
        [plain(name, cell) for cell in row] for row in before
    ]


def test_the_order_of_checks_and_what_a_failed_commit_leaves(tmp_path: Path) -> None:
    path = copied("nes10-sqlite-microsoft-json", tmp_path)
    before = table(path)
    with writing(path) as store:
        engine = store.advanced
        head = list(engine.get_from("default", "order-1"))[-1]

        def attempt(sequence: int, revision: int, commit_id: UUID | None = None) -> CommitAttempt:
            event = (EventMessage("text"),)
            return CommitAttempt(
                "order-1", revision, commit_id or uuid4(), sequence, datetime.now(UTC), {}, event, "default"
            )

        with pytest.raises(DuplicateCommitError):
            engine.commit(attempt(99, 99, head.commit_id))
        for sequence, revision in [
            (head.commit_sequence, head.stream_revision),
            (head.commit_sequence + 1, head.stream_revision),
            (head.commit_sequence + 2, head.stream_revision + 1),
            (head.commit_sequence + 1, head.stream_revision + 2),
        ]:
            with pytest.raises(ConcurrencyError):
                engine.commit(attempt(sequence, revision))
        following = [attempt(head.commit_sequence + n, head.stream_revision + n) for n in (1, 2, 4)]
        with pytest.raises(ConcurrencyError):
            engine.commit_many(following)
        with pytest.raises(ValueError, match="40 characters"):
            engine.commit(CommitAttempt("s", 1, uuid4(), 1, datetime.now(UTC), {}, (EventMessage("x"),), "b" * 41))
        assert table(path) == before
        commits = engine.commit_many(following[:2])
        assert [commit.checkpoint_token for commit in commits] == [before[-1][8] + 1, before[-1][8] + 2]
        engine.delete_stream("default", "order-1")
        assert not list(engine.get_from("default", "order-1"))
        assert list(engine.get_from("tenant-b", "order-1"))
        engine.purge("tenant-b")
        assert {commit.bucket_id for commit in engine.get_from_checkpoint()} == {"default", "Tenant-B"}
        engine.purge()
        assert engine.commit(attempt(1, 1)).checkpoint_token == commits[-1].checkpoint_token + 1
        engine.drop()
    assert table(path, "SELECT name FROM sqlite_master WHERE name IN ('Commits', 'Snapshots')") == []


def test_dropping_after_closing_drops_the_tables_where_that_is_allowed(tmp_path: Path) -> None:
    path = copied("nes10-sqlite-microsoft-json", tmp_path)
    names = "SELECT name FROM sqlite_master WHERE name IN ('Commits', 'Snapshots') ORDER BY name"
    with Wireup.init().using(f"sqlite:///{path}").build() as store:
        engine = store.advanced
    with pytest.raises(StorageError, match="opened for reading only"):
        engine.drop()
    assert table(path, names) == [("Commits",), ("Snapshots",)]
    with writing(path) as store:
        engine = store.advanced
    engine.drop()
    assert table(path, names) == []
    engine.drop()


@pytest.mark.parametrize("name", ["nes10-sqlite-microsoft-msgpack", "nes10-sqlite-microsoft-bson"])
def test_json_is_not_written_among_other_notations(name: str, tmp_path: Path) -> None:
    with writing(copied(name, tmp_path)) as store:
        assert list(store.get_from("order-1"))
        with pytest.raises(StorageError, match="C# could not read JSON among them"):
            store.advanced.commit(CommitAttempt.of(next(iter(store.get_from("order-1")))))


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"$type": "Billing.Sent"}, "the assembly of Billing.Sent is not known"),
        (ordering.OrderClosed(), "is not a type that is stored"),
        ({"a": {1.5: 2}}, "cannot be the key"),
        ({"$type": "]["}, "is no name of a C# type"),
    ],
)
def test_what_csharp_could_not_read_is_refused_with_its_place(body: Any, words: str, tmp_path: Path) -> None:
    with writing(copied("nes10-sqlite-microsoft-json", tmp_path)) as store:
        stream = store.create_stream("new")
        stream.add(EventMessage(body))
        with pytest.raises(SerializationError, match=words):
            stream.commit_changes()


def test_a_type_is_named_by_its_alias_with_an_assembly(tmp_path: Path) -> None:
    path = copied("nes10-sqlite-microsoft-json", tmp_path)
    with writing(path, TypeName(ordering.OrderClosed, "closed", ("Shop.Closed, Shop.Events",))) as store:
        stream = store.create_stream("new")
        stream.add(EventMessage(ordering.OrderClosed()))
        stream.commit_changes()
    assert table(path)[-1][10].decode().endswith('"Body":{"$type":"Shop.Closed, Shop.Events"}}]')


def test_the_serializer_is_refused_where_there_is_no_csharp_store(tmp_path: Path) -> None:
    store = Wireup.init().using(f"sqlite:///{tmp_path}/own.db").using_serializer("neventstore_json").build()
    with store:
        stream = store.create_stream("new")
        stream.add(EventMessage("x"))
        with pytest.raises(SerializationError, match="this is none"):
            stream.commit_changes()
    with pytest.raises(ValueError, match="no serializer is called"):
        Wireup.init().using_serializer("yaml")


# ---- servers ----


@pytest.fixture(params=["postgresql", "mysql"])
def server_store(request: pytest.FixtureRequest) -> Iterator[tuple[str, sqlalchemy.Engine]]:
    """A server's sample to write into; what is written is deleted again."""
    url: str = request.getfixturevalue(f"{request.param}_store")
    driver = {"postgresql": "postgresql+psycopg", "mysql": "mysql+pymysql"}[request.param]
    engine = sqlalchemy.create_engine(url.replace(request.param, driver, 1))
    yield url, engine
    name = "streamidoriginal" if request.param == "postgresql" else "StreamIdOriginal"
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text(f"DELETE FROM {_commits(url)} WHERE {name} = 'written'"))
    engine.dispose()


def _commits(url: str) -> str:
    return "commits" if url.startswith("postgresql") else "Commits"


def test_a_server_gives_the_number_and_keeps_the_forms(server_store: tuple[str, sqlalchemy.Engine]) -> None:
    url, engine = server_store
    with Wireup.init().using(url).using_serializer("neventstore_json").build() as store:
        sample = next(iter(store.advanced.get_from_checkpoint()))
        last = list(store.advanced.get_from_checkpoint())[-1].checkpoint_token
        attempt = CommitAttempt(
            "written", len(sample.events), uuid4(), 1, sample.commit_stamp, sample.headers, sample.events, "default"
        )
        commit = store.advanced.commit(attempt)
        assert commit.checkpoint_token > last
        assert list(store.get_from("written")) == [commit]
        with pytest.raises(DuplicateCommitError):
            store.advanced.commit(attempt)
    tokens = f"({sample.checkpoint_token}, {commit.checkpoint_token})"
    statement = f"SELECT * FROM {_commits(url)} WHERE CheckpointNumber IN {tokens}"
    with engine.connect() as connection:
        one, other = connection.execute(sqlalchemy.text(statement + " ORDER BY CheckpointNumber")).all()
    assert [type(cell) for cell in one] == [type(cell) for cell in other]
    inflate = (lambda data: zlib.decompress(data, -zlib.MAX_WBITS)) if url.startswith("mysql") else bytes
    assert [inflate(cell) for cell in one[-2:]] == [inflate(cell) for cell in other[-2:]]
    assert one[7] // 10 == other[7] // 10 if isinstance(one[7], int) else one[7] == other[7]


def test_purging_a_bucket_leaves_that_of_another_case(mysql_server: str) -> None:
    """MySQL takes `tenant-b` and `Tenant-B` for the same."""
    url = loaded_mysql(mysql_server, "purged")
    with Wireup.init().using(url).using_serializer("neventstore_json").build() as store:
        before = [commit for commit in store.advanced.get_from_checkpoint() if commit.bucket_id != "tenant-b"]
        assert {commit.bucket_id for commit in before} == {"default", "Tenant-B"}
        store.advanced.purge("tenant-b")
        assert list(store.advanced.get_from_checkpoint()) == before
        store.advanced.delete_stream("TENANT-B", "ORDER-1")
        assert list(store.advanced.get_from_checkpoint()) == before


class SlowWriter:
    """A writer as another process would be: it has the lock when `has_it` is set, and commits when `go_on` is."""

    def __init__(self, url: str, stream_id: str) -> None:
        self._store = Wireup.init().using(url).using_serializer("neventstore_json").build()
        self._writing = cast("NEventStoreEngine", self._store.advanced)._writing
        self._attempt = CommitAttempt(stream_id, 1, uuid4(), 1, datetime.now(UTC), {}, (EventMessage("slow"),))
        self.has_it, self.go_on = Event(), Event()
        self._thread = Thread(target=self._write)
        self._thread.start()

    def _write(self) -> None:
        row = self._writing._row_of(self._attempt)

        def store(connection: sqlalchemy.Connection) -> None:
            self._writing._lock(connection)
            self.has_it.set()
            assert self.go_on.wait(30)
            self._writing._commit(connection, self._attempt, row)

        self._writing.connecting.write(store, "storing slowly")

    def end(self) -> None:
        self.go_on.set()
        self._thread.join()
        self._store.close()


@pytest.mark.parametrize("server", ["postgresql", "mysql"])
def test_whoever_waited_for_the_lock_keeps_others_waiting(server: str, request: pytest.FixtureRequest) -> None:
    """Numbers are given out in the order in which they can be seen."""
    url: str = request.getfixturevalue(f"{server}_store")
    first = SlowWriter(url, "slow 1")
    assert first.has_it.wait(30)
    second = SlowWriter(url, "slow 2")
    assert not second.has_it.wait(0.3)
    first.end()
    assert second.has_it.wait(30)
    third = SlowWriter(url, "slow 3")
    third.go_on.set()
    try:
        assert not third.has_it.wait(0.3)
    finally:
        second.end()
        third.end()
    with Wireup.init().using(url).using_serializer("neventstore_json").build() as store:
        assert [each.stream_id for each in store.advanced.get_from_checkpoint()][-3:] == ["slow 1", "slow 2", "slow 3"]
        for number in (1, 2, 3):
            store.advanced.delete_stream("default", f"slow {number}")


def test_writers_of_the_first_commits_wait_for_one_another(mysql_server: str) -> None:
    """MySQL has no row to lock then."""
    url = loaded_mysql(mysql_server, "emptied")
    with Wireup.init().using(url).using_serializer("neventstore_json").build() as store:
        store.advanced.purge()
        slow = SlowWriter(url, "slow")
        assert slow.has_it.wait(30)
        attempt = CommitAttempt("quick", 1, uuid4(), 1, datetime.now(UTC), {}, (EventMessage("quick"),))
        quick = Thread(target=store.advanced.commit, args=(attempt,))
        quick.start()
        quick.join(0.3)
        assert list(store.advanced.get_from_checkpoint()) == []
        slow.end()
        quick.join()
        found = list(store.advanced.get_from_checkpoint())
        assert sorted(each.stream_id for each in found) == ["quick", "slow"]


def test_closing_waits_for_a_commit_that_began(tmp_path: Path) -> None:
    path = copied(WRITABLE[0], tmp_path)
    slow = SlowWriter(f"sqlite:///{path}", "slow")
    assert slow.has_it.wait(30)
    closing_it = Thread(target=slow._store.close)
    closing_it.start()
    closing_it.join(0.2)
    assert closing_it.is_alive()
    slow.go_on.set()
    closing_it.join()
    assert table(path, "SELECT StreamIdOriginal FROM Commits ORDER BY CheckpointNumber DESC LIMIT 1") == [("slow",)]
    slow.end()
