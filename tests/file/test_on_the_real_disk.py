"""A store's directory: who may read it, what is erased from it, and what is said when somebody meddles with it."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from fsstore import CorruptionError, EventMessage, StorageError, StorageUnavailableError, StoreClosedError
from fsstore.engines.file import FileEngine
from fsstore.engines.file.disk import mounts
from fsstore.engines.file.processes.control import Control
from fsstore.model import Snapshot
from fsstore.testing import SimulatedDisk, fill, first_attempt, next_attempt
from fsstore.testing.simulation import keep_everything

SECRET = b"nobody may ever read this again"


def opened(store: Path) -> FileEngine:
    engine = FileEngine(store, background=False)
    engine.initialize()
    return engine


def test_only_the_owner_may_read_a_store(tmp_path: Path) -> None:
    store = tmp_path / "a.store"
    before = os.umask(0)
    try:
        engine = opened(store)
        fill(engine, "a", commits=2)
        assert engine.add_snapshot(Snapshot("a", 1, "state"))
        engine.mark_commit_as_dispatched(next(engine.get_from_checkpoint()))
        engine.close()
    finally:
        os.umask(before)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in store.rglob("*") if path.is_file()}
    assert modes == {0o600}
    assert {stat.S_IMODE(path.stat().st_mode) for path in (store, *store.rglob("*")) if path.is_dir()} == {0o700}


@pytest.mark.parametrize("folded_before", [True, False])
@pytest.mark.parametrize("forget", [lambda engine: engine.delete_stream("default", "a"), FileEngine.purge])
def test_after_forgetting_and_the_next_fold_no_file_holds_the_bytes(
    tmp_path: Path, folded_before: bool, forget: Callable[[FileEngine], None]
) -> None:
    store = tmp_path / "a.store"
    engine = opened(store)
    commit = engine.commit(first_attempt("a", events=[EventMessage(SECRET)]))
    assert engine.add_snapshot(Snapshot("a", 1, SECRET))
    if folded_before:
        engine.fold()
    engine.commit(next_attempt(commit, events=[EventMessage(SECRET)]))
    assert holding(store)
    forget(engine)
    engine.fold()
    assert holding(store) == []
    engine.close()
    assert holding(store) == []


def test_a_stream_that_another_process_deletes_while_folding_begins_is_erased(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "a.store"
    engine, other = opened(store), opened(store)
    engine.commit(first_attempt("a", events=[EventMessage(SECRET)]))
    view = engine.opened().view
    refresh = view.refresh

    def look_and_be_overtaken(control: Control, *, to_tail: bool) -> None:
        refresh(control, to_tail=to_tail)
        monkeypatch.undo()
        other.delete_stream("default", "a")

    monkeypatch.setattr(view, "refresh", look_and_be_overtaken)
    engine.fold()
    assert list(engine.get_from("default", "a")) == []
    engine.fold()
    assert holding(store) == []
    engine.close()
    other.close()


def test_what_a_fold_that_failed_at_its_end_did_not_erase_the_next_one_does() -> None:
    disk = SimulatedDisk(keep_everything)
    engine = FileEngine("/a.store", disk=disk, background=False)
    engine.initialize()
    engine.commit(first_attempt("a", events=[EventMessage(SECRET)]))
    engine.delete_stream("default", "a")
    disk.fail("unlink", path="*.journal")
    with pytest.raises(StorageUnavailableError):
        engine.fold()
    engine.fold()
    journal = [path for path in disk.sizes_bytes() if path.endswith(".journal")]
    assert journal == [f"/a.store/journal/{256 << 10:016x}.journal"], "the next one of the first one's size"
    engine.close()


def holding(store: Path) -> list[Path]:
    return [path for path in store.rglob("*") if path.is_file() and SECRET in path.read_bytes()]


def test_a_lock_file_that_was_removed_is_noticed_and_nothing_is_written(tmp_path: Path) -> None:
    engine = opened(tmp_path / "a.store")
    fill(engine, "a", commits=1)
    (tmp_path / "a.store" / "write.lock").unlink()
    with pytest.raises(StorageUnavailableError, match="removes files of the store"):
        engine.commit(first_attempt("b"))
    assert [commit.stream_id for commit in engine.get_from_checkpoint()] == ["a"]


def test_a_network_file_system_is_refused_by_its_name_and_nothing_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mounts, "network_file_system", lambda path: "nfs4")
    with pytest.raises(StorageError, match=r"network file system \(nfs4\).*local disk"):
        opened(tmp_path / "a.store")
    assert list(tmp_path.iterdir()) == []


def test_the_type_of_a_file_system_is_read_from_the_table_of_mounts() -> None:
    table = (
        "22 1 252:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n"
        "90 22 0:52 / /mnt/far rw,relatime shared:40 - nfs4 host:/far rw\n"
    )
    assert mounts._kind_of(table, "0:52") == "nfs4"
    assert mounts._kind_of(table, "252:0") == "ext4"
    assert mounts._kind_of(table, "9:9") is None


def test_a_store_that_is_open_elsewhere_is_not_dropped(tmp_path: Path) -> None:
    one, other = opened(tmp_path / "a.store"), opened(tmp_path / "a.store")
    with pytest.raises(StorageUnavailableError, match="open elsewhere"):
        one.drop()
    assert one.commit(first_attempt("a")).checkpoint_token == 1
    assert other.commit(first_attempt("b")).checkpoint_token == 2
    other.close()
    one.drop()
    assert not (tmp_path / "a.store").exists()


def test_a_walk_of_a_store_that_was_dropped_does_not_go_on_in_the_new_one(tmp_path: Path) -> None:
    engine = opened(tmp_path / "a.store")
    stored = fill(engine, "a", commits=3000, at_once=3000)
    engine.fold()
    walks = [engine.get_from_checkpoint(), engine.get_from("default", "a"), engine.get_undispatched_commits()]
    assert [next(walk) for walk in walks] == [stored[0]] * 3
    engine.drop()
    engine.initialize()
    anew = fill(engine, "a", commits=3000, at_once=3000)
    for walk in walks:
        seen = []
        with pytest.raises(StoreClosedError, match="was dropped while this was read"):
            seen.extend(walk)
        assert not set(seen) & set(anew)
    assert list(engine.get_from_checkpoint()) == anew
    engine.close()


def test_the_child_of_a_fork_is_told_and_its_parent_keeps_its_locks(tmp_path: Path) -> None:
    engine = opened(tmp_path / "a.store")
    child = os.fork()
    if not child:
        code = 1
        try:
            engine.commit(first_attempt("child"))
        except StoreClosedError as error:
            code = 0 if "before a fork" in str(error) else 2
        finally:
            engine.close()
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    other = opened(tmp_path / "a.store")
    with pytest.raises(StorageUnavailableError, match="open elsewhere"):
        other.drop()
    assert engine.commit(first_attempt("parent")).checkpoint_token == 1
    other.close()
    engine.close()


def nothing(store: Path) -> None:
    """As it was."""


def no_control(store: Path) -> None:
    (store / "control").unlink()


def last_record(store: Path) -> None:
    _damage(store, b"third")


def last_record_and_no_control(store: Path) -> None:
    last_record(store)
    no_control(store)


def a_record_before_the_last_and_no_control(store: Path) -> None:
    _damage(store, b"first")
    no_control(store)


def no_journal(store: Path) -> None:
    shutil.rmtree(store / "journal")


def _damage(store: Path, marker: bytes) -> None:
    (journal,) = (store / "journal").glob("*.journal")
    data = bytearray(journal.read_bytes())
    data[data.rindex(marker)] ^= 1
    journal.write_bytes(data)


@pytest.mark.parametrize(
    ("damage", "found"),
    [
        (nothing, 3),
        (no_control, 3),
        (last_record_and_no_control, 2),  # no durable mark names it: torn, set aside
        (last_record, None),
        (a_record_before_the_last_and_no_control, None),  # the last record says that it was durable
        (no_journal, None),
    ],
)
def test_what_recovery_makes_of_a_damaged_journal(
    tmp_path: Path, damage: Callable[[Path], None], found: int | None
) -> None:
    """Commits that are found; `None`: refused as damaged, and nothing is touched."""
    store = tmp_path / "killed.store"
    engine = opened(tmp_path / "a.store")
    for name in ("first", "second", "third"):
        engine.commit(first_attempt(f"a {name}", events=[EventMessage(name)]))
    shutil.copytree(tmp_path / "a.store", store)
    engine.close()
    damage(store)
    before = {path: path.read_bytes() for path in store.rglob("*.journal")}
    if found is None:
        with pytest.raises(CorruptionError, match="fsstore repair"):
            opened(store)
        assert {path: path.read_bytes() for path in store.rglob("*.journal")} == before
        return
    again = opened(store)
    assert [commit.checkpoint_token for commit in again.get_from_checkpoint()] == list(range(1, found + 1))
    assert bool(list((store / "quarantine").iterdir())) == (found < 3)
    assert again.commit(first_attempt("after")).checkpoint_token == found + 1
    again.close()
