"""Which form stored bytes are in: encrypted, deflated, and the notation below. It is recognized, never configured.

What can be told from the first bytes is told from them; the rest by trying, strictest first: a stream must end
where the bytes do. Sizes are bounded, and nothing here runs anything that stored bytes say.
"""

from __future__ import annotations

import enum
import os
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fsstore.errors import SerializationError
from fsstore.serialization.encryption import KEY_BYTES, Key
from fsstore.serialization.neventstore import bson_documents, json_text, messagepack

MAX_BYTES = 1 << 28
_BINARY_FORMATTER = bytes([0, 1, 0, 0, 0, 255, 255, 255, 255])
_GZIP = b"\x1f\x8b\x08"
_AES_BLOCK = 16


class Notation(enum.Enum):
    """What is left when encryption and compression are taken off."""

    NEWTONSOFT_JSON = "JSON with a byte order mark, as Newtonsoft.Json has it"
    SYSTEM_JSON = "JSON without a byte order mark, as System.Text.Json has it"
    MESSAGE_PACK = "MessagePack"
    BSON = "BSON"


@dataclass(frozen=True, slots=True)
class Form:
    """How a payload is stored."""

    notation: Notation
    deflated: bool = False
    encrypted: bool = False

    def __str__(self) -> str:
        return self.notation.value + (", deflated" if self.deflated else "") + (", encrypted" if self.encrypted else "")


class _UnknownFormError(ValueError):
    """None of the forms."""


def read(data: bytes, keys: Sequence[bytes] = ()) -> tuple[Form, Any]:
    """The form of stored bytes, and the tree they hold. `SerializationError` when they are in none that is read."""
    for key in keys:
        plain = _decrypted(data, key)
        if plain is not None:
            try:
                form, tree = _decompressed(plain)
            except (_UnknownFormError, SerializationError):
                # Nothing authenticates these bytes. Who could tell bad padding from what is bad behind it could have
                # them decrypted, block by block.
                continue
            return Form(form.notation, form.deflated, encrypted=True), tree
    try:
        return _decompressed(data)
    except _UnknownFormError as error:
        raise SerializationError(_explanation(data, keys, str(error))) from error


def _explanation(data: bytes, keys: Sequence[bytes], reason: str) -> str:
    if reason:
        return f"the payload is damaged: {reason}"
    if len(data) < 2 * _AES_BLOCK or len(data) % _AES_BLOCK:
        return "the payload is not JSON, MessagePack or BSON, plain, deflated or encrypted: it is damaged"
    if keys:
        return "the payload is encrypted with another key than the one given, or damaged, or in no form that is read"
    return (
        "the payload looks encrypted: open the store with encrypt_with(key), or --key-file on the command line; "
        "it is the key of C#'s UsingEncryption"
    )


def _decompressed(data: bytes) -> tuple[Form, Any]:
    try:
        return _noted(data)
    except _UnknownFormError as error:
        reason = str(error)
    plain = _inflated(data, zlib.MAX_WBITS | 16 if data.startswith(_GZIP) else -zlib.MAX_WBITS)
    if plain is not None:
        for read_plain in (_noted, _message_pack):
            try:
                form, tree = read_plain(plain)
            except _UnknownFormError:
                continue
            return Form(form.notation, deflated=True), tree
    try:
        return _message_pack(data)
    except _UnknownFormError:
        raise _UnknownFormError(reason) from None


def _noted(data: bytes) -> tuple[Form, Any]:
    """What can be told from the first bytes."""
    if data.startswith(_BINARY_FORMATTER):
        raise SerializationError(
            "the payload was written by .NET's BinaryFormatter, which is not read: such data can make a program run "
            "whatever it says. Read the store in C# and write it again with a JSON serializer"
        )
    try:
        if bson_documents.looks_like_document(data):
            return Form(Notation.BSON), bson_documents.parse(data)
        with_mark = data.startswith(json_text.BOM)
        if with_mark or data[:1] in (b"{", b"[", b'"'):
            tree = json_text.parse(data)
            return Form(Notation.NEWTONSOFT_JSON if with_mark else Notation.SYSTEM_JSON), tree
    except UnicodeDecodeError as error:
        raise _UnknownFormError from error  # other bytes may begin like JSON
    except ValueError as error:
        raise _UnknownFormError(str(error)) from error
    raise _UnknownFormError


def _message_pack(data: bytes) -> tuple[Form, Any]:
    try:
        return Form(Notation.MESSAGE_PACK), messagepack.parse(data)
    except ValueError as error:
        raise _UnknownFormError from error


# ---- compression ----


def _inflated(data: bytes, window: int) -> bytes | None:
    """`data` inflated; `None` when it is no compressed stream that ends where the bytes do."""
    stream = zlib.decompressobj(window)
    try:
        plain = stream.decompress(data, MAX_BYTES)
    except zlib.error:
        return None
    if stream.unconsumed_tail:
        raise SerializationError(f"the payload grows to more than {MAX_BYTES} bytes when it is inflated")
    return plain if stream.eof and not stream.unused_data and plain else None


def deflated(plain: bytes) -> bytes:
    """A raw DEFLATE stream, flushed and then ended, as `DeflateStream` leaves it."""
    stream = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return stream.compress(plain) + stream.flush(zlib.Z_SYNC_FLUSH) + stream.flush()


# ---- encryption: AES-CBC with PKCS#7 padding, the initialization vector first ----


def checked_key(key: bytes) -> Key:
    """`key` when AES can use it: 16, 24 or 32 bytes."""
    if len(key) not in KEY_BYTES:
        raise ValueError(f"the key of a C# store is 16, 24 or 32 bytes, not {len(key)}")
    return Key(key)


def _cipher(key: bytes, vector: bytes) -> Any:
    try:
        from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
    except ImportError as error:
        raise ImportError("encryption needs the package cryptography: pip install 'fsstore[encryption]'") from error
    return Cipher(algorithms.AES(key), modes.CBC(vector))


def _decrypted(data: bytes, key: bytes) -> bytes | None:
    """What `key` makes of `data`; `None` when it cannot have been made with it."""
    if len(data) < 2 * _AES_BLOCK or len(data) % _AES_BLOCK:
        return None
    decryptor = _cipher(key, data[:_AES_BLOCK]).decryptor()
    padded = bytes(decryptor.update(data[_AES_BLOCK:]) + decryptor.finalize())
    count = padded[-1]
    if not 1 <= count <= _AES_BLOCK or padded[-count:] != bytes([count]) * count:
        return None
    return padded[:-count]


def encrypted(plain: bytes, key: bytes) -> bytes:
    """`plain` under `key`, with a new initialization vector."""
    vector = os.urandom(_AES_BLOCK)
    count = _AES_BLOCK - len(plain) % _AES_BLOCK
    encryptor = _cipher(key, vector).encryptor()
    return vector + bytes(encryptor.update(plain + bytes([count]) * count) + encryptor.finalize())
