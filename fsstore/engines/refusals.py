"""Why something is refused or cannot be read, in the words that every engine uses. Knows no engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from typing import TypeVar
from uuid import UUID

from fsstore.errors import (
    ConcurrencyError,
    DuplicateCommitError,
    EventStoreError,
    SerializationError,
    StorageError,
    StoreClosedError,
)
from fsstore.model import CommitAttempt, Snapshot, named

T = TypeVar("T")
ErrorT = TypeVar("ErrorT", bound=EventStoreError)


def duplicate(attempt: CommitAttempt) -> DuplicateCommitError:
    """Its id is in the stream."""
    return stored_already(named(attempt))


def stored_already(commit: str) -> DuplicateCommitError:
    """The same for who has only a commit's name, as `named` makes it."""
    return DuplicateCommitError(f"{commit} is stored already: there is nothing left to do")


def follows(attempt: CommitAttempt, sequence: int, revision: int) -> bool:
    """Whether it goes on where a stream ends."""
    return attempt.commit_sequence == sequence + 1 and attempt.stream_revision == revision + len(attempt.events)


def conflict(attempt: CommitAttempt, sequence: int, revision: int) -> ConcurrencyError:
    """It does not go on where the stream ends."""
    return does_not_follow(named(attempt), attempt.commit_sequence, attempt.stream_revision, sequence, revision)


def does_not_follow(
    commit: str, asked_sequence: int, asked_revision: int, sequence: int, revision: int
) -> ConcurrencyError:
    """The same for who has only a commit's name and where it was to go."""
    return ConcurrencyError(
        f"{commit} says commit {asked_sequence} up to revision {asked_revision}, but the stream is at commit "
        f"{sequence}, revision {revision}: read what is new, decide again, commit again"
    )


def storing(attempts: Sequence[CommitAttempt]) -> str:
    """What failed, when it was this."""
    return storing_named(named(attempts[0]), len(attempts)) if attempts else "storing nothing"


def storing_named(first: str, count: int) -> str:
    """The same for who has only the first commit's name."""
    return f"storing {first}" + (f" and {count - 1} more" if count > 1 else "")


def said_of(what: str, error: ErrorT) -> ErrorT:
    """The same error, which others may have too, for who asked for `what`."""
    told = copy(error)
    told.args = (f"{what}: {error}",)
    told.__cause__ = error.__cause__
    return told.with_traceback(error.__traceback__)


def for_commits(
    attempts: Sequence[CommitAttempt],
    call: Callable[[], T],
    errors: tuple[type[EventStoreError], ...] = (StorageError, StoreClosedError),
) -> T:
    """What `call` gives; these errors of it are said of the commits that were to be stored."""
    try:
        return call()
    except errors as error:
        raise said_of(storing(attempts), error) from error.__cause__


def unwritable(attempt: CommitAttempt, error: SerializationError) -> SerializationError:
    """The serializer has no bytes for it."""
    return SerializationError(f"{named(attempt)} cannot be written: {error}", error.path)


@contextmanager
def writing_snapshot(snapshot: Snapshot) -> Iterator[None]:
    """Where the serializer has no bytes for its payload, that is said of the snapshot."""
    try:
        yield
    except SerializationError as error:
        what = _snapshot(snapshot.bucket_id, snapshot.stream_id, snapshot.stream_revision)
        raise SerializationError(f"{what} cannot be written: {error}", error.path) from error


@contextmanager
def reading_snapshot(bucket_id: str, stream_id: str, revision: int) -> Iterator[None]:
    """Where the serializer cannot read what is stored, that is said of the snapshot."""
    try:
        yield
    except SerializationError as error:
        what = _snapshot(bucket_id, stream_id, revision)
        raise SerializationError(f"{what} cannot be read: {error}", error.path) from error


def _snapshot(bucket_id: str, stream_id: str, revision: int) -> str:
    return f"the snapshot of revision {revision} of stream {stream_id!r} in bucket {bucket_id!r}"


def unreadable(bucket_id: str, stream_id: str, commit_id: UUID, error: SerializationError) -> SerializationError:
    """The serializer cannot read what is stored of a commit."""
    return SerializationError(
        f"commit {commit_id} of stream {stream_id!r} in bucket {bucket_id!r} cannot be read: {error}", error.path
    )
