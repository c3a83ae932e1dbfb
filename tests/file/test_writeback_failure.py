"""A flush that fails because the device cannot write: a loop device in a file, on a tmpfs that is full.

The journal's zeros are given back to the tmpfs first, so that a commit needs room that is not there. The write
succeeds, into the page cache, and the flush gets EIO; after it the page is clean and reads as written (fsync(2)).
Nothing here is injected.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from loop_device import LoopDevice, lacking
from writers import Writers, check_nothing_is_lost

from fsstore import StorageUnavailableError
from fsstore.engines.file import FileEngine
from fsstore.testing import fill, first_attempt

pytestmark = pytest.mark.skipif(lacking() is not None, reason=str(lacking()))
PROGRAM = Path(__file__).parent.parent / "committing_process.py"
MIB = 1 << 20


@contextmanager
def small(where: Path) -> Iterator[Path]:
    """A tmpfs with room for 24 MiB."""
    where.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={24 * MIB}", "tmpfs", where], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"a file system cannot be mounted here: {done.stderr.strip()}")
    try:
        yield where
    finally:
        subprocess.run(["umount", where], check=True)


def take_all_room(path: Path) -> None:
    with open(path, "wb", buffering=0) as file:
        try:
            while file.write(bytes(4096)):
                pass
        except OSError:
            return


def opened(store: Path) -> FileEngine:
    engine = FileEngine(store, journal_bytes=256 << 10, fold_bytes=128 << 10)
    engine.initialize()
    return engine


def test_a_device_that_cannot_write_ends_writing_everywhere_and_loses_nothing_acknowledged(tmp_path: Path) -> None:
    acknowledged_in = tmp_path / "acknowledged"
    acknowledged_in.mkdir()
    with small(tmp_path / "small") as host:
        # Without a journal of its own the file system goes on after the failure, as if nothing had been.
        options = ("-O", "^has_journal", "-b", "4096")
        device = LoopDevice(host / "image", tmp_path / "mounted", kind="ext4", size_bytes=16 * MIB, options=options)
        try:
            store = device.where / "a.store"
            other = opened(store)
            before = len(fill(other, "before", commits=20))
            device.give_back_zeros()
            take_all_room(host / "rest")
            with open(acknowledged_in / "1", "wb") as out:
                done = subprocess.run(
                    [sys.executable, PROGRAM, store, "60", "3", "1"],
                    stdout=out,
                    stderr=subprocess.PIPE,
                    text=True,
                    timeout=100,
                    check=False,
                )
            assert done.returncode == 1, done.stderr
            assert "StorageUnavailableError: flushing the journal" in done.stderr
            acknowledged = Writers(store, acknowledged_in).acknowledgements()
            assert acknowledged
            (host / "rest").unlink()
            # There is room again, and still no success: what the failed flush lost, nobody can know.
            for _ in range(2):
                with pytest.raises(StorageUnavailableError, match="close the store in every process"):
                    other.commit(first_attempt("other"))
            other.close()

            again = opened(store)
            stored = check_nothing_is_lost(again, acknowledged)
            assert stored - before - len(acknowledged) in (0, 1)
            again.close()
            # From the device itself, without what the page cache remembered.
            device.unmount()
            device.mount()
            last = opened(store)
            assert check_nothing_is_lost(last, acknowledged) == stored
            assert last.commit(first_attempt("other")).checkpoint_token == stored + 1
            assert list(last.verify()) == []
            last.close()
        finally:
            device.unmount()
