"""The store: streams and commits over any engine, with hooks on the way in and out.

It knows the engine protocol and no engine; which engine, which hooks and which scheduler there are is decided
in `wireup`.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Any, Protocol
from uuid import UUID

from fsstore.engine import PersistenceEngine
from fsstore.errors import AfterCommitError, StoreClosedError
from fsstore.hooks import Hooks
from fsstore.model import DEFAULT_BUCKET, Commit, CommitAttempt, Snapshot, checked_id
from fsstore.stream import EventStream


class Scheduler(Protocol):
    """What delivers commits; `committed` is told of each one that this store stored."""

    def committed(self, commit: Commit) -> None: ...

    def close(self) -> None: ...


class EventStore:
    """Streams of commits. Shared freely between threads; a context manager that closes it.

    After `close()` every call raises `StoreClosedError`.
    """

    def __init__(
        self, engine: PersistenceEngine, hooks: Iterable[Any] | Hooks = (), scheduler: Scheduler | None = None
    ) -> None:
        self._engine = engine
        self._hooks = hooks if isinstance(hooks, Hooks) else Hooks(hooks)
        self._scheduler = scheduler
        self._closing = threading.Lock()
        self._closed = False

    # ---- streams ----

    def create_stream(self, stream_id: str | UUID, *, bucket_id: str = DEFAULT_BUCKET) -> EventStream:
        """An empty stream, nothing read. That it is new shows when it is committed."""
        self._check()
        return EventStream(self, checked_id(bucket_id, "bucket_id"), checked_id(stream_id, "stream_id"))

    def open_stream(
        self,
        stream: str | UUID | Snapshot,
        min_revision: int = 0,
        max_revision: int | None = None,
        *,
        bucket_id: str = DEFAULT_BUCKET,
    ) -> EventStream:
        """The stream with the events of that range, or with those after a snapshot.

        `StreamNotFoundError` when nothing is there and `min_revision > 0`. With a snapshot the range is
        `open_stream(snapshot, max_revision)`.
        """
        self._check()
        if isinstance(stream, Snapshot):
            last = max_revision if max_revision is not None else (min_revision or None)
            opened = EventStream(self, stream.bucket_id, stream.stream_id)
            opened.read_after_snapshot(stream.stream_revision, last)
            return opened
        opened = self.create_stream(stream, bucket_id=bucket_id)
        opened.read(min_revision, max_revision)
        return opened

    # ---- commits ----

    def commit(self, attempt: CommitAttempt) -> Commit | None:
        """Store `attempt`; `None` when a hook refused it. Errors as with `PersistenceEngine.commit`.

        `AfterCommitError` says that the commit is stored and that a hook or the dispatch failed then.
        """
        self._check()
        if not isinstance(attempt, CommitAttempt):
            raise TypeError(f"a CommitAttempt is needed, not {type(attempt).__name__}")
        if not self._hooks.allow(attempt):
            return None
        commit = self._engine.commit(attempt)
        try:
            self._hooks.committed(commit)
        except Exception as error:
            raise AfterCommitError(
                f"commit {commit.commit_id} of stream {commit.stream_id!r} in bucket {commit.bucket_id!r} is stored, "
                f"but a hook failed afterwards: {error}",
                commit,
            ) from error
        finally:
            if self._scheduler is not None:
                self._scheduler.committed(commit)
        return commit

    def get_from(
        self,
        stream_id: str | UUID,
        min_revision: int = 0,
        max_revision: int | None = None,
        *,
        bucket_id: str = DEFAULT_BUCKET,
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
        select = self._hooks.select
        commits = self._engine.get_from(bucket_id, stream_id, min_revision, max_revision)
        return ((commit, select(commit)) for commit in commits)

    # ---- the rest ----

    @property
    def advanced(self) -> PersistenceEngine:
        """The engine underneath. Where hooks want to hear of purges and deletions, it tells them."""
        self._check()
        if self._hooks.watch_deletion:
            return _WatchedEngine(self._engine, self._hooks)
        return self._engine

    def close(self) -> None:
        """Stop delivering, close the hooks and the engine. Harmless when repeated."""
        with self._closing:
            if self._closed:
                return
            self._closed = True
        try:
            if self._scheduler is not None:
                self._scheduler.close()
        finally:
            try:
                self._hooks.close()
            finally:
                self._engine.close()

    def _check(self) -> None:
        if self._closed:
            raise StoreClosedError("this event store is closed; open it again")

    def __enter__(self) -> EventStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _WatchedEngine:
    """The engine, with the hooks told of what is deleted through it."""

    def __init__(self, engine: PersistenceEngine, hooks: Hooks) -> None:
        self._engine = engine
        self._hooks = hooks

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def purge(self, bucket_id: str | None = None) -> None:
        self._engine.purge(bucket_id)
        self._hooks.purged(bucket_id)

    def delete_stream(self, bucket_id: str, stream_id: str) -> None:
        self._engine.delete_stream(bucket_id, stream_id)
        self._hooks.deleted(bucket_id, stream_id)
