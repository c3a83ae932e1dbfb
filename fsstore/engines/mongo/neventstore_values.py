"""Values as the MongoDB driver for C# writes them into documents; the way back is `MongoValues`.

A place is declared, as a member of a class is, or it is an `object`, as bodies, headers' values and the values of
untyped dictionaries are. In an `object` place the driver says what stands there: `_t`, and `_v` where the value is
no document of its own.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal, Inexact
from functools import partial
from typing import Any
from uuid import UUID

from bson.binary import OLD_UUID_SUBTYPE, UUID_SUBTYPE, Binary
from bson.decimal128 import Decimal128, create_decimal128_context

from fsstore.errors import SerializationError
from fsstore.serialization.neventstore.annotations import (
    class_of,
    elements_of,
    entries_of,
    optional_of,
    says_nothing,
)
from fsstore.serialization.neventstore.members import fields_of, is_class_with_fields
from fsstore.serialization.neventstore.names import clr_name
from fsstore.serialization.neventstore.scalars import text_of_timedelta, ticks_of
from fsstore.serialization.neventstore.writing import member_name
from fsstore.serialization.payload import path_text
from fsstore.serialization.types import RegisteredType, TypeRegistry, not_stored

Path = tuple[str | int, ...]
_DICTIONARY = "System.Collections.Generic.Dictionary`2[System.String,System.Object]"
_LIST = "System.Collections.Generic.List`1[System.Object]"
# The driver writes C#'s largest decimal as the largest that there is.
_MAX_DECIMAL = Decimal(2**96 - 1)
_LARGEST = Decimal("9.999999999999999999999999999999999E+6144")
_MIN_INT, _MAX_INT = -(1 << 63), (1 << 63) - 1


class DocumentValues:
    """Writes values; instances of registered types under their class name. `legacy_guids`: binary subtype 3."""

    def __init__(self, types: TypeRegistry, *, legacy_guids: bool) -> None:
        self._types = types
        self._legacy_guids = legacy_guids
        # Of a class's names the first that says a namespace is the one that C# knows it by.
        self._names: dict[type, str] = {}
        for name, registered in types.names():
            if "." in name:
                self._names.setdefault(registered.cls, _class_name(name))

    def guid(self, value: UUID) -> Binary:
        """In the form that the store has."""
        if self._legacy_guids:
            return Binary(value.bytes_le, OLD_UUID_SUBTYPE)
        return Binary(value.bytes, UUID_SUBTYPE)

    def anything(self, value: Any, path: Path) -> Any:
        """What stands for `value` in an `object` place. `SerializationError` names the path to what has no form."""
        kind = type(value)
        if kind is dict and not value.keys() & {"_t", "$type"}:
            return {"_t": _DICTIONARY, "_v": self._members(value, path, self.anything)}
        if kind in (list, tuple):
            return {"_t": _LIST, "_v": [self.anything(each, (*path, place)) for place, each in enumerate(value)]}
        name = _NAMES.get(kind)
        if kind is datetime and value.utcoffset():
            name = "System.DateTimeOffset"
        written = self.declared(value, path)
        return written if name is None else {"_t": name, "_v": written}

    def declared(self, value: Any, path: Path) -> Any:
        """What stands for `value` in a place whose type is known from elsewhere."""
        kind = type(value)
        if value is None or kind in (str, bool, float, bytes):
            return value
        if kind is int:
            if not _MIN_INT <= value <= _MAX_INT:
                raise SerializationError(f"{path_text(path)}: C# has no integer like {value}", path)
            return value
        if kind in (list, tuple):
            return [self.declared(each, (*path, place)) for place, each in enumerate(value)]
        if kind is dict:
            return self._document(value, path)
        write = _SCALARS.get(kind)
        if write is not None:
            try:
                return write(value)
            except (ValueError, Inexact) as error:
                raise SerializationError(
                    f"{path_text(path)}: {value!r} has no form in MongoDB: {error}", path
                ) from error
        if kind is UUID:
            return self.guid(value)
        if isinstance(value, enum.Enum):
            return self.declared(value.value, path)
        registered = self._types.of(kind)
        if registered is None or not is_class_with_fields(kind):
            raise SerializationError(f"{path_text(path)}: {kind.__qualname__} {not_stored(kind)}", path)
        return {"_t": self._names.get(kind, registered.name), **self._object(registered, value, path)}

    def _object(self, registered: RegisteredType, value: Any, path: Path) -> dict[str, Any]:
        """The members of an instance, nothing omitted, each in the place that its annotation declares."""
        stored = registered.members(value)
        return {
            member_name(field): self._fitted(field.annotation, stored.get(field.name), (*path, field.name))
            for field in fields_of(registered.cls)
        }

    def _fitted(self, annotation: Any, value: Any, path: Path) -> Any:
        parts = optional_of(annotation)[1]
        if len(parts) != 1 or value is None:
            return self.declared(value, path)
        [part], kind = parts, type(value)
        if says_nothing(part):
            return self.anything(value, path)
        if kind in (list, tuple):
            found = elements_of(part, len(value))
            kinds = [Any] * len(value) if found is None else found[0]
            pairs = enumerate(zip(kinds, value, strict=True))
            return [self._fitted(each, one, (*path, place)) for place, (each, one) in pairs]
        if kind is dict and (entries := entries_of(part)) is not None:
            return self._members(value, path, partial(self._fitted, entries[1]))
        if kind is class_of(part) and is_class_with_fields(kind):
            own = self._types.of(kind) or TypeRegistry(kind).of(kind)
            assert own is not None
            return self._object(own, value, path)
        if kind is int and class_of(part) in (float, Decimal):
            value = class_of(part)(value)
        return self.declared(value, path)

    def _document(self, value: dict[Any, Any], path: Path) -> dict[str, Any]:
        mark = value.get("_t", value.get("$type"))
        members = {key: each for key, each in value.items() if key not in ("_t", "$type")}
        written = self._members(members, path, self.declared)
        return written if mark is None else {"_t": _class_name(mark), **written}

    @staticmethod
    def _members(value: dict[Any, Any], path: Path, write: Callable[[Any, Path], Any]) -> dict[str, Any]:
        for key in value:
            if type(key) is not str or "\0" in key:
                raise SerializationError(f"{path_text(path)}: {key!r} cannot be the name of a field", path)
        return {key: write(each, (*path, key)) for key, each in value.items()}


def _class_name(name: Any) -> Any:
    """The class alone, as the driver writes it; a list of classes or a generic's full name stays."""
    found = clr_name(name) if isinstance(name, str) else None
    return name if found is None or found.is_dictionary or "`" in name else found.class_name


def _moment(value: datetime) -> Any:
    offset = value.utcoffset()
    if offset is None:
        return value.replace(tzinfo=UTC)
    if not offset:
        return value
    clock = value.replace(tzinfo=None)
    return {
        "DateTime": value.astimezone(UTC),
        "Ticks": ticks_of(clock),
        "Offset": offset // timedelta(minutes=1),
    }


def _decimal(value: Decimal) -> Decimal128:
    if value.copy_abs() == _MAX_DECIMAL:
        return Decimal128(_LARGEST.copy_sign(value))
    context = create_decimal128_context()
    context.traps[Inexact] = True
    return Decimal128(context.create_decimal(value))


_SCALARS: dict[type, Callable[[Any], Any]] = {
    datetime: _moment,
    date: lambda value: datetime.combine(value, time(), UTC),
    timedelta: text_of_timedelta,
    Decimal: _decimal,
}
_NAMES = {Decimal: "System.Decimal", bytes: "System.Byte[]", timedelta: "System.TimeSpan"}
