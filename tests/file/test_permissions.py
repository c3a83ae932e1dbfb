"""Who may read and write what a store makes: the owner, or whom `file_mode` and `directory_mode` say."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import stores

import fsstore
from fsstore import StorageUnavailableError, Wireup
from fsstore.engines.file import FileEngine, open_engine
from fsstore.engines.file.disk.disk import RealDisk
from fsstore.engines.file.repair import apply
from fsstore.testing import SimulatedDisk, fill, first_attempt

KINDS = {"segment", "snapshots", "index", "ids", "journal", "checkpoint", "value", "lease", "torn"}
NAMES = {"store.meta", "lock", "write.lock", "fold.lock", "control", "spare", "heads.index", "commits.index"}


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def make_everything(path: Path, **options: Any) -> None:
    """A store with every kind of file that there is: also a torn tail and what a repair set aside."""
    options |= {"journal_bytes": 4096, **stores.OPTIONS}
    aside = path.with_name("aside.store")
    stores.build(aside, **options)
    engine = FileEngine(aside, **options)
    engine.initialize()
    engine.put_checkpoint("reader", b"1")
    assert engine.acquire_lease("reader", 1)
    fill(engine, "more", commits=20)
    engine.fold()
    engine.commit(first_attempt("torn"))
    shutil.copytree(aside, path)  # as a killed process leaves it; modes are copied too
    engine.close()
    journal = stores.journal_of(path)
    stores.flip(journal, journal.read_bytes().rindex(b"torn"))
    (path / "control").unlink()
    spare = shutil.copy2(path / "journal" / "spare", path.with_name("spare"))  # which the last to close removes
    engine = FileEngine(path, **options)
    engine.initialize()
    engine.close()
    stores.flip(stores.file_of(path, "b", "segment"), -1)
    modes = {name: mode for name, mode in options.items() if name.endswith("_mode")}
    assert apply(RealDisk(str(path), **modes), str(path))
    shutil.move(spare, path / "journal" / "spare")


def modes(path: Path) -> tuple[set[int], set[int]]:
    """Of the files and of the directories."""
    found: tuple[set[int], set[int]] = set(), set()
    for one in (path, *path.rglob("*")):
        found[one.is_dir()].add(stat.S_IMODE(one.stat().st_mode))
    return found


@pytest.mark.parametrize("mask", [0, 0o022, 0o277])
def test_everything_that_is_made_is_the_owners_whatever_the_umask(tmp_path: Path, mask: int) -> None:
    store = tmp_path / "a" / "b.store"
    with umask(mask):
        make_everything(store)
    made = list(store.rglob("*"))
    assert {one.name for one in made} >= NAMES
    assert {one.suffix[1:] for one in made} >= KINDS
    assert list((store / "quarantine").glob("*.segment"))
    assert modes(store) == ({0o600}, {0o700})
    assert stat.S_IMODE(store.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("mask", [0, 0o077])
def test_everything_that_is_made_has_the_modes_that_were_told_whatever_the_umask(tmp_path: Path, mask: int) -> None:
    with umask(mask):
        make_everything(tmp_path / "a.store", file_mode=0o640, directory_mode=0o750)
    assert modes(tmp_path / "a.store") == ({0o640}, {0o750})


def test_modes_stand_in_a_url_in_octal_and_are_told_to_the_wireup(tmp_path: Path) -> None:
    fsstore.open(f"file:{tmp_path}/url.store?file_mode=0660&directory_mode=0770").close()
    Wireup.init().using_file_persistence(tmp_path / "w.store", file_mode=0o660, directory_mode=0o770).build().close()
    assert modes(tmp_path / "url.store") == modes(tmp_path / "w.store") == ({0o660}, {0o770})


def test_options_in_a_url_are_the_engines_and_those_of_a_call_go_before_them(tmp_path: Path) -> None:
    url = f"file:{tmp_path}/a.store?durability=os&background=false&fold_bytes=5000&create=true"
    engine = open_engine(url, fold_bytes=6000)
    assert (engine._durability, engine._options.background, engine._options.fold_bytes) == ("os", False, 6000)
    with pytest.raises(ValueError, match="file_mode=rw in a file URL"):
        open_engine(f"file:{tmp_path}/a.store?file_mode=rw")
    known = r"background, create, directory_mode, .*page_commits and read_only"
    with pytest.raises(TypeError, match=f"^a file store has no option 'no_such_option'; it has {known}$"):
        open_engine(f"file:{tmp_path}/a.store?no_such_option=1")
    for argument in ("disk", "path", "self", "serializer"):
        with pytest.raises(TypeError, match=f"^a file store has no option '{argument}'; it has {known}$"):
            open_engine(f"file:{tmp_path}/a.store?{argument}=1")


def test_a_directory_keeps_the_group_bit_that_it_inherits(tmp_path: Path) -> None:
    tmp_path.chmod(0o2770)
    engine = FileEngine(tmp_path / "a.store", directory_mode=0o770)
    engine.initialize()
    fill(engine, "a")
    engine.close()
    assert modes(tmp_path / "a.store")[True] == {0o2770}


def test_a_file_that_may_not_be_removed_is_named_when_a_store_is_dropped() -> None:
    disk = SimulatedDisk()
    engine = FileEngine("/a.store", disk=disk, background=False)
    engine.initialize()
    disk.fail("unlink", errno.EACCES, path="*.journal")
    with pytest.raises(StorageUnavailableError, match=r"[Pp]ermission denied: '/a.store/journal/0{16}.journal'"):
        engine.drop()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"file_mode": 0o400}, "file_mode must let the owner in"),
        ({"file_mode": 0o1600}, "at most 0o777"),
        ({"directory_mode": 0o600}, "directory_mode must let the owner in"),
        ({"file_mode": 0}, "file_mode must be at least 1"),
    ],
)
def test_modes_that_would_keep_the_owner_out_are_refused(tmp_path: Path, options: dict[str, int], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        FileEngine(tmp_path / "a.store", **options)
    with pytest.raises(TypeError, match="file_mode must be an int"):
        FileEngine(tmp_path / "a.store", file_mode="0600")
