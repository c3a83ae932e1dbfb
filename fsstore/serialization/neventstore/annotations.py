"""What a field's annotation makes of a stored value: which shape it asks for, and how a single value becomes it.

A stored string turns into the `UUID`, `datetime`, `Decimal` or enum that the annotation names; so do the numbers and
pairs that MessagePack and BSON have instead. What does not fit is an error and never a value of another kind.
"""

from __future__ import annotations

import base64
import collections.abc
import enum
import types
import typing
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any
from uuid import UUID

from fsstore.serialization.neventstore import scalars
from fsstore.serialization.neventstore.members import folded

_SETS = (set, collections.abc.Set, collections.abc.MutableSet)
_LISTS = (
    list,
    collections.abc.Sequence,
    collections.abc.MutableSequence,
    collections.abc.Iterable,
    collections.abc.Collection,
)
_MAPPINGS = (dict, collections.abc.Mapping, collections.abc.MutableMapping)


class UnfitError(ValueError):
    """A stored value that an annotation cannot take."""


def optional_of(annotation: Any) -> tuple[bool, tuple[Any, ...]]:
    """Whether `None` fits, and the annotations that something else may fit."""
    annotation = _bare(annotation)
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        parts = typing.get_args(annotation)
        return type(None) in parts, tuple(part for part in parts if part is not type(None))
    return annotation is None or annotation is type(None), (annotation,)


def zero_of(annotation: Any) -> Any:
    """What C# has in a member of this kind that nobody set, and does not write: 0, false, null, an empty GUID."""
    nullable, parts = optional_of(annotation)
    part = _bare(parts[0]) if len(parts) == 1 else None
    if nullable or not isinstance(part, type):
        return None
    if issubclass(part, enum.Enum):
        return next((member for member in part if member.value == 0), None)
    if part in (int, float, bool, Decimal, timedelta):
        return part()
    if part is UUID:
        return UUID(int=0)
    return datetime.min if part is datetime else None


def _bare(annotation: Any) -> Any:
    """The annotation without `Annotated`, `NewType` and their kin."""
    while True:
        if typing.get_origin(annotation) in (typing.Annotated, typing.ClassVar, typing.Final):
            annotation = typing.get_args(annotation)[0]
        elif isinstance(annotation, typing.NewType):
            annotation = annotation.__supertype__
        elif type(annotation).__name__ == "TypeAliasType":
            annotation = annotation.__value__
        else:
            return annotation


def says_nothing(annotation: Any) -> bool:
    """Whether the annotation leaves open what stands there: `Any`, `object`, a type variable."""
    part = _bare(annotation)
    return part in (object, Any) or not isinstance(typing.get_origin(part) or part, type)


def class_of(annotation: Any) -> type:
    """The class that an annotation which says something asks for, without its arguments."""
    part = _bare(annotation)
    found = typing.get_origin(part) or part
    assert isinstance(found, type)
    return found


def elements_of(annotation: Any, count: int) -> tuple[Iterable[Any], Callable[[Iterable[Any]], Any]] | None:
    """For a place that holds a list of `count` values: their annotations, and what makes the value of them."""
    part, cls = _bare(annotation), class_of(annotation)
    arguments = typing.get_args(part)
    if cls is tuple and arguments and arguments[-1] is not Ellipsis:
        if len(arguments) != count:
            raise UnfitError(f"it has {count} elements, not {len(arguments)}")
        return arguments, tuple
    kinds = [arguments[0] if arguments else Any] * count
    if cls in _LISTS:
        return kinds, list
    if cls in _SETS:
        return kinds, set
    return (kinds, cls) if cls in (tuple, frozenset) else None


def entries_of(annotation: Any) -> tuple[Any, Any] | None:
    """For a place that holds a dictionary: the annotations of its keys and values."""
    if class_of(annotation) not in _MAPPINGS:
        return None
    key, value = typing.get_args(_bare(annotation)) or (Any, Any)
    return key, value


def scalar_of(annotation: Any, stored: Any) -> Any:
    """The single value of the annotated kind that is stored as `stored`. `UnfitError` when there is none."""
    cls = class_of(annotation)
    make = _enum(cls) if issubclass(cls, enum.Enum) else _SCALARS.get(cls)
    if make is None:
        if isinstance(stored, cls):
            return stored
        raise UnfitError(f"{shown(stored)} is no {cls.__qualname__}")
    try:
        return make(stored)
    except (ValueError, TypeError, OverflowError, InvalidOperation, KeyError) as error:
        raise UnfitError(f"{shown(stored)} is no {cls.__qualname__}") from error


def shown(stored: Any) -> str:
    """`stored` as an error message shows it."""
    text = repr(stored)
    return text if len(text) <= 60 else text[:57] + "..."


# ---- scalars ----


def _integer(stored: Any) -> int:
    if isinstance(stored, float | Decimal) and stored != int(stored):
        raise ValueError
    return int(stored)


def _boolean(stored: Any) -> bool:
    return {"true": True, "false": False, True: True, False: False}[stored]


def _float(stored: Any) -> float:
    return float(stored)


def _text(stored: Any) -> str:
    if isinstance(stored, str):
        return stored
    if isinstance(stored, UUID | int | Decimal) and not isinstance(stored, bool):
        return str(stored)
    if isinstance(stored, datetime):
        return scalars.text_of_datetime(stored)
    raise ValueError


def _decimal(stored: Any) -> Decimal:
    return Decimal(repr(stored)) if isinstance(stored, float) else Decimal(stored)


def _bytes(stored: Any) -> bytes:
    if isinstance(stored, str):
        return base64.b64decode(stored, validate=True)
    if isinstance(stored, int):
        raise ValueError  # bytes(7) would be seven zeros
    return bytes(stored)


def _datetime(stored: Any) -> datetime:
    if isinstance(stored, datetime):
        return stored
    if isinstance(stored, str):
        return scalars.datetime_from_text(stored)
    if isinstance(stored, dict) and "Ticks" in stored:
        ticks = _integer(stored["Ticks"])
        if "Offset" in stored:
            return scalars.datetime_with_offset(ticks, _integer(stored["Offset"]))
        return scalars.datetime_from_ticks(ticks).replace(tzinfo=UTC)
    if isinstance(stored, list) and len(stored) == 2:
        clock, offset = stored
        if isinstance(clock, datetime):  # MessagePack: the local clock as if it were UTC
            return clock.replace(tzinfo=scalars.zone(_integer(offset)))
        return scalars.datetime_with_offset(_integer(clock), _integer(offset))
    return scalars.datetime_from_binary(_integer(stored))


def _time(stored: Any) -> time:
    if isinstance(stored, int):
        return scalars.datetime_from_ticks(stored).time()
    return stored if isinstance(stored, time) else time.fromisoformat(stored)


def _date(stored: Any) -> date:
    if isinstance(stored, int) and 0 <= stored <= date.max.toordinal():
        return date.fromordinal(stored + 1)  # DateOnly's day number
    return stored if type(stored) is date else _datetime(stored).date()


def _timedelta(stored: Any) -> timedelta:
    if isinstance(stored, str):
        return scalars.timedelta_from_text(stored)
    return stored if isinstance(stored, timedelta) else scalars.timedelta_from_ticks(_integer(stored))


def _enum(cls: type[enum.Enum]) -> Callable[[Any], Any]:
    def member(stored: Any) -> Any:
        if isinstance(stored, cls):
            return stored
        if isinstance(stored, str):
            for each in cls:
                if each.value == stored or folded(each.name) == folded(stored):
                    return each
            if issubclass(cls, enum.Flag) and "," in stored:
                return cls(sum(member(part.strip()).value for part in stored.split(",")))
        return cls(stored)

    return member


_SCALARS: dict[type, Callable[[Any], Any]] = {
    int: _integer,
    bool: _boolean,
    float: _float,
    str: _text,
    Decimal: _decimal,
    bytes: _bytes,
    bytearray: lambda stored: bytearray(_bytes(stored)),
    UUID: lambda stored: stored if isinstance(stored, UUID) else UUID(stored),
    datetime: _datetime,
    date: _date,
    time: _time,
    timedelta: _timedelta,
}
