"""How the verbs read and write payloads: objects of any types, compressed or not, with a key or without."""

from __future__ import annotations

import sys
from typing import Any

from fsstore.errors import SerializationError
from fsstore.objects import AnyTypes, StoredObject
from fsstore.serialization import CompressedSerializer, EncryptedSerializer, MsgpackSerializer, Serializer
from fsstore.serialization.encryption import is_encrypted


class Ciphertext(StoredObject):
    """What an encrypted payload is without its key: the one event of its commit, however many there are."""

    __slots__ = ()
    stored_name = "fsstore.ciphertext"


class _Unencrypted(CompressedSerializer):
    """Reads what is not encrypted, and writes what every store reads: uncompressed."""

    def __init__(self, opaque: bool) -> None:
        super().__init__(MsgpackSerializer(AnyTypes()), min_bytes=sys.maxsize)
        self._opaque = opaque

    def loads(self, data: bytes, /) -> Any:
        if not is_encrypted(data):
            return super().loads(data)
        if not self._opaque:
            raise SerializationError("what is stored is encrypted, and no key file was given for it")
        return [{}, Ciphertext({"bytes": data}), {}]


def payload_serializer(key: bytes | None, *, opaque: bool = False) -> Serializer:
    """Encrypts with the `key` when there is one. Without it what is encrypted is an error, or with `opaque` a
    `Ciphertext`."""
    unencrypted = _Unencrypted(opaque)
    return unencrypted if key is None else EncryptedSerializer(unencrypted, key)
