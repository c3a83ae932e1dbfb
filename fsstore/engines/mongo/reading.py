"""How numbered commits, snapshots and stream heads are read.

Reads go page by page, each page a query that begins after the last key of the one before: no cursor is left open
on the server while a caller thinks, and a walk may be abandoned anywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

from bson import MinKey, encode

from fsstore.engines.mongo.calls import Conversation, Document, aggregate, find
from fsstore.engines.mongo.form import Form
from fsstore.engines.mongo.layout import COMMITS, MOST, PAGE, SNAPSHOTS
from fsstore.engines.refusals import reading_snapshot
from fsstore.errors import SerializationError, StorageError
from fsstore.model import Commit, Snapshot, StreamHead

_FIRST_PAGE = 64
_PAGE_BYTES = 4 << 20


def read(document: Document, commit: Callable[[Document], Commit]) -> Commit:
    """The commit in `document`; an error says which document it is."""
    try:
        return commit(document)
    except KeyError as error:
        raise StorageError(f"the document {document['_id']!r} is no commit: it has no field {error}") from error
    except SerializationError as error:
        raise SerializationError(f"the document {document['_id']!r} of a commit: {error}", error.path) from error


class Walk:
    """The commits that fit `where`, by the growing field `key`. Ask for pages as long as there is `more`."""

    def __init__(self, form: Form, where: Document, key: str) -> None:
        self.more = True
        self._form = form
        self._where = where
        self._key = key
        self._limit = _FIRST_PAGE

    def page(self) -> Conversation[Iterable[Commit]]:
        """The next commits; what cannot be read raises once those before it are taken."""
        documents = yield find(COMMITS, self._where, sort=[(self._key, 1)], limit=self._limit)
        self.more = len(documents) == self._limit
        if self.more:
            self._limit = _next_limit(documents)
            after = {"$gt": documents[-1][self._key]}
            self._where = {**self._where, self._key: {**self._where.get(self._key, {}), **after}}
        return (read(document, self._form.commit) for document in documents)


def _next_limit(documents: Sequence[Document]) -> int:
    """How many to ask for after these: more, while they are small."""
    all_bytes = sum(len(encode(document)) for document in documents)
    return max(1, min(4 * len(documents), PAGE, _PAGE_BYTES * len(documents) // all_bytes))


class NumberedReads:
    """The questions of a store whose commits are numbered, as walks and conversations."""

    def __init__(self, form: Form) -> None:
        self._form = form

    def stream(self, bucket_id: str, stream_id: str, low: int, high: int | None) -> Walk:
        where: Document = {**self._within(bucket_id), "StreamId": stream_id}
        if low > 1:
            where["StreamRevisionTo"] = {"$gte": min(low, MOST)}
        if high is not None:
            where["StreamRevisionFrom"] = {"$lte": min(high, MOST)}
        return Walk(self._form, where, "StreamRevisionFrom")

    def checkpoints(self, after: int, to: int | None, bucket_id: str | None) -> Walk:
        between = {"$gt": min(max(after, 0), MOST)}
        if to is not None:
            between["$lte"] = min(max(to, 0), MOST)
        return Walk(self._form, {"_id": between, **self._within(bucket_id)}, "_id")

    def dates(self, start: datetime, end: datetime | None, bucket_id: str | None) -> Walk:
        return Walk(self._form, {**self._form.stamped(start, end), **self._within(bucket_id)}, "_id")

    def undispatched(self) -> Walk:
        return Walk(self._form, {**self._form.undispatched, **self._within(None)}, "_id")

    def is_above(self, number: int) -> Conversation[bool]:
        return bool((yield find(COMMITS, {"_id": {"$gt": max(0, min(number, MOST))}}, fields=[], limit=1)))

    def _within(self, bucket_id: str | None) -> Document:
        """The filter for a bucket's commits, or for all, without the numbers that have none."""
        live = self._form.live
        if bucket_id is None:
            return live
        return {**live, "BucketId": {"$eq": bucket_id, **live.get("BucketId", {})}}

    def snapshot(self, bucket_id: str, stream_id: str, high: int | None) -> Conversation[Snapshot | None]:
        def key(revision: object) -> Document:
            return {"BucketId": bucket_id, "StreamId": stream_id, "StreamRevision": revision}

        # Whole keys are compared, field by field: the index over `_id`, which every collection has, is enough.
        between = {"$gt": key(MinKey()), "$lte": key(MOST if high is None else min(high, MOST))}
        found = yield find(SNAPSHOTS, {"_id": between}, sort=[("_id", -1)], limit=1)
        if not found:
            return None
        revision = found[0]["_id"]["StreamRevision"]
        with reading_snapshot(bucket_id, stream_id, revision):
            return Snapshot(stream_id, revision, self._form.snapshot_value(found[0]["Payload"]), bucket_id)

    def heads(self, bucket_id: str, threshold: int) -> Conversation[list[StreamHead]]:
        """From the commits themselves, which the collection of heads may lag behind."""
        here = {"$match": self._within(bucket_id)}
        ends = yield aggregate(COMMITS, here, _newest("$StreamId", "$StreamRevisionTo"))
        between = {"$match": {"_id": {"$gte": {"BucketId": bucket_id}, "$lt": {"BucketId": bucket_id + "\0"}}}}
        taken = yield aggregate(SNAPSHOTS, between, _newest("$_id.StreamId", "$_id.StreamRevision"))
        snapshots = {each["_id"]: each["newest"] for each in taken}
        heads = [StreamHead(bucket_id, each["_id"], each["newest"], snapshots.get(each["_id"], 0)) for each in ends]
        return [head for head in heads if head.head_revision >= head.snapshot_revision + threshold]


def _newest(stream: str, revision: str) -> Document:
    return {"$group": {"_id": stream, "newest": {"$max": revision}}}
