"""A store that was crafted to do harm says `CorruptionError` and where, whatever is done with it.

Its checksums agree, so nothing but sense tells. Every case is opened read-only and to write, read in every way,
written to, folded, verified and repaired, within a bound of memory and disk. No other error may come of it, and
reading, verifying and planning a repair change nothing.
"""

from __future__ import annotations

import contextlib
import resource
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import hostile
import msgpack
import pytest
from hostile import (
    B,
    change_entry,
    change_head,
    change_header,
    change_mark,
    change_record,
    change_slots,
    claiming,
    commit,
    file_of,
    holes,
    huge_bodies,
    huge_segment,
    journal,
    journal_header,
    many_ids,
    nested,
    other,
    rename,
    snapshot,
    strangers,
)
from stores import tree
from typer.testing import CliRunner

from fsstore.cli.app import app
from fsstore.dispatch.delivery import published_health
from fsstore.dispatch.projections import StoreProjection
from fsstore.dispatch.subscriptions import Subscriptions
from fsstore.engines.file import FileEngine, repair
from fsstore.engines.file.disk.disk import RealDisk
from fsstore.engines.file.formats import format, index_entries
from fsstore.engines.file.processes import control
from fsstore.engines.file.values.named_values import file_name
from fsstore.engines.file.verify import verify
from fsstore.errors import CorruptionError, EventStoreError, SerializationError, StorageError
from fsstore.model import Snapshot
from fsstore.testing import fill, next_attempt

pytestmark = pytest.mark.usefixtures("quiet")
MOST_BYTES = 256 << 20
HUGE = (1 << 64) - 1
BEYOND = 1 << 62
Craft = Callable[[Path], object]
Errors = list[tuple[str, EventStoreError]]


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("hostile") / "folded.store"
    hostile.folded(path)
    return path


@contextlib.contextmanager
def bounded() -> Iterator[None]:
    """No more memory than there is, and so much more."""
    limits = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MOST_BYTES, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)


# ---- everything that is done with a store ---------------------------------------------------------------


def done_with(make: Craft) -> tuple[Errors, list[str]]:
    """Every error that came of it, with what was tried; and what verify found."""
    errors: Errors = []
    with bounded():
        path = make("looked.store")
        before = tree(path) if sum(one.stat().st_size for one in path.rglob("*")) < MOST_BYTES else {}
        with trying(errors, "reading"), opened(path, read_only=True) as engine:
            read(engine, errors)
        found: list[str] = []
        with trying(errors, "verify"):
            found += map(str, verify(RealDisk(), str(path)))
        with trying(errors, "plan"):
            repair.plan(RealDisk(), str(path))
        assert CliRunner().invoke(app, ["verify", str(path)]).exit_code in (0, 1)
        assert not before or tree(path) == before, "looking changed something"
        path = make("written.store")
        for _ in range(2):
            with trying(errors, "opening"), opened(path) as engine:
                read(engine, errors)
                write(engine, errors)
        with trying(errors, "repair"):
            repair.apply(RealDisk(), str(make("repaired.store")))
    assert sum(one.lstat().st_blocks * 512 for one in path.parent.rglob("*")) < MOST_BYTES, "it filled the disk"
    return errors, found


@contextlib.contextmanager
def trying(errors: Errors, what: str) -> Iterator[None]:
    try:
        yield
    except EventStoreError as error:
        errors.append((what, error))


@contextlib.contextmanager
def opened(path: Path, **options: bool) -> Iterator[FileEngine]:
    engine = FileEngine(path, create=False, **(hostile.OPTIONS | options))
    engine.initialize()
    try:
        yield engine
    finally:
        engine.close()


def read(engine: FileEngine, errors: Errors) -> None:
    for stream in ("a", "b"):
        with trying(errors, f"stream {stream}"):
            list(engine.get_from("default", stream))
        with trying(errors, f"late in stream {stream}"):
            list(engine.get_from("default", stream, 15))
        with trying(errors, f"snapshot of {stream}"):
            engine.get_snapshot("default", stream)
    with trying(errors, "checkpoints"):
        list(engine.get_from_checkpoint())
    with trying(errors, "checkpoints of a bucket"):
        list(engine.get_from_checkpoint(bucket_id="default"))
    with trying(errors, "dates"):
        list(engine.get_from_date(datetime(2000, 1, 1, tzinfo=UTC)))
    with trying(errors, "heads"):
        list(engine.get_streams_to_snapshot("default", 1))
    with trying(errors, "undispatched"):
        list(engine.get_undispatched_commits())
    with trying(errors, "stat"):
        engine.stat()
    with trying(errors, "names"):
        for name in engine.get_checkpoint_names():
            engine.get_checkpoint(name)


def write(engine: FileEngine, errors: Errors) -> None:
    for stream in ("a", "b"):
        with trying(errors, f"commit to {stream}"):
            known = list(engine.get_from("default", stream))
            engine.commit(next_attempt(known[-1])) if known else fill(engine, stream)
        with trying(errors, f"snapshot of {stream}"):
            engine.add_snapshot(Snapshot(stream, 1, {}))
    with trying(errors, "commit to another"):
        if not list(engine.get_from("default", "another")):
            fill(engine, "another")
    with trying(errors, "mark"):
        engine.mark_commit_as_dispatched(next(engine.get_from("default", "another")))
    with trying(errors, "put"):
        engine.put_checkpoint("name", b"another")
    with trying(errors, "lease"):
        lease = engine.acquire_lease("name", 1)
        assert lease is not None
        engine.release_lease(lease)
    with trying(errors, "fold"):
        engine.fold()
    with trying(errors, "delete"):
        engine.delete_stream("default", "b")
        engine.fold()


# ---- the cases -------------------------------------------------------------------------------------------

# What a record in the journal says, and nothing in it is folded: the file of every error is the journal's.
JOURNALS: dict[str, list[hostile.Spec]] = {
    "no ids": [commit(body=b"\xc0")],
    "an empty body": [commit(body=b"", payload=b"")._replace(body=b"")],
    "ids that are no UTF-8": [commit(body=b"\xa1\xff\xa1a\x93\x80\x01\x80")],
    "an id that ends beyond the record": [commit(body=b"\xda\xff\xff")],
    "an empty id": [commit(body=b"\xa0\xa1a" + hostile.PAYLOAD)],
    "an id of 1,001 characters": [commit(body=msgpack.packb("x" * 1001) + b"\xa1a" + hostile.PAYLOAD)],
    "another stream's key": [commit(key=B.key)],
    "token 0": [commit(token=0)],
    "a token beyond what an index holds": [commit(token=1 << 39)],
    "a token of 64 bits": [commit(token=HUGE)],
    "a gap of tokens": [commit(), commit(2, token=1 << 37)],
    "a token twice": [commit(), commit(2, token=1)],
    "sequence 0": [commit(sequence=1)._replace(fields={"sequence": 0, "revision": 1})],
    "sequences with a gap": [commit(), commit(3)],
    "revision 0": [commit(revision=0)],
    "a revision that falls": [commit(revision=9), commit(2, revision=8)],
    "more events than revisions": [commit(payload=msgpack.packb([{}, 1, {}, 2, {}]))],
    "a place beyond every file": [commit(place=BEYOND)],
    "places with a gap": [commit(), commit(2, place=1 << 40)],
    "a stamp after the year 9999": [commit(stamp_us=(1 << 63) - 1)],
    "a stamp before the year 1": [commit(stamp_us=-(1 << 63))],
    "an empty commit id": [commit(commit_id=format.NO_ID)],
    "a snapshot of revision 0": [commit(), snapshot(0)],
    "a snapshot beyond every file": [commit(), snapshot(place=BEYOND)],
    "a snapshot of another stream": [commit(), snapshot(body=b"\xc1" * 40)],
    "a deletion of nothing": [commit(), other(format.DELETE_STREAM, b"\x80", B)],
    "a purge of a number": [commit(), other(format.PURGE, b"\x07")],
    "a purge of nothing": [commit(), other(format.PURGE, b"")],
    "a purge of an extension": [commit(), other(format.PURGE, b"\xc7\x01\x05a")],
    "a purge of more than a bucket": [commit(), other(format.PURGE, b"\xa1a\xc0")],
    "a purge that claims four gigabytes": [commit(), other(format.PURGE, b"\xdb\xff\xff\xff\xff")],
    "a roll to token 0": [commit(), other(format.ROLL)],
    "a roll to a token of 64 bits": [commit(), other(format.ROLL, token=HUGE)],
}

# Where the errors of a store with a crafted journal file are said to be, if there are any.
JOURNAL_FILES: dict[str, tuple[Craft, str | None]] = {
    "a header of one number": (lambda path: journal(path, header=journal_header([0])), ".journal"),
    "a header of texts": (lambda path: journal(path, header=journal_header(["0", "8192"])), ".journal"),
    "a header of negative numbers": (lambda path: journal(path, header=journal_header([0, -1])), ".journal"),
    "a header that claims an array": (lambda path: journal(path, header=journal_header(claiming(1 << 31))), ".journal"),
    "a header of arrays within one another": (
        lambda path: journal(path, header=journal_header(nested(90))),
        ".journal",
    ),
    "a size that the file has not": (lambda path: journal(path, header=journal_header([0, BEYOND])), ".journal"),
    "a size below the header's": (lambda path: journal(path, header=journal_header([0, 5])), ".journal"),
    "a negative position in the name": (
        lambda path: journal(path, header=journal_header([-15, 8192]), name="-00000000000000f.journal"),
        "journal",
    ),
    "a position near the end of 64 bits": (lambda path: journal(path, base=HUGE - 4095), "journal"),
    "a path in the name": (lambda path: journal(path, name="..%2f..%2fetc.journal"), "journal"),
    "more digits in the name": (lambda path: journal(path, name="0_000_0000000000.journal"), "journal"),
    "a first token of 64 bits": (lambda path: journal(path, commit(), roll=HUGE), ".journal"),
    "a first token no index holds": (lambda path: journal(path, roll=1 << 39), ".journal"),
    "a first token after billions deleted": (
        lambda path: journal(path, commit(token=1 << 37), roll=1 << 37),
        "commits.index",
    ),
    "a batch that never ends": (lambda path: journal(path, commit(following=0xFFFFFFFF)), None),
    "a mark before the beginning": (lambda path: journal(path, commit(lag_bytes=0xFFFFFFF0)), None),
    "a body of 300 megabytes in a file with holes": (lambda path: huge_bodies(path, 1, behind_bytes=0), ".journal"),
    "such a body behind the end of the log": (lambda path: huge_bodies(path, 1, behind_bytes=64), None),
    "two thousand of them over one another": (lambda path: huge_bodies(path, 2_000, behind_bytes=64), None),
}


METAS: dict[str, tuple[object, object]] = {
    "no fields": ([], 1),
    "an id of 15 bytes": ([bytes(15), 0, {}], 1),
    "an id that is text": (["0123456789abcdef", 0, {}], 1),
    "a time that is text": ([hostile.STORE_ID, "now", {}], 1),
    "version -1": ([hostile.STORE_ID, 0, {}], -1),
    "version 0": ([hostile.STORE_ID, 0, {}], 0),
    "a version that is text": ([hostile.STORE_ID, 0, {}], "1"),
    "fields that claim four billion": (claiming(HUGE >> 32), 1),
    "arrays that each claim what is there": (b"\xdc\x0f\x00" * 1000, 1),
    "an extension": (msgpack.ExtType(5, b"x"), 1),
    "too many fields": ([hostile.STORE_ID, 0, {}, 1], 1),
}
NEWER_METAS: dict[str, tuple[object, object]] = {
    "a version of 64 bits": ([hostile.STORE_ID, 0, {}], HUGE),
    "settings within one another": (b"\x93\xc4\x10" + hostile.STORE_ID + b"\x00" + nested(900), 1),
    "settings of a thousand names": ([hostile.STORE_ID, 0, dict.fromkeys(map(str, range(200)), 1)], 1),
}

# Changes of a store in which everything is folded, and where they are said to be.
FOLDED: dict[str, tuple[Craft, str | None]] = {
    # the control page
    "every mark at the end of 64 bits": (lambda path: change_mark(path, *hostile.ALL_MARKS, value=HUGE), ".journal"),
    "an epoch at the end of 64 bits": (lambda path: change_mark(path, control.EPOCH, value=HUGE), None),
    "a next token at the end of 64 bits": (lambda path: change_mark(path, control.NEXT_TOKEN, value=HUGE), None),
    "next token 0": (lambda path: change_mark(path, control.NEXT_TOKEN, value=0), None),
    "a fold mark beyond the journal": (lambda path: change_mark(path, control.FOLDED, value=BEYOND), None),
    "a tail beyond the journal": (lambda path: change_mark(path, control.TAIL, value=BEYOND), None),
    "a durable mark beyond the journal": (
        lambda path: change_mark(path, control.SYNCED, control.BEGUN, value=BEYOND),
        ".journal",
    ),
    "an erase mark beyond the journal": (lambda path: change_mark(path, control.ERASE, value=HUGE), None),
    "a fold that began beyond the journal": (lambda path: change_mark(path, control.FOLD_BEGUN, value=HUGE), None),
    "a next token without indexes": (
        lambda path: (
            change_mark(path, control.NEXT_TOKEN, value=1 << 37),
            (path / "heads.index").unlink(),
        ),
        "commits.index",
    ),
    # the table of heads
    "a table of 2^59 slots": (lambda path: change_header(path / "heads.index", "heads", [1 << 59, 1, 0, 24]), None),
    "a table of no slots": (lambda path: change_header(path / "heads.index", "heads", [0, 0, 1 << 40, 24]), None),
    "a table of holes": (lambda path: holes(path, "heads.index", "heads", [1 << 22, 3, 1 << 40, 24], 1 << 28), None),
    "a table of three numbers": (lambda path: change_header(path / "heads.index", "heads", [1024, 3, 0]), None),
    "a segment beyond every file": (lambda path: change_head(path, segment_bytes=HUGE), ".segment"),
    "snapshots beyond every file": (lambda path: change_head(path, snapshots_bytes=HUGE), ".snapshots"),
    "a head beyond the last sequence": (
        lambda path: change_head(path, sequence=0xFFFFFFFF, id_bits=HUGE),
        "heads.index",
    ),
    "a head of revision 0": (lambda path: change_head(path, sequence=0, revision=0), "heads.index"),
    # the index of checkpoints
    "2^59 checkpoints": (lambda path: change_header(path / "commits.index", "commits", [1 << 40, 1 << 59]), None),
    "an index of holes": (
        lambda path: holes(path, "commits.index", "commits", [1 << 40, 1 << 22], 48 << 22),
        "commits.index",
    ),
    "no next checkpoint": (lambda path: change_header(path / "commits.index", "commits", [1 << 40, 0]), None),
    "an entry beyond every file": (lambda path: change_entry(path, 3, place=1 << 63), "commits.index"),
    "an entry of four gigabytes": (lambda path: change_entry(path, 3, length_bytes=0xFFFFFFFF), ".segment"),
    "an entry of another stream": (lambda path: change_entry(path, 3, key=bytes(16)), ".segment"),
    "an entry of a stamp nobody has": (lambda path: change_entry(path, 3, stamp_us=-(1 << 63)), None),
    # beside a segment
    "ids that claim the memory": (lambda path: many_ids(path, [1 << 40]), None),
    "ids of negative length": (lambda path: many_ids(path, [-1]), None),
    "ids of no length": (lambda path: many_ids(path, ["8"]), None),
    "ids in holes": (lambda path: many_ids(path, [1 << 30]), None),
    "an index that points nowhere": (
        lambda path: file_of(path, kind="index").write_bytes(
            file_of(path, kind="index").read_bytes()[:128]
            + b"".join(index_entries.STREAM_INDEX_ENTRY.pack(1 << 63, 5, number, bytes(16)) for number in range(20))
        ),
        None,
    ),
    # segments and snapshots
    "a record of another place": (lambda path: change_record(file_of(path), 3, sequence=40), ".segment"),
    "a record of another stream": (
        lambda path: change_record(file_of(path), 3, body=b"\xa1x\xa1y"),
        ".segment",
    ),
    "a record of garbage": (lambda path: change_record(file_of(path), 0, body=b"\xc1\xc1"), ".segment"),
    "a stamp that is none": (lambda path: change_record(file_of(path), 3, stamp_us=-(1 << 62)), ".segment"),
    "a commit without an id": (lambda path: change_record(file_of(path), 3, commit_id=format.NO_ID), ".segment"),
    "a commit of revision 0": (lambda path: change_record(file_of(path), 0, revision=0), ".segment"),
    "a segment of 300 megabytes": (huge_segment, ".segment"),
    "a token no index holds": (
        lambda path: (change_record(file_of(path), 19, token=1 << 60), hostile.unindexed(path)),
        ".segment",
    ),
    "a token after billions deleted": (
        lambda path: (change_record(file_of(path), 19, token=1 << 37), hostile.unindexed(path)),
        "commits.index",
    ),
    "a segment whose names are numbers": (lambda path: rename(path, [1, 2]), ".segment"),
    "a segment with one name": (lambda path: rename(path, ["default"]), ".segment"),
    "a segment whose names claim four gigabytes": (lambda path: rename(path, b"\x92\xdb\xff\xff\xff\xff"), ".segment"),
    "a snapshot of revision 0": (
        lambda path: change_record(file_of(path, kind="snapshots"), 0, revision=0),
        ".snapshots",
    ),
    "a snapshot of garbage": (
        lambda path: change_record(file_of(path, kind="snapshots"), 0, body=b"\xc1\xc1"),
        ".snapshots",
    ),
    "names that are no keys": (strangers, None),
    # dispatch
    "a lease at the end of 64 bits": (
        lambda path: (path / "dispatch" / f"{file_name('name')}.lease").write_bytes(b"\xff" * 8),
        ".lease",
    ),
    "quarantine of odd names": (lambda path: (path / "quarantine" / "².store.meta").write_bytes(b""), None),
}
SLOTS: dict[str, bytes] = {
    "nothing": b"\xc0",
    "an empty array": b"\x90",
    "a map": b"\x80",
    "a number": b"\x01",
    "a generation that is text": msgpack.packb(["1", 0, []]),
    "a generation of 64 bits": msgpack.packb([HUGE, 0, []]),
    "no marks": msgpack.packb([1]),
    "a mark that is text": msgpack.packb([1, "9", []]),
    "a mark at the end of 64 bits": msgpack.packb([1, HUGE, []]),
    "a range of one": msgpack.packb([1, 0, [[1]]]),
    "a range of texts": msgpack.packb([1, 0, [["a", "b"]]]),
    "a range that falls": msgpack.packb([1, 0, [[9, 2]]]),
    "ranges over one another": msgpack.packb([1, 0, [[2, 9], [3, 4]]]),
    "a name that is a number": msgpack.packb([1, 5, b"x"]),
    "a value that is a number": msgpack.packb([1, "name", 5]),
    "an extension": msgpack.packb([1, msgpack.ExtType(5, b""), []]),
    "a thousand arrays within one another": nested(1000),
    "arrays that claim what is there": claiming(900_000, 900) + b"\xc0" * 900_000,
    "a text that claims four gigabytes": b"\xdb\xff\xff\xff\xff",
}
PAYLOADS: dict[str, bytes] = {
    "nothing": b"",
    "no array": b"\x80",
    "no events": msgpack.packb([{}]),
    "headers that are none": msgpack.packb([7, 1, {}]),
    "a body that is nil": msgpack.packb([{}, None, {}]),
    "an event's headers that are none": msgpack.packb([{}, 1, 7]),
    "a later event without a body": msgpack.packb([{}, 1, {}, None, {}]),
    "a later event's headers": msgpack.packb([{}, 1, {}, 2, "x"]),
    "arrays deeper than can be": b"\x93\x80" + nested(200_000) + b"\x80",
    "maps deeper than can be": b"\x93\x80" + b"\x81\xa1a" * 200_000 + b"\xc0\x80",
    "an array of four billion": b"\x93\x80" + claiming(HUGE >> 32),
    "a map of four billion": b"\x93\x80\xdf\xff\xff\xff\xff",
    "a text of four gigabytes": b"\x93\x80\xdb\xff\xff\xff\xff",
    "an extension of four gigabytes": b"\x93\x80\xc9\xff\xff\xff\xff\x07",
    "arrays that each claim all that is there": claiming(500_000, 900) + b"\xc0" * 500_000,
    "an unknown extension": b"\x93\x80" + msgpack.packb(msgpack.ExtType(99, b"")) + b"\x80",
    "a time that is none": b"\x93\x80" + msgpack.packb(msgpack.ExtType(1, b"\x7f" * 16)) + b"\x80",
    "a zone that is none": b"\x93\x80" + msgpack.packb(msgpack.ExtType(1, bytes(8) + b"\x7f" * 8)) + b"\x80",
    "a date that is none": b"\x93\x80" + msgpack.packb(msgpack.ExtType(2, b"\xff" * 4)) + b"\x80",
    "a UUID of 15 bytes": b"\x93\x80" + msgpack.packb(msgpack.ExtType(3, bytes(15))) + b"\x80",
    "a decimal that is none": b"\x93\x80" + msgpack.packb(msgpack.ExtType(4, b"x")) + b"\x80",
    "an object that is none": b"\x93\x80" + msgpack.packb(msgpack.ExtType(7, b"\x01\x02")) + b"\x80",
    "an object of a type that names a path": b"\x93\x80"
    + msgpack.packb(msgpack.ExtType(7, msgpack.packb("../../etc/passwd") + b"\x80"))
    + b"\x80",
    "text that is no UTF-8": b"\x93\x80\xa2\xff\xfe\x80",
    "more than a value": hostile.PAYLOAD + b"\x01",
    "a compressed payload": b"\xc1\x5a\x01" + b"x" * 50,
    "an encrypted payload": b"\xc1\x45\xff",
}


def check(errors: Errors, where: str | None) -> None:
    """Every error says where; at least one of them says that it is there, or there is none at all."""
    errors = [(step, error) for step, error in errors if "must be rebuilt" not in str(error)]
    for step, error in errors:
        assert isinstance(error, CorruptionError), f"{step}: {type(error).__name__}: {error}"
        assert error.path is not None, f"{step}: {error}"
        assert error.offset_bytes is not None or not Path(error.path).is_file(), f"{step}: {error}"
    if where is None:
        assert [f"{step}: {error}" for step, error in errors] == []
    else:
        assert [error.path for _, error in errors if str(error.path).endswith(where)], errors


@pytest.mark.parametrize("name", JOURNALS)
def test_a_record_that_makes_no_sense_in_the_journal_is_damage(name: str, tmp_path: Path) -> None:
    def make(where: str) -> Path:
        journal(tmp_path / where, *JOURNALS[name])
        return tmp_path / where

    errors, _ = done_with(make)
    check(errors, ".journal")


@pytest.mark.parametrize("name", JOURNAL_FILES)
def test_a_crafted_journal_file_is_damage_or_harmless(name: str, tmp_path: Path) -> None:
    craft, where = JOURNAL_FILES[name]

    def make(at: str) -> Path:
        craft(tmp_path / at)
        return tmp_path / at

    errors, _ = done_with(make)
    check(errors, where)


@pytest.mark.parametrize("kind", [(0, 1), (9, 0), (255, 0), (format.COMMIT, 1)])
def test_a_kind_or_flag_that_is_unknown_is_of_a_later_version(kind: tuple[int, int], tmp_path: Path) -> None:
    def make(where: str) -> Path:
        journal(tmp_path / where, commit(), commit(2, kind=kind[0], flags=kind[1]))
        return tmp_path / where

    errors, _ = done_with(make)
    assert errors
    for _, error in errors:
        assert isinstance(error, StorageError)
        assert "does not know" in str(error)


@pytest.mark.parametrize("name", METAS)
def test_a_crafted_meta_file_is_damage(name: str, tmp_path: Path) -> None:
    errors, _ = done_with(with_meta(tmp_path, *METAS[name]))
    check(errors, "store.meta")


@pytest.mark.parametrize("name", NEWER_METAS)
def test_settings_and_versions_from_nowhere_are_of_a_later_version(name: str, tmp_path: Path) -> None:
    errors, _ = done_with(with_meta(tmp_path, *NEWER_METAS[name]))
    assert errors
    for _, error in errors:
        assert isinstance(error, StorageError)
        assert "upgrade fsstore" in str(error)
        assert len(str(error)) < 1000


def with_meta(tmp_path: Path, fields: object, version: object) -> Craft:
    def make(where: str) -> Path:
        journal(tmp_path / where, commit())
        hostile.meta(tmp_path / where, fields, version)
        return tmp_path / where

    return make


@pytest.mark.parametrize("name", FOLDED)
def test_a_crafted_file_of_a_folded_store_is_damage_or_harmless(name: str, closed: Path, tmp_path: Path) -> None:
    craft, where = FOLDED[name]
    errors, _ = done_with(changed(closed, tmp_path, craft))
    check(errors, where)


@pytest.mark.parametrize("file", ["default.checkpoint", f"{file_name('name')}.value"])
@pytest.mark.parametrize("name", SLOTS)
def test_a_crafted_slot_is_as_good_as_a_damaged_one(name: str, file: str, closed: Path, tmp_path: Path) -> None:
    errors, found = done_with(
        changed(closed, tmp_path, lambda path: change_slots(path / "dispatch" / file, SLOTS[name]))
    )
    assert errors == []
    assert ["a slot is damaged" in one for one in found] == [True, True]


REMEMBERED = {
    "subscription/mine": [b"", b"\xc0", b"\x80", msgpack.packb({"position": "1"}), b"\xdf\xff\xff\xff\xff"],
    "dispatcher/default": [b"", b"\xc0", b"\x80", msgpack.packb({"ok": True, "who": 1}), nested(2000)],
    "projection/mine": [b"\x90", msgpack.packb(["1", {}]), msgpack.packb({}), msgpack.packb(7)],
}

REMEMBERED_BY: dict[str, Callable[[FileEngine], object]] = {
    "subscription/mine": lambda engine: next(Subscriptions(engine).subscribe("mine", timeout_seconds=0)),
    "dispatcher/default": published_health,
    "projection/mine": lambda engine: StoreProjection(engine, "mine", lambda state, commit: state, dict).state,
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in REMEMBERED.items() for value in values])
def test_a_crafted_value_that_dispatch_remembers_is_damage(
    name: str, value: bytes, closed: Path, tmp_path: Path
) -> None:
    path = changed(closed, tmp_path, lambda path: None)("a.store")
    with opened(path) as engine:
        engine.put_checkpoint(name, value)
        engine.put_checkpoint("subscription#xofy/mine", b"another's")
        with pytest.raises(CorruptionError, match="what is stored as"):
            REMEMBERED_BY[name](engine)


def changed(closed: Path, tmp_path: Path, craft: Craft) -> Craft:
    def make(where: str) -> Path:
        shutil.copytree(closed, tmp_path / where)
        craft(tmp_path / where)
        return tmp_path / where

    return make


@pytest.mark.parametrize("name", PAYLOADS)
def test_a_crafted_payload_cannot_be_read_and_is_named(name: str, tmp_path: Path) -> None:
    def make(where: str) -> Path:
        journal(tmp_path / where, commit(payload=PAYLOADS[name]), commit(stream=B, token=2), size=1 << 20)
        return tmp_path / where

    errors, found = done_with(make)
    assert errors
    for step, error in errors:
        assert isinstance(error, SerializationError), f"{step}: {error}"
        assert "commit 00000000-0000-0000-0000-000000000001 (sequence 1) of stream 'a'" in str(error), step
    assert [one for one in found if "control page is missing" not in one] == []
    assert not [step for step, _ in errors if step.endswith(" b")]


def test_a_payload_as_deep_as_msgpack_reads_it_is_read_and_its_verification_ends(tmp_path: Path) -> None:
    journal(tmp_path / "a.store", commit(payload=b"\x93\x80" + nested(1000, b"\x01") + b"\x80"))
    with opened(tmp_path / "a.store") as engine:
        assert len(list(engine.get_from("default", "a"))) == 1
    said = CliRunner().invoke(app, ["verify", str(tmp_path / "a.store")])
    assert said.exit_code == 1
    assert "nested too deeply" in said.output


def test_names_that_are_paths_lead_nowhere(tmp_path: Path) -> None:
    engine = FileEngine(tmp_path / "in" / "a.store", background=False)
    engine.initialize()
    names = ("../../../../etc/passwd", "/etc/passwd", "..", ".", "a/../b", "\x00", "con", "-rf", "\u202e", "x" * 1000)
    for name in names:
        fill(engine, name, bucket_id=name)
        engine.put_checkpoint(name[:200], b"value")
    engine.close()
    with opened(tmp_path / "in" / "a.store") as engine:
        assert [commit.stream_id for commit in engine.get_from_checkpoint()] == list(names)
        assert engine.get_checkpoint_names() == sorted(name[:200] for name in names)
    assert [one.name for one in tmp_path.iterdir()] == ["in"]
    assert [one.name for one in (tmp_path / "in").iterdir()] == ["a.store"]
