"""The log's files on the real disk: borders between them, and what is left of writers that were killed."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from fsstore.engines.file import FileEngine
from fsstore.engines.file.files import layout
from fsstore.engines.file.processes.control import CLEAN, TAIL, Control
from fsstore.model import EventMessage
from fsstore.testing import SimulatedDisk, first_attempt, next_attempt
from fsstore.testing.simulation import keep_everything

JOURNAL_BYTES = 4096


def opened(path: Path) -> FileEngine:
    engine = FileEngine(path, journal_bytes=JOURNAL_BYTES, background=False)
    engine.initialize()
    return engine


def tail(engine: FileEngine) -> int:
    return engine.opened().control.get(TAIL)


@pytest.mark.parametrize("left_bytes", range(-2, 3))
def test_a_record_that_ends_at_or_near_the_end_of_its_file_is_followed_by_everybody(
    tmp_path: Path, left_bytes: int
) -> None:
    one, other = opened(tmp_path / "a.store"), opened(tmp_path / "a.store")
    last = one.commit(first_attempt("s"))
    before = tail(one)
    last = one.commit(next_attempt(last, events=[EventMessage(b"x" * 400)]))
    record_bytes = tail(one) - before
    filling = JOURNAL_BYTES - tail(one) - left_bytes - record_bytes + 400
    one.commit(next_attempt(last, events=[EventMessage(b"x" * filling)]))
    expected = list(one.get_from_checkpoint())
    assert list(other.get_from_checkpoint()) == expected
    expected.append(other.commit(first_attempt("t")))
    assert list(one.get_from_checkpoint()) == expected
    one.fold()
    expected.append(one.commit(first_attempt("u")))
    for engine in (other, one):
        assert list(engine.get_from_checkpoint()) == expected
        engine.close()
    one = opened(tmp_path / "a.store")
    assert list(one.get_from_checkpoint()) == expected
    one.close()


def test_the_last_to_close_leaves_no_spare_file(tmp_path: Path) -> None:
    one, other = opened(tmp_path / "a.store"), opened(tmp_path / "a.store")
    for number in range(40):
        one.commit(first_attempt(f"s{number}", events=[EventMessage(b"x" * 400)]))
    one.fold()
    journal = tmp_path / "a.store" / "journal"
    assert (journal / "spare").exists()
    one.close()
    assert (journal / "spare").exists(), "another process goes on"
    other.close()
    assert len(list(journal.iterdir())) == 1


def test_the_last_to_close_goes_on_in_a_small_journal_file(tmp_path: Path) -> None:
    path = tmp_path / "a.store"

    def engine() -> FileEngine:
        made = FileEngine(path, background=False)
        made.initialize()
        return made

    def journal_bytes() -> int:
        return sum(file.stat().st_size for file in (path / "journal").iterdir())

    one, other = engine(), engine()
    begun_with = journal_bytes()
    committed = [one.commit(first_attempt(f"s{n}", events=[EventMessage(b"x" * 100_000)])) for n in range(20)]
    grown_to = journal_bytes()
    assert grown_to == (256 + 1024 + 4096) << 10, "each file is four times as large as the one before it"
    one.close()
    assert journal_bytes() == grown_to, "another process goes on"
    other.close()
    assert journal_bytes() == begun_with
    for number in range(20, 23):
        one = engine()
        assert list(one.get_from_checkpoint()) == committed
        committed.append(one.commit(first_attempt(f"s{number}", events=[EventMessage(b"x" * 300_000)])))
        one.close()
        assert journal_bytes() == begun_with


def test_a_store_without_room_for_a_small_journal_file_is_closed_with_its_large_one() -> None:
    disk = SimulatedDisk(keep_everything)
    path = "/data/a.store"

    def engine() -> FileEngine:
        made = FileEngine(path, disk=disk, background=False, journal_bytes=8192)
        made.initialize()
        return made

    one = engine()
    committed = [one.commit(first_attempt(f"s{n}", events=[EventMessage(b"x" * 400)])) for n in range(20)]
    one.fold()
    disk.fail("write", errno.ENOSPC, path="*/journal/new", times=100)
    one.close()
    disk.heal()
    page = Control(disk, f"{path}/control", layout.read_meta(disk, path).store_id, write=False)
    assert page.get(CLEAN) == 1
    page.close()
    one = engine()
    assert list(one.get_from_checkpoint()) == committed
    one.close()
    assert [size for name, size in disk.sizes_bytes().items() if "/journal/0" in name] == [4096]
