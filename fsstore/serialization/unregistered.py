"""Objects of types that nobody registered here, as a name and members: how a tool carries what it does not know.

An application registers its classes; `fsstore export` and its kin have none, and still must read and write the
same bytes. Nothing is imported or run because stored data names it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, ClassVar

from fsstore.serialization.types import RegisteredType, TypeRegistry


class StoredObject:
    """An instance of the type that is stored as `stored_name`: its members, by their stored names."""

    __slots__ = ("members",)
    stored_name: ClassVar[str] = ""

    def __init__(self, members: Mapping[str, Any]) -> None:
        self.members = dict(members)

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and isinstance(other, StoredObject) and self.members == other.members

    def __hash__(self) -> int:
        """As of any value: an object may have been the key of a mapping, as those of enums are."""
        try:
            return hash((type(self), frozenset(self.members.items())))
        except TypeError:  # a member that is a list, or the like
            return hash((type(self), frozenset(self.members)))

    def __repr__(self) -> str:
        return f"stored_object({self.stored_name!r}, {self.members!r})"


@lru_cache(maxsize=4096)
def _class(name: str) -> type[StoredObject]:
    return type("StoredObject", (StoredObject,), {"__slots__": (), "stored_name": name})


def stored_object(name: str, members: Mapping[str, Any]) -> StoredObject:
    """The object that is stored under `name` with these members."""
    return _class(name)(members)


class AnyTypes(TypeRegistry):
    """A registry that takes every stored type for a `StoredObject`, and writes one back as it was."""

    def of(self, cls: type) -> RegisteredType | None:
        if not issubclass(cls, StoredObject):
            return None
        name = cls.stored_name
        return RegisteredType(cls, name, lambda one: one.members, lambda members: stored_object(name, members))

    def build(self, name: str, members: Mapping[str, Any]) -> StoredObject:
        return stored_object(name, members)
