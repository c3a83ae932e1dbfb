"""SQLite on a disk that fails: what is stored after a COMMIT that failed, and what the error says of it."""

from __future__ import annotations

import resource
import shutil
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from fsstore.engine import PersistenceEngine
from fsstore.engines.sql.engine import SqlEngine
from fsstore.engines.threaded import awaiting
from fsstore.errors import StorageUnavailableError
from fsstore.model import Snapshot
from fsstore.testing import AwaitedEngine
from fsstore.testing.attempts import fill, first_attempt, next_attempt


@pytest.fixture(params=["threads", "tasks"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    url = f"sqlite:///{tmp_path / 'orders.db'}"
    made = SqlEngine(url) if request.param == "threads" else AwaitedEngine(lambda: awaiting(SqlEngine(url)))
    made.initialize()
    yield made
    made.close()


@contextmanager
def no_larger_file(than: Path) -> Iterator[None]:
    """No file can become larger than that one is."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (than.stat().st_size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_what_could_not_be_written_is_not_stored_and_is_done_later(engine: Any, tmp_path: Path) -> None:
    stored = fill(engine, "a", commits=3)
    following = next_attempt(stored[-1])
    calls: list[Callable[[], Any]] = [
        lambda: engine.commit(following),
        lambda: engine.commit_many([first_attempt("b"), first_attempt("c")]),
        lambda: engine.add_snapshot(Snapshot("a", 2, {"at": 2})),
        lambda: engine.mark_commit_as_dispatched(stored[0]),
        lambda: engine.delete_stream("default", "c"),
    ]
    if isinstance(engine, SqlEngine):  # the twin has the same
        lease = engine.acquire_lease("turn", 60)
        assert lease is not None
        calls += [
            lambda: engine.put_checkpoint("name", b"1"),
            lambda: engine.acquire_lease("another turn", 60),
            lambda: engine.renew_lease(lease, 60),
            lambda: engine.release_lease(lease),
        ]
    for call in calls:
        with (
            no_larger_file(tmp_path / "orders.db-wal"),
            pytest.raises(StorageUnavailableError, match="nothing was stored, try again later") as raised,
        ):
            call()
        assert not raised.value.in_doubt
        assert "attempt" not in str(raised.value)
        if call is calls[0]:
            assert list(engine.get_from_checkpoint()) == stored
            stored.append(call())
            assert list(engine.get_from_checkpoint()) == stored
        else:
            call()


def test_a_commit_that_readers_kept_out_is_not_stored_and_holds_nobody_up(tmp_path: Path) -> None:
    path = tmp_path / "orders.db"
    made = SqlEngine(f"sqlite:///{path}")
    made.initialize()
    fill(made, "a", commits=1)
    made.close()
    reader = sqlite3.connect(path, isolation_level=None)
    reader.execute("PRAGMA journal_mode = DELETE")
    engine = SqlEngine(f"sqlite:///{path}", timeout_seconds=0.05, pool_size=1)
    engine.initialize()
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM Commits").fetchall()
    attempt = first_attempt("b")
    for _ in range(2):
        with pytest.raises(StorageUnavailableError, match=r"nothing was stored.*locked") as raised:
            engine.commit(attempt)
        assert not raised.value.in_doubt
        reader.execute("SELECT count(*) FROM Commits").fetchall()
    reader.execute("COMMIT")
    reader.execute("BEGIN IMMEDIATE")  # it left no lock
    reader.execute("ROLLBACK")
    assert engine.commit(attempt).checkpoint_token == 2
    engine.close()
    reader.close()


# ---- in a process of which strace has the kernel refuse a call ----

PROCESS = """
    import os, sys
    from fsstore.engines.sql.engine import SqlEngine
    from fsstore.errors import StorageUnavailableError
    from fsstore.testing.attempts import first_attempt

    engine = SqlEngine(sys.argv[1])
    engine.initialize()
    try:
        engine.commit(first_attempt("a")) if sys.argv[2] == "commit" else engine.put_checkpoint("name", b"1")
    except StorageUnavailableError as error:
        print(error.in_doubt, error, flush=True)
    os._exit(0)  # killed before anything follows
"""


def refused(call: str, code: str, nth: int, path: Path, operation: str) -> str:
    """What the operation says when the n-th such call on SQLite's log is refused; the process dies then."""
    made: PersistenceEngine = SqlEngine(f"sqlite:///{path}")
    made.initialize()
    made.close()
    command = ["strace", "-f", "-qq", "-o", "/dev/null", "-P", f"{path}-wal", "-e", f"inject={call}:error={code}"]
    command[-1] += f":when={nth}"
    process = [sys.executable, "-c", textwrap.dedent(PROCESS), f"sqlite:///{path}", operation]
    done = subprocess.run([*command, *process], capture_output=True, text=True, check=False, timeout=60)
    if done.returncode:
        pytest.skip(f"strace may not trace here: {done.stderr.splitlines()[0]}")
    return done.stdout


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is missing: apt-get install strace")
@pytest.mark.parametrize(
    ("call", "code", "nth", "in_doubt"),
    # The first flush is of the log's head; a page and what stands before it are a write each.
    [("fdatasync", "EIO", 2, True), ("pwrite64", "EIO", 3, False), ("pwrite64", "ENOSPC", 3, False)],
)
@pytest.mark.parametrize("operation", ["commit", "put"])
def test_only_a_flush_that_failed_leaves_a_doubt_and_with_reason(
    call: str, code: str, nth: int, in_doubt: bool, operation: str, tmp_path: Path
) -> None:
    path = tmp_path / "orders.db"
    said = refused(call, code, nth, path, operation)
    assert said.startswith(f"{in_doubt} "), said
    assert ("commit the same attempt again" in said) == (in_doubt and operation == "commit")
    assert ("do the same again" in said) == (in_doubt and operation == "put")
    engine = SqlEngine(f"sqlite:///{path}")
    engine.initialize()
    there = list(engine.get_from_checkpoint()) if operation == "commit" else engine.get_checkpoint("name")
    assert bool(there) == in_doubt
    engine.close()
