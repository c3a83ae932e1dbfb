"""What changes the database: each function is what is said within one transaction.

Whoever calls them begins the transaction, ends it, and tries again. Every change of commits or snapshots first
takes the store's one lock with `Form.take_tokens`, so that tokens become visible in their order. The common case
of a commit says as little as possible; why one was refused is asked afterwards, in a transaction of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, and_, bindparam, delete, exists, func, insert, literal, or_, select, update

from fsstore.engines.sql.forms import Form, named
from fsstore.errors import ConcurrencyError, DuplicateCommitError, EventStoreError
from fsstore.model import Commit, CommitAttempt, Snapshot

_LARGEST = (1 << 31) - 1
_PREDECESSORS_AT_ONCE = 100

Rows = Sequence[dict[str, Any]]


class NotStoredError(Exception):
    """The attempts do not follow what is stored. Roll back, then ask `refusal`."""


class Writes:
    """The changes to one store."""

    def __init__(self, form: Form) -> None:
        self._form = form
        self._commits: Any = form.commits
        self._snapshots: Any = form.snapshots
        c, s = self._commits.c, self._snapshots.c
        stream = and_(c.BucketId == bindparam("bucket"), c.StreamId == bindparam("stream"))
        self._head = select(func.max(c.CommitSequence), func.max(c.StreamRevision)).where(stream)
        self._known = select(c.CommitId).where(stream, c.CommitId == bindparam("commit"))
        self._has_commits = select(exists().where(stream))
        self._has_snapshot = select(
            exists().where(
                s.BucketId == bindparam("bucket"),
                s.StreamId == bindparam("stream"),
                s.StreamRevision == bindparam("revision"),
            )
        )

    # ---- commits ----

    def rows(self, attempts: Sequence[CommitAttempt]) -> Rows:
        """The attempts as rows; made before the transaction, since it needs no lock."""
        return [self._form.row_of(attempt) for attempt in attempts]

    def append(self, connection: Connection, attempts: Sequence[CommitAttempt], rows: Rows) -> list[Commit]:
        """Store the attempts, or raise `NotStoredError`, or the database's own complaint about a key.

        Each stream's first attempt must follow a commit that is there; the others follow one another. That it is
        the last that is followed, and that no id is there twice, the unique keys say.
        """
        first = self._form.take_tokens(connection, len(rows)) - len(rows) + 1
        beginnings = _beginnings(attempts)
        if beginnings is None or not self._all_are_there(connection, beginnings):
            raise NotStoredError
        numbered = [{**row, "CheckpointNumber": token} for token, row in enumerate(rows, first)]
        connection.execute(insert(self._commits), numbered if len(numbered) > 1 else numbered[0])
        return [Commit.of(attempt, token) for token, attempt in enumerate(attempts, first)]

    def _all_are_there(self, connection: Connection, beginnings: Sequence[CommitAttempt]) -> bool:
        """Whether the commits that these follow are stored."""
        c = self._form.commits.c
        for start in range(0, len(beginnings), _PREDECESSORS_AT_ONCE):
            some = beginnings[start : start + _PREDECESSORS_AT_ONCE]
            followed = or_(
                *(
                    and_(
                        c.BucketId == literal(self._form.bucket_key(each.bucket_id), c.BucketId.type),
                        c.StreamId == literal(self._form.stream_key(each.stream_id), c.StreamId.type),
                        c.CommitSequence == literal(each.commit_sequence - 1, c.CommitSequence.type),
                        c.StreamRevision == literal(each.stream_revision - len(each.events), c.StreamRevision.type),
                    )
                    for each in some
                )
            )
            if connection.execute(select(func.count()).select_from(self._commits).where(followed)).scalar() != len(
                some
            ):
                return False
        return True

    def refusal(self, connection: Connection, attempts: Sequence[CommitAttempt]) -> EventStoreError | None:
        """Why these attempts cannot be stored, by the first that is wrong; `None` when by now they can."""
        self._form.take_tokens(connection, 0)
        heads: dict[tuple[str, str], tuple[int, int]] = {}
        ids = set()
        for attempt in attempts:
            name = (attempt.bucket_id, attempt.stream_id)
            stream = self._stream(*name)
            if name not in heads:
                sequence, revision = connection.execute(self._head, stream).one()
                heads[name] = (sequence or 0, revision or 0)
            known = connection.execute(self._known, {**stream, "commit": attempt.commit_id}).first()
            if known is not None or (*name, attempt.commit_id) in ids:
                return DuplicateCommitError(f"{named(attempt)} is stored already: there is nothing left to do")
            sequence, revision = heads[name]
            follows = attempt.stream_revision == revision + len(attempt.events)
            if attempt.commit_sequence != sequence + 1 or not follows:
                return ConcurrencyError(
                    f"{named(attempt)} says commit {attempt.commit_sequence} up to revision "
                    f"{attempt.stream_revision}, but the stream is at commit {sequence}, revision {revision}: "
                    "read what is new, decide again, commit again"
                )
            heads[name] = (attempt.commit_sequence, attempt.stream_revision)
            ids.add((*name, attempt.commit_id))
        return None

    def mark(self, connection: Connection, commit: Commit) -> None:
        """Mark the commit of this token as dispatched; nothing when it is gone."""
        c = self._form.commits.c
        connection.execute(
            update(self._commits).where(c.CheckpointNumber == commit.checkpoint_token).values(Dispatched=1)
        )

    # ---- snapshots and deletion ----

    def add_snapshot(self, connection: Connection, snapshot: Snapshot, payload: bytes) -> bool:
        """Store it, unless the stream is not there or has one at that revision."""
        if snapshot.stream_revision > _LARGEST:
            raise ValueError(f"a snapshot's revision is at most {_LARGEST} in SQL, not {snapshot.stream_revision}")
        self._form.take_tokens(connection, 0)
        stream = self._stream(snapshot.bucket_id, snapshot.stream_id)
        if not connection.execute(self._has_commits, stream).scalar():
            return False
        if connection.execute(self._has_snapshot, {**stream, "revision": snapshot.stream_revision}).scalar():
            return False
        connection.execute(
            insert(self._snapshots),
            {
                "BucketId": stream["bucket"],
                "StreamId": stream["stream"],
                "StreamRevision": snapshot.stream_revision,
                "Payload": payload,
            },
        )
        return True

    def delete_stream(self, connection: Connection, bucket_id: str, stream_id: str) -> None:
        """Forget one stream."""
        self._form.take_tokens(connection, 0)
        for table in (self._snapshots, self._commits):
            connection.execute(
                delete(table).where(
                    table.c.BucketId == self._form.bucket_key(bucket_id),
                    table.c.StreamId == self._form.stream_key(stream_id),
                )
            )

    def purge(self, connection: Connection, bucket_id: str | None) -> None:
        """Forget every stream of the bucket, or of the store."""
        self._form.take_tokens(connection, 0)
        for table in (self._snapshots, self._commits):
            statement = delete(table)
            if bucket_id is not None:
                statement = statement.where(table.c.BucketId == self._form.bucket_key(bucket_id))
            connection.execute(statement)

    def _stream(self, bucket_id: str, stream_id: str) -> dict[str, Any]:
        return {"bucket": self._form.bucket_key(bucket_id), "stream": self._form.stream_key(stream_id)}


def _beginnings(attempts: Sequence[CommitAttempt]) -> list[CommitAttempt] | None:
    """The first attempt of each stream that has commits before it; `None` when one cannot follow anything."""
    heads: dict[tuple[str, str], tuple[int, int]] = {}
    found = []
    for attempt in attempts:
        name = (attempt.bucket_id, attempt.stream_id)
        before = (attempt.commit_sequence - 1, attempt.stream_revision - len(attempt.events))
        known = heads.get(name)
        if known is None and before[0]:
            found.append(attempt)
        elif before != (known or (0, 0)):
            return None
        heads[name] = (attempt.commit_sequence, attempt.stream_revision)
    if any(not 0 < attempt.stream_revision <= _LARGEST for attempt in found):
        return None
    return found
