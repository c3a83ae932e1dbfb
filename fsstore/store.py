"""The store: streams and commits over any engine, with hooks on the way in and out.

It knows the engine protocol and no engine; which engine, which hooks and which scheduler there are is decided
in `wireup`. The rules are steps in `StoreRules`; `EventStore` carries them out in the caller's thread, `fsstore.aio`
awaits them.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from types import FrameType
from typing import TYPE_CHECKING, Any, TypeVar, overload
from uuid import UUID

from fsstore.dispatch import SqliteProjection, StoreProjection, Subscription, Subscriptions
from fsstore.dispatch.schedulers import Scheduler
from fsstore.engine import DeliveryEngine, PersistenceEngine
from fsstore.errors import AfterCommitError, StoreClosedError
from fsstore.hooks import Hooks
from fsstore.model import DEFAULT_BUCKET, Commit, CommitAttempt, Snapshot, checked_id, checked_int, named, not_a
from fsstore.options import check_options
from fsstore.steps import Call, Steps, all_of, run
from fsstore.stream import EventStream, WorkingCopy

if TYPE_CHECKING:
    from sqlite3 import Connection

_log = logging.getLogger("fsstore")
StreamT = TypeVar("StreamT", bound=WorkingCopy)
S = TypeVar("S")
_OF_OPEN_STREAM = ("stream_id", "snapshot", "min_revision", "max_revision", "bucket_id")


class StoreRules:
    """What happens around a commit and at the end; waits for nothing itself."""

    def __init__(self, engine: Any, hooks: Iterable[Any] | Hooks = (), scheduler: Any = None) -> None:
        self._engine = engine
        self._hooks = hooks if isinstance(hooks, Hooks) else Hooks(hooks)
        self._scheduler = scheduler
        self._subscriptions: Any = None
        # A dispatcher may close the store while this starts to deliver.
        self._closing = threading.RLock()
        self._process = os.getpid()
        self._dispatching = False
        self._to_close: list[Callable[..., Any]] = []
        self._closed = False

    def _opening(
        self, kind: type[StreamT], arguments: tuple[Any, ...], named: dict[str, Any]
    ) -> tuple[StreamT, Steps[None]]:
        """The rule of `open_stream`, which has two signatures: the stream, and the steps that read into it."""
        self._check()
        is_snapshot = bool(arguments) and isinstance(arguments[0], Snapshot)
        names = ("snapshot", "max_revision") if is_snapshot else ("stream_id", "min_revision", "max_revision")
        if len(arguments) > len(names):
            raise TypeError(f"open_stream takes {', '.join(names)} by position, not {len(arguments)} arguments")
        given = dict(zip(names, arguments, strict=False))
        if given.keys() & named.keys():
            raise TypeError("open_stream takes a stream_id or a snapshot, one of the two, and each argument once")
        if named:
            check_options("open_stream", named, _OF_OPEN_STREAM)
        return self._opening_named(kind, **given, **named)

    def _opening_named(
        self,
        kind: type[StreamT],
        *,
        stream_id: str | UUID | None = None,
        snapshot: Snapshot | None = None,
        min_revision: int = 0,
        max_revision: int | None = None,
        bucket_id: str | UUID = DEFAULT_BUCKET,
    ) -> tuple[StreamT, Steps[None]]:
        if max_revision is not None and checked_int(max_revision, "max_revision") <= 0:
            max_revision = None  # as with NEventStore
        if snapshot is None and stream_id is not None:
            opened = kind(self, checked_id(bucket_id, "bucket_id"), checked_id(stream_id, "stream_id"))
            return opened, opened.reading(min_revision, max_revision)
        if snapshot is None or stream_id is not None:
            raise TypeError("open_stream takes a stream_id or a snapshot, one of the two")
        if not isinstance(snapshot, Snapshot):
            raise not_a(Snapshot, snapshot)
        if min_revision or bucket_id not in (DEFAULT_BUCKET, snapshot.bucket_id):
            raise TypeError("a snapshot says itself what min_revision and bucket_id say of a stream_id")
        opened = kind(self, snapshot.bucket_id, snapshot.stream_id)
        return opened, opened.reading_after_snapshot(snapshot.stream_revision, max_revision)

    def read_stream(self, bucket_id: str, stream_id: str, min_revision: int, max_revision: int | None) -> Any:
        """Each commit as it is stored and as the hooks leave it; `None` where they hide it."""
        raise NotImplementedError

    def committing(
        self, attempt: CommitAttempt, stored: Callable[[Commit], None] = lambda commit: None
    ) -> Steps[Commit | None]:
        """The rule of `commit`. `stored` is called once the commit is stored, whatever happens afterwards."""
        if not isinstance(attempt, CommitAttempt):
            raise not_a(CommitAttempt, attempt)
        if self._closed:
            raise StoreClosedError(f"storing {named(attempt)}: this event store is closed; open it again")
        # For an interruption: a cancellation or a `KeyboardInterrupt`.
        note: str | None = "interrupted before it was stored: nothing was stored"
        try:
            if not (yield from self._hooks.allowing(attempt)):
                return None
            note = None  # the engine knows what it means there
            commit: Commit = yield Call(self._engine.commit, (attempt,))
            note = "interrupted after it was stored: do not commit it again"
            stored(commit)
            try:
                yield from self._hooks.committed(commit)
            except Exception as error:
                raise AfterCommitError(
                    f"{named(commit)} is stored, but a hook failed afterwards: {error}", commit
                ) from error
            finally:
                if self._scheduler is not None:
                    yield Call(self._scheduler.committed, (commit,))
        except BaseException as error:
            if note is not None and not isinstance(error, Exception):
                error.add_note(note)
            raise
        return commit

    def closing(self) -> Steps[None]:
        """The rule of `close`: first subscriptions and delivery, then the hooks, then the engine, whatever fails.

        In the child of a fork nothing is closed: it is the parent's, and so is who holds the locks.
        """
        if self._process != os.getpid():
            self._closed = True
            return
        with self._closing:
            if self._closed:
                return
            delivery = (part.close for part in (self._subscriptions, self._scheduler) if part is not None)
            self._to_close = [*delivery, *self._hooks.closes]
            self._closed = True
        yield from all_of(self._left_to_close())

    def _closing_on(self) -> Steps[None]:
        """After `closing` was interrupted: what it did not come to, and the engine in any case."""
        yield from self.closing()
        if self._process == os.getpid():
            yield from all_of(self._left_to_close())

    def _left_to_close(self) -> Iterator[Callable[..., Any]]:
        while self._to_close:
            yield self._to_close[0]
            del self._to_close[0]
        yield self._engine.close

    def _check(self) -> None:
        if self._closed:
            raise StoreClosedError("this event store is closed; open it again")


class EventStore(StoreRules):
    """Streams of commits. Shared freely between threads; a context manager that closes it.

    After `close()` every call raises `StoreClosedError`.
    """

    _subscriptions: Subscriptions

    def __init__(
        self, engine: PersistenceEngine, hooks: Iterable[Any] | Hooks = (), scheduler: Scheduler | None = None
    ) -> None:
        super().__init__(engine, hooks, scheduler)
        self._subscriptions = Subscriptions(engine, self._hooks.select)

    # ---- streams ----

    def create_stream(self, stream_id: str | UUID, *, bucket_id: str | UUID = DEFAULT_BUCKET) -> EventStream:
        """An empty stream, nothing read. That it is new shows when it is committed."""
        self._check()
        return EventStream(self, checked_id(bucket_id, "bucket_id"), checked_id(stream_id, "stream_id"))

    @overload
    def open_stream(
        self,
        stream_id: str | UUID,
        min_revision: int = 0,
        max_revision: int | None = None,
        *,
        bucket_id: str | UUID = DEFAULT_BUCKET,
    ) -> EventStream: ...

    @overload
    def open_stream(self, snapshot: Snapshot, max_revision: int | None = None) -> EventStream: ...

    def open_stream(self, *arguments: Any, **named: Any) -> EventStream:
        """`open_stream(stream_id, min_revision=0, max_revision=None, *, bucket_id="default")`: the stream with the
        events of that range. `open_stream(snapshot, max_revision=None)`: the stream with those after a snapshot.

        `None` and, as with NEventStore, 0 are no end here; `get_from` has no event up to revision 0.
        `StreamNotFoundError` when nothing is there and `min_revision > 0`; `TypeError` for neither an id nor a
        snapshot, and for both.
        """
        opened, reading = self._opening(EventStream, arguments, named)
        run(reading)
        return opened

    # ---- commits ----

    def commit(self, attempt: CommitAttempt) -> Commit | None:
        """Store `attempt`; `None` when a hook refused it. Errors as with `PersistenceEngine.commit`.

        `AfterCommitError` says that the commit is stored and that a hook or the dispatch failed then.
        """
        return run(self.committing(attempt))

    def get_from(
        self,
        stream_id: str | UUID,
        min_revision: int = 0,
        max_revision: int | None = None,
        *,
        bucket_id: str | UUID = DEFAULT_BUCKET,
    ) -> Iterator[Commit]:
        """The commits that touch that range, oldest first, as the hooks leave them."""
        self._check()
        names = checked_id(bucket_id, "bucket_id"), checked_id(stream_id, "stream_id")
        return (
            selected for _, selected in self.read_stream(*names, min_revision, max_revision) if selected is not None
        )

    def read_stream(
        self, bucket_id: str, stream_id: str, min_revision: int, max_revision: int | None
    ) -> Iterator[tuple[Commit, Commit | None]]:
        """Each commit as it is stored and as the hooks leave it; `None` where they hide it."""
        self._check()
        commits = self._engine.get_from(bucket_id, stream_id, min_revision, max_revision)
        select = self._hooks.select
        return ((commit, select(commit)) for commit in commits)

    # ---- dispatch ----

    def start_dispatching(self) -> None:
        """Begin to deliver, with what is undispatched; needed after `dispatch_to(…, start=False)` only.

        Harmless when repeated, and without a scheduler.
        """
        with self._closing:
            self._check()
            if self._scheduler is None or self._dispatching:
                return
            self._dispatching = True
        # Without the lock: this may deliver for long, and to a dispatcher that closes the store.
        self._scheduler.start()

    def subscribe(
        self, name: str, *, from_checkpoint: int = 0, bucket_id: str | UUID | None = None, **options: Any
    ) -> Subscription:
        """The commits after `from_checkpoint` in checkpoint order, waiting for new ones, as an iterator.

        It remembers under `name` (1 to 150 characters) what was acknowledged; `from_checkpoint` counts only
        where nothing is remembered. `options` are the other keywords of
        `fsstore.dispatch.Subscription`.
        """
        self._check()
        return self._subscriptions.subscribe(name, from_checkpoint=from_checkpoint, bucket_id=bucket_id, **options)

    @property
    def subscriptions(self) -> Subscriptions:
        """What is remembered under all names: `all`, `reset`, `delete`."""
        self._check()
        return self._subscriptions

    def projection(
        self, name: str, fold: Callable[[S, Commit], S], initial: Callable[[], S], **options: Any
    ) -> StoreProjection[S]:
        """A state folded from all commits and kept in this store, in which each counts exactly once."""
        self._check()
        StoreProjection.check(options)
        return StoreProjection(self._engine, name, fold, initial, select=self._hooks.select, **options)

    def sqlite_projection(
        self, name: str, connection: Connection, apply: Callable[[Connection, Commit], object], **options: Any
    ) -> SqliteProjection:
        """Tables of an SQLite database kept up by all commits, each counting exactly once."""
        self._check()
        SqliteProjection.check(options)
        return SqliteProjection(self._engine, name, connection, apply, select=self._hooks.select, **options)

    # ---- the rest ----

    @property
    def advanced(self) -> PersistenceEngine:
        """The engine underneath. Where hooks want to hear of purges and deletions, it tells them."""
        self._check()
        engine: PersistenceEngine = self._engine
        if not self._hooks.watch_deletion:
            return engine
        kind = _WatchedDeliveryEngine if isinstance(engine, DeliveryEngine) else _WatchedEngine
        return kind(engine, self._hooks)

    def close(self) -> None:
        """Stop delivering, close subscriptions, hooks and the engine. Harmless when repeated.

        All of them are closed, whatever fails and whoever interrupts it; then the first error is raised. A signal's
        handler may close the store, too: what it interrupted in an engine goes on to its end, and a thread closes the
        store then.
        """
        try:
            self._close(self.closing)
        except Exception:
            raise
        except BaseException:
            self._close(self._closing_on)
            raise

    def _close(self, steps: Callable[[], Steps[None]]) -> None:
        if not _interrupts_an_engine():
            run(steps())
            return
        # The call that was interrupted would be waited for, in the thread that is to go on with it.
        threading.Thread(target=self._close_behind, name="fsstore closing").start()

    def _close_behind(self) -> None:
        try:
            run(self.closing())
        except Exception as error:  # nobody is there to be told
            _log.error("closing the store failed: %s", error)

    def __enter__(self) -> EventStore:
        self._check()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _interrupts_an_engine() -> bool:
    """Whether one of ours is being called further down in this thread: a signal's handler, or a serializer, asks."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if str(frame.f_globals.get("__name__")).startswith("fsstore.engines."):
            return True
        frame = frame.f_back
    return False


@PersistenceEngine.register  # since Python 3.12, a protocol asks no `__getattr__`
class _WatchedEngine:
    """The engine, with the hooks told of what is deleted through it."""

    def __init__(self, engine: PersistenceEngine, hooks: Hooks) -> None:
        self._engine = engine
        self._hooks = hooks

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def purge(self, bucket_id: str | None = None) -> None:
        self._engine.purge(bucket_id)
        run(self._hooks.purged(bucket_id))

    def delete_stream(self, bucket_id: str, stream_id: str) -> None:
        self._engine.delete_stream(bucket_id, stream_id)
        run(self._hooks.deleted(bucket_id, stream_id))


@DeliveryEngine.register
class _WatchedDeliveryEngine(_WatchedEngine):
    """The same over an engine that is one."""
