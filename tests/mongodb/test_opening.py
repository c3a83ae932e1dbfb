"""How a MongoDB store is named, opened and recognized."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

import fsstore
from fsstore import SerializationError, Snapshot, StorageError, Wireup
from fsstore.engine import DeliveryEngine, PersistenceEngine
from fsstore.engines import known_schemes
from fsstore.engines.mongo import open_engine
from fsstore.engines.mongo.layout import COMMITS, DATABASE
from fsstore.testing.attempts import fill


def opened_as(url: str, **options: Any) -> Any:
    """The database that an engine would use; nothing is connected."""
    engine: Any = open_engine(url, **options)
    roles = engine._driver.roles
    engine.close()
    return roles


def test_the_schemes_are_known() -> None:
    assert {"mongodb", "mongodb+srv"} <= set(known_schemes())


def test_the_protocols_are_kept_in_the_eyes_of_python_too() -> None:
    engine = open_engine("mongodb://127.0.0.1/")
    assert isinstance(engine, PersistenceEngine)
    assert isinstance(engine, DeliveryEngine)
    engine.close()


def test_the_database_is_that_of_the_url_or_of_the_option_or_ours() -> None:
    assert opened_as("mongodb://127.0.0.1/orders")[DATABASE].name == "orders"
    assert opened_as("mongodb://127.0.0.1/orders", database="other")[DATABASE].name == "other"
    assert opened_as("mongodb://127.0.0.1/")[DATABASE].name == "fsstore"


def test_commits_are_journaled_by_the_majority_and_read_from_it_unless_the_caller_says_otherwise() -> None:
    commits = opened_as("mongodb://127.0.0.1/")[COMMITS]
    assert commits.write_concern == WriteConcern("majority", j=True)
    assert commits.read_concern == ReadConcern("majority")
    commits = opened_as("mongodb://127.0.0.1/?w=1&readConcernLevel=local")[COMMITS]
    assert (commits.write_concern, commits.read_concern) == (WriteConcern(1), ReadConcern("local"))
    commits = opened_as("mongodb://127.0.0.1/", write_concern=WriteConcern(2), read_concern=ReadConcern("local"))[
        COMMITS
    ]
    assert (commits.write_concern, commits.read_concern) == (WriteConcern(2), ReadConcern("local"))


def test_reads_go_to_the_primary_whatever_the_url_says() -> None:
    commits = opened_as("mongodb://127.0.0.1/?readPreference=secondary")[COMMITS]
    assert commits.read_preference.name == "Primary"


def test_unacknowledged_writes_are_refused() -> None:
    with pytest.raises(ValueError, match="acknowledged"):
        open_engine("mongodb://127.0.0.1/?w=0")


def test_collections_need_different_names() -> None:
    with pytest.raises(ValueError, match="different names"):
        open_engine("mongodb://127.0.0.1/", commits="A", snapshots="A")


def test_an_option_that_nobody_has_is_named_with_those_that_there_are() -> None:
    known = "commits, database, .*write_concern and those of pymongo's MongoClient"
    with pytest.raises(TypeError, match=f"^a MongoDB store has no option 'no_such_option'; it has {known}$"):
        open_engine("mongodb://127.0.0.1/", no_such_option=1)


@pytest.mark.parametrize("url", ["mongodb://me:{}@127.0.0.1/?bogus=1", "mongodb://me:{}@127.0.0.1/orders?w=1&bogus=1"])
def test_an_option_that_no_url_has_is_refused(url: str, recwarn: pytest.WarningsRecorder) -> None:
    shown = re.escape(url.format("***"))
    with pytest.raises(
        TypeError, match=f"^the URL {shown} has no option 'bogus'; it has those of pymongo's MongoClient$"
    ):
        open_engine(url.format("secret"))
    assert not recwarn.list


def test_a_value_that_an_option_of_the_url_does_not_have_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^the URL mongodb://127\.0\.0\.1/\?journal=maybe cannot be used: .*journal"):
        open_engine("mongodb://127.0.0.1/?journal=maybe")


@pytest.mark.parametrize("url", ["mongodb://", "mongodb://127.0.0.1/two words", "mongodb://me@home:secret@127.0.0.1/"])
def test_what_is_no_url_is_a_value_error(url: str) -> None:
    with pytest.raises(ValueError, match="no MongoDB URL"):
        open_engine(url)


@pytest.mark.parametrize("names", [{"database": "two words"}, {"database": ""}, {"commits": "$"}])
def test_what_is_no_name_is_a_value_error(names: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="no name in MongoDB"):
        open_engine("mongodb://127.0.0.1/", **names)


def test_without_pymongo_the_extra_is_named() -> None:
    program = (
        "import sys; sys.modules['pymongo'] = None\n"
        "import fsstore\n"
        "try: fsstore.open('mongodb://127.0.0.1/')\n"
        "except ImportError as error: print(error)"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert "fsstore[mongodb]" in said


def test_the_builder_opens_it_with_collections_of_other_names(database: Any, mongodb_server: str) -> None:
    wireup = Wireup.init().using_mongo_persistence(mongodb_server, database=database.name, commits="C", snapshots="S")
    with wireup.build() as store, store.create_stream("order") as stream:
        stream.add("made")
        stream.commit_changes()
    assert set(database.list_collection_names()) == {"C", "Fsstore"}
    assert database.C.find_one()["StreamId"] == "order"


def test_the_example_of_the_documentation_runs(database: Any, url: str, mongodb_server: str) -> None:
    page = (Path(__file__).parents[2] / "docs/mongodb.md").read_text()
    [example] = re.findall(r"```py\n(.*?)```", page, re.DOTALL)
    example = example.replace("mongodb://127.0.0.1:27017/orders", url).replace(
        "mongodb://127.0.0.1:27017/", mongodb_server
    )
    exec(example.replace('"orders"', repr(database.name)), {})
    assert database.Commits.find_one()["StreamId"] == "order-1"


def test_two_stores_in_one_database(database: Any, url: str) -> None:
    names = [{}, {"commits": "C2", "snapshots": "S2", "streams": "T2", "own": "F2"}]
    for number, other in enumerate(names, 1):
        engine = open_engine(url, **other)
        engine.initialize()
        assert fill(engine, "stream", commits=number)[-1].checkpoint_token == number
        engine.close()
    engine.close()
    engine = open_engine(url, **names[1])
    engine.initialize()
    engine.drop()
    assert set(database.list_collection_names()) == {"Commits", "Fsstore"}


def test_a_store_of_a_newer_format_is_left_alone(database: Any, url: str) -> None:
    fsstore.open(url).close()
    database.Fsstore.update_one({"_id": "store"}, {"$set": {"Format": 2}})
    with pytest.raises(StorageError, match="newer"):
        fsstore.open(url)


def test_a_store_whose_founding_was_interrupted_is_still_ours(database: Any, url: str) -> None:
    database.Fsstore.insert_one({"_id": "store", "Format": 1})
    database.Commits.create_index("BucketId")
    with fsstore.open(url) as store:
        assert fill(store.advanced, "stream")[0].checkpoint_token == 1
    assert "LogicalKey_Index" in database.Commits.index_information()


def test_a_document_that_is_no_commit_is_said(database: Any, url: str) -> None:
    with fsstore.open(url) as store:
        database.Commits.insert_one({"_id": 1, "CommitId": b"1"})
        with pytest.raises(StorageError, match="document 1 is no commit"):
            list(store.advanced.get_from_checkpoint())
        database.Commits.delete_many({})
        [commit] = fill(store.advanced, "stream")
        database.Commits.update_one({}, {"$set": {"Payload": b"\xc1"}})
        said = (
            f"document 1 of a commit: commit {commit.commit_id} of stream 'stream' in bucket 'default' cannot be read"
        )
        with pytest.raises(SerializationError, match=said):
            list(store.advanced.get_from("default", commit.stream_id))


def test_a_snapshot_beyond_what_mongodb_counts_is_refused(url: str) -> None:
    with fsstore.open(url) as store:
        fill(store.advanced, "stream")
        with pytest.raises(ValueError, match="is at most"):
            store.advanced.add_snapshot(Snapshot("stream", 1 << 63, "state"))


def test_a_lease_may_be_for_ever(url: str) -> None:
    with fsstore.open(url) as store:
        engine: Any = store.advanced
        for seconds in (float("inf"), 1e30):
            lease = engine.acquire_lease("name", seconds)
            assert lease is not None
            assert engine.acquire_lease("name", 1) is None
            engine.renew_lease(lease, seconds)
            engine.release_lease(lease)


def test_a_token_beyond_32_bits_is_an_integer_of_pythons(database: Any, url: str) -> None:
    with fsstore.open(url) as store:
        fill(store.advanced, "order")
        document = database.Commits.find_one_and_delete({"StreamId": "order"})
        database.Commits.insert_one({**document, "_id": 1 << 40})
        (commit,) = store.get_from("order")
        assert (type(commit.checkpoint_token), commit.checkpoint_token) == (int, 1 << 40)


def test_a_deleted_commit_leaves_its_number_and_nothing_else(database: Any, url: str) -> None:
    with fsstore.open(url) as store:
        fill(store.advanced, "stream", commits=2)
        store.advanced.delete_stream("default", "stream")
        assert list(database.Commits.find()) == [{"_id": 1, "StreamId": 1}, {"_id": 2, "StreamId": 2}]
