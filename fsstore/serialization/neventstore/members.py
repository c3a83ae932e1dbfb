"""What a registered Python class has for members, and which stored member fills which.

C# writes `UnitPrice`, Python has `unit_price`: names are compared without underscores and case, exact ones first.
"""

from __future__ import annotations

import dataclasses
import inspect
import sys
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from fsstore.errors import SerializationError


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a class: its annotation, whether the class gives a default, and other names it goes by."""

    name: str
    annotation: Any
    required: bool
    default: Any = None
    alias: str | None = None


def folded(name: str) -> str:
    """`name` as it is compared: `UnitPrice`, `unitPrice` and `unit_price` are one."""
    return name.replace("_", "").casefold()


def is_class_with_fields(cls: Any) -> bool:
    """Whether instances of `cls` are made of named members: a dataclass, attrs class or pydantic model."""
    if not isinstance(cls, type):
        return False
    attrs, pydantic = sys.modules.get("attr"), sys.modules.get("pydantic")
    return (
        dataclasses.is_dataclass(cls)
        or (attrs is not None and attrs.has(cls))
        or (pydantic is not None and issubclass(cls, pydantic.BaseModel))
    )


@lru_cache(maxsize=1024)
def fields_of(cls: type) -> tuple[Field, ...]:
    """The fields of a class with fields, in their order; annotations that are text are resolved."""
    pydantic = sys.modules.get("pydantic")
    if pydantic is not None and issubclass(cls, pydantic.BaseModel):
        return tuple(
            Field(name, each.annotation, each.is_required(), each.default, each.alias)
            for name, each in typing.cast("Any", cls).model_fields.items()
        )
    try:
        hints = typing.get_type_hints(cls)
    except NameError as error:
        raise SerializationError(f"the annotations of {cls.__qualname__} cannot be read: {error}") from error
    if dataclasses.is_dataclass(cls):
        missing = dataclasses.MISSING
        return tuple(
            Field(
                each.name,
                hints.get(each.name, Any),
                each.default is missing and each.default_factory is missing,
                None if each.default is missing else each.default,
            )
            for each in dataclasses.fields(cls)
        )
    attrs = sys.modules["attr"]
    return tuple(
        Field(each.name, hints.get(each.name, Any), each.default is attrs.NOTHING, each.default)
        for each in attrs.fields(cls)
    )


@lru_cache(maxsize=1024)
def declared_fields_of(cls: type) -> tuple[Field, ...]:
    """The fields in the order in which C# writes members: a class's own before those of its base."""
    order = [name for each in cls.__mro__ for name in inspect.get_annotations(each)]
    return tuple(sorted(fields_of(cls), key=lambda field: order.index(field.name) if field.name in order else 0))


@lru_cache(maxsize=1024)
def _fields_by_folded_name(cls: type) -> dict[str, Field]:
    found: dict[str, Field] = {}
    for field in fields_of(cls):
        for name in (field.name, field.alias):
            if name is not None:
                found.setdefault(folded(name), field)
    return found


def matched(cls: type, stored: Mapping[str, Any]) -> dict[str, tuple[Field, str]]:
    """Which stored member fills which field: field's name → field and member's name. What the class does not
    have is left out, as C# does."""
    by_name = {field.name: field for field in fields_of(cls)}
    found = {name: (by_name[name], name) for name in stored if name in by_name}
    for name in stored:
        field = _fields_by_folded_name(cls).get(folded(name)) if isinstance(name, str) else None
        if field is not None:
            found.setdefault(field.name, (field, name))
    return found
