"""One stream in the hands of one thread or task: what is committed, what is not yet, and how it becomes so.

The rules are those of NEventStore's `OptimisticEventStream`, written as steps in `WorkingCopy`; `EventStream`
carries them out in its thread, `fsstore.aio` awaits them. A stream reads and commits through its store and knows
no engine.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Protocol

from fsstore.errors import ConcurrencyError, StoreClosedError, StreamNotFoundError
from fsstore.model import Commit, CommitAttempt, EventMessage
from fsstore.steps import Each, Steps, run


class StreamSource(Protocol):
    """What a stream needs of its store."""

    def committing(self, attempt: CommitAttempt, stored: Callable[[Commit], None]) -> Steps[Commit | None]:
        """The rule of a commit, which calls `stored` once it is stored."""
        ...

    def read_stream(
        self, bucket_id: str, stream_id: str, min_revision: int, max_revision: int | None
    ) -> Iterator[tuple[Commit, Commit | None]] | AsyncIterator[tuple[Commit, Commit | None]]:
        """Commits as stored, each with what the hooks leave of it for a reader."""
        ...


class WorkingCopy:
    """The events of one stream, a place to gather new ones, and the rules for both; waits for nothing itself."""

    def __init__(self, store: StreamSource, bucket_id: str, stream_id: str) -> None:
        self._store = store
        self._bucket_id = bucket_id
        self._stream_id = stream_id
        self._closed = False
        self._uncommitted: list[EventMessage] = []
        self._uncommitted_headers: dict[str, Any] = {}
        self._forget_committed()

    def _forget_committed(self) -> None:
        self._revision = 0
        self._sequence = 0
        self._last_commit: tuple[uuid.UUID, int] | None = None
        self._committed: list[EventMessage] = []
        self._committed_headers: dict[str, Any] = {}

    # ---- what is there ----

    @property
    def bucket_id(self) -> str:
        return self._bucket_id

    @property
    def stream_id(self) -> str:
        return self._stream_id

    @property
    def stream_revision(self) -> int:
        """The revision of the last committed event that was read; 0 for an empty stream."""
        return self._revision

    @property
    def commit_sequence(self) -> int:
        """The number of the last commit that was read; 0 for an empty stream."""
        return self._sequence

    @property
    def committed_events(self) -> tuple[EventMessage, ...]:
        return tuple(self._committed)

    @property
    def committed_headers(self) -> Mapping[str, Any]:
        """The headers of all commits that were read, later ones over earlier ones. Nobody can change them."""
        return MappingProxyType(dict(self._committed_headers))

    @property
    def uncommitted_events(self) -> tuple[EventMessage, ...]:
        return tuple(self._uncommitted)

    @property
    def uncommitted_headers(self) -> dict[str, Any]:
        """The headers that the next commit will have; change them in place. It is the same mapping all the time, and
        empty after a commit."""
        return self._uncommitted_headers

    # ---- reading ----

    def reading(self, min_revision: int = 0, max_revision: int | None = None) -> Steps[None]:
        """Take in the events of that range; `StreamNotFoundError` when there are none and `min_revision > 0`."""
        yield from self._populating(min_revision, max_revision)
        if min_revision > 0 and not self._sequence:
            raise StreamNotFoundError(
                f"stream {self._stream_id!r} in bucket {self._bucket_id!r} has no event from revision {min_revision} on"
            )

    def reading_after_snapshot(self, revision: int, max_revision: int | None = None) -> Steps[None]:
        """Take in the events after a snapshot of that revision."""
        # From the snapshot's own revision, so that the commit it was made at tells the sequence.
        yield from self._populating(revision, max_revision, events_from=revision + 1)
        self._revision = max(self._revision, revision)

    def _populating(self, min_revision: int, max_revision: int | None, events_from: int | None = None) -> Steps[None]:
        first_wanted = min_revision if events_from is None else events_from

        def take(pair: tuple[Commit, Commit | None]) -> None:
            self._take(*pair, first_wanted, max_revision)

        yield Each(self._store.read_stream(self._bucket_id, self._stream_id, min_revision, max_revision), take)

    def _take(self, stored: Commit, selected: Commit | None, first: int, last: int | None) -> None:
        before = stored.stream_revision - len(stored.events)
        self._sequence = stored.commit_sequence
        self._last_commit = stored.commit_id, stored.commit_sequence
        self._revision = stored.stream_revision if last is None else min(stored.stream_revision, last)
        if selected is None:
            return
        self._committed_headers.update(selected.headers)
        if first <= before + 1 and (last is None or stored.stream_revision <= last):
            self._committed += selected.events
            return
        for revision, event in enumerate(selected.events, before + 1):
            if revision >= first and (last is None or revision <= last):
                self._committed.append(event)

    # ---- changing ----

    def add(self, event: Any) -> None:
        """Add an event to the next commit; a bare body is wrapped. `ValueError` for `None`."""
        self._check()
        self._uncommitted.append(event if isinstance(event, EventMessage) else EventMessage(event))

    def committing(self, commit_id: uuid.UUID | None = None) -> Steps[Commit | None]:
        """The rule of `commit_changes`."""
        self._check()
        if not self._uncommitted:
            return None
        attempt = CommitAttempt(
            self._stream_id,
            self._revision + len(self._uncommitted),
            uuid.uuid4() if commit_id is None else commit_id,
            self._sequence + 1,
            datetime.now(UTC),
            self._uncommitted_headers,
            tuple(self._uncommitted),
            self._bucket_id,
        )
        try:
            # Taken in at once: what is stored must not be stored again, whatever happens afterwards.
            return (yield from self._store.committing(attempt, self._accept))
        except ConcurrencyError:
            yield from self._refreshing()
            raise

    def _accept(self, commit: Commit) -> None:
        self._take(commit, commit, 0, None)
        # What a hook, or somebody who should not, added meanwhile is not stored: it is for the next commit.
        self._forget_changes(len(commit.events))

    def _refreshing(self) -> Steps[None]:
        """Take in what others committed; from the beginning where the stream was deleted under this one, for what was
        begun anew may be as long."""
        known, first_wanted = self._last_commit, self._revision + 1
        is_the_same: bool | None = None

        def take(pair: tuple[Commit, Commit | None]) -> bool:
            nonlocal is_the_same
            if is_the_same is None:
                is_the_same = known in (None, (pair[0].commit_id, pair[0].commit_sequence))
            if is_the_same:
                self._take(*pair, first_wanted, None)
            return not is_the_same

        # From the last commit that is known, which tells.
        commits = self._store.read_stream(self._bucket_id, self._stream_id, max(self._revision, 1), None)
        yield Each(commits, take)
        if not is_the_same:
            self._forget_committed()
            yield from self._populating(0, None)

    def clear_changes(self) -> None:
        """Forget what was added and is not committed."""
        self._check()
        self._forget_changes(len(self._uncommitted))

    def _forget_changes(self, events: int) -> None:
        del self._uncommitted[:events]
        self._uncommitted_headers.clear()

    def close(self) -> None:
        """No more calls; harmless when repeated."""
        self._closed = True

    def _check(self) -> None:
        if self._closed:
            raise StoreClosedError(f"stream {self._stream_id!r} in bucket {self._bucket_id!r} is closed; open it again")


class EventStream(WorkingCopy):
    """The events of one stream, and a place to gather new ones. Used by one thread; a context manager.

    Leaving the `with` block closes the stream; what was not committed is gone with it.
    """

    def commit_changes(self, commit_id: uuid.UUID | None = None) -> Commit | None:
        """Store what was added as one commit; `None` when there was nothing, or a hook refused it.

        Give a `commit_id` to make trying again harmless: `DuplicateCommitError` says that it was stored.
        `ConcurrencyError`: others were first; what they committed has been read, what was added is kept.
        """
        return run(self.committing(commit_id))

    def __enter__(self) -> EventStream:
        self._check()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
