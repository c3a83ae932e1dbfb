"""What a message holds, whatever carries it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from decimal import Decimal

import pytest

from fsstore import Commit, EventMessage, SerializationError
from fsstore.dispatch.messages import CloudEvents, RawRecords, unpacked
from fsstore.interchange import read_line
from fsstore.serialization import CompressedSerializer, EncryptedSerializer, MsgpackSerializer, TypeRegistry
from fsstore.serialization.unregistered import StoredObject
from fsstore.testing import first_attempt


@dataclass(frozen=True)
class Placed:
    total: Decimal


def commit_of(body: object) -> Commit:
    attempt = first_attempt("order-1")
    return Commit(
        "order-1", 1, attempt.commit_id, 1, attempt.commit_stamp, {"user": "ann"}, (EventMessage(body),), "shop", 5
    )


def test_the_data_of_a_cloud_event_is_an_interchange_line() -> None:
    commit = commit_of({"total": Decimal("1.50"), "raw": b"\0"})
    data = json.loads(CloudEvents().message(commit).body)["data"]
    attempt = read_line(json.dumps(data))
    assert (attempt.commit_id, attempt.events, attempt.bucket_id) == (commit.commit_id, commit.events, "shop")


def test_objects_of_registered_types_are_written_by_their_names() -> None:
    serializer = MsgpackSerializer(TypeRegistry((Placed, "order placed")))
    commit = commit_of(Placed(Decimal("1.50")))
    body = json.loads(CloudEvents(serializer=serializer).message(commit).body)["data"]["events"][0]["body"]
    assert body == {"$object": ["order placed", {"total": {"$decimal": "1.50"}}]}
    [event] = read_line(json.dumps(json.loads(CloudEvents(serializer=serializer).message(commit).body)["data"])).events
    assert isinstance(event.body, StoredObject)
    assert unpacked(serializer, RawRecords(serializer).message(commit).body) == commit


@pytest.mark.parametrize("body", ["short", "long " * 1000])
def test_the_store_may_compress_and_encrypt(body: str) -> None:
    serializer = EncryptedSerializer(CompressedSerializer(MsgpackSerializer()), bytes(32))
    message = CloudEvents(serializer=serializer).message(commit_of(body))
    assert json.loads(message.body)["data"]["events"][0]["body"] == body


def test_an_object_without_a_form_is_refused_and_named_with_what_to_do() -> None:
    with pytest.raises(SerializationError, match=r"Placed.*give CloudEvents\(serializer=\.\.\.\)") as caught:
        CloudEvents().message(commit_of(Placed(Decimal(1))))
    assert caught.value.path == ("events", 0, "body")
    with pytest.raises(SerializationError, match=r"Placed.*register it") as caught:
        CloudEvents(serializer=MsgpackSerializer()).message(commit_of(Placed(Decimal(1))))
    assert "CloudEvents" not in str(caught.value)


def test_messages_of_one_stream_have_one_key_and_those_of_another_bucket_another() -> None:
    one, other = commit_of("a"), Commit.of(first_attempt("order-1"), 6)
    assert RawRecords().message(one).key == "shop/order-1"
    assert RawRecords().message(other).key == "default/order-1"
