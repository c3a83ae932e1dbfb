"""Whole databases that C# wrote, through the engine: everything that was put in comes out, and nothing changes."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import sqlite3
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy

import fsstore
from fsstore.engine import PersistenceEngine
from fsstore.errors import CorruptionError, SerializationError, StorageError, StoreClosedError
from fsstore.model import Commit, CommitAttempt, EventMessage, Snapshot, named
from fsstore.wireup import Wireup
from tests.neventstore.samples import DATA, KEY, differences, expected

SQLITE = sorted(path.stem for path in DATA.glob("*.db"))
READABLE = [name for name in SQLITE if "binary" not in name]
SERVERS = ["nes10-postgresql-json", "nes10-mysql-deflated"]


@pytest.fixture
def store_url(request: pytest.FixtureRequest) -> str:
    """The URL of the sample that the test is parametrized with."""
    name: str = request.param
    if name in SERVERS:
        return str(request.getfixturevalue(name.split("-")[1] + "_store"))
    return f"sqlite:///{DATA / name}.db"


def opened(url: str) -> fsstore.EventStore:
    wireup = Wireup.init().using(url)
    return (wireup.encrypt_with(KEY) if "encrypted" in url else wireup).build()


def every_sample(names: list[str] = READABLE + SERVERS) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(("store_url", "name"), [(name, name) for name in names], indirect=["store_url"])


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def order(commit: Commit) -> int:
    return commit.checkpoint_token


@every_sample()
def test_every_commit_is_what_was_put_in(store_url: str, name: str) -> None:
    wanted = {commit["commit_id"]: commit for commit in expected(name).commits}
    with opened(store_url) as store:
        found = list(store.advanced.get_from_checkpoint())
    assert len(found) == len(wanted)
    assert [order(commit) for commit in found] == sorted({order(commit) for commit in found})
    for commit in found:
        line = wanted[str(commit.commit_id)]
        events = [{"headers": event.headers, "body": event.body} for event in commit.events]
        assert list(differences(line["events"], events)) == []
        assert list(differences(line["headers"], commit.headers)) == []
        for field in ("bucket_id", "stream_id", "stream_revision", "commit_sequence", "checkpoint_token"):
            assert getattr(commit, field) == line.get(field, getattr(commit, field))
        assert commit.commit_stamp == datetime.fromisoformat(line["commit_stamp"])
        assert type(commit.commit_id) is type(uuid4())


@every_sample()
def test_streams_read_alone_and_by_revision(store_url: str, name: str) -> None:
    with opened(store_url) as store:
        streams = defaultdict(list)
        for commit in store.advanced.get_from_checkpoint():
            streams[commit.bucket_id, commit.stream_id].append(commit)
        for (bucket_id, stream_id), commits in streams.items():
            assert list(store.get_from(stream_id, bucket_id=bucket_id)) == commits
            stream = store.open_stream(stream_id, bucket_id=bucket_id)
            assert stream.stream_revision == commits[-1].stream_revision
            middle = commits[len(commits) // 2]
            first = middle.stream_revision - len(middle.events) + 1
            assert list(store.get_from(stream_id, first, first, bucket_id=bucket_id)) == [middle]
            assert next(iter(store.get_from(stream_id, middle.stream_revision, bucket_id=bucket_id))) == middle
        assert list(store.get_from("nobody")) == []
        assert list(store.get_from("order-1", bucket_id="TENANT-B")) == []
        assert list(store.get_from("3F2504E0-4F89-11D3-9A0C-0305E82C3301")) == []


@every_sample()
def test_checkpoints_and_dates_bound_what_is_read(store_url: str, name: str) -> None:
    with opened(store_url) as store:
        engine = store.advanced
        all_of_them = list(engine.get_from_checkpoint())
        one, other = order(all_of_them[3]), order(all_of_them[-4])
        assert list(engine.get_from_checkpoint(one, other)) == all_of_them[4:-3]
        assert list(engine.get_from_checkpoint(other)) == all_of_them[-3:]
        for bucket_id in ("default", "tenant-b", "Tenant-B", "nobody"):
            mine = [commit for commit in all_of_them if commit.bucket_id == bucket_id]
            assert list(engine.get_from_checkpoint(bucket_id=bucket_id)) == mine
        for commit in all_of_them[::7]:
            start, end = commit.commit_stamp, commit.commit_stamp + timedelta(hours=1)
            wanted = [each for each in all_of_them if start <= each.commit_stamp < end]
            assert list(engine.get_from_date(start, end)) == wanted
            assert commit not in list(engine.get_from_date(start + timedelta(microseconds=1)))
            assert commit not in list(engine.get_from_date(datetime.min.replace(tzinfo=start.tzinfo), start))


@every_sample()
def test_snapshots_and_heads(store_url: str, name: str) -> None:
    snapshots = expected(name).snapshots
    with opened(store_url) as store:
        newest: dict[tuple[str, str], int] = {}
        for line in snapshots:
            where = line["bucket_id"], line["stream_id"]
            found = store.advanced.get_snapshot(*where, line["stream_revision"])
            assert found is not None
            assert found.stream_revision == line["stream_revision"]
            assert list(differences(line["payload"], found.payload)) == []
            newest[where] = max(newest.get(where, 0), line["stream_revision"])
        heads: dict[tuple[str, str], int] = {}
        for commit in store.advanced.get_from_checkpoint():
            heads[commit.bucket_id, commit.stream_id] = commit.stream_revision
        for bucket_id in {bucket_id for bucket_id, _ in heads}:
            found_heads = {
                (head.bucket_id, head.stream_id): (head.head_revision, head.snapshot_revision)
                for head in store.advanced.get_streams_to_snapshot(bucket_id, 1)
            }
            assert found_heads == {
                where: (head, newest.get(where, 0))
                for where, head in heads.items()
                if where[0] == bucket_id and head >= newest.get(where, 0) + 1
            }
        assert store.advanced.get_snapshot("default", "order-1", 1) is None


@every_sample(["joliver32-sqlite-json", "nes10-sqlite-microsoft-json"])
def test_dispatch_marks_are_those_of_the_column(store_url: str, name: str) -> None:
    wanted = {commit["commit_id"] for commit in expected(name).commits if commit.get("dispatched") is False}
    with opened(store_url) as store:
        assert {str(commit.commit_id) for commit in store.advanced.get_undispatched_commits()} == wanted
    assert bool(wanted) == name.startswith("joliver")


WRITE_AT_ONCE = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], timeout=0, isolation_level=None)
connection.execute("BEGIN EXCLUSIVE")
"""


@pytest.mark.parametrize("begin", ["BEGIN IMMEDIATE", "BEGIN"])
def test_reading_leaves_others_in_this_process_their_locks(tmp_path: Path, begin: str) -> None:
    """Closing a file that SQLite has open lets go of all its locks: then two processes write at once."""
    path = tmp_path / "store.db"
    shutil.copyfile(DATA / "nes10-sqlite-microsoft-json.db", path)
    with closing(sqlite3.connect(path, isolation_level=None)) as using:
        assert using.execute("PRAGMA journal_mode").fetchone() == ("delete",)
        using.execute(begin)
        using.execute("SELECT count(*) FROM Commits").fetchone()
        with opened(f"sqlite:///{path}") as store:
            assert next(store.advanced.get_from_checkpoint())
        process = [sys.executable, "-c", WRITE_AT_ONCE, str(path)]
        assert b"database is locked" in subprocess.run(process, check=False, capture_output=True).stderr


@pytest.mark.parametrize("name", SQLITE)
def test_reading_leaves_every_byte_and_adds_no_file(name: str, tmp_path: Path) -> None:
    path = tmp_path / "copy.db"
    shutil.copy(DATA / f"{name}.db", path)
    before = digest(path)
    key = {"encrypted": True} if "encrypted" in name else {}
    with (
        Wireup.init().using(f"sqlite:///{path}").encrypt_with(KEY) if key else Wireup.init().using(f"sqlite:///{path}")
    ).build() as store:
        engine = store.advanced
        if "binary" not in name:
            list(engine.get_from_checkpoint())
            engine.get_snapshot("default", "order-1")
            list(engine.get_undispatched_commits())
    assert digest(path) == before
    assert [each.name for each in tmp_path.iterdir()] == ["copy.db"]


@pytest.mark.parametrize("with_log", [False, True])
def test_a_file_in_wal_mode_is_read_without_making_files(tmp_path: Path, with_log: bool) -> None:
    path = tmp_path / "copy.db"
    shutil.copy(DATA / "nes10-sqlite-microsoft-json.db", path)
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode = WAL")
    if with_log:
        connection.execute("DELETE FROM Commits WHERE CheckpointNumber = 1")
        connection.commit()
    else:
        connection.close()
    before = {each.name for each in tmp_path.iterdir()}, digest(path)
    with opened(f"sqlite:///{path}") as store:
        tokens = [order(commit) for commit in store.advanced.get_from_checkpoint()]
    assert (1 in tokens) != with_log
    assert ({each.name for each in tmp_path.iterdir()}, digest(path)) == before
    connection.close()


@every_sample(SERVERS)
def test_reading_a_server_changes_no_table(store_url: str, name: str) -> None:
    url = store_url.replace("postgresql:", "postgresql+psycopg:").replace("mysql:", "mysql+pymysql:")
    engine = sqlalchemy.create_engine(url)

    def tables() -> dict[str, Any]:
        inspector = sqlalchemy.inspect(engine)
        return {
            table: (inspector.get_columns(table).__repr__(), sorted(map(repr, inspector.get_indexes(table))))
            for table in inspector.get_table_names()
        }

    before = tables()
    with opened(store_url) as store:
        list(store.advanced.get_from_checkpoint())
    assert tables() == before
    assert sorted(map(str.lower, before)) == ["commits", "snapshots"]
    engine.dispose()


@every_sample(["joliver32-sqlite-json", "nes10-sqlite-microsoft-json"])
def test_arguments_are_checked_as_by_every_engine(store_url: str, name: str) -> None:
    with opened(store_url) as store:
        engine = store.advanced
        commit = next(each for each in engine.get_from_checkpoint() if len(each.events) > 1)
        place, revision = (commit.bucket_id, commit.stream_id), commit.stream_revision
        assert list(engine.get_from(*place, revision, revision)) == [commit]
        assert list(engine.get_from(*place, revision, revision - 1)) == []
        ask: Callable[[Any], object]
        for ask in (
            lambda wrong: list(engine.get_from(place[0], wrong)),
            lambda wrong: engine.get_snapshot(wrong, place[1]),
            lambda wrong: list(engine.get_from(*place, wrong)),
            lambda wrong: list(engine.get_from_checkpoint(0, wrong)),
            lambda wrong: list(engine.get_from_checkpoint(bucket_id=wrong)),
            lambda wrong: list(engine.get_streams_to_snapshot(place[0], wrong)),
        ):
            with pytest.raises(TypeError, match=r"must be .*, not bool"):
                ask(True)


def test_a_damaged_file_is_said(tmp_path: Path) -> None:
    path = tmp_path / "damaged.db"
    shutil.copy(DATA / "nes10-sqlite-microsoft-json.db", path)
    path.chmod(0o644)
    whole = path.read_bytes()
    with sqlite3.connect(path) as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'Commits'").fetchone()
    size_bytes = int.from_bytes(whole[16:18], "big")
    for start in ((page - 1) * size_bytes, 100):  # the commits, the names of the tables
        data = bytearray(whole)
        data[start : start // size_bytes * size_bytes + size_bytes] = b"\xff" * (size_bytes - start % size_bytes)
        path.write_bytes(data)
        with pytest.raises(CorruptionError) as raised, opened(f"sqlite:///{path}") as store:
            list(store.advanced.get_from_checkpoint())
        assert raised.value.path == str(path)
        assert path.read_bytes() == data


def test_an_option_that_nobody_has_is_an_error_though_no_pool_is_made() -> None:
    with pytest.raises(TypeError, match="a store in SQLite has no option 'bogus'"):
        fsstore.open(f"sqlite:///{DATA / 'nes10-sqlite-microsoft-json.db'}", bogus=1)


def test_binary_formatter_names_the_commit() -> None:
    with opened(f"sqlite:///{DATA}/joliver32-sqlite-binary.db") as store:
        cannot_be_read = r"of stream .* in bucket 'default' cannot be read: .*BinaryFormatter"
        with pytest.raises(SerializationError, match=f"^commit .* {cannot_be_read}"):
            next(store.advanced.get_from_checkpoint())
        line = expected("joliver32-sqlite-binary").snapshots[0]
        with pytest.raises(SerializationError, match=f"^the snapshot of revision 7 {cannot_be_read}"):
            store.advanced.get_snapshot("default", line["stream_id"])


def test_without_the_key_a_commit_says_that_one_is_needed() -> None:
    url = f"sqlite:///{DATA}/nes10-sqlite-microsoft-deflated-encrypted.db"
    with fsstore.open(url) as store, pytest.raises(SerializationError, match=r"commit .*encrypt_with\(key\)"):
        list(store.get_from("order-1"))


def attempt(**changes: Any) -> CommitAttempt:
    fields: dict[str, Any] = {
        "stream_id": "new",
        "stream_revision": 1,
        "commit_id": uuid4(),
        "commit_sequence": 1,
        "commit_stamp": datetime.fromisoformat("2025-01-01T00:00:00Z"),
        "headers": {},
        "events": (EventMessage("text"),),
    }
    return CommitAttempt(**{**fields, **changes})


@every_sample(["joliver32-sqlite-json", "nes10-sqlite-microsoft-json", *SERVERS])
def test_writing_is_refused_until_it_is_asked_for(store_url: str, name: str) -> None:
    with opened(store_url) as store:
        engine: PersistenceEngine = store.advanced
        commit = next(engine.get_from_checkpoint())
        words = "opened for reading only" if name.startswith("nes") else "fsstore copy"
        refused = attempt()
        for change in (lambda: engine.commit(refused), lambda: engine.commit_many([refused])):
            with pytest.raises(StorageError, match=f"{named(refused)}: .*{words}"):
                change()
        for change in (
            lambda: engine.add_snapshot(Snapshot("order-1", 1, "state")),
            lambda: engine.mark_commit_as_dispatched(commit),
            lambda: engine.delete_stream("default", "order-1"),
            engine.purge,
            engine.drop,
        ):
            with pytest.raises(StorageError, match=words):
                change()
    with pytest.raises(StoreClosedError):
        engine.get_from_checkpoint()


def test_a_store_of_the_old_library_stays_read_only_even_when_writing_is_asked_for() -> None:
    url = f"sqlite:///{DATA}/joliver32-sqlite-json.db"
    with Wireup.init().using(url).using_serializer("neventstore_json").build() as store:
        assert list(store.advanced.get_from_checkpoint())
        with pytest.raises(StorageError, match="does not write"):
            store.advanced.commit(attempt())


@pytest.mark.parametrize(
    ("name", "serializer", "said"),
    [
        ("joliver32-sqlite-json", None, "reads and does not write"),
        ("nes10-sqlite-microsoft-json", None, "opened for reading only"),
        ("nes10-sqlite-microsoft-json", "neventstore_json", "has no column Dispatched"),
    ],
)
def test_a_dispatcher_that_could_mark_nothing_is_refused(
    name: str, serializer: str | None, said: str, tmp_path: Path
) -> None:
    """It would be called again and again with the same commit, or never."""
    shutil.copy(DATA / f"{name}.db", tmp_path / "store.db")
    delivered: list[Commit] = []
    wireup = Wireup.init().using(f"sqlite:///{tmp_path}/store.db")
    if serializer is not None:
        wireup.using_serializer(serializer)
    wireup.using_asynchronous_dispatch_scheduler(delivered.append)
    with pytest.raises(ValueError, match=f"without a dispatcher: .*{said}"):
        wireup.build()
    with pytest.raises(ValueError, match=f"without a dispatcher: .*{said}"):
        asyncio.run(wireup.build_async())
    assert delivered == []


def test_a_subscription_has_no_place_in_the_tables() -> None:
    url = f"sqlite:///{DATA}/nes10-sqlite-microsoft-json.db"
    with fsstore.open(url) as store, pytest.raises(StorageError, match=r"NEventStore 5 or later.*fsstore copy"):
        store.subscribe("mail")


@every_sample(["joliver32-sqlite-json", "nes10-sqlite-microsoft-json", *SERVERS])
def test_numbers_that_no_column_has_bound_nothing(store_url: str, name: str) -> None:
    beyond = 1 << 70
    with opened(store_url) as store:
        engine = store.advanced
        everything = list(engine.get_from_checkpoint())
        place = everything[0].bucket_id, everything[0].stream_id
        assert list(engine.get_from_checkpoint(beyond)) == []
        assert list(engine.get_from_checkpoint(-beyond, beyond)) == everything
        assert list(engine.get_from(*place, beyond)) == []
        assert list(engine.get_from(*place, -beyond, beyond)) == list(engine.get_from(*place))
        assert engine.get_snapshot(*place, beyond) == engine.get_snapshot(*place)
        assert list(engine.get_streams_to_snapshot(place[0], beyond)) == []
