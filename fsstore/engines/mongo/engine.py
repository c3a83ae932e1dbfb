"""The MongoDB engine: the promises of `PersistenceEngine` and `DeliveryEngine` over one database.

It checks arguments and hands conversations to the driver. What is said to the server stands in `opening.py`,
`writing.py`, `reading.py`, `changing.py` and `delivery.py`, who says it in `driver.py`. The twin for tasks is this
engine once more, with another client (`awaiting.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from copy import copy
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

from pymongo import MongoClient
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from fsstore.engine import AsyncPersistenceEngine, Lease
from fsstore.engines import arguments
from fsstore.engines.mongo import changing, delivery, layout, opening, writing
from fsstore.engines.mongo.calls import Conversation
from fsstore.engines.mongo.driver import Driver
from fsstore.engines.mongo.form import Pages
from fsstore.engines.mongo.layout import Names
from fsstore.engines.mongo.opening import Opened
from fsstore.engines.mongo.waking import Waking
from fsstore.engines.refusals import for_commits, writing_snapshot
from fsstore.engines.threaded import ThreadedEngine
from fsstore.engines.waiting import ThreadWaiting, Waiting
from fsstore.errors import StoreClosedError
from fsstore.model import Commit, CommitAttempt, Snapshot, StreamHead, checked_checkpoint, checked_name
from fsstore.serialization import MsgpackSerializer, Serializer

T = TypeVar("T")


class MongoEngine:
    """A store in one MongoDB database. Shared freely between threads, processes and hosts."""

    def __init__(
        self,
        url: str,
        *,
        serializer: Serializer | None,
        database: str | None,
        names: Names,
        write_concern: WriteConcern | None,
        read_concern: ReadConcern | None,
        client_options: Mapping[str, Any],
    ) -> None:
        """`database`: by default the one that the URL names, else `fsstore`. `write_concern` and `read_concern`:
        by default those of the URL, else majority and journaled, and majority. Nothing is connected yet."""
        self._names = names
        self._serializer: Serializer = serializer if serializer is not None else MsgpackSerializer()
        self.serializer = None if opening.allows_csharp(self._serializer) else self._serializer
        self._connected = partial(
            opening.connected,
            url=url,
            names=names,
            database=database,
            write_concern=write_concern,
            read_concern=read_concern,
            client_options=client_options,
        )
        self.connect(MongoClient, ThreadWaiting())

    def connect(self, client_class: Callable[..., Any], waiting: Waiting) -> None:
        """Begin with a client of one kind; for `awaiting.py`, which has another."""
        self._client_class, self._waiting = client_class, waiting
        self._driver = Driver(self._connected(client_class), waiting)
        self._waking = Waking(self._driver)
        self._store: Opened | None = None
        self._numbering = waiting.lock()
        self._known = writing.Known()
        self._leases: set[Lease] = set()
        self._dropped = self._begins_anew = False

    def awaiting(self) -> AsyncPersistenceEngine:
        """The twin for the tasks of the running event loop: with pymongo's awaiting client where that can run."""
        from fsstore.engines.mongo.awaiting import twin

        return twin(self) or ThreadedEngine(self)

    # ---- opening and closing ----

    def initialize(self) -> None:
        """Find out whose documents these are; make a store of ours where there is none."""
        if self._begins_anew:
            self.connect(self._client_class, self._waiting)
        self._store = self._driver.run(opening.opened(self._names, self._serializer), writing=True)

    @property
    def _opened(self) -> Opened:
        if self._store is None:
            self._driver.check()  # one that was dropped begins anew when it is asked to
            self.initialize()
        assert self._store is not None
        return self._store

    @property
    def marks_refused(self) -> str | None:
        """Why no commit can be marked as dispatched; `None` where that is possible. Asks the server."""
        return self._opened.marks_refused

    def _write(self, conversation: Conversation[T]) -> T:
        self._opened.check_writable()
        return self._driver.run(conversation, writing=True)

    def close(self) -> None:
        """Finish what was accepted, release the leases and let go of the connections."""
        self._begins_anew = False
        self._driver.close(delivery.release_leases(self._leases), self._waking.close)

    def drop(self) -> None:
        """Drop the collections of the store, also after `close()`."""
        if self._dropped:
            return
        if not self._driver.closing.is_set():
            if self._is_there():
                self._opened.check_writable()
            # Who commits meanwhile would make collections of nobody's.
            self.close()
            self._begins_anew = True
        with closing(self._anew()) as engine:  # as a client that was closed is of no use any more
            if engine._is_there():
                engine._write(layout.forget(engine._opened.kind))
        self._dropped = True

    def _is_there(self) -> bool:
        return self._driver.run(layout.recognize(self._names)) is not None

    def _anew(self) -> MongoEngine:
        engine = copy(self)
        engine.connect(self._client_class, self._waiting)
        return engine

    # ---- commits ----

    def commit(self, attempt: CommitAttempt) -> Commit:
        """Store `attempt`, or raise and store nothing."""
        return self.commit_many((attempt,))[0]

    def commit_many(self, attempts: Iterable[CommitAttempt]) -> list[Commit]:
        """Store all attempts, or raise and store none. Several need a server with transactions."""
        attempts = arguments.checked_attempts(attempts)
        numbers = for_commits(attempts, partial(self._store_all, attempts))
        return [Commit.of(attempt, number) for attempt, number in zip(attempts, numbers, strict=True)]

    def _store_all(self, attempts: Sequence[CommitAttempt]) -> Sequence[int]:
        store = self._opened
        store.check_writable()
        self._driver.check()
        documents = [store.form.document(attempt) for attempt in attempts]
        if not attempts:
            return []
        said = writing.store(store.form, attempts, documents, self._known, transactions=store.transactions)
        # Those of one process would only take the numbers from one another.
        return self._driver.run(said, writing=True, turn=self._numbering)

    # ---- reads ----

    def get_from(
        self, bucket_id: str, stream_id: str, min_revision: int = 0, max_revision: int | None = None
    ) -> Iterator[Commit]:
        """The stream's commits that touch the revisions."""
        place = arguments.checked_place(bucket_id, stream_id)
        if arguments.names_no_revision(min_revision, max_revision):
            self._driver.check()
            return iter(())
        return self._walk(self._opened.reads.stream(*place, min_revision, max_revision))

    def get_from_checkpoint(
        self, checkpoint_token: int = 0, to_checkpoint: int | None = None, *, bucket_id: str | None = None
    ) -> Iterator[Commit]:
        """Commits after the one token, up to and with the other."""
        after, to = arguments.checked_tokens(checkpoint_token, to_checkpoint)
        return self._walk(self._opened.reads.checkpoints(after, to, arguments.checked_bucket(bucket_id)))

    def get_from_date(
        self, start: datetime, end: datetime | None = None, *, bucket_id: str | None = None
    ) -> Iterator[Commit]:
        """Commits with `start <= commit_stamp < end`."""
        period = arguments.checked_period(start, end)
        return self._walk(self._opened.reads.dates(*period, arguments.checked_bucket(bucket_id)))

    def get_undispatched_commits(self) -> Iterator[Commit]:
        """Commits not marked as dispatched."""
        return self._walk(self._opened.reads.undispatched())

    def _walk(self, pages: Pages) -> Iterator[Commit]:
        while pages.more:
            yield from self._driver.run(pages.page())

    # ---- snapshots ----

    def get_snapshot(self, bucket_id: str, stream_id: str, max_revision: int | None = None) -> Snapshot | None:
        """The newest snapshot at or before `max_revision`."""
        place = arguments.checked_place(bucket_id, stream_id)
        limit = arguments.checked_limit(max_revision, "max_revision")
        return self._driver.run(self._opened.reads.snapshot(*place, limit))

    def add_snapshot(self, snapshot: Snapshot) -> bool:
        """Store `snapshot`; `False` for a stream without commits and a revision that has one."""
        store = self._opened
        store.check_writable()
        self._driver.check()
        with writing_snapshot(arguments.checked_value(snapshot, Snapshot)):
            payload = store.form.snapshot_payload(snapshot.payload)
        return self._write(changing.add_snapshot(store.form, snapshot, payload))

    def get_streams_to_snapshot(self, bucket_id: str, max_threshold: int) -> Iterator[StreamHead]:
        """Heads of streams whose newest snapshot is at least `max_threshold` revisions behind."""
        bucket, threshold = arguments.checked_heads(bucket_id, max_threshold)
        return self._each(self._opened.reads.heads(bucket, threshold))

    def _each(self, asked: Conversation[list[T]]) -> Iterator[T]:
        yield from self._driver.run(asked)

    # ---- dispatch marks and deletion ----

    def mark_commit_as_dispatched(self, commit: Commit) -> None:
        """Remember that `commit` was dispatched."""
        token = arguments.checked_mark(commit)
        self._write(changing.mark(self._opened.form.undispatched, token))

    def delete_stream(self, bucket_id: str, stream_id: str) -> None:
        """Forget one stream. A commit to it that is under way may end up as the first of a stream without
        beginning: delete streams that nobody writes to."""
        place = arguments.checked_place(bucket_id, stream_id)
        self._write(changing.bury(self._opened.form, *place))

    def purge(self, bucket_id: str | None = None) -> None:
        """Forget every stream of the bucket, or of the store."""
        self._write(changing.bury(self._opened.form, arguments.checked_bucket(bucket_id)))

    # ---- delivery ----

    def get_checkpoint(self, name: str) -> bytes | None:
        """The value last put under `name`."""
        return self._driver.run(delivery.get_checkpoint(checked_name(name)))

    def put_checkpoint(self, name: str, value: bytes, *, lease: Lease | None = None) -> None:
        """Replace the value, with a lease only while that is held."""
        value = checked_checkpoint(value, checked_name(name))
        self._write(delivery.put_checkpoint(name, value, lease, transactions=self._opened.transactions))

    def delete_checkpoint(self, name: str) -> None:
        """Forget the value."""
        self._write(delivery.delete_checkpoint(checked_name(name)))

    def get_checkpoint_names(self) -> list[str]:
        """The names that have a value, sorted."""
        return self._driver.run(delivery.get_checkpoint_names())

    def acquire_lease(self, name: str, seconds: float) -> Lease | None:
        """The lease of `name` for `seconds` by the server's clock, or `None` while somebody holds it."""
        lease = self._write(delivery.acquire_lease(*arguments.checked_lease(name, seconds)))
        if lease is not None:
            self._leases.add(lease)
        return lease

    def renew_lease(self, lease: Lease, seconds: float) -> None:
        """Hold it for `seconds` from now."""
        _, seconds = arguments.checked_lease(lease.name, seconds)
        self._write(delivery.renew_lease(lease, seconds))

    def release_lease(self, lease: Lease) -> None:
        """Let others have it."""
        with suppress(StoreClosedError):  # closing releases it
            self._write(delivery.release_leases([lease]))
            self._leases.discard(lease)

    def wait_for_commits(self, checkpoint_token: int, timeout_seconds: float) -> bool:
        """Wait until there may be a commit after `checkpoint_token`."""
        checkpoint_token, timeout_seconds = arguments.checked_wait(checkpoint_token, timeout_seconds)
        store = self._opened
        return self._waking.wait(
            store.reads.is_above, checkpoint_token, timeout_seconds, change_streams=store.transactions
        )
