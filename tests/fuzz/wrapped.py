"""Payloads: msgpack, compressed, encrypted, both, and those that C# wrote. The wrappings are right in half the cases,
so that what is inside of them is reached.
"""

from __future__ import annotations

import random
import zlib
from typing import Any

import msgpack
import zstandard

from fsstore.errors import SerializationError
from fsstore.serialization import CompressedSerializer, EncryptedSerializer, MsgpackSerializer, decode_payload
from fsstore.serialization.neventstore.payloads import NEventStorePayloads
from fsstore.serialization.unregistered import AnyTypes
from fuzz import changes
from fuzz.interchange import VALUES

_KEY = bytes(range(32))
_MOST_BYTES = 1 << 20
_plain = MsgpackSerializer(AnyTypes(), msgspec=False)
_quick = MsgpackSerializer(AnyTypes())
_SERIALIZERS = {
    "plain": _plain,
    "zlib": CompressedSerializer(_plain, min_bytes=1, max_bytes=_MOST_BYTES),
    "zstd": CompressedSerializer(_plain, algorithm="zstd", min_bytes=1, max_bytes=_MOST_BYTES),
    "encrypted": EncryptedSerializer(_plain, _KEY),
    "both": EncryptedSerializer(CompressedSerializer(_plain, min_bytes=1, max_bytes=_MOST_BYTES), _KEY),
}
_INNER = [_plain.dumps([{}, value, {"text": "again and again " * 20}]) for value in VALUES]
_FOREIGN = [
    b'\xef\xbb\xbf[{"Headers":{"a":1},"Body":{"$type":"Orders.Placed, Orders","Price":1.50,"At":"2024-05-01"}}]',
    b'[{"Headers":{},"Body":{"$type":"System.Guid, mscorlib","$values":["00000000-0000-0000-0000-000000000007"]}}]',
    msgpack.packb([{"Body": msgpack.ExtType(100, msgpack.packb("Orders.Placed, Orders") + b"\x81\xa1a\x01")}]),
    b"\x1c\x00\x00\x00\x030\x00\x14\x00\x00\x00\x10Body\x00\x07\x00\x00\x00\x0aHeaders\x00\x00\x00",
]
_foreign = NEventStorePayloads(keys=(_KEY,))


def wrapped(chance: random.Random) -> str:
    """One payload that was changed, and what it is read as."""
    if chance.random() < 0.25:
        return f"C#: {_read_foreign(chance)}"
    name = chance.choice(list(_SERIALIZERS))
    inner = chance.choice(_INNER)
    if chance.random() < 0.5:
        data = _wrapped(name, changes.changed(inner, chance))
    else:
        data = changes.changed(_SERIALIZERS[name].dumps(_plain.loads(inner)), chance)
    return f"{name}: {_read(name, data)}"


def _wrapped(name: str, inner: bytes) -> bytes:
    """Any bytes in the wrapping of a serializer, also those that it would not make."""
    match name:
        case "zlib":
            return b"\xc1\x5a\x01" + zlib.compress(inner)
        case "zstd":
            return b"\xc1\x5a\x02" + zstandard.ZstdCompressor().compress(inner)
        case "encrypted" | "both":
            cipher = EncryptedSerializer(_Bytes(), _KEY)
            return cipher.dumps(inner if name == "encrypted" else _wrapped("zlib", inner))
    return inner


class _Bytes:
    """The serializer of bytes that are what they are."""

    def dumps(self, value: Any, /) -> bytes:
        return bytes(value)

    def loads(self, data: bytes, /) -> Any:
        return data


def _read(name: str, data: bytes) -> str:
    try:
        value = _SERIALIZERS[name].loads(data)
    except SerializationError:
        if name == "plain":
            _same_without_msgspec(data, None)
        return "SerializationError"
    if name == "plain":
        _same_without_msgspec(data, value)
    try:
        decode_payload(_SERIALIZERS[name], data)
    except SerializationError:
        return "a value, but no commit"
    try:
        again = _plain.dumps(value)
    except SerializationError:
        return "a commit that this library does not write"
    assert repr(_plain.loads(again)) == repr(value), "it does not come back"
    return "a commit"


def _same_without_msgspec(data: bytes, value: Any) -> None:
    try:
        quick = _quick.loads(data)
    except SerializationError:
        assert value is None, "msgspec does not read it"
        return
    # msgspec takes arrays as keys, which nothing here writes.
    assert value is None or repr(quick) == repr(value), "msgspec reads it differently"


def _read_foreign(chance: random.Random) -> str:
    data = chance.choice(_FOREIGN)
    data = changes.changed(data, chance)
    if chance.random() < 0.4:
        packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        data = packer.compress(data) + packer.flush()
        data = data if chance.random() < 0.7 else changes.changed(data, chance)
    try:
        _foreign.events(data)
    except SerializationError:
        return "SerializationError"
    return "events"
