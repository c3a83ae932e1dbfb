"""Closing a store while other threads are at work in it: they end or hear of it, and nothing stays open."""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fsstore.engines.file import FileEngine
from fsstore.engines.file.disk.disk import RealDisk
from fsstore.engines.file.folding.fold import Fold
from fsstore.engines.file.processes.control import TAIL
from fsstore.errors import CorruptionError, StoreClosedError
from fsstore.testing import SimulatedDisk, fill, first_attempt

PATIENCE_SECONDS = 30


def opened(path: Path | str, **options: Any) -> FileEngine:
    engine = FileEngine(path, background=False, **options)
    engine.initialize()
    return engine


def started(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


@pytest.mark.parametrize("last", [True, False])
def test_closing_waits_for_a_fold_that_another_thread_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, last: bool
) -> None:
    engine, other = opened(tmp_path / "a.store"), opened(tmp_path / "a.store")
    fill(engine, "a")
    if last:
        other.close()
    folding, let_on = threading.Event(), threading.Event()
    run, outcomes = Fold.run, []

    def slow(*arguments: Any, **options: Any) -> int:
        end = run(*arguments, **options)
        folding.set()
        assert let_on.wait(PATIENCE_SECONDS)
        return end

    def fold() -> None:
        try:
            engine.fold()
            outcomes.append("folded")
        except StoreClosedError:
            outcomes.append("closed")

    monkeypatch.setattr(Fold, "run", slow)
    threads = [started(fold)]
    assert folding.wait(PATIENCE_SECONDS)
    threads.append(started(engine.close))
    threads[-1].join(0.2)
    threads.append(started(fold))
    let_on.set()
    for thread in threads:
        thread.join(PATIENCE_SECONDS)
        assert not thread.is_alive(), "two threads wait for each other"
    assert sorted(outcomes) == ["closed", "folded"]
    assert last or other.stat()["unfolded_bytes"] == 0
    other.close()


@pytest.mark.parametrize("folded", [True, False])
def test_a_page_that_is_being_read_leaves_no_file_open(folded: bool) -> None:
    disk = SimulatedDisk()
    engine = opened("/a.store", disk=disk)
    fill(engine, "a", commits=3)
    if folded:
        engine.fold()
    store = engine.opened()
    part, name = (store.view.segments, "read_at") if folded else (store.reader._unfolded, "records")
    read = getattr(part, name)

    def read_once_closed(*arguments: Any) -> Any:
        engine.close()
        return read(*arguments)

    setattr(part, name, read_once_closed)
    with pytest.raises(StoreClosedError):
        list(engine.get_from_checkpoint())
    assert not disk.open_files()


def test_who_waits_for_commits_hears_of_the_closing_that_overtakes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = opened(tmp_path / "a.store")
    store, opened_still = engine.opened(), engine.opened
    for call in (lambda: engine.wait_for_commits(0, 0.0), engine.stat):
        answers = iter([store])
        monkeypatch.setattr(engine, "opened", lambda answers=answers: next(answers, None) or opened_still())
        engine.close()
        with pytest.raises(StoreClosedError):
            call()


class InterruptedClosing(RealDisk):
    """Somebody presses Ctrl-C when the n-th file was just closed."""

    left = 0

    def close(self, handle: int) -> None:
        super().close(handle)
        self.left -= 1
        if not self.left:
            raise KeyboardInterrupt


def open_in(store: Path) -> list[str]:
    """The files of the store that this process has open."""
    found = []
    for handle in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            found.append(os.readlink(f"/proc/self/fd/{handle}"))
    return [path for path in found if path.startswith(f"{store}/")]


@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="only Linux says what is open")
def test_closing_that_is_interrupted_at_a_file_closes_the_others_and_leaves_no_lock(tmp_path: Path) -> None:
    at = 0
    while True:
        at += 1
        store = tmp_path / f"{at}.store"
        disk = InterruptedClosing(str(store))
        engine = opened(store, disk=disk)
        fill(engine, "a", commits=3)
        engine.mark_commit_as_dispatched(next(engine.get_undispatched_commits()))
        assert engine.acquire_lease("a", 1)
        engine.fold()
        disk.left = at
        with contextlib.suppress(KeyboardInterrupt):
            engine.close()
        assert not open_in(store), at
        again = opened(store)
        assert len(list(again.get_from("default", "a"))) == 3
        again.close()
        if disk.left > 0:
            break
    assert at > 8


def test_what_the_system_says_of_a_file_that_it_closes_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    close = os.close

    def close_and_fail(handle: int) -> None:
        close(handle)
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "close", close_and_fail)
    for stream_id in ("a", "b"):
        engine = opened(tmp_path / "a.store")
        assert engine.commit(first_attempt(stream_id)) in engine.get_from("default", stream_id)
        engine.close()
    assert len(list(opened(tmp_path / "a.store").get_from_checkpoint())) == 2


def test_closing_a_store_whose_journal_was_damaged_meanwhile_closes_it_and_leaves_the_damage_to_who_opens_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    disk = SimulatedDisk()
    engine = opened("/a.store", disk=disk, journal_bytes=8192)
    fill(engine, "a", commits=20)
    engine.fold()
    other = opened("/a.store", disk=disk.process())
    position = engine.opened().control.get(TAIL)
    other.commit(first_attempt("b"))
    other.close()
    path = max(one for one in disk.sizes_bytes() if one.endswith(".journal"))
    assert disk.sizes_bytes()[path] > 4096, "the test needs a journal file that closing makes smaller"
    disk.rot(path, position - int(path.rpartition("/")[2].partition(".")[0], 16) + 150)
    engine.close()
    assert "a record in the journal is damaged" in caplog.text
    assert not disk.open_files()
    with pytest.raises(CorruptionError, match="in the journal"):
        opened("/a.store", disk=disk)
