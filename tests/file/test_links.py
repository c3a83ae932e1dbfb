"""Links, pipes and devices inside a store are refused by name, whoever put them there, and never followed.

Everything that a store has is moved away, to a place that must stay as it is, and something else put where it was.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import stores

from fsstore import CorruptionError, StorageError
from fsstore.engines.file import FileEngine
from fsstore.engines.file.disk.disk import RealDisk
from fsstore.engines.file.repair import apply, plan
from fsstore.engines.file.streams.segments import Stream
from fsstore.engines.file.verify import verify
from fsstore.model import EventMessage, Snapshot
from fsstore.testing import first_attempt, next_attempt

LONG = Stream.of("default", "long").key.hex()
FAN = f"streams/{LONG[:2]}"
FILES = [
    *("store.meta", "lock", "write.lock", "fold.lock", "control", "heads.index", "commits.index", "journal/*.journal"),
    *(f"{FAN}/{LONG}.{kind}" for kind in ("segment", "snapshots", "index", "ids")),
    *("dispatch/default.checkpoint", "dispatch/*.value", "dispatch/*.lease"),
]
DIRECTORIES = ["journal", "streams", FAN, "dispatch"]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with every kind of file, some commits of it folded and some not."""
    path = tmp_path_factory.mktemp("links") / "a.store"
    stores.build(path.with_name("aside.store"))
    engine = opened(path.with_name("aside.store"))
    engine.put_checkpoint("reader", b"1")
    assert engine.acquire_lease("reader", 1)
    engine.commit(next_attempt(list(engine.get_from("default", "long"))[-1]))
    shutil.copytree(path.with_name("aside.store"), path)  # as a killed process leaves it
    engine.close()
    return path


@pytest.fixture
def store(built: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(built, tmp_path / "a.store"))


def opened(path: Path, **options: Any) -> FileEngine:
    engine = FileEngine(path, **(stores.OPTIONS | options))
    engine.initialize()
    return engine


# ---- what is done with a store ----


def reading(path: Path) -> None:
    engine = opened(path, read_only=True)
    try:
        for commit in list(engine.get_from_checkpoint()):
            list(engine.get_from(commit.bucket_id, commit.stream_id, 2))
        assert engine.get_snapshot("default", "long")
        assert engine.get_checkpoint("reader") == b"1"
        list(engine.get_undispatched_commits())
    finally:
        engine.close()


def working(change: Callable[[FileEngine], Any]) -> Callable[[Path], None]:
    def work(path: Path) -> None:
        engine = opened(path)
        try:
            change(engine)
            engine.fold()
        finally:
            engine.close()

    return work


def _commit(engine: FileEngine) -> None:
    last = list(engine.get_from("default", "long"))[-1]
    engine.mark_commit_as_dispatched(engine.commit(next_attempt(last)))
    engine.put_checkpoint("reader", b"2")
    assert engine.acquire_lease("reader", 1)
    assert engine.add_snapshot(Snapshot("long", last.stream_revision, "state"))


def verifying(path: Path) -> None:
    for finding in verify(RealDisk(str(path)), str(path)):
        raise CorruptionError(finding.what, path=finding.path)


def repairing(path: Path) -> None:
    apply(RealDisk(str(path)), str(path))


def dropping(path: Path) -> None:
    FileEngine(path).drop()


WORK: dict[str, Callable[[Path], None]] = {
    "reading": reading,
    "committing": working(_commit),
    "deleting": working(lambda engine: engine.delete_stream("default", "long")),
    "purging": working(FileEngine.purge),
    "verifying": verifying,
    "repairing": repairing,
    "dropping": dropping,
}
SURELY_REFUSED = ("committing", "verifying", "repairing")


def refusal(work: Callable[[Path], None], store: Path) -> CorruptionError | None:
    try:
        work(store)
    except CorruptionError as error:
        return error
    return None


def moved(store: Path, pattern: str) -> tuple[Path, Path]:
    """A file or directory of the store, and where it is now, outside of the store."""
    place = max(store.glob(pattern))
    away = store.with_name("elsewhere") / place.name
    away.parent.mkdir()
    return place, place.rename(away)


@pytest.mark.parametrize("work", WORK)
@pytest.mark.parametrize("pattern", [*FILES, *DIRECTORIES])
def test_a_link_in_the_place_of_anything_is_not_followed(store: Path, pattern: str, work: str) -> None:
    place, away = moved(store, pattern)
    place.symlink_to(away)
    before = stores.tree(away.parent)
    error = refusal(WORK[work], store)
    if error is not None:
        assert error.path == str(place)
        assert "symbolic link stands where" in str(error)
        assert place.is_symlink()
    else:
        # What was not needed was not noticed, but for what was removed: then the link itself went.
        assert work not in SURELY_REFUSED
        assert work != "reading" or pattern not in ("control", f"{FAN}/{LONG}.segment", *DIRECTORIES)
    assert stores.tree(away.parent) == before


@pytest.mark.parametrize("make", ["pipe", "socket", "device", "directory", "dangling link"])
@pytest.mark.parametrize("pattern", FILES)
def test_nothing_but_a_file_is_taken_for_a_file(store: Path, pattern: str, make: str) -> None:
    place, _ = moved(store, pattern)
    put(place, make)
    for work in (WORK[name] for name in SURELY_REFUSED):
        with pytest.raises(CorruptionError, match="stands where the store has a file") as caught:
            work(store)
        assert caught.value.path == str(place)


def put(place: Path, what: str) -> None:
    if what == "dangling link":
        place.symlink_to("nowhere")
    elif what == "directory":
        place.mkdir()
    elif what == "device":
        try:
            os.mknod(place, stat.S_IFCHR | 0o600, os.makedev(1, 5))  # /dev/zero: reading it would not end
        except PermissionError:
            pytest.skip("only root makes devices")
    else:
        os.mknod(place, (stat.S_IFIFO if what == "pipe" else stat.S_IFSOCK) | 0o600)


@pytest.mark.parametrize("pattern", DIRECTORIES)
def test_a_file_is_not_taken_for_a_directory(store: Path, pattern: str) -> None:
    place, _ = moved(store, pattern)
    place.touch()
    for work in (WORK[name] for name in SURELY_REFUSED):
        with pytest.raises(CorruptionError, match="a file stands where the store has a directory") as caught:
            work(store)
        assert caught.value.path == str(place)


@pytest.mark.parametrize("pattern", FILES)
def test_a_file_with_another_name_is_read_but_not_written(store: Path, pattern: str) -> None:
    place = max(store.glob(pattern))
    other = store.with_name("other name")
    os.link(place, other)
    before = other.read_bytes()
    reading(store)
    error = refusal(WORK["committing"], store)
    if pattern == "store.meta":  # written once, when the store is made
        assert error is None
    else:
        assert error is not None
        assert error.path == str(place)
        assert "has another name" in str(error)
    assert other.read_bytes() == before


def test_what_a_crash_left_is_not_set_aside_through_a_link(store: Path) -> None:
    journal = stores.journal_of(store)
    stores.flip(journal, journal.read_bytes().rindex(b"long"))
    (store / "control").unlink()
    place, away = moved(store, "quarantine")
    place.symlink_to(away)
    before = journal.read_bytes()
    with pytest.raises(CorruptionError, match="symbolic link stands where the store has a directory"):
        opened(store)
    assert (list(away.iterdir()), journal.read_bytes()) == ([], before)


def rolling(engine: FileEngine) -> None:
    engine.commit(first_attempt("large", events=[EventMessage("x" * 3_000_000)]))


@pytest.mark.parametrize(
    ("name", "gone", "change"),
    [
        ("heads.index.new", "heads.index", _commit),
        ("commits.index.new", "heads.index", _commit),
        ("journal/new", "journal/spare", rolling),
        ("journal/spare", "journal/spare", rolling),
    ],
)
def test_a_link_that_waits_for_a_new_file_is_not_written_through(
    store: Path, name: str, gone: str, change: Callable[[FileEngine], Any]
) -> None:
    (store / gone).unlink(missing_ok=True)
    victim = store.with_name("victim")
    victim.write_text("as it was")
    (store / name).symlink_to(victim)
    with pytest.raises(CorruptionError, match="a symbolic link") as caught:
        working(change)(store)
    assert caught.value.path == str(store / name)
    assert victim.read_text() == "as it was"


def test_a_store_is_not_made_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "a.store").mkdir()
    (tmp_path / "victim").write_text("as it was")
    (tmp_path / "a.store" / "store.meta.new").symlink_to(tmp_path / "victim")
    with pytest.raises(CorruptionError, match="a symbolic link"):
        opened(tmp_path / "a.store")
    assert (tmp_path / "victim").read_text() == "as it was"


def test_the_store_itself_may_be_reached_through_links(store: Path) -> None:
    (store.parent / "a link").symlink_to(store.parent)
    (store.parent / "another link").symlink_to(store.parent / "a link" / store.name)
    path = store.parent / "a link" / "another link"
    reading(path)
    WORK["committing"](path)
    assert list(verify(RealDisk(str(path)), str(path))) == []
    assert plan(RealDisk(str(path)), str(path)) == []


def test_a_directory_that_is_replaced_while_it_is_walked_leads_nowhere(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The moment after a directory was looked at and before something is made in it."""
    elsewhere = store.with_name("elsewhere")
    elsewhere.mkdir()
    disk = RealDisk(str(store))
    real_open = os.open

    def replace_first(path: Any, *args: Any, **options: Any) -> int:
        if str(path).endswith("mine"):
            (store / "dispatch").rename(store / "dispatch moved")
            (store / "dispatch").symlink_to(elsewhere)
        return real_open(path, *args, **options)

    monkeypatch.setattr(os, "open", replace_first)
    disk.close(disk.open(f"{store}/dispatch/mine", write=True, create=True))
    assert (store / "dispatch moved" / "mine").exists()
    assert list(elsewhere.iterdir()) == []
    disk.let_go()
    with pytest.raises(CorruptionError, match="symbolic link"):
        disk.exists(f"{store}/dispatch/default.checkpoint")


def test_a_disk_keeps_a_bounded_number_of_directories_open(tmp_path: Path) -> None:
    disk = RealDisk(str(tmp_path))
    before = len(os.listdir("/proc/self/fd"))
    for number in range(200):
        disk.make_directory(f"{tmp_path}/{number}")
        disk.close(disk.open(f"{tmp_path}/{number}/file", write=True, create=True))
    assert len(os.listdir("/proc/self/fd")) <= before + 64
    disk.let_go()
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_store_that_was_dropped_and_made_again_is_opened_by_the_same_engine(tmp_path: Path) -> None:
    engine = FileEngine(tmp_path / "a.store", create=False)
    (tmp_path / "a.store").mkdir()
    with pytest.raises(StorageError, match="there is no store"):
        engine.initialize()
    (tmp_path / "a.store").rmdir()
    stores.build(tmp_path / "a.store")
    engine.initialize()
    assert engine.commit(first_attempt("new")).stream_revision == 1
    engine.close()
