"""What a newer fsstore wrote is refused by name, wherever it stands: never read as if it were old, never called damage.

A later version changes a version number, or sets a flag, in one place of a store; everything else is as it was.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import stores

from fsstore import CorruptionError, StorageError
from fsstore.engines.file import FileEngine
from fsstore.engines.file.files import layout
from fsstore.engines.file.formats import file_headers, format
from fsstore.engines.file.repair import apply
from fsstore.engines.file.streams.segments import Stream
from fsstore.engines.file.verify import verify
from fsstore.model import Snapshot
from fsstore.testing import next_attempt

LONG = Stream.of("default", "long").key.hex()
HEADERS = {
    "store": "store.meta",
    "journal": "journal/*.journal",
    "heads": "heads.index",
    "commits": "commits.index",
    "segment": f"streams/*/{LONG}.segment",
    "snapshots": f"streams/*/{LONG}.snapshots",
    "index": f"streams/*/{LONG}.index",
    "ids": f"streams/*/{LONG}.ids",
}
RECORDS = {
    "journal/*.journal": format.COMMIT,
    f"streams/*/{LONG}.segment": format.COMMIT,
    f"streams/*/{LONG}.snapshots": format.SNAPSHOT,
}


@pytest.fixture
def store(unfolded: Path) -> Path:
    return unfolded


# ---- everything that can be done with a store ----


def _opened(path: Path, **options: Any) -> FileEngine:
    engine = FileEngine(path, **(stores.OPTIONS | options))
    engine.initialize()
    return engine


def reading(path: Path) -> None:
    engine = _opened(path, read_only=True)
    try:
        list(engine.get_from("default", "long", 20))
        list(engine.get_from_checkpoint())
        assert engine.get_snapshot("default", "long")
    finally:
        engine.close()


def committing(path: Path) -> None:
    engine = _opened(path)
    try:
        last = list(engine.get_from("default", "long"))[-1]
        engine.commit(next_attempt(last))
        assert engine.add_snapshot(Snapshot("long", last.stream_revision, "state"))
        engine.fold()
    finally:
        engine.close()


def verifying(path: Path) -> None:
    assert list(verify(stores.DISK, str(path))) == []


def repairing(path: Path) -> None:
    # With something to repair: the last commit of another stream is damaged.
    stores.flip(stores.file_of(path, "b", "segment"), -1)
    apply(stores.DISK, str(path))


def all_refuse(store: Path, place: Path, said: str, but: tuple[Callable[[Path], None], ...] = ()) -> None:
    before = place.read_bytes()
    for work in (reading, verifying, repairing, committing):
        if work in but:
            work(store)
            continue
        for _ in range(2):  # what was refused once must not be taken the second time
            with pytest.raises(StorageError, match=said) as caught:
                work(store)
            assert str(place) in str(caught.value)
            assert "upgrade fsstore" in str(caught.value)
            assert not isinstance(caught.value, CorruptionError)
    # Folding goes on behind a record that it does not read.
    assert place.read_bytes()[: len(before)] == before


# ---- versions ----


@pytest.mark.parametrize("kind", HEADERS)
def test_a_file_of_a_newer_version_is_refused(store: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    place = made_newer(store, kind, monkeypatch)
    # Commit ids are asked for by whoever commits.
    all_refuse(store, place, "not 2: a newer fsstore wrote this", but=(reading,) if kind == "ids" else ())


@pytest.mark.parametrize(("kind", "gone"), [("heads", "commits.index"), ("commits", "heads.index")])
def test_an_index_of_a_newer_version_is_not_replaced_because_the_other_is_missing(
    store: Path, kind: str, gone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = made_newer(store, kind, monkeypatch)
    (store / gone).unlink()
    before = place.read_bytes()
    with pytest.raises(StorageError, match="a newer fsstore wrote this"):
        committing(store)
    assert place.read_bytes() == before


def made_newer(store: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of that kind, with a header as a later version would write it."""
    if kind in ("index", "ids"):  # verify leaves those alone that the journal goes on with
        committing(store)
    place = max(store.glob(HEADERS[kind]))
    seed = layout.read_meta(stores.DISK, str(store)).seed
    data = place.read_bytes()
    fields, length = file_headers.read_file_header(kind, data, seed)
    with monkeypatch.context() as later:
        later.setattr(file_headers, "FORMAT_VERSION", 2)
        header = file_headers.pack_file_header(kind, seed, fields)
    assert len(header) == length
    place.write_bytes(header + data[length:])
    return place


@pytest.mark.parametrize("bit", [2, 4, 64])
def test_a_version_that_the_checksum_contradicts_is_damage(store: Path, bit: int) -> None:
    """What is disposable is made anew then, and nobody is told to upgrade."""
    for name in ("heads.index", "commits.index"):
        place = store / name
        data = bytearray(place.read_bytes())
        at = data.index(b"\x01")
        place.write_bytes(data[:at] + bytes([data[at] ^ bit]) + data[at + 1 :])
    committing(store)
    verifying(store)
    meta = store / "store.meta"
    data = bytearray(meta.read_bytes())
    data[data.index(b"\x01")] ^= bit
    meta.write_bytes(data)
    with pytest.raises(CorruptionError, match="the version that its checksum covers"):
        reading(store)


def test_a_control_page_of_a_newer_version_is_refused(store: Path) -> None:
    place = store / "control"
    words = memoryview(bytearray(place.read_bytes())).cast("Q")
    assert words[0] == int.from_bytes(b"fsstore\x01", "big")
    words[0] += 1
    place.write_bytes(words)
    all_refuse(store, place, "not 2: a newer fsstore wrote this")


def test_a_setting_of_a_newer_version_is_refused_by_its_name(store: Path) -> None:
    meta = layout.read_meta(stores.DISK, str(store))
    fields: list[object] = [meta.store_id, meta.created_us, {"shards": 4}]
    (store / "store.meta").write_bytes(file_headers.pack_file_header("store", meta.seed, fields))
    all_refuse(store, store / "store.meta", r"no settings, not \{'shards': 4\}")


# ---- records ----


def _changed(store: Path, pattern: str, **fields: int) -> Path:
    """The last record of a kind, with other fields and the checksum that belongs to them."""
    seed = layout.read_meta(stores.DISK, str(store)).seed
    place = max(store.glob(pattern))
    offset, header = [found for found in stores.records(store, place) if found[1].kind == RECORDS[pattern]][-1]
    data = bytearray(place.read_bytes())
    data[offset : offset + format.RECORD_HEADER_BYTES] = format.pack_header(header._replace(**fields), seed)
    place.write_bytes(data)
    return place


@pytest.mark.parametrize("flag", [1, 128])
@pytest.mark.parametrize("pattern", RECORDS)
def test_a_record_with_a_flag_is_refused_by_it(store: Path, pattern: str, flag: int) -> None:
    place = _changed(store, pattern, flags=flag)
    all_refuse(store, place, f"a record of kind {RECORDS[pattern]} with flags {flag:#x}")


@pytest.mark.parametrize("pattern", RECORDS)
def test_a_record_of_another_kind_is_refused_by_it(store: Path, pattern: str) -> None:
    place = _changed(store, pattern, kind=6)
    all_refuse(store, place, "a record of kind 6 with flags 0x0")


def test_a_flag_is_refused_also_while_indexes_are_rebuilt(store: Path) -> None:
    place = _changed(store, f"streams/*/{LONG}.segment", flags=2)
    for name in ("heads.index", "commits.index", "control"):
        (store / name).unlink()
    with pytest.raises(StorageError, match="with flags 0x2") as caught:
        committing(store)
    assert str(place) in str(caught.value)
