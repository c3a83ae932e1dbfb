"""A database that NEventStore or JOliver EventStore wrote, as an engine: read, and by permission written.

Reading alters nothing in it. Dispatch marks are those of the `Dispatched` column; a generation without that column
has no marks, and its commits count as dispatched.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import datetime

from fsstore.engines.arguments import (
    checked_attempts,
    checked_bucket,
    checked_limit,
    checked_period,
    checked_place,
    checked_tokens,
    checked_value,
    names_no_revision,
)
from fsstore.engines.sql.neventstore.connecting import Connecting
from fsstore.engines.sql.neventstore.reading import Reading
from fsstore.engines.sql.neventstore.rows import Rows
from fsstore.engines.sql.neventstore.writing import Writing
from fsstore.errors import StorageError
from fsstore.model import Commit, CommitAttempt, Snapshot, StreamHead, checked_id, checked_int


class NEventStoreEngine:
    """The engine over such a database. Without `writing` whatever would change it is refused, for the reason given."""

    def __init__(self, connecting: Connecting, rows: Rows, writing: Writing | str) -> None:
        self._connecting = connecting
        self._reading = Reading(connecting.ask, rows)
        self._may_write = writing
        self._dropped = False
        self.generation = str(rows.generation)

    @property
    def _allowed(self) -> Writing:
        if isinstance(self._may_write, str):
            raise StorageError(self._may_write)
        return self._may_write

    @property
    def _writing(self) -> Writing:
        self._connecting.check()
        return self._allowed

    # ---- lifecycle ----

    def initialize(self) -> None:
        self._connecting.check()

    def close(self) -> None:
        self._connecting.close()

    def drop(self) -> None:
        if not self._dropped:
            allowed = self._allowed
            with closing(self._connecting if self._connecting.is_open else self._connecting.anew()) as connecting:
                replace(allowed, connecting=connecting).drop()
            self._dropped = True

    # ---- reading ----

    def get_from(
        self, bucket_id: str, stream_id: str, min_revision: int = 0, max_revision: int | None = None
    ) -> Iterator[Commit]:
        self._connecting.check()
        place = checked_place(bucket_id, stream_id)
        if names_no_revision(min_revision, max_revision):
            return iter(())
        return self._reading.stream(*place, min_revision, max_revision)

    def get_from_checkpoint(
        self, checkpoint_token: int = 0, to_checkpoint: int | None = None, *, bucket_id: str | None = None
    ) -> Iterator[Commit]:
        self._connecting.check()
        after, to = checked_tokens(checkpoint_token, to_checkpoint)
        return self._reading.walk(checked_bucket(bucket_id), after=after, to=to)

    def get_from_date(
        self, start: datetime, end: datetime | None = None, *, bucket_id: str | None = None
    ) -> Iterator[Commit]:
        self._connecting.check()
        return self._reading.dated(checked_bucket(bucket_id), *checked_period(start, end))

    def get_undispatched_commits(self) -> Iterator[Commit]:
        self._connecting.check()
        return self._reading.undispatched()

    def get_snapshot(self, bucket_id: str, stream_id: str, max_revision: int | None = None) -> Snapshot | None:
        self._connecting.check()
        return self._reading.snapshot(*checked_place(bucket_id, stream_id), checked_limit(max_revision, "max_revision"))

    def get_streams_to_snapshot(self, bucket_id: str, max_threshold: int) -> Iterator[StreamHead]:
        self._connecting.check()
        bucket, threshold = checked_id(bucket_id, "bucket_id"), checked_int(max_threshold, "max_threshold")
        return self._reading.heads(bucket, threshold)

    # ---- writing ----

    def commit(self, attempt: CommitAttempt) -> Commit:
        return self.commit_many((attempt,))[0]

    def commit_many(self, attempts: Iterable[CommitAttempt]) -> list[Commit]:
        return self._writing.commit_many(checked_attempts(attempts))

    def add_snapshot(self, snapshot: Snapshot) -> bool:
        return self._writing.add_snapshot(checked_value(snapshot, Snapshot))

    def mark_commit_as_dispatched(self, commit: Commit) -> None:
        self._writing.mark(checked_value(commit, Commit))

    def delete_stream(self, bucket_id: str, stream_id: str) -> None:
        self._writing.delete_stream(*checked_place(bucket_id, stream_id))

    def purge(self, bucket_id: str | None = None) -> None:
        self._writing.purge(checked_bucket(bucket_id))
