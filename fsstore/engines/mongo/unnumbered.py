"""The documents of JOliver EventStore 3 and NEventStore 4, which have no checkpoint numbers: read, never written.

| field | content |
|---|---|
| `_id` | `{StreamId, CommitSequence}`, the stream id a GUID; NEventStore 4: `{BucketId, StreamId, CommitSequence}` |
| `Events` | `{StreamRevision, Payload}` each |
| `Headers` | a document |
| `Dispatched` | whether it was |

The order is that of the stamps, and a commit's token is its place in it. Every question therefore begins with the
list of all keys in that order, which takes some hundred bytes of memory for each commit; then the commits are
fetched a page of keys at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from operator import itemgetter
from typing import Any
from uuid import UUID

from bson.binary import OLD_UUID_SUBTYPE, UUID_SUBTYPE, Binary

from fsstore.engines.mongo.calls import Conversation, Document, call, find
from fsstore.engines.mongo.layout import COMMITS, MOST, PAGE, SNAPSHOTS
from fsstore.engines.mongo.reading import read
from fsstore.engines.refusals import reading_snapshot, unreadable
from fsstore.errors import SerializationError
from fsstore.model import DEFAULT_BUCKET, Commit, Snapshot, StreamHead, stored_commit
from fsstore.serialization.neventstore import MongoValues

_Stream = tuple[str, str]


@dataclass(frozen=True, slots=True)
class _Place:
    """What is known of a commit before it is fetched."""

    key: Document
    token: int
    stream: _Stream
    stamp: datetime
    dispatched: bool

    def within(self, bucket_id: str | None) -> bool:
        return bucket_id in (None, self.stream[0])


class _Walk:
    """The commits at the wanted places, in their order."""

    def __init__(
        self, reads: UnnumberedReads, wanted: Callable[[_Place], bool], fits: Callable[[Commit], bool]
    ) -> None:
        self.more = True
        self._reads = reads
        self._wanted = wanted
        self._fits = fits
        self._left: list[_Place] | None = None

    def page(self) -> Conversation[Iterable[Commit]]:
        """The next commits, made as they are taken."""
        if self._left is None:
            self._left = [place for place in (yield from self._reads.places()) if self._wanted(place)]
        some, self._left = self._left[:PAGE], self._left[PAGE:]
        self.more = bool(self._left)
        documents = yield find(COMMITS, {"_id": {"$in": [place.key for place in some]}})
        found = {_hashable(document["_id"]): document for document in documents}
        there = ((place, found.get(_hashable(place.key))) for place in some)
        commits = (
            read(document, partial(self._reads.commit, place=place))
            for place, document in there
            if document is not None
        )
        return filter(self._fits, commits)


class UnnumberedReads:
    """The questions of such a store, as walks and conversations."""

    def __init__(self, values: MongoValues) -> None:
        self._values = values

    def stream(self, bucket_id: str, stream_id: str, low: int, high: int | None) -> _Walk:
        def fits(commit: Commit) -> bool:
            first = commit.stream_revision - len(commit.events) + 1
            return commit.stream_revision >= low and (high is None or first <= high)

        return _Walk(self, lambda place: place.stream == (bucket_id, stream_id), fits)

    def checkpoints(self, after: int, to: int | None, bucket_id: str | None) -> _Walk:
        return self._walk(
            lambda place: after < place.token and (to is None or place.token <= to) and place.within(bucket_id)
        )

    def dates(self, start: datetime, end: datetime | None, bucket_id: str | None) -> _Walk:
        return self._walk(
            lambda place: start <= place.stamp and (end is None or place.stamp < end) and place.within(bucket_id)
        )

    def undispatched(self) -> _Walk:
        return self._walk(lambda place: not place.dispatched)

    def is_above(self, number: int) -> Conversation[bool]:
        count: int = yield call(COMMITS, "count_documents", {})
        return count > number

    def _walk(self, wanted: Callable[[_Place], bool]) -> _Walk:
        return _Walk(self, wanted, lambda commit: True)

    def places(self) -> Conversation[list[_Place]]:
        """Every commit's, in the order of stamps; of equal ones in that of their keys. None comes before an earlier one
        of its stream, even where a clock went back between them."""
        found = yield find(COMMITS, {}, fields=["CommitStamp", "Dispatched"], sort=[("_id", 1)])
        latest: dict[_Stream, datetime] = {}
        moments = []
        for each in found:
            stream, stamp = self._stream(each["_id"]), each["CommitStamp"]
            latest[stream] = max(stamp, latest.get(stream, stamp))
            moments.append((latest[stream], stream, each))
        moments.sort(key=itemgetter(0))
        return [
            _Place(each["_id"], token, stream, each["CommitStamp"], each.get("Dispatched") is True)
            for token, (_, stream, each) in enumerate(moments, 1)
        ]

    def commit(self, document: Document, place: _Place) -> Commit:
        """The commit that the document at `place` holds."""
        bucket_id, stream_id = place.stream
        commit_id = self._values.uuid(document["CommitId"])
        try:
            headers, events = self._values.headers(document["Headers"]), self._values.events(document["Events"])
        except SerializationError as error:
            raise unreadable(bucket_id, stream_id, commit_id, error) from error
        return stored_commit(
            stream_id,
            document["Events"][-1]["StreamRevision"],
            commit_id,
            place.key["CommitSequence"],
            place.stamp,
            headers,
            events,
            bucket_id,
            place.token,
        )

    def _stream(self, key: Document) -> _Stream:
        stream = key["StreamId"]
        return key.get("BucketId", DEFAULT_BUCKET), stream if isinstance(stream, str) else str(
            self._values.uuid(stream)
        )

    def snapshot(self, bucket_id: str, stream_id: str, high: int | None) -> Conversation[Snapshot | None]:
        where: Document = {
            "_id.BucketId": {"$in": [bucket_id, None] if bucket_id == DEFAULT_BUCKET else [bucket_id]},
            "_id.StreamId": {"$in": [stream_id, *_guids(stream_id)]},
        }
        if high is not None:
            where["_id.StreamRevision"] = {"$lte": min(high, MOST)}
        found = yield find(SNAPSHOTS, where, sort=[("_id.StreamRevision", -1)], limit=1)
        if not found:
            return None
        revision = found[0]["_id"]["StreamRevision"]
        with reading_snapshot(bucket_id, stream_id, revision):
            return Snapshot(stream_id, revision, self._values.snapshot(found[0]["Payload"]), bucket_id)

    def heads(self, bucket_id: str, threshold: int) -> Conversation[list[StreamHead]]:
        ends: dict[_Stream, int] = {}
        for each in (yield find(COMMITS, {}, fields=["Events.StreamRevision"])):
            stream = self._stream(each["_id"])
            ends[stream] = max(ends.get(stream, 0), each["Events"][-1]["StreamRevision"])
        taken: dict[_Stream, int] = {}
        for each in (yield find(SNAPSHOTS, {}, fields=[])):
            stream = self._stream(each["_id"])
            taken[stream] = max(taken.get(stream, 0), each["_id"]["StreamRevision"])
        heads = [
            StreamHead(*stream, end, taken.get(stream, 0)) for stream, end in ends.items() if stream[0] == bucket_id
        ]
        return [head for head in heads if head.head_revision >= head.snapshot_revision + threshold]


def _guids(stream_id: str) -> list[Binary]:
    """The stream's id in both forms that a GUID has; none for what is no GUID."""
    try:
        guid = UUID(stream_id)
    except ValueError:
        return []
    return [Binary(guid.bytes_le, OLD_UUID_SUBTYPE), Binary(guid.bytes, UUID_SUBTYPE)]


def _hashable(key: Document) -> tuple[Any, ...]:
    return tuple(key.values())
