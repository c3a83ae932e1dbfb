"""What stands at the beginning of the file engine's files: kind, format version, fields, checksum. No input or output.

Every header of `docs/file-format.md` is written and judged here. A version that is not ours is told apart from damage.
Knows records only by name: `format` has them.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import msgpack

from fsstore.engines.file.formats import format
from fsstore.errors import StorageError

FORMAT_VERSION: Final = 1


class FormatError(ValueError):
    """A file's header is not what it must be; says what was expected."""


class NewerFormatError(FormatError):
    """The file was written by a later version of this format."""


def refused(path: str, error: NewerFormatError) -> StorageError:
    """What is said of a file that a later version wrote: nothing in it is damaged."""
    return StorageError(f"{path} cannot be used: expected {error}; upgrade fsstore")


def refuse_newer(path: str, kind: str, data: bytes, seed: int) -> None:
    """`StorageError` where the file that begins with `data` is such a file, and a later version wrote it."""
    try:
        read_file_header(kind, data, seed)
    except NewerFormatError as error:
        raise refused(path, error) from error
    except FormatError:
        return  # whatever else is wrong is for others to say


def pack_file_header(kind: str, seed: int, fields: list[object], size_bytes: int | None = None) -> bytes:
    """`["fsstore <kind>", version, fields, crc]` as one msgpack array, padded with nil to `size_bytes`."""
    head = bytes(msgpack.packb(f"fsstore {kind}")) + bytes(msgpack.packb(FORMAT_VERSION))
    head += bytes(msgpack.packb(fields))
    data = b"\x94" + head + b"\xce" + format.checksum(head, seed).to_bytes(4, "big")
    if size_bytes is None:
        return data
    if len(data) > size_bytes:
        raise ValueError(f"a {kind} header of {len(data)} bytes does not fit into {size_bytes}")
    return data + b"\xc0" * (size_bytes - len(data))


def read_file_header(kind: str, data: bytes, seed: int | None) -> tuple[list[object], int]:
    """The fields of a file header and its length; `seed` is `None` where the fields bring the store id."""
    unpacker = msgpack.Unpacker(max_buffer_size=max(len(data), 1), strict_map_key=False)
    unpacker.feed(data)
    try:
        if unpacker.read_array_header() != 4:
            raise FormatError(f"a {kind} header")
        name, at, version = unpacker.unpack(), unpacker.tell(), unpacker.unpack()
        if name != f"fsstore {kind}" or not isinstance(version, int) or isinstance(version, bool):
            raise FormatError(f"a {kind} header, not {name!r}")
        # A newer version may lay out everything behind this point otherwise, its checksum included.
        if version < 1:
            raise FormatError("format version 1 or newer")
        if version > FORMAT_VERSION:
            if _is_ours(kind, data, at, seed):
                raise FormatError("the version that its checksum covers")
            raise NewerFormatError(
                f"format version {FORMAT_VERSION} or older, not {version}: a newer fsstore wrote this"
            )
        fields = unpacker.unpack()
        end = unpacker.tell()
        crc = unpacker.unpack()
    except (FormatError, MemoryError):
        raise
    except Exception as error:  # whatever msgpack finds wrong, this is no header
        raise FormatError(f"a whole {kind} header") from error
    if not isinstance(fields, list):
        raise FormatError(f"the fields of a {kind} header")
    if seed is None:
        seed = format.store_seed(fields[0]) if fields and isinstance(fields[0], bytes) else 0
    if crc != format.checksum(data[1:end], seed):
        raise FormatError(f"a {kind} header with the right checksum")
    return fields, unpacker.tell()


def _is_ours(kind: str, data: bytes, at: int, seed: int | None) -> bool:
    """Whether the header is whole once the version in it is ours: then that number is all that is damaged."""
    try:
        read_file_header(kind, data[:at] + bytes([FORMAT_VERSION]) + data[at + 1 :], seed)
    except FormatError:
        return False
    return True


def read_numbers(kind: str, data: bytes, seed: int, count: int) -> list[int]:
    """The fields of a file header that holds so many numbers and nothing else."""
    fields, _ = read_file_header(kind, data, seed)
    numbers = [field for field in fields if type(field) is int and 0 <= field <= format.MAX_POSITION]
    if len(numbers) != len(fields) or len(numbers) != count:
        raise FormatError(f"{count} numbers up to {format.MAX_POSITION} in a {kind} header")
    return numbers


_FILE_LEADS: Final = {
    kind: bytes(msgpack.packb(f"fsstore {kind}")) + bytes(msgpack.packb(FORMAT_VERSION)) + b"\x92"
    for kind in ("segment", "snapshots")
}


@lru_cache(maxsize=4096)
def stream_file_header(seed: int, prefix: bytes, kind: str = "segment") -> bytes:
    """The first bytes of a stream's segment or snapshot file: the two ids of its prefix are the header's two fields as
    they stand."""
    head = _FILE_LEADS[kind] + prefix
    return b"\x94" + head + b"\xce" + format.checksum(head, seed).to_bytes(4, "big")


def stream_file_header_bytes(prefix: bytes, kind: str = "segment") -> int:
    """How long that is."""
    return len(_FILE_LEADS[kind]) + len(prefix) + 6


JOURNAL_HEADER_BYTES: Final = 128


def journal_header(seed: int, base: int, size_bytes: int) -> bytes:
    """The first 128 bytes of a journal file that holds the positions from `base`."""
    return pack_file_header("journal", seed, [base, size_bytes], JOURNAL_HEADER_BYTES)


def read_journal_size(data: bytes, base: int, seed: int) -> int:
    """The size that the header of the journal file for the positions from `base` states."""
    stored_base, size_bytes = read_numbers("journal", data, seed, 2)
    if stored_base != base or size_bytes < JOURNAL_HEADER_BYTES or base + size_bytes > format.MAX_POSITION:
        raise FormatError(f"a journal header for position {base}")
    return size_bytes
