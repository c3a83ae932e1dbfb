"""After a repair verify finds nothing, what was not damaged is all there, and what is gone was named before."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import corruption
import pytest
from corruption import Case, Content
from memory_disk import MemoryDisk

from fsstore.engines.file import FileEngine
from fsstore.engines.file.repair import Action, apply, plan
from fsstore.engines.file.verify import verify
from fsstore.errors import StorageError, StorageUnavailableError
from fsstore.model import Commit
from fsstore.testing import next_attempt


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, MemoryDisk, Content]:
    path = tmp_path_factory.mktemp("repair") / "a.store"
    return str(path), *corruption.build(path, 60)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


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
            snapshot = engine.get_snapshot(bucket, stream)
            if snapshot != (known[-1] if known else None):
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


def _says(lost: str, commit: Commit, stream: str) -> bool:
    """Whether the loss of the commit was named: by its sequence, or where its stream is unknown by its checkpoint."""
    ranges = [
        *((commit.commit_sequence, found) for found in re.finditer(rf"commits? (\d+)(?: to (\d+))? of {stream}", lost)),
        *((commit.checkpoint_token, found) for found in re.finditer(r"checkpoints? (\d+)(?: to (\d+))?", lost)),
    ]
    named = any(int(found[1]) <= number <= int(found[2] or found[1]) for number, found in ranges)
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


def test_where_no_store_is_there_is_nothing_to_repair(built: tuple[str, MemoryDisk, Content]) -> None:
    _, disk, _ = built
    with pytest.raises(StorageError, match="there is no store at /nowhere"):
        plan(disk, "/nowhere")


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
