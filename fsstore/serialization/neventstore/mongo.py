"""Values out of the documents that Persistence.MongoDB and JOliver EventStore 3.x stored natively.

The driver for C# marks an object with `_t`, the class name alone, and holds what is no document of its own in
`_v`; GUIDs are binary subtype 4 in network order or subtype 3 in .NET's, decimals Decimal128. Documents must be
decoded as `bson_documents.codec_options` says. This module knows nothing of collections.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from fsstore.errors import SerializationError
from fsstore.model import EventMessage, stored_event
from fsstore.serialization.neventstore.bson_documents import plain
from fsstore.serialization.neventstore.objects import Objects
from fsstore.serialization.neventstore.payloads import NEventStorePayloads


class MongoValues:
    """Reads what stands in documents; registered types come back as themselves, told by their class name.

    A store may also have been written with a byte serializer: then an event or a snapshot's payload is binary,
    and `payloads` reads it.
    """

    def __init__(self, payloads: NEventStorePayloads) -> None:
        self._payloads = payloads
        self._objects = Objects(payloads.types, mark="_t", holders=("_v",), by_class_name=True)

    def value(self, stored: Any) -> Any:
        """A body, a header's value or a snapshot's payload."""
        return self._objects.value(plain(stored, standard_guids=True))

    def snapshot(self, stored: Any) -> Any:
        """The payload of a snapshot."""
        return self._payloads.snapshot(stored) if isinstance(stored, bytes) else self.value(stored)

    def headers(self, stored: Any) -> dict[str, Any]:
        """A commit's headers: a document, or an array of pairs, `[key, value]` or `{k: key, v: value}`."""
        if isinstance(stored, bytes):
            return self._payloads.headers(stored)
        if isinstance(stored, dict) and "_v" in stored and len(stored) == 2:
            stored = stored["_v"]
        if isinstance(stored, list):
            stored = dict(_pair(each) for each in stored)
        return self._objects.members_of(plain(stored, standard_guids=True))

    def events(self, stored: list[Any]) -> tuple[EventMessage, ...]:
        """A commit's events: `{StreamRevision, Payload: {Headers, Body}}` each."""
        return tuple(self._event(each.get("Payload")) for each in stored)

    def uuid(self, stored: Any) -> UUID:
        """A GUID in either form."""
        value = plain(stored, standard_guids=True)
        if isinstance(value, UUID):
            return value
        raise SerializationError(f"{value!r:.60} is no GUID")

    def _event(self, stored: Any) -> EventMessage:
        if isinstance(stored, bytes):
            return self._payloads.event(stored)
        if not isinstance(stored, dict):
            raise SerializationError(f"{stored!r:.60} is no event with headers and a body")
        return stored_event(self.value(stored.get("Body")), self.headers(stored.get("Headers")))


def _pair(stored: Any) -> tuple[str, Any]:
    if isinstance(stored, dict) and stored.keys() == {"k", "v"}:
        return stored["k"], stored["v"]
    if isinstance(stored, list) and len(stored) == 2:
        return stored[0], stored[1]
    raise SerializationError(f"{stored!r:.60} is no pair of a header's name and value")
