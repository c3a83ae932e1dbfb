"""`using_serializer("neventstore_json")`: the permission to write into a store that NEventStore made.

It writes nothing by itself. An engine that recognizes such a store writes rows as C# would, in the form of those that
are there; anywhere else there is no such form to follow, and asking for it is a mistake that is said.
"""

from __future__ import annotations

from typing import Any, NoReturn

from fsstore.errors import SerializationError
from fsstore.serialization.types import TypeRegistry

NAME = "neventstore_json"


class NEventStoreJson:
    """Asks an engine to write a C# store's rows. `types` are the registered ones."""

    def __init__(self, types: TypeRegistry) -> None:
        self.types = types

    def dumps(self, value: Any, /) -> NoReturn:
        raise SerializationError(_NOT_HERE)

    def loads(self, data: bytes, /) -> NoReturn:
        raise SerializationError(_NOT_HERE)


_NOT_HERE = (
    f"the serializer {NAME!r} reads and writes stores that NEventStore made, in SQL or MongoDB, and this is none: "
    "open it without using_serializer()"
)
