"""What a store's rows hold: ids and payloads as columns, attempts as rows, rows as commits.

Knows the tables and the serializer; says nothing to a database.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Any

from fsstore.engines.refusals import unreadable, unwritable, writing_snapshot
from fsstore.engines.sql.tables import commits
from fsstore.engines.sql.types import KEY_CHARACTERS
from fsstore.errors import SerializationError
from fsstore.model import Commit, CommitAttempt, Snapshot, stored_commit
from fsstore.serialization import Serializer, decode_payload, encode_payload

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


COMMIT_COLUMNS = (
    commits.c.BucketId,
    commits.c.BucketIdOriginal,
    commits.c.StreamIdOriginal,
    commits.c.StreamRevision,
    commits.c.CommitId,
    commits.c.CommitSequence,
    commits.c.CommitStamp,
    commits.c.CheckpointNumber,
    commits.c.Payload,
)
"""What `commit_of` is made from, in this order."""
REVISION, TOKEN, PAYLOAD = 3, 7, 8


def bucket_key(bucket_id: str) -> str:
    """What stands in BucketId: the id where it is short and plain, otherwise `#` and 39 digits of its hash."""
    return bucket_id if _PLAIN_BUCKET.fullmatch(bucket_id) else "#" + hashed(bucket_id)[:-1]


def place(bucket_id: str, stream_id: str) -> dict[str, str]:
    """The parameters `bucket` and `stream` that find a stream's rows."""
    return {"bucket": bucket_key(bucket_id), "stream": hashed(stream_id)}


class Rows:
    """Commits and snapshots as rows and back, with the store's serializer for what is in them.

    StreamId is a hash, as with NEventStore, BucketId mostly the id; the ids themselves stand in the columns named
    Original. Payload holds headers and events together.
    """

    def __init__(self, serializer: Serializer) -> None:
        self._serializer = serializer

    def commit_of(self, row: Sequence[Any]) -> Commit:
        """The commit; `SerializationError` that names it when its payload cannot be read."""
        key, bucket, stream, revision, commit_id, sequence, stamp, token, payload = row
        bucket_id = key if bucket is None else unescaped(bucket)
        stream_id = unescaped(stream)
        try:
            headers, events = decode_payload(self._serializer, payload)
        except SerializationError as error:
            raise unreadable(bucket_id, stream_id, commit_id, error) from error
        return stored_commit(stream_id, revision, commit_id, sequence, stamp, headers, events, bucket_id, token)

    def row_of(self, attempt: CommitAttempt) -> dict[str, Any]:
        """The row; `SerializationError` that names the commit when its payload cannot be written."""
        try:
            payload = encode_payload(self._serializer, attempt.headers, attempt.events)
        except SerializationError as error:
            raise unwritable(attempt, error) from error
        key = bucket_key(attempt.bucket_id)
        return {
            "BucketId": key,
            "BucketIdOriginal": None if key == attempt.bucket_id else escaped(attempt.bucket_id),
            "StreamId": hashed(attempt.stream_id),
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
        with writing_snapshot(snapshot):
            return self._serializer.dumps(snapshot.payload)

    def snapshot_value(self, payload: bytes) -> Any:
        """The serializer's value."""
        return self._serializer.loads(payload)
