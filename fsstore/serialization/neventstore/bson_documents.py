"""BSON values, as Newtonsoft's BSON writer and the MongoDB driver for C# store them, to plain values.

Both need `bson` of the package pymongo, imported when it is needed. The two disagree about GUIDs: Newtonsoft writes
.NET's byte order under either subtype, the driver only under the legacy one.
"""

from __future__ import annotations

from datetime import UTC
from decimal import Decimal
from typing import Any
from uuid import UUID

from fsstore.errors import SerializationError

_LEGACY_UUID, _UUID = 3, 4
# The driver stores the ends of C#'s `decimal` as those of Decimal128, and takes them back the same way.
_DECIMAL_MAX, _DECIMAL128_MAX = Decimal(2**96 - 1), Decimal((0, (9,) * 34, 6111))
_ENDS_OF_DECIMAL = {_DECIMAL128_MAX: _DECIMAL_MAX, _DECIMAL128_MAX.copy_negate(): _DECIMAL_MAX.copy_negate()}


def _bson() -> Any:
    try:
        import bson
    except ImportError as error:
        raise ImportError("BSON payloads need the package pymongo: pip install 'fsstore[mongodb]'") from error
    return bson


def codec_options() -> Any:
    """How documents must be decoded for `plain`: aware dates, GUIDs as they are stored."""
    return _bson().codec_options.CodecOptions(tz_aware=True, tzinfo=UTC)


def looks_like_document(data: bytes) -> bool:
    """Whether the length that begins every BSON document, and the zero that ends it, are there."""
    return len(data) >= 5 and int.from_bytes(data[:4], "little") == len(data) and data[-1] == 0


def parse(data: bytes) -> Any:
    """The stored tree of a document that Newtonsoft wrote. `ValueError` for anything else."""
    bson = _bson()
    try:
        return plain(bson.decode(data, codec_options()), standard_guids=False)
    except (bson.errors.InvalidBSON, OverflowError, RecursionError) as error:
        raise ValueError(f"it is not a BSON document: {error}") from error


def plain(stored: Any, *, standard_guids: bool) -> Any:
    """`stored` without BSON's own classes: `UUID`, `Decimal`, `int`, `bytes` instead.

    `standard_guids` says what binary subtype 4 holds: a GUID in network byte order, or in .NET's.
    """
    if isinstance(stored, dict):
        return {key: plain(each, standard_guids=standard_guids) for key, each in stored.items()}
    if isinstance(stored, list):
        return [plain(each, standard_guids=standard_guids) for each in stored]
    kind = type(stored)
    if kind.__module__.partition(".")[0] != "bson":
        return stored
    bson = _bson()
    if isinstance(stored, bson.Binary):
        return _binary(stored, standard_guids)
    if isinstance(stored, int):
        return int(stored)
    if isinstance(stored, bson.Decimal128):
        value = stored.to_decimal()
        return _ENDS_OF_DECIMAL.get(value, value)
    if isinstance(stored, bson.ObjectId):
        return str(stored)
    raise SerializationError(f"a BSON value of the kind {kind.__name__} has no counterpart here: {stored!r:.60}")


def _binary(stored: Any, standard_guids: bool) -> UUID | bytes:
    content = bytes(stored)
    if len(content) == 16 and stored.subtype == _UUID and standard_guids:
        return UUID(bytes=content)
    if len(content) == 16 and stored.subtype in (_LEGACY_UUID, _UUID):
        return UUID(bytes_le=content)
    return content


def elements(document: Any) -> Any:
    """A list that was written as a document with the keys `0`, `1` and so on; anything else as it is."""
    if isinstance(document, dict) and all(key == str(number) for number, key in enumerate(document)):
        return list(document.values())
    return document
