"""Folding in the background: what a system does that has no thread for it, or takes its lock away."""

from __future__ import annotations

import errno
import gc
import logging
import os
import threading
import time
from pathlib import Path
from typing import NoReturn

import pytest

from fsstore.engines.file import FileEngine
from fsstore.engines.file.streams.segments import Stream
from fsstore.testing import SimulatedDisk, fill
from fsstore.testing.simulation import Call

PATIENCE_SECONDS = 30
FOLD_BYTES = 2_000


def opened(path: Path) -> FileEngine:
    engine = FileEngine(path, fold_bytes=FOLD_BYTES)
    engine.initialize()
    return engine


def no_thread(thread: threading.Thread) -> NoReturn:
    raise RuntimeError("can't start new thread")


def test_a_store_that_gets_no_thread_folds_within_commits_until_it_gets_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = opened(tmp_path / "a.store")
    background = engine.writable().folding._background
    assert background is not None
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", no_thread)
        fill(engine, "a", commits=100)
    assert engine.stat()["unfolded_bytes"] < 5 * FOLD_BYTES
    assert background._thread is None
    fill(engine, "b", commits=100)
    assert background._thread is not None
    engine.close()


def test_a_fold_lock_that_cannot_be_taken_in_the_background_is_said_and_tried_again(tmp_path: Path) -> None:
    engine = opened(tmp_path / "a.store")
    background = engine.writable().folding._background
    assert background is not None
    (tmp_path / "a.store" / "fold.lock").unlink()
    while engine.stat()["unfolded_bytes"] < FOLD_BYTES:
        fill(engine, f"a {engine.stat()['last_checkpoint']}", commits=1)
    fill(engine, "b", commits=1)
    until = time.monotonic() + PATIENCE_SECONDS
    while engine.stat()["fold_error"] is None and time.monotonic() < until:
        time.sleep(0.001)
    assert "removed while it was in use" in engine.stat()["fold_error"]
    assert background._thread is not None
    assert background._thread.is_alive()
    engine.close()


def test_a_spare_journal_file_that_cannot_be_made_is_no_failed_fold_and_leaves_no_file_open(
    caplog: pytest.LogCaptureFixture,
) -> None:
    disk = SimulatedDisk()
    engine = FileEngine("/a.store", disk=disk, background=False, fold_bytes=FOLD_BYTES)
    engine.initialize()
    other = FileEngine("/a.store", disk=disk.process(), background=False)
    other.initialize()
    folding, calls = engine.writable().folding, list[Call]()

    def fold() -> None:
        fill(other, f"a {other.stat()['last_checkpoint']}", commits=20)
        folding._in_background()

    fold()
    before = disk.open_files()
    disk.unlink("/a.store/journal/spare")
    disk.watch(calls.append)
    fold()
    disk.watch(None)
    for name, path in {(call.name, call.path) for call in calls if "/spare" in call.path}:
        disk.unlink("/a.store/journal/spare")
        disk.fail(name, path=path, times=2)
        fold()
        disk.heal()
        assert disk.open_files() == before, (name, path)
        assert engine.stat()["fold_error"] is None
        fold()
    assert "has no spare journal file" in caplog.text
    engine.close()


def test_a_fold_that_failed_in_the_background_keeps_nothing_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("fsstore.file"), "disabled", True)  # what is captured keeps its errors
    store = tmp_path / "a.store"
    engine = opened(store)
    fill(engine, "a", commits=1)
    key = Stream.of("default", "a").key.hex()
    (store / "streams" / key[:2] / f"{key}.segment").mkdir(parents=True)
    fill(engine, "b", commits=20)
    until = time.monotonic() + PATIENCE_SECONDS
    while engine.stat()["fold_error"] is None and time.monotonic() < until:
        time.sleep(0.001)
    assert "a directory stands where" in engine.stat()["fold_error"]
    engine.close()
    gc.collect()
    handles = [os.path.realpath(one) for one in Path("/proc/self/fd").iterdir()]
    assert not [one for one in handles if one.startswith(str(store))]


def test_a_fold_that_fails_is_not_tried_for_every_commit_and_its_error_ends_when_another_process_folds(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("fsstore.engines.file.folding.schedule._FIRST_PAUSE_SECONDS", 3600.0)
    disk = SimulatedDisk()
    engine = FileEngine("/a.store", disk=disk, background=False, fold_bytes=FOLD_BYTES)
    engine.initialize()
    other = FileEngine("/a.store", disk=disk.process(), background=False)
    other.initialize()
    fill(other, "a", commits=20)
    disk.fail("write", errno.ENOSPC, path="*.segment", times=100)
    for _ in range(20):
        engine.writable().folding._in_background()
    disk.heal()
    assert caplog.text.count("failed, and will be tried again") == 1
    assert "No space left" in engine.stat()["fold_error"]
    other.writable().folding.fold()
    assert engine.stat()["fold_error"] is None
    other.close()
    engine.close()
