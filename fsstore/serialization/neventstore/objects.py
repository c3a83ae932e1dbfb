"""Trees of stored objects to values: what `$type` marks becomes a dictionary, a list, or a registered class.

Works on plain dictionaries and lists, whatever bytes they came from: JSON, MessagePack and BSON all end here. An
object of a type that nobody registered stays a `dict` with its mark; nothing is ever made because stored data names it.
"""

from __future__ import annotations

from typing import Any

from fsstore.errors import SerializationError
from fsstore.serialization.neventstore.annotations import (
    UnfitError,
    class_of,
    elements_of,
    entries_of,
    optional_of,
    says_nothing,
    scalar_of,
    shown,
    zero_of,
)
from fsstore.serialization.neventstore.members import fields_of, is_class_with_fields, matched
from fsstore.serialization.neventstore.names import ClrName, clr_name
from fsstore.serialization.payload import path_text
from fsstore.serialization.types import RegisteredType, TypeRegistry

MAX_DEPTH = 128
Path = tuple[str | int, ...]


class Objects:
    """Makes values of stored trees. `mark` names the member that says an object's type, `holders` those that hold
    what is no object in itself: `{"$type": …, "$values": […]}`. With `by_class_name` a type is also told by that."""

    def __init__(
        self,
        types: TypeRegistry,
        *,
        mark: str = "$type",
        holders: tuple[str, ...] = ("$values", "$value"),
        by_class_name: bool = False,
    ) -> None:
        self._mark = mark
        self._holders = holders
        self._types: dict[str, RegisteredType] = {}
        self._by_class_name: dict[str, RegisteredType] = {}
        for text, registered in types.names():
            name = clr_name(text)
            if name is not None:
                self._types.setdefault(name.full_name, registered)
                if by_class_name:
                    self._by_class_name.setdefault(name.class_name, registered)

    def value(self, stored: Any) -> Any:
        """The value of a stored tree; `SerializationError` with the path to what does not fit its class."""
        try:
            return self._value(stored, ())
        except RecursionError as error:
            raise SerializationError(_TOO_DEEP) from error
        except UnfitError as error:
            raise SerializationError(str(error)) from error

    def members_of(self, stored: Any) -> dict[str, Any]:
        """What stands in a stored dictionary, with or without a mark, each as a value."""
        if stored is None:
            return {}
        if not isinstance(stored, dict):
            raise SerializationError(f"{shown(stored)} is no dictionary")
        return {key: self.value(each) for key, each in stored.items() if key != self._mark}

    def unwrapped(self, stored: Any) -> Any:
        """What a marked object holds in the place of members, otherwise itself."""
        if isinstance(stored, dict) and len(stored) == 2 and self._mark in stored:
            for holder in self._holders:
                if holder in stored:
                    return stored[holder]
        return stored

    # ---- without a class ----

    def _value(self, stored: Any, path: Path) -> Any:
        if isinstance(stored, list):
            _check_depth(path)
            return [self._value(each, (*path, number)) for number, each in enumerate(stored)]
        if not isinstance(stored, dict):
            return stored
        _check_depth(path)
        name = self._type_of(stored)
        if name is not None:
            held = self.unwrapped(stored)
            registered = self._registered(name)
            if registered is not None:
                return self._object(registered, held, path)
            if held is not stored:
                return self._value(held, path)
        left_out = self._mark if name is not None and name.is_dictionary else None
        return {key: self._value(each, (*path, key)) for key, each in stored.items() if key != left_out}

    def _type_of(self, stored: dict[str, Any]) -> ClrName | None:
        text = stored.get(self._mark)
        if isinstance(text, list) and text:
            text = text[-1]  # MongoDB: the names of a hierarchy of classes, the object's own last
        return clr_name(text) if isinstance(text, str) else None

    def _registered(self, name: ClrName) -> RegisteredType | None:
        return self._types.get(name.full_name) or self._types.get(name.name) or self._by_class_name.get(name.class_name)

    # ---- for a class ----

    def _object(self, registered: RegisteredType, stored: Any, path: Path) -> Any:
        cls = registered.cls
        if not is_class_with_fields(cls):
            return scalar_of(cls, stored)
        if not isinstance(stored, dict):
            raise UnfitError(f"{_at(path)}{registered.name} is stored as {shown(stored)}, which is no object")
        found = matched(cls, {key: each for key, each in stored.items() if key != self._mark})
        members = {name: self._fit(field.annotation, stored[key], (*path, key)) for name, (field, key) in found.items()}
        for field in fields_of(cls):
            if field.required and field.name not in members:
                members[field.name] = zero_of(field.annotation)
        try:
            return registered.build(members)
        except Exception as error:  # a constructor may raise anything; the stored data does not fit it
            raise SerializationError(
                f"{_at(path)}stored {registered.name} does not make a {cls.__qualname__}: {error}", path
            ) from error

    def _fit(self, annotation: Any, stored: Any, path: Path) -> Any:
        """The value of `stored` in a place that is annotated so."""
        _check_depth(path)
        name = self._type_of(stored) if isinstance(stored, dict) else None
        if name is not None:
            registered = self._registered(name)
            if registered is not None:
                return self._object(registered, self.unwrapped(stored), path)
            stored = self.unwrapped(stored)
            if name.is_dictionary and isinstance(stored, dict):
                stored = {key: each for key, each in stored.items() if key != self._mark}
        nullable, parts = optional_of(annotation)
        if stored is None and (nullable or len(parts) <= 1):
            return None
        for part in sorted(parts, key=lambda part: not _asks_for_this(part, stored, name)):
            try:
                return self._fit_one(part, stored, name, path)
            except UnfitError as error:
                if len(parts) == 1:
                    raise SerializationError(f"{_at(path)}{error}", path) from error
        raise SerializationError(f"{_at(path)}{shown(stored)} fits none of {', '.join(map(str, parts))}", path)

    def _fit_one(self, annotation: Any, stored: Any, name: ClrName | None, path: Path) -> Any:
        if says_nothing(annotation):
            return self._value(stored, path)
        if isinstance(stored, list):
            found = elements_of(annotation, len(stored))
            if found is not None:
                kinds, make = found
                pairs = enumerate(zip(kinds, stored, strict=True))
                return make([self._fit(kind, each, (*path, number)) for number, (kind, each) in pairs])
        elif isinstance(stored, dict):
            entries = entries_of(annotation)
            if entries is not None:
                kind, of_value = entries
                return {
                    self._fit(kind, key, path): self._fit(of_value, each, (*path, key)) for key, each in stored.items()
                }
            cls = class_of(annotation)
            if is_class_with_fields(cls):
                if name is not None and name.class_name != cls.__name__:
                    return self._value(stored, path)  # a class that nobody registered, in the place of its base
                own = TypeRegistry(cls).of(cls)
                assert own is not None
                return self._object(own, stored, path)
        return scalar_of(annotation, stored)


def _asks_for_this(annotation: Any, stored: Any, name: ClrName | None) -> bool:
    """Whether, of several annotations, this is the one to try first."""
    if says_nothing(annotation):
        return False
    cls = class_of(annotation)
    return cls.__name__ == name.class_name if name is not None else cls is type(stored)


def _check_depth(path: Path) -> None:
    if len(path) > MAX_DEPTH:
        raise SerializationError(_TOO_DEEP)


def _at(path: Path) -> str:
    return f"{path_text(tuple(step if isinstance(step, int) else str(step) for step in path))}: " if path else ""


_TOO_DEEP = f"what is stored is nested more than {MAX_DEPTH} deep"
