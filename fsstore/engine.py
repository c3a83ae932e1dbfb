"""The one seam: what a place that keeps commits promises to the store above it.

Every engine implements `PersistenceEngine`; `fsstore.testing` holds it to the words below. Nothing here knows
any engine, the store, hooks or dispatch. The promises follow NEventStore's `IPersistStreams`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, runtime_checkable

from fsstore.model import Commit, CommitAttempt, Snapshot, StreamHead


@runtime_checkable
class PersistenceEngine(Protocol):
    """A store of commits. Safe to call from any number of threads.

    After `close()` every call but `close()` and `drop()` raises `StoreClosedError`. Iterators read while they
    are walked and may be abandoned at any point; one that meets a closed engine raises it too, once it has
    given what it had read ahead. Ranges are inclusive unless a method says otherwise. An argument of a wrong type
    or value is a `TypeError` or `ValueError`, as `fsstore.engines.arguments` words it, and changes nothing.

    An engine on which no commit can be marked as dispatched may say why in `marks_refused`, a text; without that, or
    with `None`, marks are possible. The builder refuses a dispatcher for its reason.

    One whose payloads are a serializer's has that in `serializer`: it stores the states of projections, too.
    """

    def initialize(self) -> None:
        """Make the store usable, creating what is missing. Harmless when repeated."""
        ...

    def close(self) -> None:
        """Finish what was accepted and let go of all resources. Harmless when repeated."""
        ...

    def drop(self) -> None:
        """Destroy the store and everything in it, also after `close()`. Harmless when repeated. From here on every call
        raises `StoreClosedError`, until `initialize()` makes a new store of this engine where it was not closed. Who
        delivers or subscribes is begun anew, too: tokens count from 1 again."""
        ...

    def commit(self, attempt: CommitAttempt) -> Commit:
        """Store `attempt` whole; durable when this returns.

        Raises `DuplicateCommitError` when the stream has a commit of that id, otherwise `ConcurrencyError`
        when sequence or revision do not directly follow the stream's head, `SerializationError` or
        `ValueError` when the attempt cannot be written. A call that raises has stored nothing, except a
        `StorageUnavailableError` whose `in_doubt` is true.
        """
        ...

    def commit_many(self, attempts: Iterable[CommitAttempt]) -> list[Commit]:
        """Store all attempts of any iterable, in order, in one durable step, or none; errors as with `commit`."""
        ...

    def get_from(
        self, bucket_id: str, stream_id: str, min_revision: int = 0, max_revision: int | None = None
    ) -> Iterator[Commit]:
        """The stream's commits holding an event within the revisions, oldest first; none where the range is empty."""
        ...

    def get_from_checkpoint(
        self, checkpoint_token: int = 0, to_checkpoint: int | None = None, *, bucket_id: str | None = None
    ) -> Iterator[Commit]:
        """Commits after `checkpoint_token` up to and with `to_checkpoint`, in checkpoint order.

        A reader that has seen token N never later finds an unseen commit below N.
        """
        ...

    def get_from_date(
        self, start: datetime, end: datetime | None = None, *, bucket_id: str | None = None
    ) -> Iterator[Commit]:
        """Commits with `start <= commit_stamp < end`, in checkpoint order. Both times must be aware."""
        ...

    def get_snapshot(self, bucket_id: str, stream_id: str, max_revision: int | None = None) -> Snapshot | None:
        """The stream's newest snapshot at or before `max_revision`."""
        ...

    def add_snapshot(self, snapshot: Snapshot) -> bool:
        """Store `snapshot`. `False`, and nothing stored, for a stream without commits and for a revision
        that has a snapshot already."""
        ...

    def get_streams_to_snapshot(self, bucket_id: str, max_threshold: int) -> Iterator[StreamHead]:
        """The heads of streams with `head_revision >= snapshot_revision + max_threshold`."""
        ...

    def get_undispatched_commits(self) -> Iterator[Commit]:
        """Commits that nobody has marked as dispatched, in checkpoint order."""
        ...

    def mark_commit_as_dispatched(self, commit: Commit) -> None:
        """Remember that `commit` was dispatched. Harmless when repeated, and for one that is not in the store. A mark
        may be lost with the power; the commit is then dispatched again."""
        ...

    def delete_stream(self, bucket_id: str, stream_id: str) -> None:
        """Forget the stream: commits, snapshots, dispatch marks. Its tokens are never given out again. Who has it open
        opens it again: one that is begun anew with as many commits and events is taken for the old one there."""
        ...

    def purge(self, bucket_id: str | None = None) -> None:
        """Forget every stream of the bucket, or of the whole store. Tokens are never given out again."""
        ...


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to deliver under `name`. `fence` grows with every holder, so that a former one can be told."""

    name: str
    holder: str
    fence: int


@runtime_checkable
class DeliveryEngine(Protocol):
    """What delivery shared by several processes needs of an engine, beside `PersistenceEngine`.

    Small named values that survive like data, leases, and being woken. Names are those of subscriptions and
    dispatchers: 1 to 200 characters of any Unicode, compared character by character; anything else is a
    `ValueError` or `TypeError` (`fsstore.model.checked_name`). After `close()` every call raises
    `StoreClosedError` but `release_lease`; leases end with it. Values are no commits: only `drop()` and
    `delete_checkpoint` forget them. An engine without this delivers within one process only.
    """

    def get_checkpoint(self, name: str) -> bytes | None:
        """The value last put under `name`. `None` when there is none, and when it was lost or damaged: what
        was acknowledged under it is then delivered again."""
        ...

    def put_checkpoint(self, name: str, value: bytes, *, lease: Lease | None = None) -> None:
        """Replace the value whole, or leave the old one. It survives the process when this returns, and may
        be lost with the power. With a `lease` only while that is held: otherwise `LeaseLostError`, nothing
        changed. A `lease` of another name is as good: a value may be guarded by any lease. `value` has at most
        1,000,000 bytes; a longer one is a `ValueError`."""
        ...

    def delete_checkpoint(self, name: str) -> None:
        """Forget the value. Harmless when there is none."""
        ...

    def get_checkpoint_names(self) -> list[str]:
        """The names that have a value, sorted."""
        ...

    def acquire_lease(self, name: str, seconds: float) -> Lease | None:
        """The lease of `name`, or `None` at once while anybody, thread, process or host, holds it: also its
        holder gets no second one.

        It ends at once when its holder dies where the engine can tell (the file engine: the operating system
        does), elsewhere when it was not renewed for `seconds`, by the engine's clock and not by a caller's. An
        engine whose leases last as long as their holder says so with an attribute `leases_run_out = False`; others
        have theirs renewed by a thread while a dispatcher is called, and are asked for one less often. However many
        `seconds` are asked for, infinitely many too, it lasts as long as the engine's clock can tell.
        """
        ...

    def renew_lease(self, lease: Lease, seconds: float) -> None:
        """Hold it for `seconds` from now. `LeaseLostError` when somebody else took it meanwhile."""
        ...

    def release_lease(self, lease: Lease) -> None:
        """Let others have it. Harmless when it is lost already, also by `close()`."""
        ...

    def wait_for_commits(self, checkpoint_token: int, timeout_seconds: float) -> bool:
        """Wait until there may be a commit after `checkpoint_token`, made by whatever process: `True`; `False`
        after `timeout_seconds`. Costs next to nothing while it waits. Returns early, or raises
        `StoreClosedError`, when the engine closes. `True` can be wrong, as when the last commits were deleted:
        who finds nothing to read then waits a little by himself before asking again."""
        ...


@runtime_checkable
class AsyncPersistenceEngine(Protocol):
    """A store of commits for the tasks of one event loop: `PersistenceEngine` with `await` and `async for`.

    The promises are the same, word for word.

    A call that is cancelled has either stored all of what it was given or nothing; the note on the
    cancellation says when that is in doubt. `close()` waits for what was accepted.
    """

    async def initialize(self) -> None: ...

    async def close(self) -> None: ...

    async def drop(self) -> None: ...

    async def commit(self, attempt: CommitAttempt) -> Commit: ...

    async def commit_many(self, attempts: Iterable[CommitAttempt]) -> list[Commit]: ...

    def get_from(
        self, bucket_id: str, stream_id: str, min_revision: int = 0, max_revision: int | None = None
    ) -> AsyncIterator[Commit]: ...

    def get_from_checkpoint(
        self, checkpoint_token: int = 0, to_checkpoint: int | None = None, *, bucket_id: str | None = None
    ) -> AsyncIterator[Commit]: ...

    def get_from_date(
        self, start: datetime, end: datetime | None = None, *, bucket_id: str | None = None
    ) -> AsyncIterator[Commit]: ...

    async def get_snapshot(
        self, bucket_id: str, stream_id: str, max_revision: int | None = None
    ) -> Snapshot | None: ...

    async def add_snapshot(self, snapshot: Snapshot) -> bool: ...

    def get_streams_to_snapshot(self, bucket_id: str, max_threshold: int) -> AsyncIterator[StreamHead]: ...

    def get_undispatched_commits(self) -> AsyncIterator[Commit]: ...

    async def mark_commit_as_dispatched(self, commit: Commit) -> None: ...

    async def delete_stream(self, bucket_id: str, stream_id: str) -> None: ...

    async def purge(self, bucket_id: str | None = None) -> None: ...
