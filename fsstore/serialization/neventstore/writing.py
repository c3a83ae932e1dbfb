"""Headers, events and snapshots as NEventStore's JSON serializers write them.

In a place that C# declares as `object` (a header's value, a body, what stands in a `Dictionary<string, object>`) a
value says its type; the members of an object are declared, so there only a derived class does. Newtonsoft leaves out
members that have their type's default value, both leave out nulls; in a snapshot Newtonsoft marks everything.
"""

from __future__ import annotations

import base64
import enum
from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from fsstore.errors import SerializationError
from fsstore.model import EventMessage
from fsstore.serialization.neventstore import json_text, scalars
from fsstore.serialization.neventstore.annotations import (
    UnfitError,
    class_of,
    elements_of,
    entries_of,
    optional_of,
    says_nothing,
    zero_of,
)
from fsstore.serialization.neventstore.forms import Notation
from fsstore.serialization.neventstore.members import Field, declared_fields_of, is_class_with_fields
from fsstore.serialization.neventstore.names import clr_name
from fsstore.serialization.neventstore.objects import MAX_DEPTH, Path
from fsstore.serialization.neventstore.type_names import TypeNames
from fsstore.serialization.payload import path_text
from fsstore.serialization.types import RegisteredType, TypeRegistry

_ELEMENT_TYPES = {
    str: "System.String",
    bool: "System.Boolean",
    int: "System.Int32",
    float: "System.Double",
    Decimal: "System.Decimal",
    UUID: "System.Guid",
}
_MAX_INT = 1 << 31


class JsonWriter:
    """Writes in one of the two JSON notations, naming types as `names` has learned them."""

    def __init__(self, notation: Notation, types: TypeRegistry, names: TypeNames) -> None:
        self._newtonsoft = notation is Notation.NEWTONSOFT_JSON
        self._text = json_text.newtonsoft if self._newtonsoft else json_text.system
        self._types = types
        self._names = names

    def headers(self, headers: dict[str, Any]) -> bytes:
        """The bytes of a commit's headers."""
        return self._text(self._entries(headers, ("headers",)))

    def events(self, events: Sequence[EventMessage]) -> bytes:
        """The bytes of a commit's payload."""
        return self._text(
            [
                {
                    "Headers": self._entries(event.headers, ("events", number, "headers")),
                    "Body": self._open(event.body, ("events", number, "body")),
                }
                for number, event in enumerate(events)
            ]
        )

    def snapshot(self, payload: Any) -> bytes:
        """The bytes of a snapshot's payload."""
        path: Path = ("payload",)
        if isinstance(payload, dict) and "$type" not in payload:
            return self._text(self._entries(payload, path))
        if self._newtonsoft:
            return self._text(self._marked(payload, path))
        tree = self._open(payload, path)
        if not isinstance(tree, dict):
            tree = {"$type": self._names.of_system(_element_type([payload])), "$values": tree}
        return self._text(tree)

    # ---- places that are declared as object ----

    def _open(self, value: Any, path: Path) -> Any:
        _check_depth(path)
        if isinstance(value, dict):
            if "$type" in value:
                return self._object(value, path)
            mark = self._names.of_system("System.Collections.Generic.Dictionary`2", "System.String", "System.Object")
            return {"$type": mark, **self._entries(value, path)}
        if isinstance(value, list | tuple | set | frozenset):
            mark = self._names.of_system("System.Collections.Generic.List`1", "System.Object")
            return {"$type": mark, "$values": [self._open(each, (*path, at)) for at, each in enumerate(value)]}
        if isinstance(value, bytes | bytearray):
            holder = "$value" if self._newtonsoft else "$values"
            return {"$type": self._names.of_system("System.Byte[]"), holder: base64.b64encode(value).decode()}
        registered = self._types.of(type(value))
        if registered is not None and is_class_with_fields(registered.cls):
            return {"$type": self._names.of_class(registered), **self._members(registered, value, path)}
        return self._scalar(value, path)

    def _entries(self, entries: dict[str, Any], path: Path) -> dict[str, Any]:
        """What stands in a `Dictionary<string, object>`."""
        return {self._key(key, path): self._open(value, (*path, key)) for key, value in entries.items()}

    # ---- places that are declared as what stands in them ----

    def _declared(self, value: Any, path: Path) -> Any:
        _check_depth(path)
        if isinstance(value, dict):
            if "$type" in value:
                return self._object(value, path)
            return {self._key(key, path): self._declared(each, (*path, key)) for key, each in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [self._declared(each, (*path, at)) for at, each in enumerate(value)]
        if isinstance(value, bytes | bytearray):
            return base64.b64encode(value).decode()
        return self._open(value, path)

    def _object(self, value: dict[str, Any], path: Path) -> dict[str, Any]:
        """A dictionary that says its type: an object and its members."""
        text = value["$type"]
        name = clr_name(text) if isinstance(text, str) else None
        if name is None:
            raise _refused(path, f"{text!r} is no name of a C# type")
        inner = self._open if name.is_dictionary else self._declared
        members = {
            self._key(key, path): inner(each, (*path, key))
            for key, each in value.items()
            if key != "$type" and (each is not None or name.is_dictionary)
        }
        return {"$type": self._names.of_text(text), **members}

    # ---- registered classes ----

    def _members(self, registered: RegisteredType, value: Any, path: Path) -> dict[str, Any]:
        stored = registered.members(value)
        found = {}
        for field in declared_fields_of(registered.cls):
            member = stored.get(field.name)
            if member is None or (self._newtonsoft and _is_left_out(field, member)):
                continue
            found[member_name(field)] = self._fitted(field.annotation, member, (*path, field.name))
        return found

    def _fitted(self, annotation: Any, value: Any, path: Path) -> Any:
        """A value in a place that is annotated so."""
        _check_depth(path)
        parts = optional_of(annotation)[1]
        if len(parts) != 1:
            return self._declared(value, path)
        if says_nothing(parts[0]):
            return self._open(value, path)
        if isinstance(value, list | tuple | set | frozenset):
            found = self._elements(parts[0], len(value))
            return [
                self._fitted(kind, each, (*path, at)) for at, (kind, each) in enumerate(zip(found, value, strict=True))
            ]
        if isinstance(value, dict) and "$type" not in value:
            entries = entries_of(parts[0])
            if entries is not None:
                return {
                    self._key(key, path): self._fitted(entries[1], each, (*path, key)) for key, each in value.items()
                }
        if type(value) is class_of(parts[0]) and is_class_with_fields(type(value)):
            own = self._types.of(type(value)) or TypeRegistry(type(value)).of(type(value))
            assert own is not None
            return self._members(own, value, path)
        if type(value) is int and class_of(parts[0]) in (float, Decimal):
            return class_of(parts[0])(value)  # C#'s member is a fraction, and shows it
        return self._declared(value, path)

    @staticmethod
    def _elements(annotation: Any, count: int) -> list[Any]:
        try:
            found = elements_of(annotation, count)
        except UnfitError:
            found = None
        return [Any] * count if found is None else list(found[0])

    # ---- Newtonsoft's snapshots: a mark on everything ----

    def _marked(self, value: Any, path: Path) -> Any:
        _check_depth(path)
        if isinstance(value, list | tuple | set | frozenset):
            mark = self._names.of_system("System.Collections.Generic.List`1", _element_type(value))
            return {"$type": mark, "$values": [self._marked(each, (*path, at)) for at, each in enumerate(value)]}
        if isinstance(value, dict):
            if "$type" in value:
                members = {key: self._marked(each, (*path, key)) for key, each in value.items() if each is not None}
                return {**members, "$type": self._names.of_text(str(value["$type"]))}
            kind = _element_type(value.values())
            mark = self._names.of_system("System.Collections.Generic.Dictionary`2", "System.String", kind)
            return {
                "$type": mark,
                **{self._key(key, path): self._marked(each, (*path, key)) for key, each in value.items()},
            }
        registered = self._types.of(type(value))
        if registered is not None and is_class_with_fields(registered.cls):
            members = registered.members(value)
            shown = {
                member_name(field): self._marked(members[field.name], (*path, field.name))
                for field in declared_fields_of(registered.cls)
                if members.get(field.name) is not None and not _is_left_out(field, members[field.name])
            }
            return {"$type": self._names.of_class(registered), **shown}
        return self._declared(value, path)

    # ---- single values ----

    def _scalar(self, value: Any, path: Path) -> Any:
        if value is None or isinstance(value, bool | str):
            return value
        if isinstance(value, enum.Enum):
            return self._scalar(value.value, path)
        if isinstance(value, int | float | Decimal):
            return value
        if isinstance(value, datetime):
            return scalars.text_of_datetime(value)
        if isinstance(value, timedelta):
            return scalars.text_of_timedelta(value)
        if isinstance(value, UUID):
            return str(value)
        if isinstance(value, date | time):
            return value.isoformat()
        raise _refused(path, f"{type(value).__qualname__} is not a type that is stored: register it under its C# name")

    def _key(self, key: Any, path: Path) -> str:
        text = self._scalar(key, path)
        if isinstance(text, str):
            return text
        if isinstance(text, int) and not isinstance(text, bool):
            return str(text)
        raise _refused(path, f"{key!r} cannot be the key of a dictionary")


def member_name(field: Field) -> str:
    """`unit_price` as C# writes it: `UnitPrice`; or the alias that the field has."""
    return field.alias or "".join(part[:1].upper() + part[1:] for part in field.name.split("_"))


def _is_left_out(field: Field, value: Any) -> bool:
    """Whether Newtonsoft leaves the member out, and reading gives the same value for it when it is absent."""
    zero = zero_of(field.annotation)
    absent = zero if field.required else field.default
    return type(value) is type(zero) and value == zero and type(absent) is type(zero) and absent == zero


def _element_type(values: Any) -> str:
    kinds = {type(value) for value in values}
    if len(kinds) != 1:
        return "System.Object"
    if kinds == {int} and any(not -_MAX_INT <= value < _MAX_INT for value in values):
        return "System.Int64"
    return _ELEMENT_TYPES.get(kinds.pop(), "System.Object")


def _check_depth(path: Path) -> None:
    if len(path) > MAX_DEPTH:
        raise SerializationError(f"the value is nested more than {MAX_DEPTH} deep, or contains itself")


def _refused(path: Path, words: str) -> SerializationError:
    return SerializationError(f"{path_text(path)}: {words}", path)
