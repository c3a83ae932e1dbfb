"""Every kind of damage is found, named and told apart from what is none; nothing is changed by looking."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest
import stores
from stores import DISK, cut, file_of, flip, journal_of, record, swap

from fsstore.engines.file import FileEngine
from fsstore.engines.file.files import layout
from fsstore.engines.file.formats import format, index_entries
from fsstore.engines.file.verify import Finding, verify
from fsstore.errors import CorruptionError, StorageError
from fsstore.testing import ProcessKilled, SimulatedDisk, fill, next_attempt
from fsstore.testing.simulation import Call


@dataclass(frozen=True)
class Case:
    """A damage, and the one finding that it must lead to."""

    name: str
    damage: Callable[[Path], object]
    file: str
    what: str
    lost: str = "nothing"
    disposable: bool = True


def _segment(path: Path) -> Path:
    return file_of(path, "b", "segment")


def _in_segment(sequence: int, within: int) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        flip(_segment(path), record(path, _segment(path), "b", sequence)[0] + within)

    return damage


def _in_the_folded_journal(path: Path) -> None:
    engine = FileEngine(path)
    engine.initialize()
    fill(engine, "late", commits=1)
    engine.close()
    flip(journal_of(path), record(path, journal_of(path), "late", 1)[0] + 130)


FOLDED = [
    Case(
        "a bit of the meta file", lambda p: flip(p / "store.meta", 20),
        "store.meta", "meta file", "the whole store", False,
    ),
    Case("a bit of the control page", lambda p: flip(p / "control", 48), "control", "control page is damaged"),
    Case("no control page", lambda p: (p / "control").unlink(), "control", "control page is missing"),
    Case(
        "a bit of a segment's header", lambda p: flip(_segment(p), 30),
        "{b}.segment", "header", "nothing but the name", False,
    ),
    Case(
        "a bit of a record's header", _in_segment(2, 20),
        "{b}.segment", "damaged", "commit 2 of stream 'b' in", False,
    ),
    Case("a bit of a record's body", _in_segment(3, 130), "{b}.segment", "damaged", "commit 3 of stream 'b' in", False),
    Case("a bit of the last record", _in_segment(5, 130), "{b}.segment", "damaged", "commit 5 of stream 'b' in", False),
    Case(
        "a segment cut between records",
        lambda p: cut(_segment(p), record(p, _segment(p), "b", 3)[1]),
        "{b}.segment", "damaged", "commits 4 to 5 of stream 'b' in", False,
    ),
    Case(
        "a segment cut within a record",
        lambda p: cut(_segment(p), record(p, _segment(p), "b", 3)[1] - 1),
        "{b}.segment", "damaged", "commits 3 to 5 of stream 'b' in", False,
    ),
    Case("an empty segment", lambda p: cut(_segment(p), 0), "{b}.segment", "header", "commits 1 to 5 of ", False),
    Case(
        "no segment", lambda p: _segment(p).unlink(),
        "{b}.segment", "missing", "commits 1 to 5 of stream 'b' in", False,
    ),
    Case(
        "a bit of a snapshot", lambda p: flip(file_of(p, "b", "snapshots"), -3),
        "{b}.snapshots", "damaged", "snapshots of stream 'b' in", False,
    ),
    Case(
        "no snapshots", lambda p: file_of(p, "b", "snapshots").unlink(),
        "{b}.snapshots", "missing", "snapshots of stream 'b' in", False,
    ),
    Case("a bit of .index", lambda p: flip(file_of(p, "long", "index"), 128 + 33), "{long}.index", "index beside"),
    Case("a bit of .index's header", lambda p: flip(file_of(p, "long", "index"), 20), "{long}.index", "index beside"),
    Case("a bit of .ids", lambda p: flip(file_of(p, "long", "ids"), 4096 + 9), "{long}.ids", "index beside"),
    Case("a bit of .ids' header", lambda p: flip(file_of(p, "long", "ids"), 20), "{long}.ids", "index beside"),
    Case("a bit of the heads' header", lambda p: flip(p / "heads.index", 15), "heads.index", "damaged or too old"),
    Case("no heads", lambda p: (p / "heads.index").unlink(), "heads.index", "missing"),
    Case(
        "a bit of the commits' header", lambda p: flip(p / "commits.index", 18),
        "commits.index", "damaged or too old",
    ),
    Case("no commits.index", lambda p: (p / "commits.index").unlink(), "commits.index", "missing"),
    Case(
        "a bit of an entry", lambda p: flip(p / "commits.index", 128 + 48 * 6 + 5),
        "commits.index", "an entry is damaged",
    ),
    Case("commits.index cut", lambda p: cut(p / "commits.index", 128 + 48 * 6), "commits.index", "damaged or too old"),
    Case(
        "a bit of a dispatch slot", lambda p: flip(p / "dispatch" / "default.checkpoint", 6),
        "default.checkpoint", "slot is damaged", "nothing; commits may be dispatched again",
    ),
    Case(
        "a bit of a folded record", _in_the_folded_journal,
        ".journal", "damaged", "nothing: all of it is folded",
    ),
]  # fmt: skip


def findings(path: Path) -> list[Finding]:
    """What verify says, having changed nothing."""
    before = stores.tree(path)
    found = list(verify(DISK, str(path)))
    assert stores.tree(path) == before
    return found


def _named(case: Case, path: Path) -> str:
    names = {stream: file_of(path, stream, "x").stem for stream in ("b", "long")}
    return case.file.format(**names)


@pytest.mark.parametrize("case", FOLDED, ids=lambda case: case.name)
def test_damage_is_found_and_named(case: Case, folded: Path) -> None:
    assert findings(folded) == []
    case.damage(folded)
    found = findings(folded)
    assert len(found) == 1, [str(one) for one in found]
    assert found[0].path.endswith(_named(case, folded))
    assert case.what in found[0].what
    assert case.lost in found[0].lost
    assert found[0].disposable == case.disposable


def test_swapped_segments_are_both_found(folded: Path) -> None:
    swap(file_of(folded, "b", "segment"), file_of(folded, "c", "segment"))
    found = findings(folded)
    assert sorted(one.what for one in found) == [
        "this is the file of stream 'b' in bucket 'default'",
        "this is the file of stream 'c' in bucket 'default'",
    ]
    assert not any(one.disposable for one in found)


def test_a_damaged_slot_of_the_heads_is_found(folded: Path) -> None:
    data = (folded / "heads.index").read_bytes()
    key = file_of(folded, "b", "x").stem
    flip(folded / "heads.index", data.index(bytes.fromhex(key)) + 41)
    assert [(one.what, one.disposable) for one in findings(folded)] == [("a slot is damaged", True)]


def test_a_slot_that_leaves_out_a_commit_id_is_found(folded: Path) -> None:
    file = folded / "heads.index"
    data = bytearray(file.read_bytes())
    at = data.index(bytes.fromhex(file_of(folded, "b", "x").stem))
    seed = layout.read_meta(DISK, str(folded)).seed
    head = index_entries.read_head(data, at, seed)
    assert head is not None
    data[at : at + index_entries.HEAD_BYTES] = replace(head, id_bits=index_entries.NO_IDS).pack(seed)
    file.write_bytes(data)
    (found,) = findings(folded)
    assert found.disposable
    assert found.what == "the slot of stream 'b' in bucket 'default' leaves out commit ids"


def test_a_slot_made_anew_for_a_stream_with_a_gap_knows_no_ids(folded: Path) -> None:
    """So that who commits the damaged commit again hears of the damage, and not that its place is taken."""
    lost = record(folded, _segment(folded), "b", 2)[0] + format.RECORD_HEADER_BYTES
    engine = FileEngine(folded, read_only=True)
    engine.initialize()
    first, second, *_ = engine.get_from("default", "b")
    engine.close()
    flip(_segment(folded), lost)
    (folded / "heads.index").unlink()
    engine = FileEngine(folded, background=False)
    engine.initialize()
    with pytest.raises(CorruptionError, match="file is damaged"):
        engine.commit(next_attempt(first, commit_id=second.commit_id))
    engine.close()


def test_an_entry_that_points_elsewhere_is_found(folded: Path) -> None:
    index = folded / "commits.index"
    first, second = (128 + 48 * number for number in (3, 4))
    data = bytearray(index.read_bytes())
    data[first : first + 48], data[second : second + 48] = data[second : second + 48], data[first : first + 48]
    index.write_bytes(data)
    assert {one.offset_bytes for one in findings(folded)} == {first, second}


def test_an_older_copy_of_a_segment_is_found(folded: Path, tmp_path: Path) -> None:
    segment = file_of(folded, "b", "segment")
    older = segment.read_bytes()[: record(folded, segment, "b", 4)[1]]
    segment.write_bytes(older)
    (found,) = findings(folded)
    assert found.lost == "commit 5 of stream 'b' in bucket 'default'"
    assert found.offset_bytes == len(older)


def test_every_piece_of_damage_in_one_file_is_said(folded: Path) -> None:
    segment = file_of(folded, "long", "segment")
    for sequence in (3, 4, 20):
        flip(segment, record(folded, segment, "long", sequence)[0] + 120)
    lost = [one.lost for one in findings(folded)]
    assert lost == [
        "commits 3 to 4 of stream 'long' in bucket 'default'",
        "commit 20 of stream 'long' in bucket 'default'",
    ]


# ---- the journal ----


def test_unfolded_commits_are_nothing_to_complain_about(unfolded: Path) -> None:
    assert findings(unfolded) == []


@pytest.mark.parametrize("within", [20, 130], ids=["header", "body"])
def test_a_damaged_acknowledged_record_is_found(unfolded: Path, within: int) -> None:
    journal = journal_of(unfolded)
    offset, _ = record(unfolded, journal, "c", 7)
    token = next(header.token for at, header in stores.records(unfolded, journal) if at == offset)
    flip(journal, offset + within)
    (found,) = findings(unfolded)
    assert (found.path, found.offset_bytes, found.disposable) == (str(journal), offset, False)
    assert f"checkpoint {token}" in found.lost
    if within == 130:
        assert "commit 7 of stream 'c' in bucket 'default'" in found.lost


def test_a_journal_that_ends_too_early_is_found(unfolded: Path) -> None:
    journal = journal_of(unfolded)
    offset, _ = record(unfolded, journal, "c", 7)
    cut(journal, offset)
    found = findings(unfolded)
    assert {one.path for one in found} == {str(journal)}
    assert [one.offset_bytes for one in found] == [0, offset]
    assert "checkpoints" in found[1].lost


@pytest.mark.parametrize("with_heads", [True, False])
@pytest.mark.parametrize("left", [0, 3])
def test_a_file_that_ends_before_the_journal_goes_on_is_found(unfolded: Path, with_heads: bool, left: int) -> None:
    segment = file_of(unfolded, "b", "segment")
    if left:
        cut(segment, record(unfolded, segment, "b", left)[1])
    else:
        segment.unlink()
    if not with_heads:
        (unfolded / "heads.index").unlink()
        (unfolded / "commits.index").unlink()
    (found,) = (one for one in findings(unfolded) if not one.disposable)
    assert found.path == str(segment)
    assert found.lost == f"commits {left + 1} to 5 of stream 'b' in bucket 'default'"


def test_a_missing_journal_is_found(unfolded: Path) -> None:
    journal_of(unfolded).unlink()
    (found,) = findings(unfolded)
    assert found.what == "the store has no journal file"
    assert not found.disposable


def test_bytes_behind_the_last_acknowledged_record_are_a_torn_tail(unfolded: Path) -> None:
    journal = journal_of(unfolded)
    offset, header = stores.records(unfolded, journal)[-1]
    end = offset + header.length_bytes
    data = bytearray(journal.read_bytes())
    data[end : end + 300] = data[offset : offset + 150] * 2
    journal.write_bytes(data)
    assert findings(unfolded) == []


# ---- beside others ----


def test_nothing_is_wrong_while_others_write_fold_and_delete(tmp_path: Path) -> None:
    path = tmp_path / "busy.store"
    options = {"journal_bytes": 16384, "fold_bytes": 8192, "index_from_bytes": 2048}
    writers = [FileEngine(path, **options) for _ in range(2)]
    for engine in writers:
        engine.initialize()
    failures: list[BaseException] = []

    def write(number: int) -> None:
        try:
            # A purge of the other's bucket would rightly end a stream that is being written.
            engine, own = writers[number], f"own-{number}"
            # So many and not until it is verified: that takes the longer the more there is.
            for count in range(1, 201):
                fill(engine, f"{number}-{count}", commits=1 + count % 4, bucket_id="other" if count % 5 else own)
                if count % 7 == 0:
                    engine.delete_stream("other", f"{number}-{count - 1}")
                if count % 40 == 0:
                    engine.purge(own)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    found: list[Finding] = []
    try:
        while any(thread.is_alive() for thread in threads):
            found += [*verify(DISK, str(path)), *writers[0].verify()]
    finally:
        for thread in threads:
            thread.join()
        for engine in writers:
            engine.close()
    assert failures == []
    assert [str(one) for one in found] == []
    assert findings(path) == []


def test_a_mark_that_a_killed_process_moved_by_half_is_no_damage_beside_living_ones() -> None:
    disk = SimulatedDisk()
    engine = FileEngine("/a.store", disk=disk, background=False)
    engine.initialize()
    stores = 0
    killed = True
    while killed:
        stores += 1
        other, calls = disk.process(), list[Call]()
        committing = FileEngine("/a.store", disk=other, background=False)
        committing.initialize()
        killed = False
        disk.watch(partial(_kill_at_the_last_of, stores, other, calls))
        try:
            fill(committing, f"a {stores}", commits=1)
        except ProcessKilled:
            killed = True
        disk.watch(None)
        assert [str(one) for one in engine.verify()] == []
        fill(engine, f"b {stores}", commits=1)
    assert stores > 8


def _kill_at_the_last_of(stores: int, process: SimulatedDisk, met: list[Call], call: Call) -> None:
    if call.name == "store":
        met.append(call)
        if len(met) == stores:
            process.kill_at(0)


def test_an_index_that_a_killed_fold_left_empty_is_no_damage_where_nobody_needs_it() -> None:
    disk = SimulatedDisk()
    engine = FileEngine("/a.store", disk=disk, background=False)
    engine.initialize()
    fill(engine, "a", commits=8)
    other = disk.process()

    def die(call: Call) -> None:
        if call.name == "write" and call.path.endswith((".index", ".ids")) and "/streams/" in call.path:
            other.kill_at(0)

    folding = FileEngine("/a.store", disk=other, background=False, index_from_bytes=700)
    folding.initialize()
    disk.watch(die)
    with pytest.raises(ProcessKilled):
        folding.fold()
    disk.watch(None)
    assert 0 in [size for path, size in disk.sizes_bytes().items() if path.endswith(".ids")]
    engine.fold()
    assert [str(one) for one in engine.verify()] == []
    assert len(list(engine.get_from("default", "a", 3))) == 7


def test_a_reader_verifies_and_hears_of_the_progress(folded: Path) -> None:
    engine = FileEngine(folded, read_only=True)
    engine.initialize()
    steps: list[tuple[int, int]] = []
    assert list(engine.verify(progress=lambda done, total: steps.append((done, total)))) == []
    engine.close()
    assert steps[-1][0] == steps[-1][1] > 0
    assert all(done <= total for done, total in steps)
    assert steps == sorted(steps)


def test_marks_beyond_the_last_checkpoint_are_found(folded: Path) -> None:
    engine = FileEngine(folded)
    engine.initialize()
    engine.opened().marks.raise_to(10_000)
    engine.close()
    (found,) = findings(folded)
    assert "10000" in found.what


def test_where_no_store_is_there_is_nothing_to_verify(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="there is no store at"):
        list(verify(DISK, str(tmp_path / "none")))
