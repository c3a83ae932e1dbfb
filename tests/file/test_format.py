"""The worked example of docs/file-format.md is what the code writes, and what any msgpack reader reads."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import msgpack
import pytest

from fsstore.engines.file import FileEngine
from fsstore.engines.file.formats import file_headers, format, index_entries
from fsstore.errors import ConcurrencyError, DuplicateCommitError
from fsstore.model import EventMessage
from fsstore.serialization import MsgpackSerializer, encode_payload
from fsstore.testing import fill, first_attempt, next_attempt

DOCUMENT = (Path(__file__).parents[2] / "docs" / "file-format.md").read_text()
STORE_ID = bytes(range(16))
SEED = format.store_seed(STORE_ID)
PREFIX = format.stream_prefix("default", "order-1")
BODY = PREFIX + encode_payload(MsgpackSerializer(), {"user": "ada"}, [EventMessage({"sku": "A1", "n": 3})])
COMMIT_ID = UUID("6f9619ff-8b86-4011-b42d-00cf4fc964ff")
STAMP = datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC)


def documented_record() -> bytes:
    block = re.search(r"```hex\n(.*?)```", DOCUMENT, re.DOTALL)
    assert block is not None
    # Bytes end where two spaces begin the words.
    return bytes.fromhex("".join(line.split("  ")[0] for line in block[1].splitlines()))


def written_record(**changes: int) -> bytes:
    segment_header = file_headers.stream_file_header(SEED, format.stream_prefix("default", "order-1"))
    header = format.RecordHeader(
        crc=0,
        kind=format.COMMIT,
        flags=0,
        following=0,
        position=240,
        lag_bytes=0,
        place=len(segment_header),
        key=format.stream_key(PREFIX),
        token=1,
        revision=1,
        sequence=1,
        commit_id=COMMIT_ID.bytes,
        stamp_us=format.stamp_to_us(STAMP),
        body_crc=format.checksum(BODY, SEED),
        body_bytes=len(BODY),
    )
    return format.pack_header(header._replace(**changes), SEED) + BODY


def test_the_documented_record_is_the_one_that_is_written() -> None:
    assert documented_record().hex(" ") == written_record().hex(" ")


def test_the_documented_record_is_plain_msgpack() -> None:
    fields = msgpack.unpackb(documented_record())
    assert fields[1:] == [
        1, 0, 0, 240, 0, 40, format.stream_key(PREFIX), 1, 1, 1, COMMIT_ID.bytes,
        format.stamp_to_us(STAMP), format.checksum(BODY, SEED), BODY,
    ]  # fmt: skip
    body = msgpack.Unpacker()
    body.feed(fields[-1])
    assert list(body) == ["default", "order-1", [{"user": "ada"}, {"sku": "A1", "n": 3}, {}]]


def test_the_documented_seed_and_segment_header_are_those_that_are_written() -> None:
    assert f"seed is `{SEED:08x}`" in DOCUMENT
    stated = re.search(r"segment begins with `([0-9a-f ]+)`", DOCUMENT)
    assert stated is not None
    assert bytes.fromhex(stated[1]) == file_headers.stream_file_header(SEED, format.stream_prefix("default", "order-1"))


@pytest.mark.parametrize(
    ("heading", "kind", "width"),
    [
        ("heads.index", "heads", index_entries.HEAD_BYTES),
        ("commits.index", "commits", index_entries.COMMITS_ENTRY_BYTES),
    ],
)
def test_the_documented_tables_end_where_the_entries_do(heading: str, kind: str, width: int) -> None:
    section = DOCUMENT.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    rows = [(int(row[1]), int(row[2])) for row in re.finditer(r"^\| (\d+) \| (\d+) \|", section, re.MULTILINE)]
    at = 0
    for offset, size in rows:
        assert offset == at
        at += size
    assert at == width


def test_the_documented_fields_of_a_record_stand_at_their_offsets() -> None:
    section = DOCUMENT.split("\n## Record\n")[1].split("\n### ")[0]
    rows = {
        row[3]: (int(row[1]), int(row[2])) for row in re.finditer(r"^\| (\d+) \| (\d+) \| ([a-z ]+) \|", section, re.M)
    }
    plain = written_record()
    for field, name in [
        ("kind", "kind"), ("flags", "flags"), ("following", "following"), ("position", "position"),
        ("lag", "lag_bytes"), ("place", "place"), ("token", "token"), ("revision", "revision"),
        ("sequence", "sequence"), ("stamp", "stamp_us"), ("body crc", "body_crc"), ("body size", "body_bytes"),
    ]:  # fmt: skip
        offset, size = rows[field]
        changed = written_record(**{name: 0x5A})
        different = [at for at in range(6, 112) if plain[at] != changed[at]]
        assert different, field
        assert all(offset <= at < offset + size for at in different), field
        assert int.from_bytes(changed[offset : offset + size], "big") == 0x5A, field


@pytest.mark.parametrize("at", range(112))
def test_every_damaged_byte_of_a_header_is_seen(at: int) -> None:
    record = bytearray(written_record())
    record[at] ^= 0x10
    assert format.read_header(bytes(record), 0, SEED) is None


@pytest.mark.parametrize("at", range(112, 112 + len(BODY)))
def test_every_damaged_byte_of_a_body_is_seen(at: int) -> None:
    record = bytearray(written_record())
    record[at] ^= 0x10
    header = format.read_header(bytes(record), 0, SEED)
    assert header is not None
    assert not format.body_is_whole(bytes(record), 0, header, SEED)


def test_a_record_of_another_store_is_not_believed() -> None:
    assert format.read_header(written_record(), 0, format.store_seed(bytes(16))) is None


def test_an_entry_at_another_tokens_place_is_not_believed() -> None:
    entry = index_entries.pack_commits_entry(SEED, 7, bytes(16), 40, 151, 1, 1, 0)
    assert index_entries.commits_entry_is_whole(entry, 0, 7, SEED)
    assert not index_entries.commits_entry_is_whole(entry, 0, 8, SEED)


def test_a_newer_version_is_refused_as_newer_whatever_stands_behind_it() -> None:
    newer = msgpack.packb(["fsstore segment", 2, {"laid": "out otherwise"}, b""])
    with pytest.raises(file_headers.NewerFormatError, match="not 2"):
        file_headers.read_file_header("segment", newer, SEED)


def test_a_header_that_there_is_no_memory_to_read_is_not_called_damaged() -> None:
    memory = pytest.importorskip("_testcapi", reason="this Python has no _testcapi")
    data = file_headers.journal_header(SEED, 0, 1 << 20)
    failed = 0
    for allocation in range(40):
        memory.set_nomemory(allocation, allocation + 1)
        try:
            file_headers.read_journal_size(data, 0, SEED)
        except MemoryError:
            failed += 1
        finally:
            memory.remove_mem_hooks()
    assert failed > 3


def test_a_revision_that_no_record_has_room_for_is_refused_once_it_follows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = FileEngine(tmp_path / "a.store")
    engine.initialize()
    (first,) = fill(engine, "s", events=2)
    for revision in (2**32, 2**64):
        ahead = replace(next_attempt(first), stream_revision=revision)
        with pytest.raises(ConcurrencyError):
            engine.commit(ahead)
        with pytest.raises(DuplicateCommitError):
            engine.commit_many([first_attempt("t"), replace(ahead, commit_id=first.commit_id)])
    monkeypatch.setattr(format, "MAX_REVISION", 3)
    with pytest.raises(ValueError, match="stream_revision 4 of stream 's' in bucket 'default' is beyond 3"):
        engine.commit(next_attempt(first, events=2))
    assert engine.commit(next_attempt(first)).checkpoint_token == 2
    engine.close()
