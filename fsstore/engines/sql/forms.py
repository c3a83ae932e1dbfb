"""Whose store it is: which tables it has, and how a row becomes a commit and an attempt a row.

`Form` is what everything that is said to the database is built on. `OwnForm` is a store that fsstore made; stores
that the C# libraries made have forms of their own in `foreign.py`. A form speaks of columns by the names that
NEventStore gave them, and knows the serializer; it opens no connection and starts no transaction.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Any, Protocol

from sqlalchemy import Connection, FromClause, UpdateBase, bindparam, func, select, update

from fsstore.engines.sql import tables
from fsstore.engines.sql.types import KEY_CHARACTERS
from fsstore.errors import SerializationError
from fsstore.model import Commit, CommitAttempt, Snapshot, stored_commit
from fsstore.serialization import Serializer, decode_payload, encode_payload

Row = Any
"""A row of the columns that `commit_columns` or `head_columns` names, in their order."""


class Form(Protocol):
    """One kind of store. Read-only kinds raise a `StorageError` that says so from what writes."""

    commits: FromClause
    """Has the columns BucketId, StreamId, StreamRevision, Items, CommitId, CommitSequence, CommitStamp,
    CheckpointNumber, Dispatched (where `keeps_dispatch_marks`) and those of `commit_columns`; a table, or a query
    that looks like one."""
    snapshots: FromClause
    """Has the columns BucketId, StreamId, StreamRevision, Payload."""
    commit_columns: Sequence[str]
    """What `commit_of` needs of a row of `commits`: StreamRevision and CheckpointNumber among them, Payload last."""
    original_id_column: str
    """The column of `commits` that `stream_id_of` understands."""
    keeps_dispatch_marks: bool

    def bucket_key(self, bucket_id: str) -> str:
        """What stands in BucketId."""
        ...

    def stream_key(self, stream_id: str) -> str:
        """What stands in StreamId."""
        ...

    def stream_id_of(self, original_id: Any) -> str:
        """The stream id that a row's `original_id_column` holds."""
        ...

    def commit_of(self, row: Row) -> Commit:
        """The commit of a row of `commit_columns`."""
        ...

    def row_of(self, attempt: CommitAttempt) -> dict[str, Any]:
        """All columns of the attempt's row but CheckpointNumber."""
        ...

    def snapshot_payload(self, snapshot: Snapshot) -> bytes:
        """What stands in a snapshot's Payload."""
        ...

    def snapshot_value(self, payload: bytes) -> Any:
        """What a snapshot's Payload holds."""
        ...

    def take_tokens(self, connection: Connection, count: int) -> int:
        """The last of `count` tokens that are now this transaction's. Until the transaction ends nobody else gets
        past this call, so that commits become visible in the order of their tokens; with 0 it is only that lock."""
        ...

    def last_token(self, connection: Connection) -> int:
        """The highest token that a commit was ever stored under, 0 for none."""
        ...


_PLAIN_BUCKET = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:/-]{0,39}")


def escaped(value: str) -> str:
    """`value` without NUL, which PostgreSQL's text cannot hold."""
    return value.replace("\\", "\\\\").replace("\0", "\\0")


def unescaped(value: str) -> str:
    """What was `escaped`."""
    return re.sub(r"\\(.)", lambda found: "\0" if found[1] == "0" else found[1], value) if "\\" in value else value


def hashed(value: str) -> str:
    """A key of 40 hexadecimal digits for a text of any length: the first 160 bits of its SHA-256."""
    return hashlib.sha256(value.encode()).hexdigest()[:KEY_CHARACTERS].upper()


class OwnForm:
    """A store that fsstore made.

    StreamId is a hash, as with NEventStore; BucketId is the bucket's id where that is short and plain, otherwise
    `#` and a hash. The ids themselves stand in the columns named Original. Payload holds headers and events in
    the serializer's form.
    """

    commits: FromClause = tables.commits
    snapshots: FromClause = tables.snapshots
    commit_columns: Sequence[str] = (
        "BucketId",
        "BucketIdOriginal",
        "StreamIdOriginal",
        "StreamRevision",
        "CommitId",
        "CommitSequence",
        "CommitStamp",
        "CheckpointNumber",
        "Payload",
    )
    original_id_column = "StreamIdOriginal"
    keeps_dispatch_marks = True

    def __init__(self, serializer: Serializer, *, update_names_last_id: bool = False) -> None:
        self._serializer = serializer
        store = tables.store
        taken = store.c.LastToken + bindparam("count", type_=store.c.LastToken.type)
        self._names_last_id = update_names_last_id
        self._last = select(store.c.LastToken)
        self._take: UpdateBase = (
            update(store).values(LastToken=func.last_insert_id(taken))
            if update_names_last_id
            else update(store).values(LastToken=taken).returning(store.c.LastToken)
        )

    def bucket_key(self, bucket_id: str) -> str:
        """The id, or `#` and 39 digits of its hash."""
        return bucket_id if _PLAIN_BUCKET.fullmatch(bucket_id) else "#" + hashed(bucket_id)[:-1]

    def stream_key(self, stream_id: str) -> str:
        """The id's hash."""
        return hashed(stream_id)

    def stream_id_of(self, original_id: str) -> str:
        """The id, unescaped."""
        return unescaped(original_id)

    def commit_of(self, row: Row) -> Commit:
        """The commit; `SerializationError` that names it when its payload cannot be read."""
        bucket_key, bucket, stream, revision, commit_id, sequence, stamp, token, payload = row
        bucket_id = bucket_key if bucket is None else unescaped(bucket)
        stream_id = unescaped(stream)
        try:
            headers, events = decode_payload(self._serializer, payload)
        except SerializationError as error:
            where = f"commit {commit_id} of stream {stream_id!r} in bucket {bucket_id!r}"
            raise SerializationError(f"{where} cannot be read: {error}", error.path) from error
        return stored_commit(stream_id, revision, commit_id, sequence, stamp, headers, events, bucket_id, token)

    def row_of(self, attempt: CommitAttempt) -> dict[str, Any]:
        """The row; `SerializationError` that names the commit when its payload cannot be written."""
        try:
            payload = encode_payload(self._serializer, attempt.headers, attempt.events)
        except SerializationError as error:
            raise SerializationError(f"{named(attempt)} cannot be written: {error}", error.path) from error
        bucket_key = self.bucket_key(attempt.bucket_id)
        return {
            "BucketId": bucket_key,
            "BucketIdOriginal": None if bucket_key == attempt.bucket_id else escaped(attempt.bucket_id),
            "StreamId": self.stream_key(attempt.stream_id),
            "StreamIdOriginal": escaped(attempt.stream_id),
            "StreamRevision": attempt.stream_revision,
            "Items": len(attempt.events),
            "CommitId": attempt.commit_id,
            "CommitSequence": attempt.commit_sequence,
            "CommitStamp": attempt.commit_stamp,
            "Payload": payload,
        }

    def snapshot_payload(self, snapshot: Snapshot) -> bytes:
        """The serializer's bytes."""
        return self._serializer.dumps(snapshot.payload)

    def snapshot_value(self, payload: bytes) -> Any:
        """The serializer's value."""
        return self._serializer.loads(payload)

    def take_tokens(self, connection: Connection, count: int) -> int:
        """By the one row of FsstoreStore, whose lock is held until the transaction ends."""
        result = connection.execute(self._take, {"count": count})
        return int(result.lastrowid) if self._names_last_id else int(result.scalar_one())

    def last_token(self, connection: Connection) -> int:
        """What the one row of FsstoreStore says."""
        return int(connection.execute(self._last).scalar_one())


def named(attempt: CommitAttempt) -> str:
    """How a message calls an attempt."""
    return f"commit {attempt.commit_id} of stream {attempt.stream_id!r} in bucket {attempt.bucket_id!r}"
