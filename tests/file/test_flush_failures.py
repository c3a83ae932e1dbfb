"""A flush that fails, or kills its process, in a real process: strace has the kernel answer so at the nth fdatasync."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from writers import Acknowledged, Writers, check_nothing_is_lost

from fsstore import StorageUnavailableError
from fsstore.engines.file import FileEngine
from fsstore.testing import first_attempt

pytestmark = pytest.mark.skipif(shutil.which("strace") is None, reason="strace is missing: apt-get install strace")
PROGRAM = Path(__file__).parent.parent / "committing_process.py"
NTH = 40


def opened(store: Path) -> FileEngine:
    engine = FileEngine(store)
    engine.initialize()
    return engine


def written(store: Path, fault: str) -> tuple[int, str, dict[int, Acknowledged]]:
    """How a process ended whose nth flush has that fault, what it said then, and what it had acknowledged."""
    acknowledged = store.with_name("acknowledged")
    acknowledged.mkdir()
    command = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"inject=fdatasync:{fault}:when={NTH}"]
    with open(acknowledged / "1", "wb") as out:
        done = subprocess.run(
            [*command, sys.executable, PROGRAM, store, "60", "3", "1"],
            stdout=out,
            stderr=subprocess.PIPE,
            text=True,
            timeout=100,
            check=False,
        )
    if "ptrace" in done.stderr:
        pytest.skip(f"strace may not trace here: {done.stderr.splitlines()[0]}")
    return done.returncode, done.stderr, Writers(store, acknowledged).acknowledgements()


def test_a_failed_flush_ends_writing_in_every_process_until_the_store_is_opened_again(tmp_path: Path) -> None:
    store = tmp_path / "a.store"
    other = opened(store)
    code, said, acknowledged = written(store, "error=EIO")
    assert code == 1
    assert re.search(r"StorageUnavailableError: storing commit \S+ of stream '.*' in .*: flushing the journal", said)
    assert acknowledged
    for _ in range(2):
        with pytest.raises(StorageUnavailableError, match="close the store in every process"):
            other.commit(first_attempt("other"))
    # Others are shown what was acknowledged, and nothing that is in doubt.
    assert [commit.checkpoint_token for commit in other.get_from_checkpoint()] == sorted(acknowledged)
    other.close()
    again = opened(store)
    stored = check_nothing_is_lost(again, acknowledged)
    assert stored - len(acknowledged) in (0, 1)
    assert again.commit(first_attempt("other")).checkpoint_token == stored + 1
    assert list(again.verify()) == []
    again.close()


def test_a_process_that_is_killed_in_a_flush_leaves_a_store_that_others_go_on_with(tmp_path: Path) -> None:
    store = tmp_path / "a.store"
    other = opened(store)
    code, _, acknowledged = written(store, "signal=KILL")
    assert code in (-signal.SIGKILL, 128 + signal.SIGKILL)
    assert acknowledged
    token = other.commit(first_attempt("other")).checkpoint_token
    stored = check_nothing_is_lost(other, acknowledged)
    assert token == stored
    assert stored - len(acknowledged) in (1, 2)
    assert list(other.verify()) == []
    other.close()
