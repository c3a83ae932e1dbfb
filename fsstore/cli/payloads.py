"""How the verbs read and write payloads: objects of any types, compressed or not, with a key or without."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

from fsstore.cli.output import printable
from fsstore.errors import SerializationError
from fsstore.serialization import CompressedSerializer, EncryptedSerializer, MsgpackSerializer, Serializer
from fsstore.serialization.encryption import DEFAULT_KEY_ID, KEY_NOT_GIVEN, Key, is_encrypted, key_id_of
from fsstore.serialization.unregistered import AnyTypes, StoredObject


class NamedKey(NamedTuple):
    """A key and the id that payloads name it by."""

    key_id: str
    key: Key


class KeyNotGivenError(SerializationError):
    """The store has a key that is not given, which is no damage; says how `option` gives it."""

    def __init__(self, key_id: str, option: str) -> None:
        file = "FILE" if key_id == DEFAULT_KEY_ID else f"{printable(key_id)}=FILE"
        super().__init__(f"{KEY_NOT_GIVEN.format(key_id)}: pass {option} {file}")


class Ciphertext(StoredObject):
    """What an encrypted payload is without its key: the one event of its commit, however many there are."""

    __slots__ = ()
    stored_name = "fsstore.ciphertext"


class _Unencrypted(CompressedSerializer):
    """Reads what is not encrypted, and writes what every store reads: uncompressed."""

    def __init__(self, option: str, opaque: bool) -> None:
        super().__init__(MsgpackSerializer(AnyTypes()), min_bytes=sys.maxsize)
        self._option = option
        self._opaque = opaque

    def loads(self, data: bytes, /) -> Any:
        if not is_encrypted(data):
            return super().loads(data)
        if not self._opaque:
            raise KeyNotGivenError(key_id_of(data), self._option)
        return [{}, Ciphertext({"bytes": data}), {}]


class _Encrypted(EncryptedSerializer):
    def loads(self, data: bytes, /) -> Any:
        if is_encrypted(data) and key_id_of(data) not in self.keys.keys and self.maker_of(data) is None:
            return self.inner.loads(data)  # as without any key
        return super().loads(data)


def payload_serializer(keys: Sequence[NamedKey] | None, option: str, *, opaque: bool = False) -> Serializer:
    """Encrypts with the last of the `keys`, which `option` gave, when there are any. What another key encrypted is an
    error, or with `opaque` and no keys a `Ciphertext`."""
    unencrypted = _Unencrypted(option, opaque and not keys)
    return _Encrypted(unencrypted, dict(keys)) if keys else unencrypted
