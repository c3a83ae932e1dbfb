"""The types that may come back as themselves, under the names that stored data knows them by.

Nothing is ever imported because stored data names it: what is not registered here is not made. Dataclasses,
attrs classes, pydantic models and enums are taken apart into their members and put together from them.
"""

from __future__ import annotations

import dataclasses
import enum
import inspect
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from fsstore.errors import SerializationError

_NAME = "__fsstore_name__"
_ALIASES = "__fsstore_aliases__"
ClassT = TypeVar("ClassT", bound=type)


@dataclass(frozen=True, slots=True)
class TypeName:
    """A class with the name it is stored under, and older names that are still read."""

    cls: type
    name: str
    aliases: tuple[str, ...] = ()


def event_type(name: str, *, aliases: Iterable[str] = ()) -> Callable[[ClassT], ClassT]:
    """Say on the class itself under which name it is stored; it must be registered all the same."""

    def mark(cls: ClassT) -> ClassT:
        setattr(cls, _NAME, name)
        setattr(cls, _ALIASES, tuple(aliases))
        return cls

    return mark


@dataclass(frozen=True, slots=True)
class RegisteredType:
    """How one class is taken apart and put together."""

    cls: type
    name: str
    members: Callable[[Any], dict[str, Any]]
    build: Callable[[Mapping[str, Any]], Any]


class TypeRegistry:
    """Names to types and back, of classes, `TypeName`s, and pairs of class and name. Complete it before the store is
    opened."""

    def __init__(self, *types: type | TypeName | tuple[type, str]) -> None:
        self._by_name: dict[str, RegisteredType] = {}
        self._by_class: dict[type, RegisteredType] = {}
        for each in types:
            if isinstance(each, TypeName):
                self.register(each.cls, each.name, each.aliases)
            elif isinstance(each, tuple):
                self.register(*each)
            else:
                self.register(each)

    def register(self, cls: type, name: str | None = None, aliases: Iterable[str] = ()) -> None:
        """Store instances of `cls` under `name` (its own `event_type` name, or its class name), and read
        them under the aliases too. `ValueError` when a name means another class already, `TypeError` when
        this is no kind of class that can be taken apart."""
        if not isinstance(cls, type):
            raise TypeError(f"only classes can be registered, not {cls!r}")
        own_name, own_aliases = cls.__dict__.get(_NAME, cls.__name__), cls.__dict__.get(_ALIASES, ())
        registered = RegisteredType(cls, name or own_name, *_kind(cls))
        names = (registered.name, *own_aliases, *aliases)
        for each in names:
            known = self._by_name.get(each)
            if known is not None and known.cls is not cls:
                raise ValueError(f"the name {each!r} means {known.cls.__qualname__} already, not {cls.__qualname__}")
        self._by_name.update(dict.fromkeys(names, registered))
        self._by_class[cls] = registered

    def of(self, cls: type) -> RegisteredType | None:
        """How instances of exactly this class are stored; `None`: it is not registered."""
        return self._by_class.get(cls)

    def resolve(self, name: str) -> RegisteredType | None:
        """The type that stored data means by `name`; `None`: nobody registered it."""
        return self._by_name.get(name)

    def names(self) -> list[tuple[str, RegisteredType]]:
        """Every name and alias with its type, in the order in which they were registered."""
        return list(self._by_name.items())

    def build(self, name: str, members: Mapping[str, Any]) -> Any:
        """An instance from stored members. Members that are absent take the class's defaults, so that fields
        can be added; a member that the class does not have is an error, so that nothing is lost unseen."""
        registered = self.resolve(name)
        if registered is None:
            raise SerializationError(
                f"the stored type {name!r} is not registered: register its class under that name, or as an alias"
            )
        try:
            return registered.build(members)
        except Exception as error:  # a constructor may raise anything; the stored data does not fit it
            raise SerializationError(
                f"stored {name!r} does not make a {registered.cls.__qualname__}: {error}"
            ) from error


def not_stored(cls: type) -> str:
    """Why an instance of a class that nobody registered cannot be written, and what to do about it."""
    try:
        _kind(cls)
    except (TypeError, ValueError):
        return "is not a type that is stored, and none that can be registered: put plain data in its place"
    return "is not a type that is stored: register it, or store plain data"


def _kind(cls: type) -> tuple[Callable[[Any], dict[str, Any]], Callable[[Mapping[str, Any]], Any]]:
    if issubclass(cls, enum.Enum):
        return (lambda one: {"value": one.value}), (lambda members: cls(members["value"]))
    # A class of these libraries can only exist where the library was imported.
    pydantic = sys.modules.get("pydantic")
    if pydantic is not None and issubclass(cls, pydantic.BaseModel):
        return _pydantic(cls)
    if dataclasses.is_dataclass(cls):
        fields = dataclasses.fields(cls)
        _check_parameters(cls, {field.name for field in fields if field.init})
        return _members([field.name for field in fields]), _builder(
            cls, {field.name: field.name for field in fields if field.init}, {field.name for field in fields}
        )
    attrs = sys.modules.get("attr")
    if attrs is not None and attrs.has(cls):
        attributes = attrs.fields(cls)
        return _members([each.name for each in attributes]), _builder(
            cls, {each.name: each.alias for each in attributes if each.init}, {each.name for each in attributes}
        )
    raise TypeError(f"{cls.__qualname__} is no dataclass, attrs class, pydantic model or enum and cannot be registered")


def _check_parameters(cls: type, known: set[str]) -> None:
    """`TypeError` where making an instance takes what no instance has: it would be stored, and never be read."""
    for name, parameter in inspect.signature(cls).parameters.items():
        is_needed = parameter.default is parameter.empty and parameter.kind not in (
            parameter.VAR_POSITIONAL,
            parameter.VAR_KEYWORD,
        )
        if is_needed and name not in known:
            raise TypeError(f"{cls.__qualname__} cannot be registered: {name!r}, which its making takes, is no field")


def _members(names: list[str]) -> Callable[[Any], dict[str, Any]]:
    return lambda one: {name: getattr(one, name) for name in names if hasattr(one, name)}


def _builder(cls: type, parameters: dict[str, str], known: set[str]) -> Callable[[Mapping[str, Any]], Any]:
    def build(members: Mapping[str, Any]) -> Any:
        unknown = members.keys() - known
        if unknown:
            raise TypeError(f"it has no field {sorted(unknown)[0]!r}")
        made = cls(**{parameters[name]: value for name, value in members.items() if name in parameters})
        for name, value in members.items():
            if name not in parameters:
                object.__setattr__(made, name, value)
        return made

    return build


def _pydantic(cls: Any) -> tuple[Callable[[Any], dict[str, Any]], Callable[[Mapping[str, Any]], Any]]:
    names = set(cls.model_fields)
    takes_any = cls.model_config.get("extra") == "allow"
    members = _members(list(cls.model_fields))

    def build(members: Mapping[str, Any]) -> Any:
        unknown = members.keys() - names
        if unknown and not takes_any:
            raise TypeError(f"it has no field {sorted(unknown)[0]!r}")
        # What was stored was valid then; validating again would reject or change it by today's rules.
        made = cls.model_construct(**members)
        # By their names: a field may have the name of another as its alias.
        made.__dict__.update({name: value for name, value in members.items() if name in names})
        return made

    return (lambda one: members(one) | (one.model_extra or {})), build
