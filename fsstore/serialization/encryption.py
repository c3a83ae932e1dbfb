"""Payloads encrypted and authenticated before they are stored: AES-GCM, from the `cryptography` package.

Each payload names the key it was made with, so that keys can be rotated: new payloads use the active key, old
ones are read with the key they name. Stream ids, commit ids and times stay readable; they are not payload.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from fsstore.errors import SerializationError
from fsstore.serialization.msgpack_serializer import WRAPPED
from fsstore.serialization.payload import Serializer

_MARK = bytes([WRAPPED, 0x45])
_NONCE_BYTES = 12
DEFAULT_KEY_ID = "default"
KEY_BYTES = (16, 24, 32)
KEY_NOT_GIVEN = "what is stored is encrypted with the key {!r}, which is not given"
# Said in one way for every cause, so that nobody learns from trying.
_NOT_AUTHENTIC = "what is stored does not authenticate with the keys that are given: they are others, or it is damaged"
_OTHER_ID = "what is stored is damaged: it names the key {!r}, but was encrypted with the key {!r}"


class Key(bytes):
    """A key that does not show itself: not in a repr, a traceback with its variables, or a log."""

    def __repr__(self) -> str:
        return f"<a key of {len(self)} bytes>"

    __str__ = __repr__


@dataclass(frozen=True)
class Keys:
    """Keys of 16, 24 or 32 bytes by their ids; `active` is the one that writes."""

    active: str
    keys: Mapping[str, bytes]

    def __post_init__(self) -> None:
        if not isinstance(self.active, str) or not all(isinstance(key_id, str) for key_id in self.keys):
            raise TypeError("a key's id must be a str")
        if self.active not in self.keys:
            raise ValueError(f"the active key {self.active!r} is not among the keys")
        for key_id, key in self.keys.items():
            if not key_id or len(key_id.encode()) > 255:
                raise ValueError("a key id must have 1 to 255 bytes in UTF-8")
            if not isinstance(key, bytes | bytearray) or len(key) not in KEY_BYTES:
                raise ValueError(f"key {key_id!r} must be 16, 24 or 32 bytes")
        object.__setattr__(self, "keys", {key_id: Key(key) for key_id, key in self.keys.items()})

    @classmethod
    def of(cls, keys: bytes | Mapping[str, bytes] | Keys) -> Keys:
        """One key, a mapping of ids to keys whose last entry writes, or what are keys already."""
        if isinstance(keys, Keys):
            return keys
        if isinstance(keys, bytes | bytearray):
            return cls(DEFAULT_KEY_ID, {DEFAULT_KEY_ID: keys})
        if not isinstance(keys, Mapping):
            raise TypeError(f"keys must be bytes, a mapping or Keys, not {type(keys).__name__}")
        if not keys:
            raise ValueError("at least one key is needed")
        return cls(list(keys)[-1], dict(keys))

    def __repr__(self) -> str:
        return f"Keys(active={self.active!r}, ids={sorted(self.keys)})"


class EncryptedSerializer:
    """Encrypts what `inner` makes: the mark `C1 45`, the key's id with its length, the nonce, the ciphertext.

    `keys` is one key, a mapping of ids to keys whose last entry writes, or `Keys`. The mark and the key id are
    authenticated with the content. A payload that is not encrypted is refused unless `allow_plain` is true,
    for the time in which an older store is being moved over.
    """

    def __init__(
        self, inner: Serializer, keys: bytes | Mapping[str, bytes] | Keys, *, allow_plain: bool = False
    ) -> None:
        try:
            from cryptography.exceptions import InvalidTag
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM
        except ImportError as error:
            raise ImportError("encryption needs the package cryptography: pip install 'fsstore[encryption]'") from error
        keys = Keys.of(keys)
        self.inner = inner
        self.keys = keys
        self._allow_plain = allow_plain
        self._not_authentic = InvalidTag
        self._ciphers = {key_id: AESGCM(key) for key_id, key in keys.keys.items()}
        self._active = self._ciphers[keys.active]
        self._prefix = _prefix(keys.active)

    def dumps(self, value: Any, /) -> bytes:
        nonce = os.urandom(_NONCE_BYTES)
        return self._prefix + nonce + self._active.encrypt(nonce, self.inner.dumps(value), self._prefix)

    def loads(self, data: bytes, /) -> Any:
        if not is_encrypted(data):
            if self._allow_plain:
                return self.inner.loads(data)
            raise SerializationError("what is stored is not encrypted, but a key was given: it is read without one")
        key_id = key_id_of(data)
        cipher = self._ciphers.get(key_id)
        if cipher is None:
            raise SerializationError(self._unknown(key_id, data))
        start = 3 + data[2]
        end = start + _NONCE_BYTES
        try:
            plain = cipher.decrypt(data[start:end], data[end:], data[:start])
        except (self._not_authentic, ValueError):
            raise SerializationError(_NOT_AUTHENTIC) from None
        return self.inner.loads(plain)

    def maker_of(self, data: bytes) -> str | None:
        """The id of the given key that made the payload, whichever it names by now; `None`: another key did."""
        for key_id, cipher in self._ciphers.items():
            prefix = _prefix(key_id)
            start, end = len(prefix), len(prefix) + _NONCE_BYTES
            with suppress(self._not_authentic, ValueError):
                cipher.decrypt(data[start:end], data[end:], prefix)
                return key_id
        return None

    def _unknown(self, key_id: str, data: bytes) -> str:
        maker = self.maker_of(data)
        return KEY_NOT_GIVEN.format(key_id) if maker is None else _OTHER_ID.format(key_id, maker)


def _prefix(key_id: str) -> bytes:
    id_bytes = key_id.encode()
    return _MARK + bytes([len(id_bytes)]) + id_bytes


def is_encrypted(data: bytes) -> bool:
    """Whether an `EncryptedSerializer` made the payload."""
    return data[:2] == _MARK


def key_id_of(data: bytes) -> str:
    """The id of the key that an encrypted payload names."""
    end = 3 + (data[2] if len(data) > 2 else 0)
    if len(data) < end or end < 4:
        raise SerializationError(_NOT_AUTHENTIC)
    return data[3:end].decode("utf-8", "replace")
