"""Snapshots, dispatch marks and deletion, as conversations."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from pymongo.errors import DuplicateKeyError, PyMongoError

from fsstore.engines.mongo.calls import Conversation, Document, call, find
from fsstore.engines.mongo.form import Form
from fsstore.engines.mongo.layout import COMMITS, MOST, SNAPSHOTS, STREAMS
from fsstore.model import Snapshot


def add_snapshot(form: Form, snapshot: Snapshot, payload: Any) -> Conversation[bool]:
    """Insert it unless the stream has no commits or the revision has one already."""
    if snapshot.stream_revision > MOST:
        raise ValueError(f"a snapshot's revision is at most {MOST} in MongoDB, not {snapshot.stream_revision}")
    stream = {"BucketId": snapshot.bucket_id, "StreamId": snapshot.stream_id}
    last = yield find(COMMITS, stream, fields=["StreamRevisionTo"], sort=[("CommitSequence", -1)], limit=1)
    if not last:
        return False
    try:
        yield call(
            SNAPSHOTS, "insert_one", {"_id": {**stream, "StreamRevision": snapshot.stream_revision}, "Payload": payload}
        )
    except DuplicateKeyError:
        return False
    if form.keeps_heads:
        behind = last[0]["StreamRevisionTo"] - snapshot.stream_revision
        values = {"SnapshotRevision": snapshot.stream_revision, "Unsnapshotted": behind}
        # The snapshot is stored whatever becomes of the head, which may lag behind, as it does in C#.
        with suppress(PyMongoError):
            yield call(STREAMS, "update_one", {"_id": stream}, {"$set": values})
    return True


def mark(undispatched: Document, number: int) -> Conversation[None]:
    """Of a commit that is gone by now there is nothing left to mark."""
    yield call(COMMITS, "update_one", {"_id": number, **undispatched}, {"$set": {"Dispatched": True}})


def bury(form: Form, bucket_id: str | None, stream_id: str | None = None) -> Conversation[None]:
    """Commits first: nobody adds a snapshot to a stream without commits. What is stopped half-way is finished
    by asking again."""
    where: Document = {"CommitId": {"$exists": True}}
    keys: Document = {}
    if bucket_id is not None:
        where["BucketId"] = keys["_id.BucketId"] = bucket_id
    if stream_id is not None:
        where["StreamId"] = keys["_id.StreamId"] = stream_id
    yield call(COMMITS, "update_many", where, form.buried)
    yield call(SNAPSHOTS, "delete_many", keys)
    if form.keeps_heads:
        yield call(STREAMS, "delete_many", keys)
