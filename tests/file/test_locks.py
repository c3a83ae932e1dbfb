"""Which locks a commit takes, and gives back: one by the only process there ever was, one more once another joined."""

from __future__ import annotations

import errno
import fcntl
import itertools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from interrupting import interrupted

from fsstore import DuplicateCommitError, StorageUnavailableError
from fsstore.engines.file import FileEngine
from fsstore.engines.file.disk import disk as real_disk
from fsstore.engines.file.disk.disk import RealDisk
from fsstore.engines.file.files import layout
from fsstore.engines.file.processes import control, locks
from fsstore.testing import first_attempt


class CountingDisk(RealDisk):
    """The real one, which counts the locks that are taken."""

    locks = 0

    def lock(self, handle: int, *, shared: bool = False, blocking: bool = True) -> bool:
        self.locks += 1
        return super().lock(handle, shared=shared, blocking=blocking)


def opened(store: Path) -> tuple[FileEngine, CountingDisk]:
    disk = CountingDisk(str(store))
    engine = FileEngine(store, disk=disk, background=False)
    engine.initialize()
    return engine, disk


def locks_of_a_commit(engine: FileEngine, disk: CountingDisk, stream_id: str) -> int:
    before = disk.locks
    engine.commit(first_attempt(stream_id))
    return disk.locks - before


def test_the_only_process_takes_the_write_lock_and_no_other(tmp_path: Path) -> None:
    engine, disk = opened(tmp_path / "a.store")
    assert locks_of_a_commit(engine, disk, "a") == 1
    engine.close()


def test_marks_move_under_the_lock_of_their_page_as_soon_as_another_process_joined(tmp_path: Path) -> None:
    engine, disk = opened(tmp_path / "a.store")
    other, its_disk = opened(tmp_path / "a.store")
    assert locks_of_a_commit(engine, disk, "a") == 2
    assert locks_of_a_commit(other, its_disk, "b") == 2
    engine.close()
    assert locks_of_a_commit(other, its_disk, "c") == 2, "who joined later cannot know that it is alone"
    other.close()


def test_who_opens_a_store_that_all_have_closed_is_the_only_one_again(tmp_path: Path) -> None:
    for number in range(3):
        engine, disk = opened(tmp_path / "a.store")
        assert locks_of_a_commit(engine, disk, f"s{number}") == 1
        engine.close()


@pytest.mark.parametrize("blocking", [True, False])
@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(errno.EIO, "gone")])
def test_a_lock_is_free_again_when_its_thread_is_interrupted_right_after_taking_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, blocking: bool
) -> None:
    disk = RealDisk(str(tmp_path))
    one, other = [disk.open(f"{tmp_path}/lock", write=True, create=True) for _ in range(2)]

    def fail(handle: int) -> None:
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(os, "fstat", fail)
        with pytest.raises((KeyboardInterrupt, OSError)):
            disk.lock(one, blocking=blocking)
    assert disk.lock(other, blocking=False)
    for handle in (one, other):
        disk.close(handle)


class InterruptingDisk(RealDisk):
    """Somebody presses Ctrl-C when the next lock was just taken."""

    interrupts = False

    def lock(self, handle: int, *, shared: bool = False, blocking: bool = True) -> bool:
        taken = super().lock(handle, shared=shared, blocking=blocking)
        if self.interrupts:
            self.interrupts = False
            raise KeyboardInterrupt
        return taken


def test_a_thread_that_is_interrupted_when_it_has_the_write_lock_gives_it_back(tmp_path: Path) -> None:
    store = tmp_path / "a.store"
    disk = InterruptingDisk(str(store))
    engine = FileEngine(store, disk=disk, background=False)
    engine.initialize()
    disk.interrupts = True
    with pytest.raises(KeyboardInterrupt):
        engine.commit(first_attempt("a"))
    other = os.open(store / "write.lock", os.O_RDWR)
    fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(other)
    assert engine.commit(first_attempt("a")).checkpoint_token == 1
    engine.close()


CHANGES: list[Callable[[FileEngine], object]] = [
    lambda engine: engine.commit(first_attempt("interrupted")),
    lambda engine: engine.delete_stream("default", "before"),
    FileEngine.fold,
]


@pytest.mark.parametrize("joined", [False, True])
@pytest.mark.parametrize("change", CHANGES)
def test_whoever_is_interrupted_anywhere_in_a_lock_leaves_it_to_others(
    tmp_path: Path, change: Callable[[FileEngine], object], joined: bool
) -> None:
    def is_interrupted_at(at: int) -> bool:
        engine, _ = opened(tmp_path / f"{at}.store")
        other = opened(tmp_path / f"{at}.store")[0] if joined else None
        engine.commit(first_attempt("before"))
        files = (locks.__file__, control.__file__, real_disk.__file__)
        was_interrupted = interrupted(at, lambda: change(engine), *files)
        for name in (layout.WRITE_LOCK, layout.FOLD_LOCK, layout.CONTROL):
            handle = os.open(tmp_path / f"{at}.store" / name, os.O_RDWR)
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.close(handle)
        with ThreadPoolExecutor() as another_thread:
            another_thread.submit(engine.commit, first_attempt("another thread")).result(30)
        (other or engine).commit(first_attempt("another process"))
        for each in (engine, other or engine):
            each.close()
        return was_interrupted

    assert sum(1 for _ in itertools.takewhile(is_interrupted_at, itertools.count(1))) > 10


class Unlockable(RealDisk):
    """The system does not give back the next lock."""

    fails = False

    def unlock(self, handle: int) -> None:
        if self.fails:
            self.fails = False
            raise OSError(errno.ENOLCK, "no locks")
        super().unlock(handle)


def test_a_commit_whose_lock_cannot_be_given_back_is_in_doubt(tmp_path: Path) -> None:
    store = tmp_path / "a.store"
    disk = Unlockable(str(store))
    engine = FileEngine(store, disk=disk, background=False)
    engine.initialize()
    other, _ = opened(store)
    attempt = first_attempt("a")
    disk.fails = True
    with pytest.raises(StorageUnavailableError, match=r"write\.lock cannot be unlocked .* in doubt") as failed:
        engine.commit(attempt)
    assert failed.value.in_doubt
    with pytest.raises(DuplicateCommitError):
        engine.commit(attempt)
    engine.close()
    other.close()
