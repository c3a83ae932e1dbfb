"""Bring commits into an engine in batches, going on where an earlier import stopped.

What the engine has already is passed over, what contradicts it stops the import, and nothing that comes after
the point of stopping is stored. Only the engine protocol is used; where the commits come from, and who watches,
is the caller's business.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from uuid import UUID

from fsstore.engine import PersistenceEngine
from fsstore.errors import ConcurrencyError, DuplicateCommitError, EventStoreError, SerializationError
from fsstore.interchange import differing_fields
from fsstore.model import Commit, CommitAttempt

Numbered = tuple[int, CommitAttempt]

BATCH_COMMITS = 256
BATCH_EVENTS = 4096


class ImportConflictError(EventStoreError):
    """A commit contradicts what the store holds, or cannot be stored. Everything before it is stored."""

    def __init__(self, reason: str, line_number: int) -> None:
        super().__init__(f"line {line_number}: {reason}")
        self.reason = reason
        self.line_number = line_number


@dataclass(frozen=True, slots=True)
class Imported:
    """One batch is durable: what it stored, how many it passed over, and the line it reached."""

    stored: tuple[Commit, ...]
    skipped: int
    line_number: int


def import_commits(
    engine: PersistenceEngine, numbered: Iterable[Numbered], *, batch_commits: int = BATCH_COMMITS
) -> Iterator[Imported]:
    """Store the commits in order; yields after each batch, when it is durable.

    A commit that the stream holds already, equal in every field, is skipped. Raises `ImportConflictError` for
    one that differs from the stored commit of its id or revision, does not follow its stream's head, or that
    the engine refuses. An error of `numbered` itself is raised when everything before it is stored.
    """
    batch: list[Numbered] = []
    events = 0
    source = iter(numbered)
    while True:
        try:
            item = next(source, None)
        except Exception:
            if batch:
                yield from _import_batch(engine, batch)
            raise
        if item is not None:
            batch.append(item)
            events += len(item[1].events)
        if batch and (item is None or len(batch) >= batch_commits or events >= BATCH_EVENTS):
            yield from _import_batch(engine, batch)
            batch, events = [], 0
        if item is None:
            return


_Refused = (ConcurrencyError, DuplicateCommitError, SerializationError, ValueError)


def _import_batch(engine: PersistenceEngine, batch: list[Numbered]) -> Iterator[Imported]:
    """Three ways, the quickest first: all is new; some is there already; one by one up to the culprit."""
    last = batch[-1][0]
    stored = _commit_all(engine, batch)
    if stored is not None:
        yield Imported(stored, 0, last)
        return
    new, conflict = _sift(engine, batch)
    stored = _commit_all(engine, new)
    if stored is None:
        stored, conflict = _commit_each(engine, new, conflict)
    if conflict is None:
        yield Imported(stored, len(batch) - len(stored), last)
        return
    before = sum(number < conflict.line_number for number, _ in batch)
    if before:
        yield Imported(stored, before - len(stored), conflict.line_number - 1)
    raise conflict


def _commit_all(engine: PersistenceEngine, batch: list[Numbered]) -> tuple[Commit, ...] | None:
    try:
        return tuple(engine.commit_many([attempt for _, attempt in batch])) if batch else ()
    except _Refused:
        return None


def _sift(engine: PersistenceEngine, batch: list[Numbered]) -> tuple[list[Numbered], ImportConflictError | None]:
    """What is new in the batch, up to the first commit that contradicts the store or an earlier one in it."""
    new: dict[tuple[str, str, UUID], Numbered] = {}
    for number, attempt in batch:
        key = (attempt.bucket_id, attempt.stream_id, attempt.commit_id)
        there = new[key][1] if key in new else _at_revision(engine, attempt)
        if there is None:
            new[key] = (number, attempt)
        elif differing_fields(there, attempt):
            return list(new.values()), ImportConflictError(_difference(there, attempt), number)
    return list(new.values()), None


def _commit_each(
    engine: PersistenceEngine, new: list[Numbered], conflict: ImportConflictError | None
) -> tuple[tuple[Commit, ...], ImportConflictError | None]:
    stored = []
    for number, attempt in new:
        try:
            stored.append(engine.commit(attempt))
        except _Refused as error:
            there = _at_revision(engine, attempt)
            if there is not None and not differing_fields(there, attempt):
                continue  # another process imports the same, and was first
            reason = str(error) if there is None else _difference(there, attempt)
            return tuple(stored), ImportConflictError(reason, number)
    return tuple(stored), conflict


def _at_revision(engine: PersistenceEngine, attempt: CommitAttempt) -> Commit | None:
    revision = attempt.stream_revision
    return next(iter(engine.get_from(attempt.bucket_id, attempt.stream_id, revision, revision)), None)


def _difference(there: Commit | CommitAttempt, attempt: CommitAttempt) -> str:
    where = f"stream {attempt.stream_id!r} of bucket {attempt.bucket_id!r}"
    if there.commit_id != attempt.commit_id:
        return (
            f"commit {attempt.commit_id} is to end at revision {attempt.stream_revision} of {where}, "
            f"where the store has commit {there.commit_id}"
        )
    names = ", ".join(differing_fields(there, attempt))
    return f"commit {attempt.commit_id} of {where} is there already with other content; different: {names}"
