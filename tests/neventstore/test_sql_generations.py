"""Tables of other generations and databases than the samples': the same commits in the layouts that those had."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy
from sqlalchemy import column, insert, table

import fsstore
from fsstore.engines.sql.neventstore.connecting import Connecting
from fsstore.errors import DuplicateCommitError, StorageError
from fsstore.model import Commit, CommitAttempt, EventMessage, Snapshot
from fsstore.wireup import Wireup
from tests.neventstore.samples import DATA

# Names and types as the C# library made them, by generation; {…} is what differs from database to database.
COMMITS = {
    "5": """CREATE TABLE Commits (BucketId {bucket} NOT NULL, StreamId char(40) NOT NULL,
        StreamIdOriginal {original} NOT NULL, StreamRevision int NOT NULL, Items {items} NOT NULL,
        CommitId {guid} NOT NULL, CommitSequence int NOT NULL, CommitStamp {stamp} NOT NULL,
        CheckpointNumber {number}, Dispatched {flag} NOT NULL DEFAULT {false}, Headers {blob} NULL,
        Payload {blob} NOT NULL)""",
    "4": """CREATE TABLE Commits (BucketId {bucket} NOT NULL, StreamId char(40) NOT NULL,
        StreamIdOriginal {original} NOT NULL, StreamRevision int NOT NULL, Items {items} NOT NULL,
        CommitId {guid} NOT NULL, CommitSequence int NOT NULL, CommitStamp {stamp} NOT NULL,
        Dispatched {flag} NOT NULL DEFAULT {false}, Headers {blob} NULL, Payload {blob} NOT NULL,
        CONSTRAINT PK_Commits PRIMARY KEY (BucketId, StreamId, CommitSequence))""",
    "3": """CREATE TABLE Commits (StreamId {guid} NOT NULL, StreamRevision int NOT NULL, Items {items} NOT NULL,
        CommitId {guid} NOT NULL, CommitSequence int NOT NULL, CommitStamp {stamp} NOT NULL,
        Dispatched {flag} NOT NULL DEFAULT {false}, Headers {blob} NULL, Payload {blob} NOT NULL,
        CONSTRAINT PK_Commits PRIMARY KEY (StreamId, CommitSequence))""",
    "2": """CREATE TABLE Commits (StreamId {guid} NOT NULL, StreamRevision int NOT NULL, CommitId {guid} NOT NULL,
        CommitSequence int NOT NULL, CommitStamp {stamp} NOT NULL, Dispatched {flag} NOT NULL DEFAULT {false},
        Headers {blob} NULL, Payload {blob} NOT NULL, Snapshot {blob} NULL,
        CONSTRAINT PK_Commits PRIMARY KEY (StreamId, CommitSequence))""",
}
SNAPSHOTS = {
    "5": """CREATE TABLE Snapshots (BucketId char(40) NOT NULL, StreamId char(40) NOT NULL,
        StreamRevision int NOT NULL, Payload {blob} NOT NULL, PRIMARY KEY (BucketId, StreamId, StreamRevision))""",
    "3": """CREATE TABLE Snapshots (StreamId {guid} NOT NULL, StreamRevision int NOT NULL, Payload {blob} NOT NULL,
        PRIMARY KEY (StreamId, StreamRevision))""",
}
SNAPSHOTS["4"] = SNAPSHOTS["5"]
KINDS = {
    "sqlite": {
        "bucket": "varchar(40)", "original": "text", "items": "int", "guid": "guid", "stamp": "datetime",
        "number": "INTEGER PRIMARY KEY AUTOINCREMENT", "flag": "bit", "false": "0", "blob": "blob",
    },
    "postgresql": {
        "bucket": "varchar(40)", "original": "varchar(1000)", "items": "smallint", "guid": "uuid",
        "stamp": "timestamp", "number": "SERIAL NOT NULL", "flag": "boolean", "false": "false", "blob": "bytea",
    },
    "mysql": {
        "bucket": "varchar(40) charset utf8", "original": "varchar(1000) charset utf8mb4", "items": "tinyint",
        "guid": "binary(16)", "stamp": "bigint", "number": "bigint AUTO_INCREMENT PRIMARY KEY", "flag": "bit",
        "false": "0", "blob": "mediumblob",
    },
}  # fmt: skip
Guid = Callable[[UUID], Any]
GUIDS: dict[str, Guid] = {
    "sqlite": lambda value: value.bytes_le,
    "sqlite-lower": str,
    "postgresql": lambda value: value,
    "mysql": lambda value: value.bytes_le,
}


def stamp_cell(database: str, text: str) -> Any:
    """C#'s stamp, of up to seven digits, as the database has it."""
    moment = datetime.fromisoformat(text).replace(tzinfo=None)
    if database == "postgresql":
        return moment
    if database == "mysql":
        return (moment - datetime(1, 1, 1)) // timedelta(microseconds=1) * 10 + 7
    return text


def source(generation: str) -> tuple[str, list[dict[str, Any]], list[dict[str, Any]]]:
    """A sample of that kind, its commits and its snapshots as rows."""
    name = "joliver32-sqlite-json" if generation in "23" else "nes10-sqlite-system-deflated"
    with closing(sqlite3.connect(f"file:{DATA / name}.db?immutable=1", uri=True)) as connection:
        connection.row_factory = sqlite3.Row
        commits = [dict(row) for row in connection.execute("SELECT * FROM Commits ORDER BY CommitStamp")]
        snapshots = [dict(row) for row in connection.execute("SELECT * FROM Snapshots")]
    return name, commits, snapshots


@pytest.fixture
def empty_database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty database of the kind that the test is parametrized with."""
    kind: str = request.param.partition("-")[0]
    if kind == "sqlite":
        yield f"sqlite:///{tmp_path}/store.db"
        return
    server: str = request.getfixturevalue(f"{kind}_server")
    name = "g" + uuid4().hex[:12]
    engine = sqlalchemy.create_engine(with_driver(server), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    yield f"{server.rpartition('/')[0]}/{name}"
    with engine.connect() as connection:
        connection.exec_driver_sql(f"DROP DATABASE {name}")
    engine.dispose()


def with_driver(url: str) -> str:
    return url.replace("postgresql:", "postgresql+psycopg:").replace("mysql:", "mysql+pymysql:")


def built(url: str, kind: str, generation: str) -> str:
    """Fill the database with a sample's rows in that generation's layout; the sample's name."""
    database = kind.partition("-")[0]
    guid = GUIDS[kind]
    name, commits, snapshots = source(generation)
    engine = sqlalchemy.create_engine(with_driver(url))
    with engine.begin() as connection:
        connection.exec_driver_sql(COMMITS[generation].format(**KINDS[database]))
        if generation in SNAPSHOTS:
            connection.exec_driver_sql(SNAPSHOTS[generation].format(**KINDS[database]))
        columns = [each["name"] for each in sqlalchemy.inspect(connection).get_columns(table_name(database, "Commits"))]
        for number, row in enumerate(commits):
            row["CommitId"] = guid(UUID(bytes_le=row["CommitId"]))
            if generation in "23":
                row["StreamId"] = guid(UUID(bytes_le=row["StreamId"]))
            row["CommitStamp"] = stamp_cell(database, row["CommitStamp"])
            row["Dispatched"] = bool(number % 3) if database == "postgresql" else int(bool(number % 3))
            fill(connection, table_name(database, "Commits"), columns, row)
        if generation in SNAPSHOTS:
            for row in snapshots:
                if generation in "23":
                    row["StreamId"] = guid(UUID(bytes_le=row["StreamId"]))
                fill(connection, table_name(database, "Snapshots"), list(row), row)
        if database == "postgresql" and generation == "5":
            last = "SELECT setval('commits_checkpointnumber_seq', max(CheckpointNumber)) FROM Commits"
            connection.exec_driver_sql(last)
    engine.dispose()
    return name


def table_name(database: str, name: str) -> str:
    return name.lower() if database == "postgresql" else name


def fill(connection: sqlalchemy.Connection, name: str, columns: list[str], row: dict[str, Any]) -> None:
    lower = connection.dialect.name == "postgresql"
    cells = {each.casefold(): cell for each, cell in row.items()}
    values = {each: cells[each.casefold()] for each in columns if each.casefold() in cells}
    target = table(name, *(column(each.lower() if lower else each) for each in values))
    connection.execute(insert(target).values({each.lower() if lower else each: cell for each, cell in values.items()}))


LAYOUTS = [
    ("sqlite", "5"),
    ("sqlite-lower", "5"),
    ("sqlite", "4"),
    ("sqlite-lower", "3"),
    ("sqlite", "2"),
    ("postgresql", "5"),
    ("postgresql", "4"),
    ("postgresql", "3"),
    ("mysql", "5"),
    ("mysql", "3"),
]


@pytest.mark.parametrize(
    ("empty_database", "kind", "generation"),
    [(kind, kind, generation) for kind, generation in LAYOUTS],
    indirect=["empty_database"],
    ids=[f"{kind}-{generation}" for kind, generation in LAYOUTS],
)
def test_the_same_commits_in_another_layout(empty_database: str, kind: str, generation: str) -> None:
    name = built(empty_database, kind, generation)
    with fsstore.open(f"sqlite:///{DATA / name}.db") as original, fsstore.open(empty_database) as store:
        wanted = {commit.commit_id: commit for commit in original.advanced.get_from_checkpoint()}
        found = list(store.advanced.get_from_checkpoint())
        assert [replace(commit, checkpoint_token=1) for commit in found] == [
            replace(wanted[commit.commit_id], checkpoint_token=1) for commit in found
        ]
        assert len(found) == len(wanted)
        if generation != "5":
            assert [commit.checkpoint_token for commit in found] == list(range(1, len(found) + 1))
            assert found == sorted(found, key=lambda commit: commit.commit_stamp)
        by_stamp = sorted(found, key=lambda commit: commit.commit_stamp)
        assert set(ids(store.advanced.get_undispatched_commits())) == set(ids(by_stamp[::3]))
        for commit in found[::5]:
            stream = [
                each for each in found if (each.bucket_id, each.stream_id) == (commit.bucket_id, commit.stream_id)
            ]
            assert list(store.get_from(commit.stream_id, bucket_id=commit.bucket_id)) == stream
            until = list(store.get_from(commit.stream_id, 0, stream[0].stream_revision, bucket_id=commit.bucket_id))
            assert until == stream[:1]
            assert list(store.advanced.get_from_date(commit.commit_stamp, bucket_id=commit.bucket_id)) == [
                each
                for each in found
                if each.bucket_id == commit.bucket_id and each.commit_stamp >= commit.commit_stamp
            ]
            snapshot = original.advanced.get_snapshot(commit.bucket_id, commit.stream_id)
            wanted_snapshot = snapshot if generation in SNAPSHOTS else None
            assert store.advanced.get_snapshot(commit.bucket_id, commit.stream_id) == wanted_snapshot
        for bucket_id in ("default", "tenant-b"):
            heads = {
                head.stream_id: head.head_revision for head in store.advanced.get_streams_to_snapshot(bucket_id, 0)
            }
            last = {commit.stream_id: commit.stream_revision for commit in found if commit.bucket_id == bucket_id}
            assert heads.items() <= last.items()
            if generation not in SNAPSHOTS:
                assert heads == last


def ids(commits: Any) -> list[UUID]:
    return [commit.commit_id for commit in commits]


@pytest.mark.parametrize("empty_database", ["sqlite", "postgresql", "mysql"], indirect=True)
def test_marks_and_commits_are_written_into_the_fifth_generation(empty_database: str) -> None:
    built(empty_database, empty_database.partition(":")[0], "5")
    with Wireup.init().using(empty_database).using_serializer("neventstore_json").build() as store:
        undispatched = list(store.advanced.get_undispatched_commits())
        store.advanced.mark_commit_as_dispatched(undispatched[0])
        store.advanced.mark_commit_as_dispatched(undispatched[0])
        assert list(store.advanced.get_undispatched_commits()) == undispatched[1:]
        commit = store.commit(attempt("new"))
        assert commit is not None
        assert list(store.advanced.get_undispatched_commits())[-1] == commit


def attempt(stream_id: str) -> CommitAttempt:
    now = datetime(2025, 1, 1, tzinfo=UTC)
    return CommitAttempt(stream_id, 1, uuid4(), 1, now, {}, (EventMessage("text"),))


@pytest.mark.parametrize("empty_database", ["sqlite"], indirect=True)
def test_a_clock_that_went_back_does_not_part_a_stream(empty_database: str) -> None:
    built(empty_database, "sqlite", "3")
    path = empty_database.removeprefix("sqlite:///")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE Commits SET CommitStamp = '2001-01-01 00:00:00Z' WHERE CommitSequence = 2")
        connection.commit()
    with fsstore.open(empty_database) as store:
        found = list(store.advanced.get_from_checkpoint())
        assert [commit.checkpoint_token for commit in found] == list(range(1, len(found) + 1))
        sequences: dict[str, int] = {}
        for commit in found:
            assert commit.commit_sequence == sequences.get(commit.stream_id, 0) + 1
            sequences[commit.stream_id] = commit.commit_sequence
        again = list(store.advanced.get_from_checkpoint())
        assert again == found


@pytest.mark.parametrize("empty_database", ["sqlite"], indirect=True)
def test_a_hasher_of_the_programs_own_is_noticed(empty_database: str) -> None:
    built(empty_database, "sqlite", "5")
    path = empty_database.removeprefix("sqlite:///")
    with closing(sqlite3.connect(path)) as connection:
        for name in ("Commits", "Snapshots"):
            connection.execute(f"UPDATE {name} SET StreamId = 'x' || substr(StreamId, 2)")
        connection.commit()
    with Wireup.init().using(empty_database).using_serializer("neventstore_json").build() as store:
        commits = list(store.get_from("order-1"))
        assert commits
        assert store.advanced.get_snapshot("default", "order-1") is not None
        with pytest.raises(StorageError, match="itself does not make"):
            store.advanced.commit(attempt("new"))


def test_a_table_of_commits_of_another_program_is_no_csharp_store(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "git.db")) as connection:
        connection.execute("CREATE TABLE Commits (Sha text, Message text)")
        connection.commit()
    with pytest.raises(StorageError, match="did not make"):
        fsstore.open(f"sqlite:///{tmp_path}/git.db")


def test_an_empty_csharp_store_is_read_and_written(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "empty.db")) as connection:
        connection.execute(COMMITS["5"].format(**KINDS["sqlite"]))
        connection.execute(SNAPSHOTS["5"].format(**KINDS["sqlite"]))
        connection.commit()
    url = f"sqlite:///{tmp_path}/empty.db"
    with fsstore.open(url) as store:
        assert list(store.advanced.get_from_checkpoint()) == []
    with Wireup.init().using(url).using_serializer("neventstore_json").build() as store:
        commit = store.commit(attempt("order-1"))
        assert isinstance(commit, Commit)
        assert commit.checkpoint_token == 1
        assert list(store.get_from("order-1")) == [commit]
    with closing(sqlite3.connect(tmp_path / "empty.db")) as connection:
        ((commit_id, stamp, payload),) = connection.execute("SELECT CommitId, CommitStamp, Payload FROM Commits")
    assert (commit_id, stamp) == (str(commit.commit_id).upper(), "2025-01-01 00:00:00")
    assert payload == b'\xef\xbb\xbf[{"Headers":{},"Body":"text"}]'


@pytest.mark.parametrize("empty_database", ["sqlite"], indirect=True)
def test_a_long_stream_without_numbers_asks_little(empty_database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    built(empty_database, "sqlite", "3")
    asked: list[object] = []

    def ask(self: Connecting, statement: Any, of: Any = Connecting.ask) -> Any:
        asked.append(statement)
        return of(self, statement)

    monkeypatch.setattr(Connecting, "ask", ask)
    with fsstore.open(empty_database) as store:
        heads = store.advanced.get_streams_to_snapshot("default", 0)
        longest = max(heads, key=attrgetter("head_revision")).stream_id
        asked.clear()
        assert len(list(store.get_from(longest))) > 3
        assert len(asked) == 3  # the page; whether the table is another; all keys, the first time


@pytest.mark.parametrize("empty_database", ["sqlite"], indirect=True)
def test_a_stamp_with_a_zone_is_found_by_its_day_in_utc(empty_database: str) -> None:
    built(empty_database, "sqlite", "5")
    day = datetime(2020, 1, 2, tzinfo=UTC)
    with closing(sqlite3.connect(empty_database.removeprefix("sqlite:///"))) as connection:
        for number, text in enumerate(("2020-01-01 23:30:00-05:00", "2020-01-03 01:00:00+14:00"), 1):
            connection.execute(
                "UPDATE Commits SET CommitStamp = ? WHERE CheckpointNumber = "
                "(SELECT CheckpointNumber FROM Commits ORDER BY CheckpointNumber LIMIT 1 OFFSET ?)",
                (text, number),
            )
        connection.commit()
    with fsstore.open(empty_database) as store:
        found = list(store.advanced.get_from_date(day, day + timedelta(days=1)))
        assert [commit.commit_stamp.hour for commit in found] == [4, 11]
        everything = list(store.advanced.get_from_checkpoint())
        assert list(store.advanced.get_from_date(datetime.min.replace(tzinfo=UTC))) == everything


@pytest.mark.parametrize("empty_database", ["sqlite"], indirect=True)
def test_an_id_is_a_duplicate_in_whichever_form_it_is_stored(empty_database: str) -> None:
    built(empty_database, "sqlite-lower", "5")
    first = attempt("new")
    with Wireup.init().using(empty_database).using_serializer("neventstore_json").build() as store:
        store.commit(first)
        for cell in (first.commit_id.bytes_le, str(first.commit_id).upper(), str(first.commit_id)):
            with closing(sqlite3.connect(empty_database.removeprefix("sqlite:///"))) as connection:
                connection.execute("UPDATE Commits SET CommitId = ? WHERE StreamIdOriginal = 'new'", (cell,))
                connection.commit()
            for again in (first, replace(first, stream_revision=2, commit_sequence=2)):
                with pytest.raises(DuplicateCommitError):
                    store.commit(again)


def test_a_bucket_may_end_with_a_space(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "spaces.db")) as connection:
        connection.execute(COMMITS["5"].format(**KINDS["sqlite"]))
        connection.execute(SNAPSHOTS["5"].format(**KINDS["sqlite"]))
        connection.commit()
    with Wireup.init().using(f"sqlite:///{tmp_path}/spaces.db").using_serializer("neventstore_json").build() as store:
        commit = store.commit(replace(attempt("order-1"), bucket_id="a "))
        assert list(store.advanced.get_from_checkpoint()) == [commit]
        assert list(store.get_from("order-1", bucket_id="a ")) == [commit]
        assert list(store.get_from("order-1", bucket_id="a")) == []
        assert store.advanced.add_snapshot(Snapshot("order-1", 1, "state", "a "))
        assert store.advanced.get_snapshot("a ", "order-1") is not None
        assert [head.bucket_id for head in store.advanced.get_streams_to_snapshot("a ", 0)] == ["a "]
