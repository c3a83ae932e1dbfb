"""Rows of a C# store's tables to commits and snapshots.

Knows the columns of every generation and the form of every cell; how rows are found is `reading`'s affair.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Row, and_, or_, select, true

from fsstore.engines.refusals import reading_snapshot, unreadable
from fsstore.engines.sql.neventstore import cells
from fsstore.engines.sql.neventstore.cells import Cells
from fsstore.engines.sql.neventstore.generation import Generation
from fsstore.errors import SerializationError
from fsstore.model import DEFAULT_BUCKET, Commit, Snapshot, stored_commit
from fsstore.serialization.neventstore import NEventStorePayloads

MAX_BUCKET_CHARACTERS = 40


def hashed(stream_id: str) -> str:
    """A stream's id as NEventStore's own hasher makes a key of it."""
    return hashlib.sha1(stream_id.encode(), usedforsecurity=False).hexdigest().upper()


@dataclass(frozen=True, slots=True)
class Rows:
    """What a generation's rows hold. `own_hash`: the keys of streams are what NEventStore's own hasher makes; a
    program may have brought another, then streams are found by their ids."""

    generation: Generation
    cells: Cells
    payloads: NEventStorePayloads
    own_hash: bool = True

    @property
    def columns(self) -> Sequence[ColumnElement[Any]]:
        """What `commit` and `stream` need of a row."""
        return [column.label(column.key) for column in self.generation.commits.c]

    def bucket(self, row: Row[Any]) -> str:
        """The bucket of a row of either table."""
        if not self.generation.has_buckets:
            return DEFAULT_BUCKET
        bucket = str(row._mapping["bucketid"])
        # Older tables on PostgreSQL fill it up with spaces.
        filled = self.cells.dialect == "postgresql" and len(bucket) == MAX_BUCKET_CHARACTERS
        return bucket.rstrip(" ") if filled else bucket

    def stream(self, row: Row[Any]) -> str:
        """The stream of a row of commits."""
        if self.generation.has_buckets:
            return str(row._mapping["streamidoriginal"])
        return str(cells.read_uuid(row._mapping["streamid"]))

    def of_stream(self, bucket_id: str, stream_id: str) -> ColumnElement[bool] | None:
        """The condition on commits for a stream's, or a few more; `None`: there can be no such stream."""
        table = self.generation.commits.c
        if not self.generation.has_buckets:
            key = _as_uuid(stream_id)
            if key is None or bucket_id != DEFAULT_BUCKET:
                return None
            return self._is_uuid(table.streamid, key)
        by_id = table.streamid == hashed(stream_id) if self.own_hash else table.streamidoriginal == stream_id
        return and_(table.bucketid == bucket_id, by_id)

    def snapshots_of(self, bucket_id: str, stream_id: str) -> ColumnElement[bool] | None:
        """The condition on snapshots for a stream's, or a few more; `None`: there can be none."""
        commits_of = self.of_stream(bucket_id, stream_id)
        if commits_of is None or self.generation.snapshots is None:
            return None
        table = self.generation.snapshots.c
        if not self.generation.has_buckets:
            return self._is_uuid(table.streamid, UUID(stream_id))
        if self.own_hash:
            return and_(table.bucketid == bucket_id, table.streamid == hashed(stream_id))
        keys = select(self.generation.commits.c.streamid).where(commits_of)
        return and_(table.bucketid == bucket_id, table.streamid.in_(keys))

    def _is_uuid(self, column: ColumnElement[Any], value: UUID) -> ColumnElement[bool]:
        return or_(*(column == cell for cell in self.cells.uuids(value)))

    def of_bucket(self, bucket_id: str | None) -> ColumnElement[bool] | None:
        """The condition on commits for a bucket's, or a few more; `None`: there can be no such bucket."""
        if self.generation.has_buckets:
            return true() if bucket_id is None else self.generation.commits.c.bucketid == bucket_id
        return true() if bucket_id in (None, DEFAULT_BUCKET) else None

    def commit(self, row: Row[Any], checkpoint_token: int) -> Commit:
        """The commit of a row; `SerializationError` says which one cannot be read."""
        columns = row._mapping
        bucket_id, stream_id = self.bucket(row), self.stream(row)
        commit_id = cells.read_uuid(columns["commitid"])
        try:
            headers, events = self.payloads.commit(columns.get("headers"), columns["payload"])
        except SerializationError as error:
            raise unreadable(bucket_id, stream_id, commit_id, error) from error
        return stored_commit(
            stream_id,
            int(columns["streamrevision"]),
            commit_id,
            int(columns["commitsequence"]),
            cells.stamp(cells.read_ticks(columns["commitstamp"])),
            headers,
            events,
            bucket_id,
            checkpoint_token,
        )

    def snapshot(self, row: Row[Any], bucket_id: str, stream_id: str) -> Snapshot:
        """The snapshot of a row; `SerializationError` says which one cannot be read."""
        revision = int(row._mapping["streamrevision"])
        with reading_snapshot(bucket_id, stream_id, revision):
            payload = self.payloads.snapshot(row._mapping["payload"])
        return Snapshot(stream_id, revision, payload, bucket_id)


def _as_uuid(stream_id: str) -> UUID | None:
    """The GUID whose text is exactly this id."""
    try:
        key = UUID(stream_id)
    except ValueError:
        return None
    return key if str(key) == stream_id else None
