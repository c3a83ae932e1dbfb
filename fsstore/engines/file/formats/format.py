"""What the file engine's records look like. No input or output here.

Every layout of a record in `docs/file-format.md` is written and judged in this module; `file_headers` and
`index_entries` have the other bytes. A record is one msgpack array of fixed-width fields, so that a journal or segment
is a plain msgpack stream to any reader and a single `struct` to this one. All checksums are CRC-32C, seeded with the
store's id, so that bytes of another store are never believed.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Final, NamedTuple

import msgpack
from crc32c import crc32c

from fsstore.errors import StorageError

COMMIT: Final = 1
SNAPSHOT: Final = 2
DELETE_STREAM: Final = 3
PURGE: Final = 4
ROLL: Final = 5
OF_STREAMS: Final = (COMMIT, SNAPSHOT, DELETE_STREAM)
KINDS: Final = frozenset((COMMIT, SNAPSHOT, DELETE_STREAM, PURGE, ROLL))

NO_KEY: Final = bytes(16)
NO_ID: Final = bytes(16)

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
MAX_LAG: Final = 0xFFFFFFFF
MAX_REVISION: Final = 0xFFFFFFFF
# No store comes near these; what claims more was crafted, and could not be read or written at such an offset. A place
# and a checkpoint's entry must be within the 16 TiB of a file on ext4.
MAX_POSITION: Final = 1 << 60
MAX_PLACE: Final = 1 << 43
MAX_TOKEN: Final = 1 << 38
MAX_BODY_BYTES: Final = 1 << 31
_MAX_ID_CHARACTERS: Final = 1_000

# The markers between the fields are msgpack's type bytes; see the table in docs/file-format.md.
# What the header's checksum covers is packed by itself.
_PACK: Final = struct.Struct(">BBBB BI BQ BI BQ BB16s BQ BI BI BB16s Bq BI BI".replace(" ", ""))
_UNPACK: Final = struct.Struct(">xxI xBxB xI xQ xI xQ xx16s xQ xI xI xx16s xq xI xI".replace(" ", ""))
RECORD_HEADER_BYTES: Final = _UNPACK.size
RECORD_MAGIC: Final = b"\x9f\xce"
_CRC_END: Final = 6


class RecordHeader(NamedTuple):
    """The fixed fields of a record, in the order in which they are stored."""

    crc: int
    kind: int
    flags: int
    following: int
    position: int
    lag_bytes: int
    place: int
    key: bytes
    token: int
    revision: int
    sequence: int
    commit_id: bytes
    stamp_us: int
    body_crc: int
    body_bytes: int

    @property
    def length_bytes(self) -> int:
        """Of the whole record."""
        return RECORD_HEADER_BYTES + self.body_bytes

    @property
    def end(self) -> int:
        """The journal position after this record."""
        return self.position + RECORD_HEADER_BYTES + self.body_bytes


# Making a tuple of fields that are in order already: a third of what the named constructor costs.
header_of: Final = tuple.__new__

Fields = tuple[int, int, int, int, int, int, int, bytes, int, int, int, bytes, int, int, int]
"""What `RecordHeader` names, in its order, without the names: for where a record is one of very many."""
Record = tuple[Fields, bytes]
"""The fields of a record's header, and its body."""
KIND: Final = 1
POSITION: Final = 4
PLACE: Final = 6
KEY: Final = 7
TOKEN: Final = 8
REVISION: Final = 9
SEQUENCE: Final = 10
COMMIT_ID: Final = 11


def store_seed(store_id: bytes) -> int:
    """What every checksum of that store starts from."""
    return int(crc32c(store_id))


checksum: Final[Callable[[bytes | memoryview, int], int]] = crc32c
"""CRC-32C of the bytes, going on from a seed. Not a function of its own: it is on the path of every commit."""


def pack_header(header: Fields, seed: int) -> bytes:
    """The header's bytes, with the checksum that belongs there; the record's body follows them."""
    return pack_fields(*header[1:], seed)


def pack_fields(
    kind: int,
    flags: int,
    following: int,
    position: int,
    lag_bytes: int,
    place: int,
    key: bytes,
    token: int,
    revision: int,
    sequence: int,
    commit_id: bytes,
    stamp_us: int,
    body_crc: int,
    body_bytes: int,
    seed: int,
) -> bytes:
    """The same of a record that is being written, for which no tuple is made."""
    checked = _PACK.pack(
        0xCC, kind, 0xCC, flags,
        0xCE, following,
        0xCF, position,
        0xCE, lag_bytes,
        0xCF, place,
        0xC4, 16, key,
        0xCF, token,
        0xCE, revision,
        0xCE, sequence,
        0xC4, 16, commit_id,
        0xD3, stamp_us,
        0xCE, body_crc,
        0xC6, body_bytes,
    )  # fmt: skip
    return RECORD_MAGIC + crc32c(checked, seed).to_bytes(4, "big") + checked


def pack_roll(position: int, next_token: int, seed: int, *, previous_end: int = 0, lag_bytes: int = 0) -> bytes:
    """The record that a journal file begins with: where the file before it ended, and which token comes next."""
    body_crc = checksum(b"", seed)
    return pack_fields(
        ROLL, 0, 0, position, lag_bytes, previous_end, NO_KEY, next_token, 0, 0, NO_ID, 0, body_crc, 0, seed
    )


def read_header(data: bytes | memoryview, offset: int, seed: int) -> RecordHeader | None:
    """The record header at `offset`, or `None` where there is none that its checksum vouches for."""
    end = offset + RECORD_HEADER_BYTES
    if end > len(data) or data[offset] != 0x9F or data[offset + 1] != 0xCE:
        return None
    fields = _UNPACK.unpack_from(data, offset)
    if crc32c(data[offset + _CRC_END : end], seed) != fields[0]:
        return None
    return header_of(RecordHeader, fields)


def read_records(data: bytes, offset: int, end: int, seed: int, address: int, origin: int) -> list[Record]:
    """Header and body of the records from `offset` to `end`, for as long as both checksums vouch for them, this version
    knows them, and their `address` (`POSITION` or `PLACE`) is where they stand: the bytes begin at `origin`.

    What `read_header` and `body_is_whole` say, in one loop: it is the path of every read.
    """
    found: list[Record] = []
    unpack, crc, kinds = _UNPACK.unpack_from, crc32c, KINDS
    end = min(end, len(data))
    start = offset + RECORD_HEADER_BYTES
    while start <= end and data[offset] == 0x9F and data[offset + 1] == 0xCE:
        fields: Fields = unpack(data, offset)
        if crc(data[offset + _CRC_END : start], seed) != fields[0]:
            break
        if fields[address] != origin + offset or fields[KIND] not in kinds or fields[2]:
            break
        offset = start + fields[14]
        if offset > end:
            break
        body = data[start:offset]
        if crc(body, seed) != fields[13]:
            break
        found.append((fields, body))
        start = offset + RECORD_HEADER_BYTES
    return found


def body_is_whole(data: bytes | memoryview, offset: int, header: RecordHeader, seed: int) -> bool:
    """Whether the body of the record at `offset` is all there and as it was written."""
    start = offset + RECORD_HEADER_BYTES
    body = data[start : start + header.body_bytes]
    return len(body) == header.body_bytes and crc32c(body, seed) == header.body_crc


# ---- streams -------------------------------------------------------------------------------------------


def stream_prefix(bucket_id: str, stream_id: str) -> bytes:
    """What the body of every record of that stream starts with: the two ids as msgpack strings."""
    return _pack_str(bucket_id) + _pack_str(stream_id)


def stream_key(prefix: bytes) -> bytes:
    """16 bytes that stand for the stream; also its file name, so that any id suits any file system."""
    return blake2b(prefix, digest_size=16).digest()


def bucket_mark(bucket_id: str) -> int:
    """64 bits that stand for a bucket in the table of heads."""
    return int.from_bytes(blake2b(bucket_id.encode(), digest_size=8).digest(), "big")


def split_prefix(body: bytes | memoryview) -> tuple[str, str, int]:
    """Bucket id, stream id and the length of both in front of `body`; `ValueError` when they are not there."""
    try:
        bucket_id, end = _read_str(body, 0)
        stream_id, end = _read_str(body, end)
    except (IndexError, ValueError) as error:
        raise ValueError("the ids of a stream in front of the record's body") from error
    if not 0 < len(bucket_id) <= _MAX_ID_CHARACTERS or not 0 < len(stream_id) <= _MAX_ID_CHARACTERS:
        raise ValueError(f"ids of 1 to {_MAX_ID_CHARACTERS} characters in front of the record's body")
    return bucket_id, stream_id, end


def stream_names(key: bytes, body: bytes | memoryview) -> tuple[str, str, int]:
    """What `split_prefix` gives; `ValueError` also when these are not the ids that the record's key stands for."""
    bucket_id, stream_id, end = split_prefix(body)
    if stream_key(bytes(body[:end])) != key:
        raise ValueError("the ids of the stream that the record's key stands for")
    return bucket_id, stream_id, end


def _pack_str(text: str) -> bytes:
    """A msgpack string of less than 64 KiB, by hand for the reason that `_read_str` gives."""
    data = text.encode()
    length = len(data)
    if length < 0x20:
        return bytes((0xA0 | length,)) + data
    if length < 0x100:
        return bytes((0xD9, length)) + data
    return bytes((0xDA, length >> 8, length & 0xFF)) + data


def _read_str(body: bytes | memoryview, at: int) -> tuple[str, int]:
    """The msgpack string at `at` and where it ends: by hand, since an unpacker costs a buffer of its own each time."""
    mark = body[at]
    if mark & 0xE0 == 0xA0:
        start, length = at + 1, mark & 0x1F
    elif mark == 0xD9:
        start, length = at + 2, body[at + 1]
    elif mark == 0xDA:
        start, length = at + 3, body[at + 1] << 8 | body[at + 2]
    else:
        raise ValueError(f"byte {mark:#x} begins no id")
    end = start + length
    if end > len(body):
        raise ValueError("an id ends beyond its record")
    return str(body[start:end], "utf-8"), end


def pack_purge(bucket_id: str | None) -> bytes:
    """The body of a PURGE record: one bucket's id, or nil for all."""
    return bytes(msgpack.packb(bucket_id))


def read_purge(body: bytes | memoryview) -> str | None:
    """The bucket that a PURGE record names, `None` for all; `ValueError` when it names none."""
    if body == b"\xc0":
        return None
    try:
        bucket_id, end = _read_str(body, 0)
    except (IndexError, ValueError) as error:
        raise ValueError("the id of a bucket, or nil, in a PURGE record") from error
    if end != len(body) or not bucket_id:
        raise ValueError("the id of a bucket, or nil, in a PURGE record")
    return bucket_id


def check_numbers(header: RecordHeader) -> None:
    """`ValueError` for a header with numbers that no store wrote, although its checksum agrees."""
    kind = header.kind
    if kind == ROLL:
        if header.place > header.position or not 0 < header.token <= MAX_TOKEN:
            raise ValueError(f"an end of the log up to here and a checkpoint from 1 to {MAX_TOKEN}")
    elif kind == COMMIT:
        if not 0 < header.sequence <= header.revision or not 0 < header.token <= MAX_TOKEN or header.place > MAX_PLACE:
            raise ValueError(
                f"a sequence from 1 to the revision, a checkpoint from 1 to {MAX_TOKEN} and a place up to {MAX_PLACE}, "
                f"not {header.sequence}, {header.revision}, {header.token} and {header.place}"
            )
    elif kind == SNAPSHOT and (not header.revision or header.place > MAX_PLACE):
        raise ValueError(f"a revision from 1 on and a place up to {MAX_PLACE}")


def check_sense(header: RecordHeader, body: bytes | memoryview) -> None:
    """The same for a whole record: also its ids are there, and those that its key stands for."""
    check_numbers(header)
    if header.kind == PURGE:
        read_purge(body)
    elif header.kind in OF_STREAMS:
        stream_names(header.key, body)


def stamp_to_us(stamp: datetime) -> int:
    """Microseconds since 1970, exact."""
    return (stamp - _EPOCH) // _MICROSECOND


def stamp_from_us(stamp_us: int) -> datetime:
    """The aware UTC time of `stamp_to_us`; `OverflowError` outside of the years 1 to 9999."""
    return _EPOCH + timedelta(0, 0, stamp_us)


# ---- what a later version wrote ----------------------------------------------------------------------------


def refuse_unknown(path: str, header: RecordHeader) -> None:
    """`StorageError` where a whole header is of a record that a later version wrote."""
    if header.kind not in KINDS or header.flags:
        raise StorageError(
            f"{path} has a record of kind {header.kind} with flags {header.flags:#x} (journal position "
            f"{header.position}), which this version of fsstore does not know: a newer one wrote it; upgrade fsstore"
        )
