"""Whatever is done to a store's files, it gives the same data or says what is damaged: never a wrong answer.

`tools/corruption` tries every bit and every truncation; here a sample of them, and what whole files and blocks can
suffer. Each case is judged by `corruption.Judge`, which reads everything in every way, commits, folds and reopens.
"""

from __future__ import annotations

import contextlib
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import corruption
import every_corruption
import pytest
from corruption import AGAIN, PARTLY, REBUILD, REFUSED, SAME, WRONG, Case, Content, Judge
from memory_disk import MemoryDisk

from fsstore.engines.file import FileEngine
from fsstore.engines.file.verify import verify
from fsstore.errors import CorruptionError
from fsstore.testing import fill, next_attempt


class Store(NamedTuple):
    path: Path
    disk: MemoryDisk
    content: Content

    @property
    def judge(self) -> Judge:
        return Judge(str(self.path), self.content)

    def files(self, *endings: str) -> list[str]:
        return [file for file in sorted(self.disk.files) if file.endswith(endings)]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    path = tmp_path_factory.mktemp("corruption") / "a.store"
    return Store(path, *corruption.build(path, 60))


@pytest.fixture(scope="module")
def closed(store: Store) -> Store:
    """The same after it was opened and closed in good order."""
    disk = store.disk.copy()
    with contextlib.closing(open_engine(store.path, disk)):
        pass
    return Store(store.path, disk.copy(), store.content)


def open_engine(path: Path, disk: MemoryDisk) -> FileEngine:
    engine = FileEngine(path, disk=disk, **corruption.OPTIONS)
    engine.initialize()
    return engine


@pytest.mark.parametrize("which", ["store", "closed"])
def test_flipped_bits_and_cut_files_never_give_a_wrong_answer(which: str, request: pytest.FixtureRequest) -> None:
    store: Store = request.getfixturevalue(which)
    judge = store.judge
    total = sum(
        (
            every_corruption.file_counts(judge, store.disk, file, looked, step=1009)
            for file, looked in corruption.looked_at(judge, store.disk).items()
        ),
        every_corruption.Counter(),
    )
    assert judge.details == []
    assert not [outcome for outcome in total if WRONG in outcome]
    assert {f"flip: {SAME}", f"flip: {PARTLY}", f"cut: {SAME}", f"cut: {PARTLY}"} <= set(total)


@pytest.mark.parametrize("block_bytes", [64, 512])
def test_swapped_blocks_never_give_a_wrong_answer(store: Store, block_bytes: int) -> None:
    judge = store.judge
    cases = [
        case
        for file in store.files("journal", "segment", "snapshots", "index", "ids", "control", "store.meta")
        for case in corruption.swaps(store.disk, file, block_bytes)
    ]
    for number, case in enumerate(cases):
        if number % (512 // block_bytes) == 0:
            judge.outcome(store.disk, case, deep=number % 3 == 0)
    assert judge.details == []


def test_swapped_files_never_give_a_wrong_answer(store: Store) -> None:
    judge = store.judge
    for one, other in combinations(store.files(".segment", ".snapshots", ".index", ".ids"), 2):
        disk = store.disk.copy()
        disk.files[one], disk.files[other] = disk.files[other], disk.files[one]
        judge.judge(disk, f"{one} and {other} swapped", deep=True)
    # Two streams are damaged at once here; everywhere else it must be one.
    assert [detail for detail in judge.details if "damage spread" not in detail] == []


def test_older_copies_of_files_never_give_a_wrong_answer(tmp_path: Path) -> None:
    path = tmp_path / "a.store"
    disk, content = corruption.build(path, 40)
    judge = Judge(str(path), content)
    older: list[Case] = []
    engine = open_engine(path, disk)
    for number in range(11):
        older += [Case(f"copy {number}", file, bytes(one.data)) for file, one in disk.files.items()]
        stream = list(content.commits)[number % len(content.commits)]
        content.commits[stream].append(engine.commit(next_attempt(content.commits[stream][-1])))
        if number % 4 == 1:
            engine.fold()
        elif number % 4 == 3:
            engine.close()
            engine = open_engine(path, disk)
    now, expected = disk.copy(), corruption.content(engine)
    judge = Judge(str(path), expected)
    outcomes = {judge.outcome(now, case, deep=True) for case in older if case.file in now.files}
    assert judge.details == []
    assert {SAME, PARTLY, REFUSED} <= outcomes
    engine.close()


def test_files_of_another_store_are_not_believed(store: Store, tmp_path: Path) -> None:
    other, _ = corruption.build(tmp_path / "other.store", 60)
    judge = store.judge
    strangers = {path[len(str(tmp_path / "other.store")) :]: file for path, file in other.files.items()}
    for file in store.files(""):
        name = file[len(str(store.path)) :]
        if name in strangers and strangers[name].data:
            case = Case("another store's file", file, bytes(strangers[name].data))
            expected = (
                {SAME, AGAIN} if name in ("/control", "/dispatch/default.checkpoint") else {PARTLY, REFUSED, REBUILD}
            )
            if name.endswith((".index", ".ids")) and name.startswith("/streams"):
                expected = {SAME}
            assert judge.outcome(store.disk, case, deep=True) in expected, (name, judge.details)
    assert judge.details == []


@pytest.mark.parametrize("which", ["store", "closed"])
def test_any_disposable_files_can_be_deleted(which: str, request: pytest.FixtureRequest) -> None:
    store: Store = request.getfixturevalue(which)
    judge = store.judge
    files = store.files("control", ".index", ".ids", ".lock", "/lock", "spare")
    # Each of them alone, all of them, and a third of what is between.
    numbers = {1 << bit for bit in range(len(files))} | set(range(0, 1 << len(files), 3)) | {(1 << len(files)) - 1}
    for number in sorted(numbers - {0}):
        disk = store.disk.copy()
        for bit, file in enumerate(files):
            if number >> bit & 1:
                del disk.files[file]
        assert judge.judge(disk, f"subset {number:b} of {files}", deep=number % 5 == 0) in {SAME, REBUILD}
    assert judge.details == []


def test_no_checkpoint_comes_twice_when_an_index_is_rebuilt_and_the_last_to_close_had_slept(tmp_path: Path) -> None:
    path = tmp_path / "a.store"
    sleeping, busy = FileEngine(path, background=False), FileEngine(path, background=False)
    for engine in (sleeping, busy):
        engine.initialize()
    given_out = fill(busy, "a", commits=3)[-1].checkpoint_token
    busy.delete_stream("default", "a")
    for engine in (busy, sleeping):
        engine.fold()
        engine.close()
    (path / "commits.index").unlink()
    again = FileEngine(path, background=False)
    again.initialize()
    assert fill(again, "b", commits=1)[0].checkpoint_token == given_out + 1
    again.close()


def test_a_missing_file_is_named(store: Store) -> None:
    judge = store.judge
    for file in store.files(".segment", ".snapshots", ".journal", "store.meta"):
        disk = store.disk.copy()
        del disk.files[file]
        if file.endswith("store.meta"):
            continue
        assert judge.judge(disk, f"without {file}", deep=True) in {PARTLY, REFUSED}, judge.details
    assert judge.details == []


@pytest.mark.parametrize("also", ["control", "heads.index commits.index", "control heads.index"])
def test_a_missing_journal_file_is_named_while_anything_says_how_far_folding_came(store: Store, also: str) -> None:
    disk = store.disk.copy()
    for file in (store.files(".journal")[0], *store.files(*also.split())):
        del disk.files[file]
    assert store.judge.judge(disk, f"without {also}", deep=False) == REFUSED, store.judge.details
    [finding] = [one for one in verify(disk, str(store.path)) if one.path.endswith("/journal")]
    assert (finding.what, finding.disposable) == ("journal files are missing", False)


def test_damage_in_one_stream_does_not_keep_the_others_from_being_folded(store: Store) -> None:
    disk = store.disk.copy()
    damaged = max(store.files(".segment"), key=lambda file: len(disk.files[file].data))
    disk.files[damaged].to_write()[60] ^= 1
    engine = open_engine(store.path, disk)
    fill(engine, "other", commits=3)
    engine.fold()
    assert engine.stat()["unfolded_bytes"] == 0
    assert len(list(engine.get_from("default", "other"))) == 3
    engine.close()


def test_a_damaged_commit_is_not_taken_for_a_deleted_one_when_the_indexes_are_made_anew(closed: Store) -> None:
    disk = closed.disk.copy()
    segment = max(closed.files(".segment"), key=lambda file: len(disk.files[file].data))
    disk.files[segment].to_write()[len(disk.files[segment].data) // 2] ^= 1
    for index in closed.files("heads.index", "commits.index"):
        del disk.files[index]
    engine = open_engine(closed.path, disk)
    with pytest.raises(CorruptionError):
        list(engine.get_from_checkpoint())
    engine.close()
