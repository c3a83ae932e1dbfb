"""A commit's headers and events, and a snapshot's payload, out of what the C# libraries stored.

For each row: the bytes are taken for what they are (`forms`), parsed into a tree, and the tree becomes values
(`objects`). This module knows nothing of tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fsstore.errors import SerializationError
from fsstore.model import EventMessage, stored_event
from fsstore.serialization.compression import CompressedSerializer
from fsstore.serialization.encryption import EncryptedSerializer
from fsstore.serialization.neventstore import bson_documents, forms
from fsstore.serialization.neventstore.forms import Form, Notation
from fsstore.serialization.neventstore.objects import Objects
from fsstore.serialization.payload import Serializer
from fsstore.serialization.types import TypeRegistry


class NEventStorePayloads:
    """Reads payloads in any form; registered types come back as themselves. `keys` are tried in their order."""

    def __init__(self, types: TypeRegistry | None = None, keys: Sequence[bytes] = ()) -> None:
        self.types = types if types is not None else TypeRegistry()
        self.keys = tuple(forms.checked_key(key) for key in keys)
        self._objects = Objects(self.types)

    @classmethod
    def of(cls, serializer: Serializer | None) -> NEventStorePayloads:
        """What reads a C# store for an engine that was given `serializer`: with the types that are registered there
        and the keys that were given; a key is raw, 16, 24 or 32 bytes, as C#'s `UsingEncryption` takes it."""
        keys: list[bytes] = []
        outer = serializer
        while isinstance(outer, EncryptedSerializer | CompressedSerializer):
            if isinstance(outer, EncryptedSerializer):
                ring = outer.keys
                keys += [ring.keys[ring.active], *(key for name, key in ring.keys.items() if name != ring.active)]
            outer = outer.inner
        return cls(getattr(outer, "types", None), keys)

    def commit(self, headers: bytes | None, payload: bytes) -> tuple[dict[str, Any], tuple[EventMessage, ...]]:
        """Headers and events of a row. `SerializationError` says what is the matter with its bytes."""
        return self.headers(headers), self.events(payload)

    def headers(self, data: bytes | None) -> dict[str, Any]:
        """The headers; none at all when nothing is stored."""
        return self._objects.members_of(self._objects.unwrapped(self.tree(data)[1])) if data else {}

    def events(self, data: bytes) -> tuple[EventMessage, ...]:
        """The events, in their order."""
        form, tree = self.tree(data)
        tree = self._objects.unwrapped(tree)
        if form.notation is Notation.BSON:
            tree = bson_documents.elements(tree)
        if not isinstance(tree, list):
            raise SerializationError("the payload is no list of events")
        return tuple(self._event(each) for each in tree)

    def event(self, data: bytes) -> EventMessage:
        """One event that is stored by itself, as MongoDB holds those of a byte serializer."""
        return self._event(self.tree(data)[1])

    def snapshot(self, data: bytes) -> Any:
        """The payload of a snapshot."""
        return self._objects.value(self.tree(data)[1])

    def tree(self, data: bytes) -> tuple[Form, Any]:
        """The form that bytes are stored in, and what they hold before it becomes values."""
        return forms.read(bytes(data), self.keys)

    def _event(self, stored: Any) -> EventMessage:
        if not isinstance(stored, dict) or not stored.keys() <= {"$type", "Headers", "Body"}:
            raise SerializationError("the payload holds something that is no event with headers and a body")
        return stored_event(self._objects.value(stored.get("Body")), self._objects.members_of(stored.get("Headers")))


def innermost(serializer: Serializer | None) -> Serializer | None:
    """The serializer inside of compression and encryption."""
    while isinstance(serializer, EncryptedSerializer | CompressedSerializer):
        serializer = serializer.inner
    return serializer
