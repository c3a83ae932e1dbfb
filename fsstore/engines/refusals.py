"""Why an attempt is refused, in the words that every engine uses. Knows no engine."""

from __future__ import annotations

from fsstore.errors import ConcurrencyError, DuplicateCommitError, SerializationError
from fsstore.model import CommitAttempt


def named(attempt: CommitAttempt) -> str:
    """How messages call an attempt."""
    return f"commit {attempt.commit_id} of stream {attempt.stream_id!r} in bucket {attempt.bucket_id!r}"


def duplicate(attempt: CommitAttempt) -> DuplicateCommitError:
    """Its id is in the stream."""
    return DuplicateCommitError(f"{named(attempt)} is stored already: there is nothing left to do")


def follows(attempt: CommitAttempt, sequence: int, revision: int) -> bool:
    """Whether it goes on where a stream ends."""
    return attempt.commit_sequence == sequence + 1 and attempt.stream_revision == revision + len(attempt.events)


def conflict(attempt: CommitAttempt, sequence: int, revision: int) -> ConcurrencyError:
    """It does not go on where the stream ends."""
    return ConcurrencyError(
        f"{named(attempt)} says commit {attempt.commit_sequence} up to revision {attempt.stream_revision}, but the "
        f"stream is at commit {sequence}, revision {revision}: read what is new, decide again, commit again"
    )


def unwritable(attempt: CommitAttempt, error: SerializationError) -> SerializationError:
    """The serializer has no bytes for it."""
    return SerializationError(f"{named(attempt)} cannot be written: {error}", error.path)
