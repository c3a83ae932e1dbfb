"""Databases that the C# libraries wrote are read as they are, and nothing in them changes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from copy import deepcopy
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import bson
import pytest
from bson.binary import Binary
from neventstore import ordering
from neventstore.samples import DATA, differences, expected
from servers import mongodb

from fsstore import CommitAttempt, EventMessage, SerializationError, Snapshot, StorageError, Wireup
from fsstore.engine import PersistenceEngine
from fsstore.engines import engine_for
from fsstore.model import Commit

NUMBERED = ["nes12-mongodb-legacy-guids", "nes12-mongodb-standard-guids"]
SAMPLES = [*NUMBERED, "joliver32-mongodb"]
Change = Callable[[dict[str, Any]], dict[str, Any]]


def raw(name: str, collection: str) -> list[dict[str, Any]]:
    return bson.decode_all((DATA / name / f"{collection}.bson").read_bytes())


def load(database: Any, name: str, change: Change = lambda document: document) -> None:
    """Put the sample's documents into the database, the commits changed."""
    database.Commits.insert_many([change(each) for each in raw(name, "Commits")])
    for collection in ("Snapshots", "Streams"):
        database[collection].insert_many(raw(name, collection))


@pytest.fixture
def opened(url: str) -> Iterator[Callable[..., PersistenceEngine]]:
    engines: list[PersistenceEngine] = []

    def open_engine(**options: Any) -> PersistenceEngine:
        engine = engine_for(url, **options)
        engines.append(engine)
        engine.initialize()
        return engine

    yield open_engine
    for engine in engines:
        engine.close()


def content(database: Any) -> dict[str, Any]:
    """Everything in the database, indexes too."""
    return {
        name: (list(database[name].find().sort("_id")), database[name].index_information())
        for name in sorted(database.list_collection_names())
    }


def in_order(name: str) -> list[dict[str, Any]]:
    """The expected commits as a reader meets them."""
    commits = expected(name).commits
    if name in NUMBERED:
        return sorted(commits, key=lambda each: each["checkpoint_token"])
    commits.sort(key=lambda each: stamp(each["commit_stamp"]))
    return [{**commit, "checkpoint_token": place} for place, commit in enumerate(commits, 1)]


def stamp(text: str) -> datetime:
    """The stamp as MongoDB keeps it."""
    moment = datetime.fromisoformat(text)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def check(found: list[Commit], wanted: list[dict[str, Any]]) -> None:
    """Every field of every commit."""
    assert len(found) == len(wanted)
    for commit, line in zip(found, wanted, strict=True):
        assert commit == Commit(
            line["stream_id"],
            line["stream_revision"],
            UUID(line["commit_id"]),
            line["commit_sequence"],
            stamp(line["commit_stamp"]),
            commit.headers,
            commit.events,
            line["bucket_id"],
            line["checkpoint_token"],
        )
        assert list(differences(line["headers"], commit.headers)) == []
        events = [{"body": event.body, "headers": event.headers} for event in commit.events]
        assert list(differences(line["events"], events)) == []


# ---- reading ----


@pytest.mark.parametrize("name", SAMPLES)
def test_every_commit_is_read_as_it_was_written(database: Any, opened: Any, name: str) -> None:
    load(database, name)
    engine, wanted = opened(), in_order(name)
    check(list(engine.get_from_checkpoint()), wanted)
    third = wanted[2]["checkpoint_token"]
    check(list(engine.get_from_checkpoint(third)), wanted[3:])
    check(list(engine.get_from_checkpoint(0, third)), wanted[:3])
    check([next(engine.get_from_checkpoint(wanted[-2]["checkpoint_token"]))], wanted[-1:])


@pytest.mark.parametrize("name", SAMPLES)
def test_tasks_read_the_same(database: Any, url: str, name: str) -> None:
    load(database, name)
    before, wanted = content(database), in_order(name)
    engine = mongodb.waiting("tasks", url)
    engine.initialize()
    check(list(engine.get_from_checkpoint()), wanted)
    place = (wanted[0]["bucket_id"], wanted[0]["stream_id"])
    check(list(engine.get_from(*place)), [each for each in wanted if (each["bucket_id"], each["stream_id"]) == place])
    engine.close()
    assert content(database) == before


@pytest.mark.parametrize("name", SAMPLES)
def test_every_stream_is_read_whole_and_in_part(database: Any, opened: Any, name: str) -> None:
    load(database, name)
    engine, wanted = opened(), in_order(name)
    for bucket, stream in {(each["bucket_id"], each["stream_id"]) for each in wanted}:
        lines = [each for each in wanted if (each["bucket_id"], each["stream_id"]) == (bucket, stream)]
        check(list(engine.get_from(bucket, stream)), lines)
        first = lines[0]["stream_revision"]
        check(list(engine.get_from(bucket, stream, first + 1)), lines[1:])
        check(list(engine.get_from(bucket, stream, 1, first)), lines[:1])


@pytest.mark.parametrize("name", SAMPLES)
def test_buckets_and_dates_are_told_apart(database: Any, opened: Any, name: str) -> None:
    load(database, name)
    engine, wanted = opened(), in_order(name)
    for bucket in {each["bucket_id"] for each in wanted}:
        lines = [each for each in wanted if each["bucket_id"] == bucket]
        check(list(engine.get_from_checkpoint(bucket_id=bucket)), lines)
    stamps = sorted(stamp(each["commit_stamp"]) for each in wanted)
    start, end = stamps[3], stamps[-3]
    for low, high in ((start, end), (start - timedelta(microseconds=1), end), (start, end + timedelta(microseconds=1))):
        check(
            list(engine.get_from_date(low, high)),
            [each for each in wanted if low <= stamp(each["commit_stamp"]) < high],
        )
    beginning = datetime.min.replace(tzinfo=UTC)
    check(list(engine.get_from_date(beginning, datetime.max.replace(tzinfo=UTC))), wanted)


@pytest.mark.parametrize("name", SAMPLES)
def test_snapshots_and_heads(database: Any, opened: Any, name: str) -> None:
    load(database, name)
    engine, wanted = opened(), expected(name)
    newest: dict[tuple[str, str], int] = {}
    for line in wanted.snapshots:
        place = (line["bucket_id"], line["stream_id"])
        snapshot = engine.get_snapshot(*place, line["stream_revision"])
        assert snapshot is not None
        assert snapshot == Snapshot(place[1], line["stream_revision"], snapshot.payload, place[0])
        assert list(differences(line["payload"], snapshot.payload)) == []
        newest[place] = max(newest.get(place, 0), line["stream_revision"])
    ends: dict[tuple[str, str], int] = {}
    for line in wanted.commits:
        place = (line["bucket_id"], line["stream_id"])
        ends[place] = max(ends.get(place, 0), line["stream_revision"])
    for bucket in {bucket for bucket, _ in ends}:
        heads = {head.stream_id: head for head in engine.get_streams_to_snapshot(bucket, 1)}
        found = {stream: (head.head_revision, head.snapshot_revision) for stream, head in heads.items()}
        assert found == {
            stream: (end, newest.get((where, stream), 0))
            for (where, stream), end in ends.items()
            if where == bucket and end > newest.get((where, stream), 0)
        }


def test_what_was_dispatched_is_known_where_the_store_says_it(database: Any, opened: Any) -> None:
    load(database, "joliver32-mongodb")
    wanted = in_order("joliver32-mongodb")
    check(list(opened().get_undispatched_commits()), [each for each in wanted if not each["dispatched"]])


@pytest.mark.parametrize("sample", NUMBERED)
def test_where_nothing_is_said_of_dispatch_everything_counts_as_dispatched(
    sample: str, database: Any, opened: Any
) -> None:
    load(database, sample)
    assert list(opened().get_undispatched_commits()) == []


def test_a_store_of_neventstore_five_knows_what_was_dispatched(database: Any, opened: Any) -> None:
    load(database, NUMBERED[0], lambda each: {**each, "Dispatched": each["_id"] % 3 == 0})
    wanted = [each for each in in_order(NUMBERED[0]) if each["checkpoint_token"] % 3]
    check(list(opened().get_undispatched_commits()), wanted)


@pytest.mark.parametrize("name", SAMPLES)
def test_registered_classes_come_back_as_themselves(database: Any, url: str, name: str) -> None:
    load(database, name)
    with Wireup.init().using(url).register_types((ordering.OrderPlaced, "Ordering.OrderPlaced")).build() as store:
        bodies = [event.body for commit in store.advanced.get_from_checkpoint() for event in commit.events]
    orders = [body for body in bodies if isinstance(body, ordering.OrderPlaced)]
    lines = [event["body"] for line in in_order(name) for event in line["events"]]
    placed = [body for body in lines if isinstance(body, dict) and body.get("$type") == "Ordering.OrderPlaced"]
    assert [str(order.order_id) for order in orders] == [body["OrderId"] for body in placed]


# ---- variants of the same documents ----


def headers_as_document(document: dict[str, Any]) -> dict[str, Any]:
    return {**document, "Headers": dict(document["Headers"])}


def headers_as_documents(document: dict[str, Any]) -> dict[str, Any]:
    return {**document, "Headers": [{"k": key, "v": value} for key, value in document["Headers"]]}


def number_as_long(document: dict[str, Any]) -> dict[str, Any]:
    return {**document, "_id": bson.Int64(document["_id"])}


def another_filler(document: dict[str, Any]) -> dict[str, Any]:
    if document["Events"]:
        return document
    return {**document, "BucketId": "holes", "StreamId": f"holes.empty.{document['_id']}"}


def both_guids(document: dict[str, Any]) -> dict[str, Any]:
    if document["_id"] % 2:
        return document
    return {**document, "CommitId": Binary(UUID(bytes_le=bytes(document["CommitId"])).bytes, 4)}


@pytest.mark.parametrize(
    "change", [headers_as_document, headers_as_documents, number_as_long, another_filler, both_guids]
)
def test_every_variant_of_the_documents_is_read(database: Any, opened: Any, change: Change) -> None:
    load(database, NUMBERED[0], change)
    check(list(opened().get_from_checkpoint()), in_order(NUMBERED[0]))


def test_payloads_of_a_byte_serializer_are_read(database: Any, opened: Any) -> None:
    payload = b'{"Headers":{"a":1},"Body":{"$type":"A.B, C","N":1}}'

    def as_bytes(document: dict[str, Any]) -> dict[str, Any]:
        return {**document, "Events": [{**each, "Payload": payload} for each in document["Events"]]}

    load(database, NUMBERED[0], as_bytes)
    for commit in opened().get_from_checkpoint():
        assert {(str(event.body), str(event.headers)) for event in commit.events} == {
            ("{'$type': 'A.B, C', 'N': 1}", "{'a': 1}")
        }


def test_the_store_of_neventstore_four_has_buckets_and_no_numbers(database: Any, opened: Any) -> None:
    def with_bucket(document: dict[str, Any]) -> dict[str, Any]:
        key = document["_id"]
        stream = str(UUID(bytes_le=bytes(key["StreamId"])))
        return {**document, "_id": {"BucketId": "b", "StreamId": stream, "CommitSequence": key["CommitSequence"]}}

    name = "joliver32-mongodb"
    load(database, name, with_bucket)
    engine, wanted = opened(), [{**each, "bucket_id": "b"} for each in in_order(name)]
    check(list(engine.get_from_checkpoint()), wanted)
    check(list(engine.get_from_checkpoint(bucket_id="b")), wanted)
    assert list(engine.get_from_checkpoint(bucket_id="default")) == []


def test_a_clock_that_went_back_does_not_part_a_stream(database: Any, opened: Any) -> None:
    def back(document: dict[str, Any]) -> dict[str, Any]:
        is_second = document["_id"]["CommitSequence"] == 2
        return {**document, "CommitStamp": datetime(2001, 1, 1, tzinfo=UTC)} if is_second else document

    load(database, "joliver32-mongodb", back)
    engine, sequences = opened(), dict[str, int]()
    for token, commit in enumerate(engine.get_from_checkpoint(), 1):
        assert commit.checkpoint_token == token
        assert commit.commit_sequence == sequences.get(commit.stream_id, 0) + 1
        sequences[commit.stream_id] = commit.commit_sequence
    for stream_id, last in sequences.items():
        found = [commit.commit_sequence for commit in engine.get_from("default", stream_id)]
        assert found == list(range(1, last + 1))
    assert max(sequences.values()) > 1


def test_collections_may_have_other_names(database: Any, opened: Any) -> None:
    database.orders_commits.insert_many(raw(NUMBERED[0], "Commits"))
    check(list(opened(commits="orders_commits").get_from_checkpoint()), in_order(NUMBERED[0]))


# ---- nothing changes ----


def attempt(stream_id: str = "new", **fields: Any) -> CommitAttempt:
    values: dict[str, Any] = {
        "stream_revision": 1,
        "commit_id": UUID(int=7),
        "commit_sequence": 1,
        "commit_stamp": datetime(2024, 5, 1, 12, 0, 0, 123456, UTC),
        "headers": {},
        "events": (EventMessage("made"),),
    }
    return CommitAttempt(stream_id, **{**values, **fields})


@pytest.mark.parametrize("name", SAMPLES)
def test_reading_changes_nothing_and_writing_is_refused(database: Any, opened: Any, name: str) -> None:
    load(database, name)
    before = deepcopy(content(database))
    engine = opened()
    commit = next(engine.get_from_checkpoint())
    place = (commit.bucket_id, commit.stream_id)
    for refused in (
        lambda: engine.commit(attempt()),
        lambda: engine.commit_many([attempt()]),
        lambda: engine.add_snapshot(Snapshot(place[1], 1, "state", place[0])),
        lambda: engine.mark_commit_as_dispatched(commit),
        lambda: engine.delete_stream(*place),
        engine.purge,
        engine.drop,
        lambda: engine.put_checkpoint("a", b"1"),
        lambda: engine.acquire_lease("a", 10),
    ):
        with pytest.raises(StorageError, match=r"NEventStore|JOliver"):
            refused()
    list(engine.get_streams_to_snapshot(place[0], 0))
    assert engine.wait_for_commits(0, 1.0) is True
    assert engine.wait_for_commits(1_000, 0.01) is False
    assert engine.get_checkpoint("a") is None
    engine.close()
    assert content(database) == before


@pytest.mark.parametrize(
    ("name", "serializer", "said"),
    [
        ("joliver32-mongodb", None, "JOliver EventStore 3 .* is refused"),
        (NUMBERED[0], None, "using_serializer"),
        (NUMBERED[0], "neventstore_json", "nothing says what was dispatched"),
    ],
)
def test_a_dispatcher_that_could_mark_nothing_is_refused(
    database: Any, url: str, name: str, serializer: str | None, said: str
) -> None:
    load(database, name)
    wireup = Wireup.init().using(url).using_asynchronous_dispatch_scheduler(print)
    if serializer is not None:
        wireup.using_serializer(serializer)
    with pytest.raises(ValueError, match=f"without a dispatcher: .*{said}"):
        wireup.build()
    with pytest.raises(ValueError, match=f"without a dispatcher: .*{said}"):
        asyncio.run(wireup.build_async())


# ---- writing, when it was asked for ----


@pytest.fixture
def writing(url: str) -> Iterator[Callable[..., PersistenceEngine]]:
    stores = []

    def build(*types: Any) -> PersistenceEngine:
        store = Wireup.init().using(url).using_serializer("neventstore_json").register_types(*types).build()
        stores.append(store)
        return store.advanced

    yield build
    for store in stores:
        store.close()


@pytest.mark.parametrize("name", NUMBERED)
def test_a_commit_is_written_as_csharp_writes_it(database: Any, writing: Any, name: str) -> None:
    """A commit that C# wrote is taken apart, and written again as the beginning of another stream."""
    load(database, name)
    engine = writing()
    for original in raw(name, "Commits"):
        if not original["Events"] or original["BucketId"] == ":rb" or original["CommitSequence"] > 1:
            continue
        [read] = engine.get_from_checkpoint(original["_id"] - 1, original["_id"])
        number = engine.commit(
            attempt(
                "copy of " + read.stream_id,
                stream_revision=read.stream_revision,
                commit_id=read.commit_id,
                commit_stamp=read.commit_stamp,
                headers=read.headers,
                events=read.events,
                bucket_id=read.bucket_id,
            )
        ).checkpoint_token
        written = database.Commits.find_one({"_id": number})
        assert written == {**original, "_id": number, "StreamId": "copy of " + read.stream_id}
        assert list(written) == list(original)
        head = database.Streams.find_one({"_id": {"BucketId": read.bucket_id, "StreamId": written["StreamId"]}})
        events = len(read.events)
        assert (head["HeadRevision"], head["SnapshotRevision"], head["Unsnapshotted"]) == (events, 0, events)


def test_headers_are_written_as_they_are_there(database: Any, writing: Any) -> None:
    load(database, NUMBERED[0], lambda each: {**headers_as_document(each), "Dispatched": True})
    number = writing().commit(attempt(headers={"a": 1})).checkpoint_token
    written = database.Commits.find_one({"_id": number})
    assert (written["Headers"], written["Dispatched"]) == ({"a": 1}, False)


def test_a_projection_keeps_its_state_there(database: Any, url: str) -> None:
    load(database, NUMBERED[0])
    with Wireup.init().using(url).using_serializer("neventstore_json").build() as store:
        counted = store.projection("counts", lambda count, commit: count + 1, int)
        counted.catch_up()
        commits = list(store.advanced.get_from_checkpoint())
        assert counted.load() == len(commits) > 0
        assert {type(commit.checkpoint_token) for commit in commits} == {int}  # not bson's own, which no serializer has


def test_numbers_go_on_after_what_was_deleted_and_filled(database: Any, writing: Any) -> None:
    load(database, NUMBERED[0])
    last = max(each["_id"] for each in raw(NUMBERED[0], "Commits"))
    engine = writing()
    first, second = engine.commit_many([attempt("a"), attempt("b", commit_id=UUID(int=8))])
    assert (first.checkpoint_token, second.checkpoint_token) == (last + 1, last + 2)
    for _ in range(2):
        engine.delete_stream("default", "b")
        assert list(engine.get_from("default", "b")) == []
        second = engine.commit(attempt("b", commit_id=UUID(int=8)))
    assert second.checkpoint_token == last + 4
    assert database.Commits.count_documents({"BucketId": ":rb"}) >= 2


def test_every_kind_of_value_comes_back(database: Any, writing: Any) -> None:
    load(database, NUMBERED[1])
    moment = datetime(2024, 5, 1, tzinfo=UTC)
    order = ordering.OrderPlaced(
        UUID(int=5),
        "Zo\u00eb",
        ordering.Channel.PHONE,
        moment,
        moment.astimezone(timezone(timedelta(hours=2))),
        ordering.Address("Street", "City"),
        [ordering.OrderLine("SKU", 1, Decimal("1.10"))],
        {"dotted.key": "$"},
    )
    plain = {"n": 7, "big": 1 << 62, "f": 0.5, "none": None, "list": [1, {"x": b"1"}], "id": UUID(int=9), "at": moment}
    bodies = [order, plain, "text", [1, 2], Decimal("0.10"), {"_t": "Other", "A": {"B": 1}}]
    engine = writing((ordering.OrderPlaced, "Ordering.OrderPlaced"))
    engine.commit(attempt(stream_revision=len(bodies), events=tuple(map(EventMessage, bodies)), headers={"p": plain}))
    [commit] = engine.get_from("default", "new")
    assert [event.body for event in commit.events] == bodies
    assert commit.headers == {"p": plain}
    assert engine.add_snapshot(Snapshot("new", 2, plain)) is True
    assert engine.get_snapshot("default", "new") == Snapshot("new", 2, plain)
    assert database.Streams.find_one({"_id.StreamId": "new"})["Unsnapshotted"] == len(bodies) - 2


def test_a_registered_class_is_written_as_the_documents_of_csharp_have_it(database: Any, writing: Any) -> None:
    """Every body of the samples, read as a Python object and written again, is the document that C# wrote."""
    name = NUMBERED[1]
    load(database, name)
    engine = writing(*ordering.TYPES)
    for original in raw(name, "Commits"):
        commits = list(engine.get_from_checkpoint(original["_id"] - 1, original["_id"]))
        if not commits:
            continue
        [read] = commits
        copy = attempt(f"copy {read.checkpoint_token}", stream_revision=len(read.events), events=read.events)
        number = engine.commit(copy).checkpoint_token
        written = database.Commits.find_one({"_id": number})
        assert [each["Payload"] for each in written["Events"]] == [
            to_the_microsecond(each["Payload"]) for each in original["Events"]
        ]


def to_the_microsecond(stored: Any) -> Any:
    """A document as far as Python keeps it: six digits of durations and offset times, and a time of the offset zero is
    one in UTC, which C# reads in that place as well."""
    if isinstance(stored, list):
        return [to_the_microsecond(each) for each in stored]
    if not isinstance(stored, dict):
        return stored
    if stored.get("Offset") == 0:
        return stored["DateTime"]
    cut = {"Ticks": lambda ticks: ticks // 10 * 10, "TimeOnScale": lambda text: text[:-1] + "0"}
    return {key: cut.get(key, to_the_microsecond)(each) for key, each in stored.items()}


def test_nothing_is_committed_into_the_recycle_bin(database: Any, writing: Any) -> None:
    load(database, NUMBERED[0])
    before = deepcopy(content(database))
    with pytest.raises(ValueError, match="recycle bin"):
        writing().commit(attempt(bucket_id=":rb"))
    assert content(database) == before


def test_what_csharp_has_no_form_for_is_refused_with_its_place(database: Any, writing: Any) -> None:
    load(database, NUMBERED[0])
    engine = writing()
    before = content(database)
    for body in ({"a": [1 << 70]}, {"a": [object()]}, {"a": [{1: 2}]}, {"a": ["\ud800"]}, {"a": [Decimal("1E+9999")]}):
        with pytest.raises(SerializationError, match=r"new"):
            engine.commit(attempt(events=(EventMessage(body),)))
    assert content(database) == before


def test_the_permission_is_a_mistake_elsewhere(database: Any, url: str, opened: Any) -> None:
    with pytest.raises(StorageError, match="neventstore_json"):
        Wireup.init().using(url).using_serializer("neventstore_json").build()
    assert database.list_collection_names() == []
    load(database, "joliver32-mongodb")
    engine = Wireup.init().using(url).using_serializer("neventstore_json").build().advanced
    with pytest.raises(StorageError, match="JOliver"):
        engine.commit(attempt())
    engine.close()
