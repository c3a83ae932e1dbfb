"""After a repair verify finds nothing, what was not damaged is all there, and what is gone was named before."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import corruption
import pytest
from corruption import Case, Content
from memory_disk import File, MemoryDisk

from fsstore.engines.file import FileEngine
from fsstore.engines.file.files import layout
from fsstore.engines.file.formats import file_headers, format
from fsstore.engines.file.processes.control import NEXT_TOKEN, TAIL
from fsstore.engines.file.repair import Action, apply, plan
from fsstore.engines.file.repair.remains import whole_records
from fsstore.engines.file.streams.segments import Stream
from fsstore.engines.file.verify import verify
from fsstore.errors import StorageError, StorageUnavailableError
from fsstore.model import Commit, Snapshot
from fsstore.testing import SimulatedDisk, fill, next_attempt
from fsstore.testing.simulation import Call

pytestmark = pytest.mark.usefixtures("quiet")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, MemoryDisk, Content]:
    path = tmp_path_factory.mktemp("repair") / "a.store"
    return str(path), *corruption.build(path, 60)


def files(disk: MemoryDisk, *endings: str) -> list[str]:
    return [file for file in sorted(disk.files) if file.endswith(endings)]


def open_engine(path: str, disk: MemoryDisk) -> FileEngine:
    engine = FileEngine(path, disk=disk, **corruption.OPTIONS)
    engine.initialize()
    return engine


def repaired(path: str, disk: MemoryDisk, expected: Content) -> list[Action]:
    """Repair the store and see that nothing is wrong, that only what was said is gone, and that it works."""
    before = {file: bytes(one.data) for file, one in disk.files.items()}
    said = plan(disk, path)
    assert {file: bytes(one.data) for file, one in disk.files.items()} == before, "a plan changed something"
    assert apply(disk, path) == said
    assert [str(one) for one in verify(disk, path)] == []
    assert plan(disk, path) == []
    lost = " ".join(action.lost for action in said)
    engine = open_engine(path, disk)
    try:
        for (bucket, stream), commits in expected.commits.items():
            name = f"stream {stream!r} in bucket {bucket!r}"
            found = list(engine.get_from(bucket, stream))
            assert found == commits[: len(found)], f"{name} is another"
            for gone in commits[len(found) :]:
                assert _says(lost, gone, name), f"commit {gone.commit_sequence} of {name} is gone: {said}"
            known = expected.snapshots[bucket, stream]
            kept = snapshots(engine, bucket, stream)
            assert [one for one in known if one in kept] == kept, f"{name} has other snapshots"
            if kept != known:
                assert re.search(f"snapshots? .*{name}|{name}, and snapshots|snapshots? (or|and) deletions?", lost), (
                    said
                )
            if found:
                following = engine.commit(next_attempt(found[-1]))
                assert following.checkpoint_token > max(commit.checkpoint_token for commit in commits)
                assert list(engine.get_from(bucket, stream)) == [*found, following]
        in_order = [commit.checkpoint_token for commit in engine.get_from_checkpoint()]
        assert in_order == sorted(set(in_order))
    finally:
        engine.close()
    # A disposable index of a stream that the journal goes on with is only looked at once that is folded.
    assert [str(one) for one in verify(disk, path) if not one.disposable] == []
    return said


def snapshots(engine: FileEngine, bucket: str, stream: str) -> list[Snapshot]:
    """All that the stream has, oldest first."""
    found: list[Snapshot] = []
    newest = engine.get_snapshot(bucket, stream)
    while newest is not None:
        found.insert(0, newest)
        newest = engine.get_snapshot(bucket, stream, newest.stream_revision - 1)
    return found


def _says(lost: str, commit: Commit, stream: str) -> bool:
    """Whether the loss of the commit was named: by its sequence, or where its stream is unknown by its checkpoint."""
    ranges = [
        *((commit.commit_sequence, found) for found in re.finditer(rf"commits? (\d+)(?: to (\d+))? of {stream}", lost)),
        *((commit.checkpoint_token, found) for found in re.finditer(r"checkpoints? (\d+)(?: to (\d+))?", lost)),
    ]
    named = any(int(found[1]) <= number <= int(found[2] or found[1]) for number, found in ranges)
    named |= any(
        int(first) <= commit.commit_sequence for first in re.findall(rf"commits from (\d+) on of {stream}", lost)
    )
    return named or "every commit, snapshot and deletion" in lost or "unknown commits" in lost


def damaged(disk: MemoryDisk, case: Case) -> MemoryDisk:
    copy = disk.copy()
    copy.files[case.file].data = case.data
    return copy


@contextmanager
def named(what: str) -> Iterator[None]:
    """A failure in here says which damage it was."""
    try:
        yield
    except Exception as error:
        raise AssertionError(what) from error


def test_a_healthy_store_needs_no_repair(built: tuple[str, MemoryDisk, Content]) -> None:
    path, disk, content = built
    assert repaired(path, disk.copy(), content) == []


def test_every_flipped_bit_can_be_repaired(built: tuple[str, MemoryDisk, Content]) -> None:
    path, disk, content = built
    for file in files(disk, ""):
        data = disk.files[file].data
        for offset in range(0, min(len(data), 1 << 13), 211):
            case = list(corruption.flips(disk, file, offset))[offset % 8]
            with named(f"{case.name} of {file}"):
                repaired(path, damaged(disk, case), content)


def test_every_truncation_can_be_repaired(built: tuple[str, MemoryDisk, Content]) -> None:
    path, disk, content = built
    for file in files(disk, ""):
        for size in range(0, min(len(disk.files[file].data), 1 << 13), 229):
            case = corruption.cut(disk, file, size)
            with named(f"{case.name} of {file}"):
                repaired(path, damaged(disk, case), content)


@pytest.mark.parametrize("also", ["control", "heads.index", ".index"])
def test_a_missing_journal_file_is_repaired_when_more_is_missing(
    built: tuple[str, MemoryDisk, Content], also: str
) -> None:
    path, disk, expected = built
    copy = disk.copy()
    for file in (files(disk, ".journal")[0], *files(disk, also)):
        del copy.files[file]
    repaired(path, copy, expected)


def test_every_missing_file_can_be_repaired(built: tuple[str, MemoryDisk, Content]) -> None:
    path, disk, content = built
    for file in files(disk, ""):
        copy = disk.copy()
        del copy.files[file]
        with named(f"without {file}"):
            repaired(path, copy, content)


def test_an_open_store_is_not_repaired(built: tuple[str, MemoryDisk, Content]) -> None:
    path, disk, _ = built
    copy = disk.copy()
    engine = open_engine(path, copy)
    with pytest.raises(StorageUnavailableError, match="is open; close it in every process"):
        apply(copy, path)
    engine.close()


@pytest.mark.parametrize("look", [plan, apply])
def test_a_store_that_is_being_folded_is_refused_without_waiting_for_the_fold(
    built: tuple[str, MemoryDisk, Content], look: Callable[[MemoryDisk, str], list[Action]]
) -> None:
    """A fold waits for the write lock at its end: whoever waits for the fold must not hold it."""
    path, disk, _ = built
    engine = open_engine(path, disk.copy())
    with engine.writable().locks.fold, pytest.raises(StorageUnavailableError, match="is open; close it in every"):
        look(engine._disk, path)  # type: ignore[arg-type]
    engine.close()


@pytest.mark.parametrize("lock", [layout.WRITE_LOCK, layout.LOCK, layout.FOLD_LOCK])
def test_nobody_opens_or_folds_a_store_meanwhile_whose_lock_files_were_lost(lock: str) -> None:
    disk = SimulatedDisk()
    engine = FileEngine("/a.store", disk=disk, background=False)
    engine.initialize()
    commits = fill(engine, "a")
    engine.close()
    for name in ("heads.index", layout.WRITE_LOCK, layout.LOCK, layout.FOLD_LOCK):
        disk.unlink(f"/a.store/{name}")
    before = disk.sizes_bytes()
    assert len(plan(disk, "/a.store")) == 1
    assert disk.sizes_bytes() == before, "a plan changed something"
    other, tried = disk.process(), list[bool]()

    def try_the_lock(call: Call) -> None:
        if call.name == "flush_directory":
            disk.watch(None)
            tried.append(other.lock(other.open(f"/a.store/{lock}"), blocking=False))

    disk.watch(try_the_lock)
    apply(disk, "/a.store")
    assert tried == [False]
    other.kill()
    engine = FileEngine("/a.store", disk=disk, background=False)
    engine.initialize()
    assert list(engine.get_from_checkpoint()) == commits


@pytest.mark.parametrize("beside", [True, False])
def test_a_reader_sees_the_store_as_it_is_after_a_repair(beside: bool) -> None:
    disk = SimulatedDisk()
    engine = FileEngine("/store", disk=disk, background=False)
    engine.initialize()
    fill(engine, "a")
    fill(engine, "b")
    if not beside:
        engine.close()
    reader = FileEngine("/store", disk=disk.process(), read_only=True)
    reader.initialize()
    assert {commit.stream_id for commit in reader.get_from_checkpoint()} == {"a", "b"}
    engine.close()
    disk.rot(next(path for path in disk.sizes_bytes() if path.endswith(".segment")), 200)
    assert apply(disk, "/store")
    engine = FileEngine("/store", disk=disk, background=False)
    engine.initialize()
    fill(engine, "c")
    assert list(reader.get_from_checkpoint()) == list(engine.get_from_checkpoint())
    assert list(reader.get_from("default", "c")) == list(engine.get_from("default", "c"))
    reader.close()
    engine.close()


def test_where_no_store_is_there_is_nothing_to_repair(built: tuple[str, MemoryDisk, Content]) -> None:
    _, disk, _ = built
    with pytest.raises(StorageError, match="there is no store at /nowhere"):
        plan(disk, "/nowhere")


def test_commits_that_a_segment_lost_before_those_of_a_missing_journal_file_are_named(
    built: tuple[str, MemoryDisk, Content],
) -> None:
    path, disk, expected = built
    copy = disk.copy()
    del copy.files[files(copy, ".journal")[0]]
    damage(copy, path, "a", "segment", [-3, -2, -1])
    repaired(path, copy, expected)


def test_an_index_beside_a_segment_that_grew_is_not_left_behind(built: tuple[str, MemoryDisk, Content]) -> None:
    path, disk, expected = built
    copy = disk.copy()
    (index,) = files(copy, ".index")[-1:]
    assert index.rpartition(".")[0] + ".ids" in copy.files
    copy.files[index].to_write()[19] ^= 1
    damage(copy, path, "b", "segment", [1])
    repaired(path, copy, expected)


def folded_only(tmp_path: Path) -> tuple[str, MemoryDisk, Content]:
    """Two streams with snapshots, all of it in their own files and nowhere else."""
    path = tmp_path / "a.store"
    engine = FileEngine(path, **corruption.OPTIONS)
    engine.initialize()
    for stream in ("a", "b"):
        fill(engine, stream, commits=4)
        for revision in (1, 3, 7):
            engine.add_snapshot(Snapshot(stream, revision, {"at": revision}))
    fill(engine, "deleted")
    engine.fold()
    engine.delete_stream("default", "deleted")  # so that its bytes go, and those of all others in the old journal
    engine.close()
    disk = MemoryDisk.of(path)
    engine = open_engine(str(path), disk.copy())
    expected = corruption.content(engine)
    engine.close()
    return str(path), disk, expected


def damage(disk: MemoryDisk, path: str, stream: str, kind: str, numbers: list[int]) -> None:
    """A bit of the body of some of the records in a stream's file."""
    key = Stream.of("default", stream).key.hex()
    file = f"{path}/streams/{key[:2]}/{key}.{kind}"
    seed = layout.read_meta(disk, path).seed
    records = list(whole_records(disk, file, seed))
    for number in numbers:
        offset, header = records[number]
        disk.files[file].to_write()[offset + header.length_bytes - 1] ^= 1


@pytest.mark.parametrize("commits", [[], [0], [1], [3]])
@pytest.mark.parametrize("snapshots", [[], [1], [0, 1, 2]])
def test_commits_and_snapshots_of_one_stream_are_repaired_together(
    tmp_path: Path, commits: list[int], snapshots: list[int]
) -> None:
    path, disk, expected = folded_only(tmp_path)
    damage(disk, path, "a", "segment", commits)
    damage(disk, path, "a", "snapshots", snapshots)
    repaired(path, disk, expected)
    left = [file for file in disk.files if file.endswith(".snapshots") and "quarantine" not in file]
    assert len(left) == (1 if 0 in commits or len(snapshots) == 3 else 2)


def test_snapshots_in_the_journal_do_not_take_the_place_of_those_beside_a_damaged_segment(tmp_path: Path) -> None:
    path, disk, _ = folded_only(tmp_path)
    engine = open_engine(path, disk)
    engine.commit(next_attempt(list(engine.get_from("default", "a"))[-1]))
    engine.add_snapshot(Snapshot("a", 9, {"at": 9, "larger": True}))
    expected, killed = corruption.content(engine), disk.copy()
    key = Stream.of("default", "a").key.hex()
    killed.files[f"{path}/streams/{key[:2]}/{key}.segment"].to_write()[20] ^= 1
    said = repaired(path, killed, expected)
    assert [action.lost for action in said if action.lost] == []
    engine.close()


@pytest.mark.parametrize(("before", "after"), [(2, 3), (3, 2), (1, 1)])
def test_a_stream_that_was_begun_again_is_not_taken_for_the_one_whose_deletion_is_damaged(
    tmp_path: Path, before: int, after: int
) -> None:
    path, disk, _ = folded_only(tmp_path)
    engine = open_engine(path, disk)
    fill(engine, "again", commits=before)
    engine.fold()
    engine.delete_stream("default", "again")
    fill(engine, "between")
    fill(engine, "again", commits=after)
    expected, killed = corruption.content(engine), disk.copy()
    engine.close()
    seed = layout.read_meta(killed, path).seed
    (place,) = (
        (file, offset)
        for file in files(killed, ".journal")
        for offset, header in whole_records(killed, file, seed)
        if header.kind == format.DELETE_STREAM and header.key == Stream.of("default", "again").key
    )
    killed.files[place[0]].to_write()[place[1] + 20] ^= 1
    repaired(path, killed, expected)
    engine = open_engine(path, killed)
    assert list(engine.get_from("default", "again"))[:-1] == expected.commits["default", "again"]
    engine.close()


class Interrupted(BaseException):
    """The process ends here."""


class InterruptedDisk(MemoryDisk):
    """Ends the process in its n-th change."""

    changes_left = 0

    def _change(self) -> None:
        self.changes_left -= 1
        if not self.changes_left:
            raise Interrupted

    def write(self, handle: int, data: bytes | bytearray | memoryview, offset: int) -> None:
        self._change()
        super().write(handle, data, offset)

    def rename(self, source: str, target: str) -> None:
        self._change()
        super().rename(source, target)

    def unlink(self, path: str) -> None:
        self._change()
        super().unlink(path)


def interrupted(disk: MemoryDisk, path: str, changes: int) -> tuple[MemoryDisk, bool]:
    """What a repair leaves that ends before that many changes, and whether it came to its own end."""
    copy = InterruptedDisk({file: bytes(one.data) for file, one in disk.files.items()}, disk.directories)
    copy.changes_left = changes
    try:
        apply(copy, path)
    except Interrupted:
        return copy.copy(), False
    return copy.copy(), True


@pytest.mark.parametrize("kinds", ["journal", "segment", "segment snapshots", "segment journal heads.index control"])
def test_a_repair_that_is_interrupted_is_done_again_in_the_same_way(
    built: tuple[str, MemoryDisk, Content], kinds: str
) -> None:
    path, disk, expected = built
    copy = disk.copy()
    for kind in kinds.split():
        if kind in ("segment", "snapshots"):
            damage(copy, path, "a", kind, [1])
        elif kind == "journal":
            file = files(copy, ".journal")[-1]
            offset, header = list(whole_records(copy, file, layout.read_meta(copy, path).seed))[3]
            copy.files[file].to_write()[offset + header.length_bytes - 1] ^= 1
        else:
            del copy.files[f"{path}/{kind}"]
    whole = copy.copy()
    said = repaired(path, whole, expected)
    wanted, _ = interrupted(copy, path, 1 << 30)
    set_aside = [copy.files[action.path].data for action in said if "quarantine" in action.what and action.lost]
    changes, is_done = 0, False
    while not is_done:
        changes += 3
        left, is_done = interrupted(copy, path, changes)
        with named(f"interrupted before change {changes}"):
            apply(left, path)
            assert [str(one) for one in verify(left, path)] == []
            for one, other in zip(holding(path, left), holding(path, wanted), strict=True):
                assert one == other
            aside = [bytes(left.files[file].data) for file in files(left, "") if "/quarantine/" in file]
            assert [data for data in set_aside if data not in aside] == []


def holding(path: str, disk: MemoryDisk) -> tuple[list[Commit], list[Snapshot], list[Commit]]:
    """Everything in a store that was repaired: commits, snapshots whatever their revision, what is undispatched."""
    engine = open_engine(path, disk.copy())
    try:
        commits = list(engine.get_from_checkpoint())
        streams = sorted({(commit.bucket_id, commit.stream_id) for commit in commits})
        found = [one for stream in streams for one in snapshots(engine, *stream)]
        return commits, found, list(engine.get_undispatched_commits())
    finally:
        engine.close()


def test_a_journal_file_that_nobody_went_on_in_is_gone_after_a_repair(tmp_path: Path) -> None:
    """Whoever began it was killed before the log went on there; its positions are used again."""
    path = str(tmp_path / "a.store")
    engine = FileEngine(path, background=False, journal_bytes=32768)
    engine.initialize()
    fill(engine, "a", commits=8)
    control = engine.opened().control
    ended, token = control.get(TAIL), control.get(NEXT_TOKEN)
    commits = list(engine.get_from("default", "a"))
    commits.append(engine.commit(next_attempt(commits[-1])))
    disk = MemoryDisk.of(Path(path))
    engine.close()
    (file,) = files(disk, ".journal")
    seed, base = layout.read_meta(disk, path).seed, len(disk.files[file].data)
    first = base + file_headers.JOURNAL_HEADER_BYTES
    roll = format.RecordHeader(
        0, format.ROLL, 0, 0, first, first - ended, ended, format.NO_KEY, token, 0, 0, format.NO_ID, 0,
        format.checksum(b"", seed), 0,
    )  # fmt: skip
    data = file_headers.journal_header(seed, base, 2 * base) + format.pack_header(roll, seed)
    disk.files[f"{path}/journal/{layout.journal_name(base)}"] = File(data.ljust(2 * base, b"\0"))
    offset, header = list(whole_records(disk, file, seed))[5]
    disk.files[file].to_write()[offset + header.length_bytes - 1] ^= 1

    apply(disk, path)
    assert len(disk.names(f"{path}/journal")) == 1
    engine = FileEngine(path, disk=disk, background=False, journal_bytes=32768)
    engine.initialize()
    kept = list(engine.get_from("default", "a"))
    assert kept == commits[: len(kept)]
    for _ in range(120):
        kept.append(engine.commit(next_attempt(kept[-1])))
    killed = disk.copy()
    engine.close()
    for each in (killed, disk):
        engine = FileEngine(path, disk=each, background=False)
        engine.initialize()
        assert list(engine.get_from("default", "a")) == kept
        engine.close()


def test_a_stream_is_put_together_from_what_its_segment_and_the_journal_still_have(
    built: tuple[str, MemoryDisk, Content],
) -> None:
    """The journal keeps folded records until its file is used again: they mend a segment."""
    path, disk, content = built
    copy = disk.copy()
    engine = open_engine(path, copy)
    engine.fold()
    copy = copy.copy()
    stream = max(files(copy, ".segment"), key=lambda file: len(copy.files[file].data))
    copy.files[stream].to_write()[-3] ^= 1
    said = repaired(path, copy, content)
    assert any("found elsewhere" in action.what for action in said)
    assert not [action for action in said if action.lost]
    engine.close()
