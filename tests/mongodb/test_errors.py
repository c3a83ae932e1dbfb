"""What the server's errors become: who was first, what is there already, what is in doubt and what is retried."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from interrupting import interrupted
from pymongo.errors import BulkWriteError, DuplicateKeyError, OperationFailure, PyMongoError
from servers import mongodb

from fsstore import ConcurrencyError, DuplicateCommitError, Snapshot, StorageUnavailableError
from fsstore.engine import PersistenceEngine
from fsstore.engines import under_way
from fsstore.engines.mongo import changing, driver, open_engine, writing
from fsstore.engines.mongo.calls import Call
from fsstore.engines.mongo.documents import OurForm
from fsstore.engines.mongo.failures import duplicate_index
from fsstore.model import named
from fsstore.serialization import MsgpackSerializer
from fsstore.testing.attempts import fill, first_attempt, next_attempt


@pytest.fixture
def engine(url: str, who: str) -> Iterator[PersistenceEngine]:
    engine = mongodb.waiting(who, url)
    engine.initialize()
    yield engine
    engine.close()


WRITE_CONCERN = {"writeConcernError": {"code": 64, "errmsg": "waiting for replication timed out"}}


@pytest.mark.parametrize("stored", [True, False])
def test_a_commit_in_doubt_is_settled_by_the_same_attempt(
    engine: PersistenceEngine, failing: mongodb.FailPoint, stored: bool
) -> None:
    [head] = fill(engine, "stream")
    attempt = next_attempt(head)
    lost: dict[str, Any] = WRITE_CONCERN if stored else {"closeConnection": True, "times": 2}
    with failing("insert", **lost), pytest.raises(StorageUnavailableError, match="same attempt") as raised:
        engine.commit(attempt)
    assert raised.value.in_doubt is True
    assert str(raised.value).startswith(f"storing {named(attempt)}: ")
    if stored:
        with pytest.raises(DuplicateCommitError):
            engine.commit(attempt)
    else:
        engine.commit(attempt)
    assert [commit.commit_id for commit in engine.get_from("default", "stream")] == [head.commit_id, attempt.commit_id]
    assert fill(engine, "next")[0].checkpoint_token == 3


@pytest.mark.parametrize("lost", [WRITE_CONCERN, {"closeConnection": True, "times": 3}], ids=["stored", "not stored"])
def test_a_batch_whose_answer_is_lost_is_asked_for_again(
    engine: PersistenceEngine, failing: mongodb.FailPoint, lost: dict[str, Any]
) -> None:
    with failing("commitTransaction", **lost):
        stored = engine.commit_many([first_attempt("a"), first_attempt("b")])
    assert list(engine.get_from_checkpoint()) == stored


@pytest.mark.parametrize("code", [11602, 10107])
def test_a_primary_that_steps_down_is_waited_for(url: str, who: str, failing: mongodb.FailPoint, code: int) -> None:
    engine = mongodb.waiting(who, url, heartbeatFrequencyMS=500)
    engine.initialize()
    with failing("insert", errorCode=code, errorLabels=["RetryableWriteError"]):
        assert engine.commit(first_attempt("stream")).checkpoint_token == 1
    engine.close()


def test_a_transaction_that_loses_is_tried_again(engine: PersistenceEngine, failing: mongodb.FailPoint) -> None:
    with failing("insert", errorCode=112, errorLabels=["TransientTransactionError"], times=3):
        stored = engine.commit_many([first_attempt("a"), first_attempt("b")])
    assert [commit.checkpoint_token for commit in stored] == [1, 2]


def test_a_read_that_is_interrupted_can_be_asked_again(engine: PersistenceEngine, failing: mongodb.FailPoint) -> None:
    fill(engine, "stream")
    with failing("find", closeConnection=True, times=2), pytest.raises(StorageUnavailableError) as raised:
        list(engine.get_from("default", "stream"))
    assert raised.value.in_doubt is False
    assert len(list(engine.get_from("default", "stream"))) == 1


# ---- told apart by the index ----


def hit(index: str, position: int = 0) -> PyMongoError:
    message = f"E11000 duplicate key error collection: db.Commits index: {index} dup key: {{ _id: 1 }}"
    details = {"code": 11000, "errmsg": message, "index": position}
    return BulkWriteError({"writeErrors": [details]}) if position else DuplicateKeyError(message, 11000, details)


@pytest.mark.parametrize(
    ("error", "found"),
    [
        (hit("_id_"), ("_id_", 0)),
        (hit("CommitId_Index", 3), ("CommitId_Index", 3)),
        (hit("db.Commits.$LogicalKey_Index"), ("LogicalKey_Index", 0)),
        (DuplicateKeyError("", 11000, {"code": 11000, "keyPattern": {"_id": 1}}), ("_id_", 0)),
        (DuplicateKeyError("", 11000, {"code": 11000, "keyPattern": {"CommitId": 1}}), ("CommitId_Index", 0)),
        (OperationFailure("", 112), None),
    ],
)
def test_the_index_that_was_hit_is_known(error: PyMongoError, found: tuple[str, int] | None) -> None:
    assert duplicate_index(error) == found


class Script:
    """A server that answers reads with what it is given, and fails the inserts as it is told."""

    def __init__(self, *inserts: PyMongoError | None) -> None:
        self.form = OurForm(MsgpackSerializer())
        self.inserts = list(inserts)
        self.finds: list[dict[str, Any]] = []
        self.stored: list[dict[str, Any]] = []

    def run(self, attempts: list[Any], reads: Callable[[dict[str, Any]], list[dict[str, Any]]]) -> list[int]:
        documents = [self.form.document(attempt) for attempt in attempts]
        conversation = writing.store(self.form, attempts, documents, writing.Known(), transactions=False)
        answer: Any = None
        error: PyMongoError | None = None
        try:
            while True:
                said = conversation.throw(error) if error else conversation.send(answer)
                error = None
                assert isinstance(said, Call)
                if said.method == "find":
                    self.finds.append(said.arguments[0])
                    answer = reads(said.arguments[0])
                else:
                    error = self.inserts.pop(0)
                    self.stored += [] if error else [said.arguments[0]]
        except StopIteration as end:
            numbers: list[int] = end.value
            return numbers


def numbers_taken(*taken: int) -> Callable[[dict[str, Any]], list[dict[str, Any]]]:
    """A store of other streams, in which each question for the last number finds one more."""
    left = list(taken)
    return lambda where: [{"_id": left.pop(0)}] if "_id" in where else []


def test_a_number_that_is_taken_is_followed_by_the_next_without_another_check() -> None:
    script = Script(hit("_id_"), hit("_id_"), None)
    assert script.run([first_attempt("s")], numbers_taken(4, 5, 7)) == [8]
    assert len([where for where in script.finds if "StreamId" in where]) == 1


def test_an_id_that_is_there_is_a_duplicate() -> None:
    with pytest.raises(DuplicateCommitError):
        Script(hit("CommitId_Index")).run([first_attempt("s")], numbers_taken(4))


@pytest.mark.parametrize("index", ["LogicalKey_Index", "GetFrom_Index"])
def test_a_place_that_is_taken_is_looked_at_again(index: str) -> None:
    taken = [{"_id": 5, "BucketId": "default", "StreamId": "s", "CommitSequence": 1, "StreamRevisionTo": 1}]
    looks: list[dict[str, Any]] = []

    def reads(where: dict[str, Any]) -> list[dict[str, Any]]:
        if "_id" in where:
            return [{"_id": 4}]
        looks.append(where)
        return taken if len(looks) > 1 and "CommitId" not in where else []

    with pytest.raises(ConcurrencyError, match="commit 1, revision 1"):
        Script(hit(index)).run([first_attempt("s")], reads)


def test_a_place_that_stays_taken_and_is_never_seen_ends_in_an_error() -> None:
    with pytest.raises(ConcurrencyError, match="again and again"):
        Script(*[hit("LogicalKey_Index")] * 20).run([first_attempt("s")], numbers_taken(*range(1, 30)))


class KeepingHeads(OurForm):
    """C#'s heads, which may lag behind there too."""

    keeps_heads = True


def test_a_snapshot_is_stored_whatever_becomes_of_its_head() -> None:
    form = KeepingHeads(MsgpackSerializer())
    conversation = changing.add_snapshot(form, Snapshot("s", 1, "state"), b"")
    assert next(conversation).method == "find"
    assert conversation.send([{"StreamRevisionTo": 3}]).method == "insert_one"
    assert conversation.send(None).method == "update_one"
    with pytest.raises(StopIteration) as end:
        conversation.throw(OperationFailure("not authorized", 13))
    assert end.value.value is True


def test_a_commit_is_stored_whatever_becomes_of_the_heads() -> None:
    script = Script(None, OperationFailure("not authorized", 13))
    script.form = KeepingHeads(MsgpackSerializer())
    assert script.run([first_attempt("s")], numbers_taken(4)) == [5]
    assert script.inserts == []


@pytest.mark.parametrize("revisions", [(1, 1), (2, 1)])
def test_an_engine_whose_calls_were_interrupted_anywhere_can_be_closed(url: str, revisions: tuple[int, int]) -> None:
    engine = open_engine(url)
    engine.initialize()
    fill(engine, "stream")

    def read() -> None:
        list(engine.get_from("default", "stream", *revisions))

    files = [module.__file__ for module in (driver, under_way)]
    if revisions == (2, 1):  # the server, whose client has locks of its own, is not asked
        files.append(threading.__file__)
    places = 0
    while interrupted(places + 1, read, *files):
        places += 1
        reading = threading.Thread(target=read, daemon=True)
        reading.start()
        reading.join(30)
        assert not reading.is_alive(), places
    assert places
    closing = threading.Thread(target=engine.close, daemon=True)
    closing.start()
    closing.join(30)
    assert not closing.is_alive()
