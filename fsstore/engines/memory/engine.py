"""The memory engine: every promise of `PersistenceEngine` in dictionaries behind one lock. Read this first.

It is the reference: what another engine does must look the same from outside. Commits are kept as the
serializer's bytes, so that nobody can change what is stored by changing what was given or read, and what
cannot be stored elsewhere is refused here too. Nothing survives `close()`.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

from fsstore.engines import arguments, without_password
from fsstore.engines.memory.delivery import MemoryDelivery
from fsstore.engines.refusals import (
    conflict,
    duplicate,
    follows,
    for_commits,
    reading_snapshot,
    unreadable,
    unwritable,
    writing_snapshot,
)
from fsstore.errors import SerializationError, StoreClosedError
from fsstore.model import Commit, CommitAttempt, Snapshot, StreamHead, stored_commit
from fsstore.options import check_options
from fsstore.serialization import MsgpackSerializer, Serializer, decode_payload, encode_payload

Item = TypeVar("Item")
_PAGE = 256


@dataclass(frozen=True, slots=True)
class _Stored:
    """One commit as it is kept."""

    attempt: CommitAttempt
    payload: bytes
    token: int


@dataclass(slots=True)
class _Stream:
    """One stream's commits, oldest first, and its snapshots by revision."""

    commits: list[_Stored] = field(default_factory=list)
    ids: set[Any] = field(default_factory=set)
    snapshots: dict[int, bytes] = field(default_factory=dict)

    @property
    def head(self) -> tuple[int, int]:
        """Sequence and revision of the last commit; zero before the first."""
        if not self.commits:
            return 0, 0
        last = self.commits[-1].attempt
        return last.commit_sequence, last.stream_revision


class MemoryEngine(MemoryDelivery):
    """A store that lives as long as this object."""

    def __init__(self, serializer: Serializer | None = None) -> None:
        self.serializer: Serializer = serializer if serializer is not None else MsgpackSerializer()
        self._lock = threading.RLock()
        self._closed = self._dropped = False
        self._forget_everything()
        self._begin_delivery()

    def _forget_everything(self) -> None:
        self._streams: dict[tuple[str, str], _Stream] = {}
        self._by_token: dict[int, _Stored] = {}
        self._undispatched: dict[int, None] = {}
        self._last_token = 0

    def initialize(self) -> None:
        """Begin anew after `drop()`; else nothing has to be made."""
        with self._lock:
            self._dropped = False
            self._check()

    def close(self) -> None:
        """Let go of everything that is stored."""
        with self._lock:
            self._closed = True
            self.drop()

    def drop(self) -> None:
        """Forget everything: there is nothing else to destroy."""
        with self._lock:
            self._dropped = True
            self._forget_everything()
            self._end_delivery()

    def _check(self) -> None:
        if self._closed or self._dropped:
            raise StoreClosedError("this memory store is closed, and what it held is gone; open a new one")

    # ---- commits ----

    def commit(self, attempt: CommitAttempt) -> Commit:
        """Store `attempt`, or raise and store nothing."""
        return self.commit_many((attempt,))[0]

    def commit_many(self, attempts: Iterable[CommitAttempt]) -> list[Commit]:
        """Store all attempts, or raise and store none."""
        attempts = arguments.checked_attempts(attempts)
        return for_commits(attempts, partial(self._store, attempts))

    def _store(self, attempts: Sequence[CommitAttempt]) -> list[Commit]:
        self._check()
        payloads = [self._encode(attempt) for attempt in attempts]
        with self._lock:
            self._check()
            self._check_attempts(attempts)
            commits = []
            for attempt, payload in zip(attempts, payloads, strict=True):
                self._last_token += 1
                stored = _Stored(attempt, payload, self._last_token)
                stream = self._streams.setdefault((attempt.bucket_id, attempt.stream_id), _Stream())
                stream.commits.append(stored)
                stream.ids.add(attempt.commit_id)
                self._by_token[stored.token] = stored
                self._undispatched[stored.token] = None
                commits.append(Commit.of(attempt, stored.token))
            self._changed.notify_all()
            return commits

    def _encode(self, attempt: CommitAttempt) -> bytes:
        try:
            return encode_payload(self.serializer, attempt.headers, attempt.events)
        except SerializationError as error:
            raise unwritable(attempt, error) from error

    def _check_attempts(self, attempts: Sequence[CommitAttempt]) -> None:
        """Every attempt must follow the head as the attempts before it leave it."""
        heads: dict[tuple[str, str], tuple[int, int]] = {}
        new_ids: set[tuple[str, str, Any]] = set()
        for attempt in attempts:
            name = (attempt.bucket_id, attempt.stream_id)
            stream = self._streams.get(name) or _Stream()
            if attempt.commit_id in stream.ids or (*name, attempt.commit_id) in new_ids:
                raise duplicate(attempt)
            sequence, revision = heads.get(name, stream.head)
            if not follows(attempt, sequence, revision):
                raise conflict(attempt, sequence, revision)
            heads[name] = (attempt.commit_sequence, attempt.stream_revision)
            new_ids.add((*name, attempt.commit_id))

    # ---- reads ----

    def get_from(
        self, bucket_id: str, stream_id: str, min_revision: int = 0, max_revision: int | None = None
    ) -> Iterator[Commit]:
        """The stream's commits that touch the revisions, as of this call."""
        self._check()
        name = arguments.checked_place(bucket_id, stream_id)
        if arguments.names_no_revision(min_revision, max_revision):
            return iter(())
        with self._lock:
            self._check()
            stream = self._streams.get(name) or _Stream()
            found = [
                stored
                for stored in stream.commits
                if stored.attempt.stream_revision >= min_revision
                and (max_revision is None or stored.attempt.stream_revision - len(stored.attempt.events) < max_revision)
            ]
        return self._read(found)

    def get_from_checkpoint(
        self, checkpoint_token: int = 0, to_checkpoint: int | None = None, *, bucket_id: str | None = None
    ) -> Iterator[Commit]:
        """Commits after the one token, up to and with the other, as of this call."""
        after, to = arguments.checked_tokens(checkpoint_token, to_checkpoint)
        bucket = arguments.checked_bucket(bucket_id)
        with self._lock:
            self._check()
            last = self._last_token if to is None else min(to, self._last_token)
            tokens = range(max(after, 0) + 1, last + 1)
        return self._read_tokens(tokens, bucket)

    def get_from_date(
        self, start: datetime, end: datetime | None = None, *, bucket_id: str | None = None
    ) -> Iterator[Commit]:
        """Commits with `start <= commit_stamp < end`, as of this call."""
        start, end = arguments.checked_period(start, end)
        bucket = arguments.checked_bucket(bucket_id)
        with self._lock:
            self._check()
            found = [
                stored
                for stored in self._by_token.values()
                if start <= stored.attempt.commit_stamp
                and (end is None or stored.attempt.commit_stamp < end)
                and bucket in (None, stored.attempt.bucket_id)
            ]
        return self._read(found)

    def _read_tokens(self, tokens: range, bucket_id: str | None) -> Iterator[Commit]:
        self._check()
        for first in range(0, len(tokens), _PAGE):
            with self._lock:
                self._check()
                found = [
                    self._by_token[token]
                    for token in tokens[first : first + _PAGE]
                    if token in self._by_token and bucket_id in (None, self._by_token[token].attempt.bucket_id)
                ]
            yield from self._read(found)

    def _read(self, found: list[_Stored]) -> Iterator[Commit]:
        for stored in self._while_open(found):
            attempt = stored.attempt
            try:
                headers, events = decode_payload(self.serializer, stored.payload)
            except SerializationError as error:
                raise unreadable(attempt.bucket_id, attempt.stream_id, attempt.commit_id, error) from error
            yield stored_commit(
                attempt.stream_id,
                attempt.stream_revision,
                attempt.commit_id,
                attempt.commit_sequence,
                attempt.commit_stamp,
                headers,
                events,
                attempt.bucket_id,
                stored.token,
            )

    def _while_open(self, found: list[Item]) -> Iterator[Item]:
        self._check()
        for each in found:
            self._check()
            yield each

    # ---- snapshots ----

    def get_snapshot(self, bucket_id: str, stream_id: str, max_revision: int | None = None) -> Snapshot | None:
        """The newest snapshot at or before `max_revision`."""
        name = arguments.checked_place(bucket_id, stream_id)
        limit = arguments.checked_limit(max_revision, "max_revision")
        with self._lock:
            self._check()
            snapshots = (self._streams.get(name) or _Stream()).snapshots
            revisions = [revision for revision in snapshots if limit is None or revision <= limit]
            if not revisions:
                return None
            payload = snapshots[max(revisions)]
        with reading_snapshot(*name, max(revisions)):
            return Snapshot(name[1], max(revisions), self.serializer.loads(payload), name[0])

    def add_snapshot(self, snapshot: Snapshot) -> bool:
        """Store `snapshot`; `False` for a stream without commits and a revision that has one."""
        self._check()
        with writing_snapshot(arguments.checked_value(snapshot, Snapshot)):
            payload = self.serializer.dumps(snapshot.payload)
        with self._lock:
            self._check()
            stream = self._streams.get((snapshot.bucket_id, snapshot.stream_id))
            if stream is None or snapshot.stream_revision in stream.snapshots:
                return False
            stream.snapshots[snapshot.stream_revision] = payload
            return True

    def get_streams_to_snapshot(self, bucket_id: str, max_threshold: int) -> Iterator[StreamHead]:
        """Heads of streams whose newest snapshot is at least `max_threshold` revisions behind."""
        bucket, threshold = arguments.checked_heads(bucket_id, max_threshold)
        with self._lock:
            self._check()
            heads = [
                StreamHead(bucket, name[1], stream.head[1], max(stream.snapshots, default=0))
                for name, stream in self._streams.items()
                if name[0] == bucket
            ]
        return self._while_open([head for head in heads if head.head_revision >= head.snapshot_revision + threshold])

    # ---- dispatch ----

    def get_undispatched_commits(self) -> Iterator[Commit]:
        """Commits not marked as dispatched, as of this call."""
        with self._lock:
            self._check()
            found = [self._by_token[token] for token in self._undispatched]
        return self._read(found)

    def mark_commit_as_dispatched(self, commit: Commit) -> None:
        """Remember that `commit` was dispatched."""
        token = arguments.checked_value(commit, Commit).checkpoint_token
        with self._lock:
            self._check()
            self._undispatched.pop(token, None)

    # ---- deletion ----

    def delete_stream(self, bucket_id: str, stream_id: str) -> None:
        """Forget one stream."""
        name = arguments.checked_place(bucket_id, stream_id)
        with self._lock:
            self._check()
            self._forget(name)

    def purge(self, bucket_id: str | None = None) -> None:
        """Forget every stream of the bucket, or of the store."""
        bucket = arguments.checked_bucket(bucket_id)
        with self._lock:
            self._check()
            for name in [name for name in self._streams if bucket in (None, name[0])]:
                self._forget(name)

    def _forget(self, name: tuple[str, str]) -> None:
        stream = self._streams.pop(name, None)
        for stored in stream.commits if stream is not None else ():
            del self._by_token[stored.token]
            self._undispatched.pop(stored.token, None)


def open_engine(url: str, *, serializer: Serializer | None = None, **options: Any) -> MemoryEngine:
    """A new, empty memory store for a `memory:` URL."""
    check_options("a memory store", options, ())
    if url.partition(":")[2].strip("/"):
        raise ValueError(f"{without_password(url)!r}: a memory store has no name; every memory: is a store of its own")
    return MemoryEngine(serializer)
