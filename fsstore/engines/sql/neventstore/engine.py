"""A database that NEventStore or JOliver EventStore wrote, as an engine: read, and by permission written.

Reading alters nothing in it. Dispatch marks are those of the `Dispatched` column; a generation without that column
has no marks, and its commits count as dispatched.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import datetime

from fsstore.engines import arguments
from fsstore.engines.refusals import for_commits
from fsstore.engines.sql.neventstore.connecting import Connecting
from fsstore.engines.sql.neventstore.reading import Reading
from fsstore.engines.sql.neventstore.rows import Rows
from fsstore.engines.sql.neventstore.writing import Writing
from fsstore.errors import StorageError
from fsstore.model import Commit, CommitAttempt, Snapshot, StreamHead


class NEventStoreEngine:
    """The engine over such a database. Without `writing` whatever would change it is refused, for the reason given."""

    def __init__(self, connecting: Connecting, rows: Rows, writing: Writing | str) -> None:
        self._connecting = connecting
        self._reading = Reading(connecting.ask, rows)
        self._may_write = writing
        self._dropped = False
        self.generation = str(rows.generation)
        self._marks = rows.generation.has("dispatched")

    @property
    def marks_refused(self) -> str | None:
        """Why no commit can be marked as dispatched; `None` where that is possible."""
        if isinstance(self._may_write, str):
            return self._may_write
        if self._marks:
            return None
        return (
            f"{self._connecting.name} is a store of {self.generation}, whose table Commits has no column Dispatched: "
            "`fsstore copy` brings it into a store that remembers what was dispatched"
        )

    @property
    def subscriptions_refused(self) -> str:
        """Why nothing is remembered of subscriptions."""
        return (
            f"{self._connecting.name} is a store of {self.generation}, a C# library, whose tables have no place for "
            "that: `fsstore copy` brings it into a store that has"
        )

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
        place = arguments.checked_place(bucket_id, stream_id)
        if arguments.names_no_revision(min_revision, max_revision):
            return iter(())
        return self._reading.stream(*place, min_revision, max_revision)

    def get_from_checkpoint(
        self, checkpoint_token: int = 0, to_checkpoint: int | None = None, *, bucket_id: str | None = None
    ) -> Iterator[Commit]:
        self._connecting.check()
        after, to = arguments.checked_tokens(checkpoint_token, to_checkpoint)
        return self._reading.walk(arguments.checked_bucket(bucket_id), after=after, to=to)

    def get_from_date(
        self, start: datetime, end: datetime | None = None, *, bucket_id: str | None = None
    ) -> Iterator[Commit]:
        self._connecting.check()
        return self._reading.dated(arguments.checked_bucket(bucket_id), *arguments.checked_period(start, end))

    def get_undispatched_commits(self) -> Iterator[Commit]:
        self._connecting.check()
        return self._reading.undispatched()

    def get_snapshot(self, bucket_id: str, stream_id: str, max_revision: int | None = None) -> Snapshot | None:
        self._connecting.check()
        return self._reading.snapshot(
            *arguments.checked_place(bucket_id, stream_id), arguments.checked_limit(max_revision, "max_revision")
        )

    def get_streams_to_snapshot(self, bucket_id: str, max_threshold: int) -> Iterator[StreamHead]:
        self._connecting.check()
        bucket, threshold = arguments.checked_heads(bucket_id, max_threshold)
        return self._reading.heads(bucket, threshold)

    # ---- writing ----

    def commit(self, attempt: CommitAttempt) -> Commit:
        return self.commit_many((attempt,))[0]

    def commit_many(self, attempts: Iterable[CommitAttempt]) -> list[Commit]:
        attempts = arguments.checked_attempts(attempts)
        return for_commits(attempts, lambda: self._writing).commit_many(attempts)

    def add_snapshot(self, snapshot: Snapshot) -> bool:
        return self._writing.add_snapshot(arguments.checked_value(snapshot, Snapshot))

    def mark_commit_as_dispatched(self, commit: Commit) -> None:
        self._writing.mark(arguments.checked_mark(commit))

    def delete_stream(self, bucket_id: str, stream_id: str) -> None:
        self._writing.delete_stream(*arguments.checked_place(bucket_id, stream_id))

    def purge(self, bucket_id: str | None = None) -> None:
        self._writing.purge(arguments.checked_bucket(bucket_id))
