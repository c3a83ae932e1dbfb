"""The documents of NEventStore.Persistence.MongoDB, of every release since NEventStore 5.

| field | content |
|---|---|
| `_id` | checkpoint number |
| `CommitId` | GUID: binary subtype 3 in .NET's byte order, or subtype 4 |
| `CommitStamp` | date, milliseconds |
| `Headers` | an array of pairs, or a document |
| `Events` | `{StreamRevision, Payload}` each; the payload is a document of headers and body, or bytes |
| `Dispatched` | NEventStore 5 alone; later ones leave it out: what does not say is not anybody's to dispatch again |

A commit without events fills a hole in the numbers, whatever its bucket is called; what was deleted waits in the
bucket `:rb`. Neither is anybody's commit.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import bson
from bson.binary import OLD_UUID_SUBTYPE, Binary
from bson.datetime_ms import DatetimeMS
from bson.errors import BSONError

from fsstore.engines.mongo.calls import Conversation, Document, find
from fsstore.engines.mongo.documents import microseconds
from fsstore.engines.mongo.layout import COMMITS
from fsstore.engines.mongo.neventstore_values import DocumentValues
from fsstore.engines.refusals import unreadable, unwritable
from fsstore.errors import SerializationError, StorageError
from fsstore.model import Commit, CommitAttempt, named, stored_commit
from fsstore.serialization.neventstore import MongoValues
from fsstore.serialization.types import TypeRegistry

RECYCLED = ":rb"


class NEventStoreForm:
    """Reads the documents, and writes them as those that are there: `sample` is one, if there is any."""

    keeps_heads = True

    def __init__(self, values: MongoValues, types: TypeRegistry, sample: Document | None) -> None:
        sample = sample or {}
        legacy = getattr(sample.get("CommitId"), "subtype", None) == OLD_UUID_SUBTYPE
        self._values = values
        self._written = DocumentValues(types, legacy_guids=legacy)
        self._headers_as_document = isinstance(sample.get("Headers"), dict)
        self._marks = {"Dispatched": False} if "Dispatched" in sample else {}
        self.keeps_marks = bool(self._marks)
        self._bytes = any(isinstance(each.get("Payload"), bytes) for each in sample.get("Events", ()))
        self.live: Document = {"BucketId": {"$ne": RECYCLED}, "Events.0": {"$exists": True}}
        self.undispatched: Document = {"Dispatched": False}
        # The bin may hold an earlier stream of the same name, and its indexes are as unique as elsewhere.
        gone = {"$concat": ["$StreamId", ".", {"$toString": "$_id"}]}
        self.buried: list[Document] = [{"$set": {"BucketId": RECYCLED, "StreamId": gone}}]

    def commit(self, document: Document) -> Commit:
        commit_id = self._values.uuid(document["CommitId"])
        try:
            headers, events = self._values.headers(document["Headers"]), self._values.events(document["Events"])
        except SerializationError as error:
            raise unreadable(document["BucketId"], document["StreamId"], commit_id, error) from error
        return stored_commit(
            document["StreamId"],
            document["StreamRevisionTo"],
            commit_id,
            document["CommitSequence"],
            document["CommitStamp"],
            headers,
            events,
            document["BucketId"],
            int(document["_id"]),  # bson has a class of its own for large ones
        )

    def snapshot_value(self, stored: Any) -> Any:
        return self._values.snapshot(stored)

    def stamped(self, start: datetime, end: datetime | None) -> Document:
        between = {"$gte": _up_to_millisecond(start)}
        return {"CommitStamp": between if end is None else {**between, "$lt": _up_to_millisecond(end)}}

    def commit_id(self, commit_id: UUID) -> Binary:
        return self._written.guid(commit_id)

    def document(self, attempt: CommitAttempt) -> Document:
        if self._bytes:
            raise StorageError("the payloads of this store are bytes of a C# serializer; such are read and not written")
        if attempt.bucket_id == RECYCLED:
            raise ValueError(f"{named(attempt)} would never be seen again: {RECYCLED!r} is NEventStore's recycle bin")
        first = attempt.stream_revision - len(attempt.events) + 1
        try:
            headers = self._pairs(attempt.headers, ("headers",))
            document = {
                "_id": 0,
                "CommitId": self.commit_id(attempt.commit_id),
                "CommitStamp": attempt.commit_stamp,
                "Headers": dict(headers) if self._headers_as_document else headers,
                "Events": [
                    {"StreamRevision": first + place, "Payload": self._event(event, ("events", place))}
                    for place, event in enumerate(attempt.events)
                ],
                **self._marks,
                "StreamRevisionFrom": first,
                "StreamRevisionTo": attempt.stream_revision,
                "BucketId": attempt.bucket_id,
                "StreamId": attempt.stream_id,
                "CommitSequence": attempt.commit_sequence,
            }
            return _encodable(document)
        except SerializationError as error:
            raise unwritable(attempt, error) from error

    def _event(self, event: Any, path: tuple[str | int, ...]) -> Document:
        headers = dict(self._pairs(event.headers, (*path, "headers")))
        return {"Headers": headers, "Body": self._written.anything(event.body, (*path, "body"))}

    def _pairs(self, headers: dict[str, Any], path: tuple[str | int, ...]) -> list[list[Any]]:
        return [[key, self._written.anything(value, (*path, key))] for key, value in headers.items()]

    def snapshot_payload(self, payload: Any) -> Any:
        return _encodable({"Payload": self._written.anything(payload, ())})["Payload"]


def newest_commit() -> Conversation[Document | None]:
    """A commit to learn from how this store is written: the last that has events."""
    found = yield find(COMMITS, {"Events.0": {"$exists": True}}, sort=[("_id", -1)], limit=1)
    return found[0] if found else None


def _encodable(document: Document) -> Document:
    """`document`, when the driver can write it: lone surrogates and endless nesting are found here and not later."""
    try:
        bson.encode(document)
    except (BSONError, UnicodeError, OverflowError, RecursionError) as error:
        raise SerializationError(str(error)) from error
    return document


def _up_to_millisecond(moment: datetime) -> DatetimeMS:
    """The first whole millisecond that is not before: stored stamps have no finer ones. None is after 9999."""
    return DatetimeMS(min(-(-microseconds(moment) // 1000), microseconds(datetime.max.replace(tzinfo=UTC)) // 1000))
