"""A commit of ours as one document, and back. Knows the serializer, nothing of calls.

| field | content |
|---|---|
| `_id` | checkpoint token |
| `BucketId`, `StreamId`, `CommitSequence`, `StreamRevisionFrom`, `StreamRevisionTo` | as NEventStore writes them |
| `CommitId` | binary, subtype 4 |
| `CommitStamp` | date, cut to its millisecond: BSON has no finer one |
| `StampMicroseconds` | the whole stamp, microseconds since 1970 |
| `Payload` | headers and events in the store's serializer |
| `Dispatched` | false until it is marked |

What was deleted keeps its number and nothing else, `{_id: N, StreamId: N}`: a number that was given out is never
free again, not even for a writer that read it long ago. A number is no stream's id, and the unique indexes hold.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from bson.binary import UUID_SUBTYPE, Binary

from fsstore.engines.mongo.calls import Document
from fsstore.engines.refusals import unreadable, unwritable
from fsstore.errors import SerializationError
from fsstore.model import Commit, CommitAttempt, named, stored_commit
from fsstore.serialization import Serializer, decode_payload, encode_payload

# The longest ids and the other fields take less than what is left of a document's 16 MiB.
MAX_PAYLOAD_BYTES = (16 << 20) - (32 << 10)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def microseconds(stamp: datetime) -> int:
    """Since 1970, whole."""
    return (stamp - _EPOCH) // _MICROSECOND


class OurForm:
    """The documents of a store that fsstore made."""

    keeps_heads = False
    keeps_marks = True

    def __init__(self, serializer: Serializer) -> None:
        self._serializer = serializer
        self.live: Document = {"CommitId": {"$exists": True}}
        self.undispatched: Document = {"Dispatched": False}
        self.buried: list[Document] = [{"$replaceWith": {"_id": "$_id", "StreamId": "$_id"}}]

    def stamped(self, start: datetime, end: datetime | None) -> Document:
        between = {"$gte": microseconds(start)}
        return {"StampMicroseconds": between if end is None else {**between, "$lt": microseconds(end)}}

    def commit_id(self, commit_id: UUID) -> Binary:
        return Binary(commit_id.bytes, UUID_SUBTYPE)

    def document(self, attempt: CommitAttempt) -> Document:
        try:
            payload = encode_payload(self._serializer, attempt.headers, attempt.events)
        except SerializationError as error:
            raise unwritable(attempt, error) from error
        if len(payload) > MAX_PAYLOAD_BYTES:
            raise ValueError(
                f"{named(attempt)} has a payload of {len(payload)} bytes; a commit is one document, which MongoDB "
                f"limits to 16 MiB: at most {MAX_PAYLOAD_BYTES} bytes are taken"
            )
        return {
            "_id": 0,
            "BucketId": attempt.bucket_id,
            "StreamId": attempt.stream_id,
            "CommitSequence": attempt.commit_sequence,
            "StreamRevisionFrom": attempt.stream_revision - len(attempt.events) + 1,
            "StreamRevisionTo": attempt.stream_revision,
            "CommitId": self.commit_id(attempt.commit_id),
            "CommitStamp": attempt.commit_stamp,
            "StampMicroseconds": microseconds(attempt.commit_stamp),
            "Payload": payload,
            "Dispatched": False,
        }

    def commit(self, document: Document) -> Commit:
        payload, commit_id = document["Payload"], UUID(bytes=bytes(document["CommitId"]))
        try:
            headers, events = decode_payload(self._serializer, payload)
        except SerializationError as error:
            raise unreadable(document["BucketId"], document["StreamId"], commit_id, error) from error
        return stored_commit(
            document["StreamId"],
            document["StreamRevisionTo"],
            commit_id,
            document["CommitSequence"],
            _EPOCH + document["StampMicroseconds"] * _MICROSECOND,
            headers,
            events,
            document["BucketId"],
            int(document["_id"]),  # bson has a class of its own for large ones
        )

    def snapshot_payload(self, payload: Any) -> Any:
        return self._serializer.dumps(payload)

    def snapshot_value(self, stored: Any) -> Any:
        return self._serializer.loads(stored)
