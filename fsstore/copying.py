"""Bring a whole store from one engine into another: commits in their order, snapshots, dispatch marks; then compare.

Only the engine protocol is used, so any engine copies into any other. A copy that was stopped is started again and
goes on: the target must hold the beginning of the source, which is compared, not believed. Names and leases of
delivery stay where they are, since the checkpoints they hold count in the source's tokens. Who watches is the
caller's business.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import blake2b

from fsstore.engine import PersistenceEngine
from fsstore.errors import EventStoreError
from fsstore.interchange import write_line, write_value
from fsstore.model import Commit, CommitAttempt, Snapshot, named

BATCH_COMMITS = 256
BATCH_EVENTS = 4_096

StreamName = tuple[str, str]


# Below any difference of two revisions: also streams with a snapshot beyond their head are listed.
_ANY_THRESHOLD = -(1 << 40)


class CopyError(EventStoreError):
    """The target holds something that the source does not, or something else, or cannot hold what the source does.
    What was copied so far stays."""


@dataclass(slots=True)
class StreamSummary:
    """What a stream holds: its revision, how many commits and snapshots, a digest of all that is in them, in order."""

    revision: int = 0
    commits: int = 0
    snapshots: int = 0
    digest: bytes = b""

    def add(self, commit: Commit) -> None:
        """Take the stream's next commit in."""
        self.revision = commit.stream_revision
        self.commits += 1
        self._digest(write_line(CommitAttempt.of(commit)))

    def add_snapshot(self, snapshot: Snapshot) -> None:
        """Take the next older snapshot in, behind all commits."""
        self.snapshots += 1
        self._digest(f"{snapshot.stream_revision} {write_value(snapshot.payload)}")

    def _digest(self, text: str) -> None:
        self.digest = blake2b(self.digest + text.encode(), digest_size=16).digest()


@dataclass(slots=True)
class Summary:
    """What a store holds, by stream. Equal summaries mean equal content, checkpoint tokens aside."""

    streams: dict[StreamName, StreamSummary] = field(default_factory=dict)
    commits: int = 0
    undispatched: int = 0
    order: bytes = b""

    def add(self, commit: Commit) -> None:
        """Take the store's next commit in."""
        self.streams.setdefault((commit.bucket_id, commit.stream_id), StreamSummary()).add(commit)
        self.commits += 1
        self.order = blake2b(self.order + commit.commit_id.bytes, digest_size=16).digest()

    @property
    def snapshots(self) -> int:
        """How many snapshots there are."""
        return sum(stream.snapshots for stream in self.streams.values())

    @property
    def digest(self) -> str:
        """One digest of everything, in hexadecimal digits."""
        whole = blake2b(self.order + self.undispatched.to_bytes(8, "big"), digest_size=16)
        for name, stream in sorted(self.streams.items()):
            whole.update(repr(name).encode() + stream.digest)
        return whole.hexdigest()

    def difference(self, other: Summary) -> str | None:
        """The first thing in which `other` differs, in words; `None` when nothing does."""
        for name in sorted(self.streams.keys() | other.streams.keys()):
            mine, theirs = self.streams.get(name, StreamSummary()), other.streams.get(name, StreamSummary())
            if mine != theirs:
                return (
                    f"stream {name[1]!r} of bucket {name[0]!r}: {mine.commits} commits and {mine.snapshots} snapshots "
                    f"with digest {mine.digest.hex() or '-'} in the source, {theirs.commits} and {theirs.snapshots} "
                    f"with {theirs.digest.hex() or '-'} in the target"
                )
        if self.order != other.order:
            return "the same commits, in another order"
        if self.undispatched != other.undispatched:
            return f"{self.undispatched} commits undispatched in the source, {other.undispatched} in the target"
        return None


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the copy has come within one of its steps: `comparing`, `commits`, `snapshots`, `marks`, `verifying`."""

    step: str
    done: int


def copy_store(
    source: PersistenceEngine, target: PersistenceEngine, to_checkpoint: int, copied: Summary
) -> Iterator[Progress]:
    """Copy everything up to the source's token `to_checkpoint`; verified, and in `copied`, when the iterator ends.

    `CopyError` when the target is not a beginning of the source, or differs afterwards. Nobody else may write to
    the target meanwhile, and no dispatcher run on it: its commits count as undispatched until the marks are copied.
    What is committed to the source meanwhile is left out, with its snapshots; of its snapshots and marks it is as they
    were copied.
    """
    commits = source.get_from_checkpoint(0, to_checkpoint)
    yield from _skip_what_is_there(commits, target)
    yield from _copy_commits(commits, target)
    wanted = Summary()
    yield from _summarize_commits(source, wanted, to_checkpoint)
    yield from _copy_snapshots(source, target, wanted)
    yield from _copy_marks(source, target, to_checkpoint, wanted)
    yield from summarize(target, copied)
    difference = wanted.difference(copied)
    if difference is not None:
        raise CopyError(f"the copy differs from its source: {difference}")


def summarize(engine: PersistenceEngine, summary: Summary) -> Iterator[Progress]:
    """Take all of the store into `summary`."""
    yield from _summarize_commits(engine, summary, None)
    for name, most in _streams_with_snapshots(engine, summary):
        for snapshot in _snapshots(engine, name, most):
            summary.streams[name].add_snapshot(snapshot)
    summary.undispatched += sum(1 for _ in engine.get_undispatched_commits())


def _summarize_commits(engine: PersistenceEngine, summary: Summary, to_checkpoint: int | None) -> Iterator[Progress]:
    for commit in engine.get_from_checkpoint(0, to_checkpoint):
        summary.add(commit)
        yield Progress("verifying", summary.commits)


def _skip_what_is_there(commits: Iterator[Commit], target: PersistenceEngine) -> Iterator[Progress]:
    """Walk both stores to the end of the target, which must hold the same commits."""
    for done, there in enumerate(target.get_from_checkpoint(), 1):
        commit = next(commits, None)
        if commit is None or write_line(CommitAttempt.of(commit)) != write_line(CommitAttempt.of(there)):
            raise CopyError(
                f"the target is not the beginning of a copy: its {named(there)} is not what the source has in that "
                "place; copy into an empty store"
            )
        yield Progress("comparing", done)


def _copy_commits(commits: Iterator[Commit], target: PersistenceEngine) -> Iterator[Progress]:
    done, batch, events = 0, list[CommitAttempt](), 0
    for commit in commits:
        batch.append(CommitAttempt.of(commit))
        events += len(commit.events)
        if len(batch) >= BATCH_COMMITS or events >= BATCH_EVENTS:
            done += _commit(target, batch)
            batch, events = [], 0
            yield Progress("commits", done)
    if batch:
        yield Progress("commits", done + _commit(target, batch))


def _commit(target: PersistenceEngine, batch: list[CommitAttempt]) -> int:
    """Store all of them, in parts where together they are too large for the target."""
    try:
        return len(target.commit_many(batch))
    except ValueError as error:
        if len(batch) == 1:
            (attempt,) = batch
            raise CopyError(f"{named(attempt)} cannot be stored in the target: {error}") from error
    middle = len(batch) // 2
    return _commit(target, batch[:middle]) + _commit(target, batch[middle:])


def _copy_snapshots(source: PersistenceEngine, target: PersistenceEngine, wanted: Summary) -> Iterator[Progress]:
    """Copy those of the streams in `wanted`, where they are counted."""
    for done, (name, most) in enumerate(_streams_with_snapshots(source, wanted), 1):
        for snapshot in _snapshots(source, name, most):
            try:
                target.add_snapshot(snapshot)
            except ValueError as error:
                raise CopyError(
                    f"the snapshot of revision {snapshot.stream_revision} of stream {name[1]!r} in bucket {name[0]!r} "
                    f"cannot be stored in the target: {error}"
                ) from error
            wanted.streams[name].add_snapshot(snapshot)
        yield Progress("snapshots", done)


def _copy_marks(
    source: PersistenceEngine, target: PersistenceEngine, to_checkpoint: int, wanted: Summary
) -> Iterator[Progress]:
    """Walk both stores side by side; the n-th commit of the one is the n-th of the other. What has no mark is counted
    in `wanted`."""
    waiting = source.get_undispatched_commits()
    undispatched = next(waiting, None)
    unmarked = {commit.checkpoint_token for commit in target.get_undispatched_commits()}
    pairs = zip(source.get_from_checkpoint(0, to_checkpoint), target.get_from_checkpoint(), strict=False)
    for done, (commit, copied) in enumerate(pairs, 1):
        while undispatched is not None and undispatched.checkpoint_token < commit.checkpoint_token:
            undispatched = next(waiting, None)
        is_dispatched = undispatched is None or undispatched.checkpoint_token > commit.checkpoint_token
        if not is_dispatched:
            wanted.undispatched += 1
        elif copied.checkpoint_token in unmarked:
            target.mark_commit_as_dispatched(copied)
        yield Progress("marks", done)


def _streams_with_snapshots(engine: PersistenceEngine, summary: Summary) -> Iterator[tuple[StreamName, int | None]]:
    """Those of the streams that have some, and the last revision of which one counts: that up to which a stream is
    asked for where it goes on by now."""
    for bucket_id in sorted({bucket_id for bucket_id, _ in summary.streams}):
        for head in engine.get_streams_to_snapshot(bucket_id, _ANY_THRESHOLD):
            stream = summary.streams.get((bucket_id, head.stream_id))
            if head.snapshot_revision and stream is not None:
                is_at_head = head.head_revision <= stream.revision
                yield (bucket_id, head.stream_id), None if is_at_head else stream.revision


def _snapshots(engine: PersistenceEngine, name: StreamName, most: int | None) -> Iterator[Snapshot]:
    """The stream's snapshots of revisions up to `most`, newest first."""
    snapshot = engine.get_snapshot(*name, most)
    while snapshot is not None:
        yield snapshot
        snapshot = engine.get_snapshot(*name, snapshot.stream_revision - 1)
