"""The engine: connections to one database, and the protocol's calls as transactions and walks over pages.

What is said to the database stands in `reads.py` and `writes.py`; whose tables it meets, `schema.py` finds out, and
`rows.py` says what they hold. Nothing of it is repeated here.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

from sqlalchemy import URL, Connection, Engine, create_engine

from fsstore.engine import AsyncPersistenceEngine
from fsstore.engines import arguments, without_password
from fsstore.engines.refusals import for_commits, reading_snapshot, storing
from fsstore.engines.sql import reads, schema, writes
from fsstore.engines.sql.delivery import SqlDelivery
from fsstore.engines.sql.dialects import Database, parsed
from fsstore.engines.sql.errors import COMMITTED_AGAIN, DONE_AGAIN
from fsstore.engines.sql.reads import FIRST_PAGE, Ask, next_limit
from fsstore.engines.sql.rows import Rows
from fsstore.engines.sql.sqlite_file import is_missing
from fsstore.engines.sql.transactions import KeyTakenError, Transactions, checked_timeout, connected
from fsstore.engines.sql.writes import NotStoredError
from fsstore.engines.threaded import ThreadedEngine
from fsstore.engines.under_way import UnderWay
from fsstore.engines.waiting import ThreadWaiting, Waiting
from fsstore.errors import StorageError, StorageUnavailableError, StoreClosedError
from fsstore.model import Commit, CommitAttempt, Snapshot, StreamHead, checked_at_least
from fsstore.serialization import MsgpackSerializer, Serializer

Item = TypeVar("Item")
Result = TypeVar("Result")

_CREATIONS = 20  # tries at making the tables, while others make them too
_REFUSALS = 100  # tries at a commit that was refused for what was no longer so when asked


class SqlEngine(SqlDelivery):
    """A store in an SQL database.

    `create=False` refuses a database without a store. `timeout_seconds` is how long connecting, waiting for a
    connection of the pool and waiting for other writers may take. `pool_size` connections stay open, as many more
    are opened when they are needed. Everything else goes to SQLAlchemy's `create_engine`.
    """

    def __init__(
        self,
        url: str,
        *,
        serializer: Serializer | None = None,
        create: bool = True,
        timeout_seconds: float = 30.0,
        pool_size: int = 8,
        **sqlalchemy_options: Any,
    ) -> None:
        self.url, self.database = parsed(url)
        self.pool_size, self.sqlalchemy_options = checked_at_least(pool_size, 0, "pool_size"), sqlalchemy_options
        self._timeout_seconds = checked_timeout(timeout_seconds)
        self.serializer: Serializer = serializer if serializer is not None else MsgpackSerializer()
        self._rows = Rows(self.serializer)
        self._create = create
        self._name = without_password(self.url.render_as_string(hide_password=True))
        self.connect(self.url, self.database, ThreadWaiting(), create_engine)

    def connect(self, url: URL, database: Database, waiting: Waiting, create: Callable[..., Engine]) -> None:
        """Begin with connections of one kind; for `awaiting.py`, which has another."""
        self._engine = connected(url, database, self._timeout_seconds, self.pool_size, self.sqlalchemy_options, create)
        self._waiting = waiting
        self._transactions = Transactions(self._engine, database, waiting, timeout_seconds=self._timeout_seconds)
        self._process = os.getpid()
        self._under_way = UnderWay()
        self._closing = threading.Lock()
        self._closed = self._dropped = self._begins_anew = False
        self._begin_delivery(database.now)

    @property
    def sqlalchemy_engine(self) -> Engine:
        """SQLAlchemy's engine underneath, for its events, its pool's status, its log."""
        return self._engine

    def awaiting(self) -> AsyncPersistenceEngine:
        """The twin for the tasks of the running event loop: with the database's asyncio driver where there is one."""
        from fsstore.engines.sql.awaiting import twin

        return twin(self) or ThreadedEngine(self)

    # ---- opening and closing ----

    def initialize(self) -> None:
        """Find out whose store it is; make the tables where there are none, bring older ones of ours up to date."""
        self._under_way.make(self._find_tables, partial(self._check, even_closed=self._begins_anew))
        with self._closing:
            if self._begins_anew:
                self._begin_delivery(self.database.now)
                self._closed = self._dropped = self._begins_anew = False

    def _find_tables(self) -> None:
        if not self._create and is_missing(self.url):
            # SQLite would make an empty file only to look into it.
            raise StorageError(f"there is no database {self._name}, and it was opened without creating one")
        for tries in range(_CREATIONS):
            owner = self._transactions.read(schema.owner, f"opening {self._name}")
            self._check_owner(owner)
            if owner is schema.Owner.FSSTORE:
                # Who only opens a store waits for no writer.
                if self._transactions.read(schema.version, f"opening {self._name}") != schema.VERSION:
                    self._transactions.write(schema.migrate, f"opening {self._name}")
                return
            if not self._create:
                raise StorageError(f"there is no store in {self._name}, and it was opened without creating one")
            try:
                self._make_tables()
                return
            except (StorageError, KeyTakenError):
                # Somebody else may be making them at this moment; what is there by now is looked at again.
                if tries == _CREATIONS - 1:
                    raise
                self._waiting.sleep(0.05 * (tries + 1))

    def _check_owner(self, owner: schema.Owner) -> None:
        if owner is schema.Owner.SOMEBODY_ELSE:
            raise StorageError(f"{self._name} has a table Commits or Snapshots that fsstore did not make")

    def _make_tables(self) -> None:
        what = f"making the tables in {self._name}"
        if self.database.before_creating is not None:
            self._transactions.outside(self.database.before_creating, what)
        self._transactions.write(schema.create, what)

    def close(self) -> None:
        """Let calls that began finish, give up the leases, close all connections."""
        with self._closing:
            self._begins_anew = False
            if self._closed:
                return
            self._closed = True
        self._let_go()

    def _let_go(self) -> None:
        inherited = self._process != os.getpid()
        if not inherited:
            self._end_waiting()
            self._under_way.wait(self._waiting.sleep)
            self._end_leases()
        # The parent goes on using connections that were inherited over a fork.
        self._engine.dispose(close=not inherited)

    def drop(self) -> None:
        """Destroy the tables and everything in them, also after `close()`; tables of others are refused."""
        if self._dropped:
            return
        self._check(even_closed=True)
        with self._closing:
            was_closed, self._closed = self._closed, True  # nobody looks for tables that are gone
        try:
            if not was_closed:
                self._end_waiting()
                self._under_way.wait(self._waiting.sleep)
            if not is_missing(self.url):
                self._transactions.write(self._drop_tables, f"dropping {self._name}")
            self._dropped = True
            if not was_closed:
                self._let_go()
                self._begins_anew = True
        except BaseException:
            self._closed = was_closed
            raise
        finally:
            if self._closed:
                self._engine.dispose()  # of what was connected for this

    def _drop_tables(self, connection: Connection) -> None:
        self._check_owner(schema.owner(connection))
        schema.drop(connection)

    def _check(self, *, even_closed: bool = False) -> None:
        if self._closed and not even_closed:
            raise StoreClosedError(f"{self._name} is closed; open it again")
        if self._process != os.getpid():
            raise StoreClosedError(f"{self._name} was opened before this process forked; open it anew in the child")

    def _read(self, ask: Callable[[Connection], Result], what: str) -> Result:
        return self._under_way.make(lambda: self._transactions.read(ask, what), self._check)

    def _write(self, change: Callable[[Connection], Result], what: str, settles: str = DONE_AGAIN) -> Result:
        return self._under_way.make(lambda: self._transactions.write(change, what, settles), self._check)

    # ---- commits ----

    def commit(self, attempt: CommitAttempt) -> Commit:
        """Store `attempt`, or raise and store nothing."""
        return self.commit_many((attempt,))[0]

    def commit_many(self, attempts: Iterable[CommitAttempt]) -> list[Commit]:
        """Store all attempts in one transaction, or raise and store none."""
        attempts = arguments.checked_attempts(attempts)
        # Other errors of a transaction say themselves what it was for.
        return for_commits(attempts, partial(self._store, attempts), (StoreClosedError,))

    def _store(self, attempts: Sequence[CommitAttempt]) -> list[Commit]:
        self._check()
        if not attempts:
            return []
        rows = [self._rows.row_of(attempt) for attempt in attempts]
        what = storing(attempts)
        for _ in range(_REFUSALS):
            try:
                commits = self._write(partial(writes.append, attempts=attempts, rows=rows), what, COMMITTED_AGAIN)
            except (NotStoredError, KeyTakenError):
                refusal = self._write(partial(writes.refusal, attempts=attempts), what)
                if refusal is not None:
                    raise refusal from None
                continue
            self.wake(commits[-1].checkpoint_token)
            return commits
        raise StorageUnavailableError(f"{what}: the stream changed each time that the commit was tried")

    # ---- reads ----

    def get_from(
        self, bucket_id: str, stream_id: str, min_revision: int = 0, max_revision: int | None = None
    ) -> Iterator[Commit]:
        """The stream's commits that touch the revisions, oldest first."""
        self._check()
        bucket_id, stream_id = arguments.checked_place(bucket_id, stream_id)
        if arguments.names_no_revision(min_revision, max_revision):
            return iter(())
        return self._walk(reads.stream(self._rows, bucket_id, stream_id, min_revision, max_revision))

    def get_from_checkpoint(
        self, checkpoint_token: int = 0, to_checkpoint: int | None = None, *, bucket_id: str | None = None
    ) -> Iterator[Commit]:
        """Commits after the one token, up to and with the other."""
        self._check()
        after, to = arguments.checked_tokens(checkpoint_token, to_checkpoint)
        return self._walk(reads.checkpoints(self._rows, after, to, arguments.checked_bucket(bucket_id)))

    def get_from_date(
        self, start: datetime, end: datetime | None = None, *, bucket_id: str | None = None
    ) -> Iterator[Commit]:
        """Commits with `start <= commit_stamp < end`, in checkpoint order."""
        self._check()
        return self._walk(
            reads.dates(self._rows, *arguments.checked_period(start, end), arguments.checked_bucket(bucket_id))
        )

    def get_undispatched_commits(self) -> Iterator[Commit]:
        """Commits not marked as dispatched, in checkpoint order."""
        self._check()
        return self._walk(reads.undispatched(self._rows))

    def get_streams_to_snapshot(self, bucket_id: str, max_threshold: int) -> Iterator[StreamHead]:
        """Heads of streams whose newest snapshot is at least `max_threshold` revisions behind."""
        self._check()
        bucket, threshold = arguments.checked_heads(bucket_id, max_threshold)
        return self._walk(reads.heads(bucket, threshold))

    def _walk(self, ask: Ask[Item]) -> Iterator[Item]:
        after, limit = None, FIRST_PAGE
        while True:
            page = self._read(partial(ask, after, limit), "reading")
            for item in page.items:
                self._check()
                yield item
            if page.after is None:
                return
            after, limit = page.after, next_limit(limit, page)

    # ---- snapshots, marks, deletion ----

    def get_snapshot(self, bucket_id: str, stream_id: str, max_revision: int | None = None) -> Snapshot | None:
        """The newest snapshot at or before `max_revision`."""
        self._check()
        bucket_id, stream_id = arguments.checked_place(bucket_id, stream_id)
        limit = arguments.checked_limit(max_revision, "max_revision")
        found = self._read(
            partial(reads.newest_snapshot, bucket_id=bucket_id, stream_id=stream_id, high=limit),
            f"reading a snapshot of stream {stream_id!r} in bucket {bucket_id!r}",
        )
        if found is None:
            return None
        revision, payload = found
        with reading_snapshot(bucket_id, stream_id, revision):
            return Snapshot(stream_id, revision, self._rows.snapshot_value(payload), bucket_id)

    def add_snapshot(self, snapshot: Snapshot) -> bool:
        """Store `snapshot`; `False` for a stream without commits and a revision that has one."""
        self._check()
        payload = self._rows.snapshot_payload(arguments.checked_value(snapshot, Snapshot))
        return self._write(
            partial(writes.add_snapshot, snapshot=snapshot, payload=payload),
            f"adding a snapshot to stream {snapshot.stream_id!r} in bucket {snapshot.bucket_id!r}",
        )

    def mark_commit_as_dispatched(self, commit: Commit) -> None:
        """Remember that `commit` was dispatched."""
        self._check()
        token = arguments.checked_mark(commit)
        self._write(partial(writes.mark, token=token), f"marking commit {commit.commit_id} as dispatched")

    def delete_stream(self, bucket_id: str, stream_id: str) -> None:
        """Forget one stream."""
        self._check()
        bucket_id, stream_id = arguments.checked_place(bucket_id, stream_id)
        self._write(
            partial(writes.delete_stream, bucket_id=bucket_id, stream_id=stream_id),
            f"deleting stream {stream_id!r} in bucket {bucket_id!r}",
        )

    def purge(self, bucket_id: str | None = None) -> None:
        """Forget every stream of the bucket, or of the store."""
        self._check()
        self._write(partial(writes.purge, bucket_id=arguments.checked_bucket(bucket_id)), f"purging {self._name}")
