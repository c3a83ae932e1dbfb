"""What a `PersistenceEngine` promises, as a list and a few comprehensions: engines are compared with it.

It is slow, forgets nothing by accident, and shares no code with any engine, so that one mistake is not made
twice. It knows the values of `fsstore.model` and the errors; neither bytes nor threads.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import deepcopy
from dataclasses import replace
from datetime import datetime

from fsstore.errors import ConcurrencyError, DuplicateCommitError
from fsstore.model import Commit, CommitAttempt, EventMessage, Snapshot, StreamHead


class EngineModel:
    """One store. Every answer is a list that is worked out anew from all commits."""

    def __init__(self) -> None:
        self.commits: list[Commit] = []
        self.snapshots: list[Snapshot] = []
        self.dispatched: set[int] = set()
        self.last_token = 0

    def commit(self, attempt: CommitAttempt) -> Commit:
        return self.commit_many([attempt])[0]

    def commit_many(self, attempts: Sequence[CommitAttempt]) -> list[Commit]:
        stored: list[Commit] = []
        for attempt in attempts:
            stream = [
                commit
                for commit in self.commits + stored
                if (commit.bucket_id, commit.stream_id) == (attempt.bucket_id, attempt.stream_id)
            ]
            if any(commit.commit_id == attempt.commit_id for commit in stream):
                raise DuplicateCommitError
            events = sum(len(commit.events) for commit in stream)
            if attempt.commit_sequence != len(stream) + 1:
                raise ConcurrencyError
            if attempt.stream_revision != events + len(attempt.events):
                raise ConcurrencyError
            stored.append(Commit.of(_own(attempt), self.last_token + len(stored) + 1))
        self.commits += stored
        self.last_token += len(stored)
        return stored

    def get_from(
        self, bucket_id: str, stream_id: str, min_revision: int = 0, max_revision: int | None = None
    ) -> list[Commit]:
        return [
            commit
            for commit in self.commits
            if (commit.bucket_id, commit.stream_id) == (bucket_id, stream_id)
            and any(
                min_revision <= revision and (max_revision is None or revision <= max_revision)
                for revision in revisions(commit)
            )
        ]

    def get_from_checkpoint(
        self, checkpoint_token: int = 0, to_checkpoint: int | None = None, *, bucket_id: str | None = None
    ) -> list[Commit]:
        return [
            commit
            for commit in self.commits
            if checkpoint_token < commit.checkpoint_token
            and (to_checkpoint is None or commit.checkpoint_token <= to_checkpoint)
            and bucket_id in (None, commit.bucket_id)
        ]

    def get_from_date(
        self, start: datetime, end: datetime | None = None, *, bucket_id: str | None = None
    ) -> list[Commit]:
        return [
            commit
            for commit in self.commits
            if start <= commit.commit_stamp
            and (end is None or commit.commit_stamp < end)
            and bucket_id in (None, commit.bucket_id)
        ]

    def get_snapshot(self, bucket_id: str, stream_id: str, max_revision: int | None = None) -> Snapshot | None:
        found = [
            snapshot
            for snapshot in self.snapshots
            if (snapshot.bucket_id, snapshot.stream_id) == (bucket_id, stream_id)
            and (max_revision is None or snapshot.stream_revision <= max_revision)
        ]
        return max(found, key=lambda snapshot: snapshot.stream_revision, default=None)

    def add_snapshot(self, snapshot: Snapshot) -> bool:
        key = (snapshot.bucket_id, snapshot.stream_id, snapshot.stream_revision)
        taken = any((old.bucket_id, old.stream_id, old.stream_revision) == key for old in self.snapshots)
        if taken or not self.get_from(snapshot.bucket_id, snapshot.stream_id):
            return False
        self.snapshots.append(deepcopy(snapshot))
        return True

    def get_streams_to_snapshot(self, bucket_id: str, max_threshold: int) -> list[StreamHead]:
        """In no particular order."""
        heads = []
        for stream_id in {commit.stream_id for commit in self.commits if commit.bucket_id == bucket_id}:
            head_revision = self.get_from(bucket_id, stream_id)[-1].stream_revision
            snapshot = self.get_snapshot(bucket_id, stream_id)
            snapshot_revision = 0 if snapshot is None else snapshot.stream_revision
            if head_revision >= snapshot_revision + max_threshold:
                heads.append(StreamHead(bucket_id, stream_id, head_revision, snapshot_revision))
        return heads

    def get_undispatched_commits(self) -> list[Commit]:
        return [commit for commit in self.commits if commit.checkpoint_token not in self.dispatched]

    def mark_commit_as_dispatched(self, commit: Commit) -> None:
        if any(each.checkpoint_token == commit.checkpoint_token for each in self.commits):
            self.dispatched.add(commit.checkpoint_token)

    def delete_stream(self, bucket_id: str, stream_id: str) -> None:
        self._forget({(bucket_id, stream_id)})

    def purge(self, bucket_id: str | None = None) -> None:
        self._forget(
            {(commit.bucket_id, commit.stream_id) for commit in self.commits if bucket_id in (None, commit.bucket_id)}
        )

    def _forget(self, streams: set[tuple[str, str]]) -> None:
        self.commits = [each for each in self.commits if (each.bucket_id, each.stream_id) not in streams]
        self.snapshots = [each for each in self.snapshots if (each.bucket_id, each.stream_id) not in streams]


def _own(attempt: CommitAttempt) -> CommitAttempt:
    """The attempt as it is now, whatever its caller changes in it later."""
    events = tuple(EventMessage(deepcopy(event.body), deepcopy(event.headers)) for event in attempt.events)
    return replace(attempt, headers=deepcopy(attempt.headers), events=events)


def revisions(commit: CommitAttempt | Commit) -> Iterable[int]:
    """The revisions of the commit's events."""
    return range(commit.stream_revision - len(commit.events) + 1, commit.stream_revision + 1)
