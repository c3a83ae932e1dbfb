"""What the entries of the file engine's indexes look like: commits, heads, commits of a stream. No input or output.

Every index of `docs/file-format.md` is made of these. They are disposable: where a checksum does not vouch for one,
it is made anew from the records.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from crc32c import crc32c

from fsstore.engines.file.formats import format

INDEX_HEADER_BYTES: Final = 128
_ENTRY: Final = struct.Struct(">16sQIIIqI")
_ENTRY_CHECKED: Final = struct.Struct(">16sQIIIq")
COMMITS_ENTRY_BYTES: Final = _ENTRY.size


class CommitsEntry(NamedTuple):
    """One entry of commits.index: where the commit of that token is. All zero but the checksum: deleted."""

    key: bytes
    place: int
    length_bytes: int
    revision: int
    sequence: int
    stamp_us: int
    crc: int

    @property
    def deleted(self) -> bool:
        return not self.length_bytes


def commits_offset(token: int) -> int:
    """Where in commits.index the entry for `token` stands."""
    return INDEX_HEADER_BYTES + (token - 1) * COMMITS_ENTRY_BYTES


def pack_commits_entry(
    seed: int, token: int, key: bytes, place: int, length: int, revision: int, sequence: int, stamp_us: int
) -> bytes:
    """The entry for `token`, which its checksum covers too."""
    data = _ENTRY_CHECKED.pack(key, place, length, revision, sequence, stamp_us)
    return data + crc32c(data, (seed + token) & 0xFFFFFFFF).to_bytes(4, "big")


def commits_entry(header: format.Fields, seed: int) -> bytes:
    """The entry of the commit with that header."""
    _, _, _, _, _, _, place, key, token, revision, sequence, _, stamp_us, _, body_bytes = header
    data = _ENTRY_CHECKED.pack(key, place, format.RECORD_HEADER_BYTES + body_bytes, revision, sequence, stamp_us)
    return data + crc32c(data, (seed + token) & 0xFFFFFFFF).to_bytes(4, "big")


def deleted_commits_entry(seed: int, token: int) -> bytes:
    """The entry of a token whose commit was deleted."""
    return pack_commits_entry(seed, token, format.NO_KEY, 0, 0, 0, 0, 0)


CommitsFields = tuple[bytes, int, int, int, int, int, int]
"""What `CommitsEntry` names, in its order, without the names."""


def read_commits_entries(data: bytes) -> Iterator[CommitsEntry]:
    """The entries in `data`; their checksums are `commits_entry_is_whole`'s to judge."""
    return map(CommitsEntry._make, _ENTRY.iter_unpack(data))


def read_commits_fields(data: bytes) -> Iterator[CommitsFields]:
    """The same for very many: a quarter of the time."""
    return _ENTRY.iter_unpack(data)


def commits_entry_is_whole(data: bytes | memoryview, offset: int, token: int, seed: int) -> bool:
    """Whether the entry at `offset` is the one written for `token`."""
    end = offset + COMMITS_ENTRY_BYTES
    stored = int.from_bytes(data[end - 4 : end], "big")
    return crc32c(data[offset : end - 4], (seed + token) & 0xFFFFFFFF) == stored


_HEAD: Final = struct.Struct(">16sQQQIIIQI")
_NO_FILES: Final = bytes(16)
HEAD_BYTES: Final = _HEAD.size

NO_IDS: Final = 1 << 63
"""The id bits of a head whose stream has no commit yet; each that it gets sets three more."""
UNKNOWN_IDS: Final = 0
"""Without the bit of `NO_IDS` nothing is known of the ids, whatever the others are."""
_ALL_IDS: Final = (1 << 64) - 1
_MOST_IDS: Final = 16
_ID_BITS: Final = 63


def id_bits(commit_id: bytes) -> int:
    """The three bits that stand for a commit id in a head (B. H. Bloom, 1970)."""
    crc = int(crc32c(commit_id))
    return 1 << crc % _ID_BITS | 1 << (crc >> 8) % _ID_BITS | 1 << (crc >> 16) % _ID_BITS


def lacks(known: int, bits: int) -> bool:
    """Whether a head that knows those ids has not all of `bits`: then the id that has them is not in its stream."""
    return bool(known & NO_IDS and bits & ~known)


@dataclass(slots=True)
class Head:
    """One slot of heads.index: how far a stream's files go. No segment bytes: the stream was deleted."""

    key: bytes
    segment_bytes: int
    snapshots_bytes: int
    id_bits: int
    revision: int
    sequence: int
    snapshot_revision: int
    bucket: int

    @classmethod
    def empty(cls, key: bytes, bucket: int = 0) -> Head:
        """The head of a stream of which nothing is folded."""
        return cls(key, 0, 0, NO_IDS, 0, 0, 0, bucket)

    def add_ids(self, commit_ids: Iterable[bytes]) -> None:
        """Note the ids of commits up to `sequence`. Those of a longer stream would fill the word: it says nothing."""
        if self.sequence > _MOST_IDS:
            self.id_bits = _ALL_IDS if self.id_bits & NO_IDS else UNKNOWN_IDS
        else:
            for commit_id in commit_ids:
                self.id_bits |= id_bits(commit_id)

    def pack(self, seed: int) -> bytes:
        data = _HEAD.pack(
            self.key,
            self.segment_bytes,
            self.snapshots_bytes,
            self.id_bits,
            self.revision,
            self.sequence,
            self.snapshot_revision,
            self.bucket,
            0,
        )[:-4]
        return data + crc32c(data, seed).to_bytes(4, "big")


def read_head(data: bytes | memoryview, offset: int, seed: int) -> Head | None:
    """The slot at `offset`, or `None` where its checksum does not vouch for it."""
    end = offset + HEAD_BYTES
    fields = _HEAD.unpack_from(data, offset)
    if crc32c(data[offset : end - 4], seed) != fields[-1]:
        return None
    return Head(*fields[:-1])


def head_is_whole(slot: bytes, seed: int) -> bool:
    """Whether the checksum of that slot vouches for it."""
    return bool(crc32c(slot[:-4], seed) == int.from_bytes(slot[-4:], "big"))


def is_tombstone(slot: bytes) -> bool:
    """Whether that slot says that its stream was deleted."""
    return slot[16:32] == _NO_FILES


STREAM_INDEX_ENTRY: Final = struct.Struct(">QII16s")
STREAM_INDEX_ENTRY_BYTES: Final = STREAM_INDEX_ENTRY.size


def stream_index_offset(sequence: int) -> int:
    """Where in the index beside a segment the entry of the commit of that sequence stands."""
    return INDEX_HEADER_BYTES + (sequence - 1) * STREAM_INDEX_ENTRY_BYTES
