"""Damage of every kind done to a small store, and a judge of what the engine makes of it.

A case changes a copy of the store in memory. The judge opens that copy, reads everything in every way, commits,
folds, opens it again, and compares with what the store held. `tools/corruption` does every case there is,
`test_corruption.py` a sample of them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from memory_disk import MemoryDisk

from fsstore.engines.file import FileEngine
from fsstore.engines.file.disk.disk import RealDisk
from fsstore.engines.file.files import layout
from fsstore.engines.file.streams.heads import Heads
from fsstore.errors import CorruptionError, DuplicateCommitError, StorageError
from fsstore.model import Commit, Snapshot, StreamHead
from fsstore.testing import fill, next_attempt

Key = tuple[str, str]
OPTIONS = {"background": False, "index_from_bytes": 2048, "journal_bytes": 8192}
STREAMS: dict[Key, int] = {("default", "a"): 30, ("default", "b"): 12, ("other", "b"): 10, ("default", "c"): 8}

SAME = "same data"
AGAIN = "same data, some commits dispatched again"
REBUILD = "refused to readers until an index is rebuilt"
REFUSED = "CorruptionError on opening"
PARTLY = "CorruptionError on reading what is damaged, the rest as it was"
NEWER = "refused as of a newer version"
WRONG = "WRONG"


class Content(NamedTuple):
    """Everything that a store holds."""

    commits: dict[Key, list[Commit]]
    snapshots: dict[Key, list[Snapshot]]
    heads: dict[str, set[StreamHead]]
    undispatched: list[Commit]


def build(path: Path, commits: int = 100) -> tuple[MemoryDisk, Content]:
    """A store of about that many commits, six of ten folded, left as a killed process leaves it."""
    _fold_most(path, commits)
    _shrink_table(path)
    engine = _engine(path)
    try:
        for number in range(commits * 4 // 10):
            bucket, stream = list(STREAMS)[number % len(STREAMS)]
            last = list(engine.get_from(bucket, stream))[-1]
            engine.commit(next_attempt(last, events=1 + number % 2))
        for stream in ("c", "a"):
            revision = list(engine.get_from("default", stream))[-1].stream_revision
            engine.add_snapshot(Snapshot(stream, revision, {"at": revision}))
        fill(engine, "new", commits=2, events=1)
        disk = MemoryDisk.of(path)
    finally:
        engine.close()
    with contextlib.closing(_engine(path, disk.copy())) as engine:
        return disk, content(engine)


def _fold_most(path: Path, commits: int) -> None:
    engine = _engine(path)
    for (bucket, stream), count in STREAMS.items():
        fill(engine, stream, bucket_id=bucket, commits=max(count * commits // 100, 2), events=1)
    for stream, revision in (("a", 2), ("a", 5), ("b", 2)):
        engine.add_snapshot(Snapshot(stream, revision, {"at": revision}))
    undispatched = list(engine.get_undispatched_commits())
    for commit in (*undispatched[:4], *undispatched[6:7]):
        engine.mark_commit_as_dispatched(commit)
    fill(engine, "deleted", commits=2, events=1)
    engine.delete_stream("default", "deleted")
    engine.close()


def _shrink_table(path: Path) -> None:
    """A table of heads as small as the store, so that most of its bits mean something."""
    seed = layout.read_meta(RealDisk(), str(path)).seed
    table = Heads(layout.StoreFiles(RealDisk(), str(path), seed), write=True)
    table.open(at_least_folded=0)
    slots, folded, next_token = list(table.all()), table.folded, table.next_token
    table.create(32)
    for slot in slots:
        table.put(slot)
    table.mark_folded(folded, next_token)
    table.close()


def _engine(path: str | Path, disk: MemoryDisk | None = None, **options: bool) -> FileEngine:
    engine = FileEngine(path, disk=disk, **(OPTIONS | options))  # type: ignore[arg-type]
    engine.initialize()
    return engine


def content(engine: FileEngine) -> Content:
    commits: dict[Key, list[Commit]] = {}
    for commit in engine.get_from_checkpoint():
        commits.setdefault((commit.bucket_id, commit.stream_id), []).append(commit)
    snapshots = {}
    for key, found in commits.items():
        revisions = range(found[-1].stream_revision + 1)
        every = [engine.get_snapshot(*key, max_revision=revision) for revision in revisions]
        snapshots[key] = [one for number, one in enumerate(every) if one is not None and one != every[number - 1]]
    heads_found = {bucket: set(engine.get_streams_to_snapshot(bucket, 1)) for bucket, _ in commits}
    return Content(commits, snapshots, heads_found, list(engine.get_undispatched_commits()))


# ---- cases ---------------------------------------------------------------------------------------------


class Case(NamedTuple):
    """One piece of damage: what a file holds afterwards."""

    name: str
    file: str
    data: bytes


def flips(disk: MemoryDisk, file: str, offset: int) -> Iterator[Case]:
    """Each bit of a byte."""
    data = bytes(disk.files[file].data)
    for bit in range(8):
        changed = bytes([data[offset] ^ 1 << bit])
        yield Case(f"bit {bit} of byte {offset}", file, data[:offset] + changed + data[offset + 1 :])


def cut(disk: MemoryDisk, file: str, size: int) -> Case:
    return Case(f"cut to {size} bytes", file, bytes(disk.files[file].data[:size]))


def swaps(disk: MemoryDisk, file: str, block_bytes: int) -> Iterator[Case]:
    """Each block of the file in the place of the next, and the other way."""
    data = bytes(disk.files[file].data)
    for start in range(0, len(data) - 2 * block_bytes + 1, block_bytes):
        middle, end = start + block_bytes, start + 2 * block_bytes
        if data[start:middle] != data[middle:end]:
            swapped = data[:start] + data[middle:end] + data[start:middle] + data[end:]
            yield Case(f"blocks of {block_bytes} bytes swapped at byte {start}", file, swapped)


class Looked(NamedTuple):
    """What a look at an undamaged store reads of a file. What it never reads cannot change an answer."""

    bytes: bytearray
    measured: bool


def looked_at(judge: Judge, disk: MemoryDisk) -> dict[str, Looked]:
    tracked = disk.copy()
    tracked.track()
    files = dict(tracked.files)
    assert judge.judge(tracked, "nothing", deep=True) == SAME, judge.details
    return {path: Looked(file.looked_at or bytearray(), file.measured) for path, file in files.items()}


# ---- judging -------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Judge:
    """Says what the engine makes of damage. `details` has a line for every answer that was wrong."""

    path: str
    expected: Content
    details: list[str] = field(default_factory=list)

    def outcome(self, disk: MemoryDisk, case: Case, *, deep: bool) -> str:
        """The worst that came of it. `deep`: also read-only first, then writing, folding and opening it again."""
        damaged = disk.copy()
        damaged.files[case.file].data = case.data
        return self.judge(damaged, f"{case.name} of {case.file}", deep=deep)

    def judge(self, damaged: MemoryDisk, name: str, *, deep: bool) -> str:
        known = len(self.details)
        outcome = SAME
        try:
            if deep:
                outcome = self._open(damaged, read_only=True, write=False)
            outcome = _worse(outcome, self._open(damaged, read_only=False, write=deep))
        except AssertionError as error:
            self.details.append(str(error))
        except Exception as error:
            self.details.append(f"{type(error).__name__}: {error}")
        if len(self.details) > known:
            self.details[known:] = [f"{name}: {detail}" for detail in self.details[known:]]
            return WRONG
        return outcome

    def _open(self, disk: MemoryDisk, *, read_only: bool, write: bool) -> str:
        try:
            engine = _engine(self.path, disk, read_only=read_only)
        except StorageError as error:
            return _named(error, disk)
        try:
            look = _Look(engine, disk, self.expected)
            outcome = look.outcome()
            if not write:
                return outcome
            expected = look.commit()
        finally:
            engine.close()
        # Folding and opening again changes nothing.
        try:
            engine = _engine(self.path, disk)
        except StorageError as error:
            return _worse(outcome, _named(error, disk))
        try:
            return _worse(outcome, _Look(engine, disk, expected).outcome())
        finally:
            engine.close()


_RANK = [SAME, AGAIN, REBUILD, PARTLY, NEWER, REFUSED]


def _worse(one: str, other: str) -> str:
    return max(one, other, key=_RANK.index)


def _named(error: StorageError, disk: MemoryDisk) -> str:
    """A refusal is good when it says where; a missing file has no offset."""
    if not isinstance(error, CorruptionError):
        if "newer" in str(error) or "does not know" in str(error):
            return NEWER
        if "must be rebuilt" in str(error):
            return REBUILD
        raise AssertionError(f"{type(error).__name__}: {error}")
    if error.path is None:
        raise AssertionError(f"no file is named: {error}")
    if error.offset_bytes is None and error.path in disk.files:
        raise AssertionError(f"no offset is named: {error}")
    return REFUSED


class _Look:
    """One look at an open store: every way of reading gives what is expected, or says what is damaged."""

    def __init__(self, engine: FileEngine, disk: MemoryDisk, expected: Content) -> None:
        self._engine = engine
        self._disk = disk
        self._expected = expected
        self._outcome = SAME
        self._refused: set[Key] = set()

    def outcome(self) -> str:
        engine, expected = self._engine, self._expected
        for key, commits in expected.commits.items():
            self._same(key, commits, engine.get_from, *key)
            middle = commits[len(commits) // 2].stream_revision
            late = [commit for commit in commits if commit.stream_revision >= middle]
            self._same(key, late, engine.get_from, *key, middle)
            snapshots = expected.snapshots[key]
            for snapshot in snapshots:
                self._same(key, snapshot, engine.get_snapshot, *key, snapshot.stream_revision)
            self._same(key, snapshots[-1] if snapshots else None, engine.get_snapshot, *key)
        assert len(self._refused) <= 1, f"damage spread over {sorted(self._refused)}"
        everything = [commit for commits in expected.commits.values() for commit in commits]
        everything.sort(key=lambda commit: commit.checkpoint_token)
        self._same(None, everything, engine.get_from_checkpoint)
        for bucket, heads in expected.heads.items():
            self._same(None, heads, engine.get_streams_to_snapshot, bucket, 1)
        self._dispatch()
        return self._outcome

    def _same(self, key: Key | None, wanted: object, read: Callable[..., object], *arguments: object) -> None:
        try:
            found = read(*arguments)
            if isinstance(found, Iterator):
                found = type(wanted)(found)  # type: ignore[call-arg]
        except StorageError as error:
            _named(error, self._disk)
            self._outcome = _worse(self._outcome, PARTLY)
            if key is not None:
                self._refused.add(key)
            return
        assert found == wanted, (
            f"{read.__name__}{arguments} gave {str(found)[:300]} where {str(wanted)[:300]} was stored"
        )

    def _dispatch(self) -> None:
        """Everything that was not dispatched is still to be; what was may be dispatched again."""
        wanted = self._expected.undispatched
        try:
            found = list(self._engine.get_undispatched_commits())
        except StorageError as error:
            _named(error, self._disk)
            self._outcome = _worse(self._outcome, PARTLY)
            return
        if found != wanted:
            assert [one for one in found if one in wanted] == wanted, "a commit would not be dispatched"
            self._outcome = _worse(self._outcome, AGAIN)

    def commit(self) -> Content:
        """Commit to every stream, the same commit again first; gives what the store must hold now."""
        commits = {}
        for key, known in self._expected.commits.items():
            commits[key] = list(known)
            try:
                self._refuse_again(known)
                commits[key].append(self._engine.commit(next_attempt(known[-1])))
            except StorageError as error:
                _named(error, self._disk)
        undispatched = self._expected.undispatched + [
            commit for key, found in commits.items() for commit in found[len(self._expected.commits[key]) :]
        ]
        heads: dict[str, set[StreamHead]] = {bucket: set() for bucket, _ in commits}
        for (bucket, stream), found in commits.items():
            snapshots = self._expected.snapshots[bucket, stream]
            snapshot = snapshots[-1].stream_revision if snapshots else 0
            if found[-1].stream_revision > snapshot:
                heads[bucket].add(StreamHead(bucket, stream, found[-1].stream_revision, snapshot))
        return Content(commits, self._expected.snapshots, heads, undispatched)

    def _refuse_again(self, known: list[Commit]) -> None:
        """A commit that is stored is not stored again, the first, the last and one between them."""
        for old in (known[0], known[len(known) // 2], known[-1]):
            try:
                self._engine.commit(next_attempt(known[-1], commit_id=old.commit_id))
            except DuplicateCommitError:
                continue
            raise AssertionError(f"commit {old.commit_sequence} of {old.stream_id} was stored twice")
