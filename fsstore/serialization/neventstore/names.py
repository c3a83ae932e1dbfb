"""Names of C# types, as `$type` holds them: read, compared with the assembly left out, written.

`Ordering.Envelope`1[[Ordering.OrderPlaced, Ordering, Version=1.0.0.0]], Ordering` is a name with arguments and an
assembly; `Ordering.Order+Placed` a class within a class; `System.Byte[]` an array. A name is text here and
never more: nothing is looked up, loaded or run because a name says so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

_MAX_DEPTH = 16
_MAX_CHARACTERS = 8_192


@dataclass(frozen=True, slots=True)
class ClrName:
    """`name` with its namespace, type arguments, what makes it an array, and the assembly (empty: not said)."""

    name: str
    arguments: tuple[ClrName, ...] = ()
    array: str = ""
    assembly: str = ""

    @property
    def full_name(self) -> str:
        """The name without any assembly: what registered types are compared by."""
        return self.text(lambda _: "")

    @property
    def class_name(self) -> str:
        """The class name alone, as MongoDB's `_t` has it."""
        return self.name.rpartition(".")[2].rpartition("+")[2].partition("`")[0]

    def text(self, assembly_of: Callable[[ClrName], str]) -> str:
        """The name with the assemblies that `assembly_of` gives, in C#'s notation."""
        inner = ",".join(
            f"[{argument}]" if ", " in argument else argument
            for argument in (argument.text(assembly_of) for argument in self.arguments)
        )
        text = self.name + (f"[{inner}]" if inner else "") + self.array
        assembly = assembly_of(self)
        return f"{text}, {assembly}" if assembly else text

    @property
    def is_dictionary(self) -> bool:
        """Whether it is one of .NET's own types that are written as an object with a member for each key."""
        return self.name.startswith("System.") and not self.array and self.class_name in _DICTIONARIES

    @property
    def is_system(self) -> bool:
        return self.name.startswith("System.")


_DICTIONARIES = {
    "Dictionary",
    "SortedDictionary",
    "SortedList",
    "ConcurrentDictionary",
    "ReadOnlyDictionary",
    "ImmutableDictionary",
    "ImmutableSortedDictionary",
    "FrozenDictionary",
    "OrderedDictionary",
    "ListDictionary",
    "HybridDictionary",
    "StringDictionary",
    "Hashtable",
    "ExpandoObject",
}


@lru_cache(maxsize=4096)
def clr_name(text: str) -> ClrName | None:
    """The name that `text` says; `None` when it is no type name."""
    if len(text) > _MAX_CHARACTERS:
        return None
    try:
        name, end = _name(text, 0, 0)
    except ValueError:
        return None
    return name if end == len(text) else None


def _name(text: str, at: int, depth: int) -> tuple[ClrName, int]:
    """The name from `at` on, with its assembly: as far as the text or the bracket around it goes."""
    start, at, arguments, array = _type(text, at, depth)
    assembly = ""
    if text[at : at + 1] == ",":
        end = text.find("]", at)
        end = len(text) if end < 0 else end
        assembly = text[at + 1 : end].strip()
        at = end
    return ClrName(start, arguments, array, assembly), at


def _type(text: str, at: int, depth: int) -> tuple[str, int, tuple[ClrName, ...], str]:
    if depth > _MAX_DEPTH:
        raise ValueError(text)
    start = at
    while at < len(text) and text[at] not in "[],":
        at += 1
    name = text[start:at].strip()
    if not name:
        raise ValueError(text)
    arguments: list[ClrName] = []
    if text[at : at + 1] == "[" and text[at + 1 : at + 2] not in ("]", ",", "*"):
        while True:
            at += 1
            if text[at : at + 1] == "[":
                argument, at = _name(text, at + 1, depth + 1)
                if text[at : at + 1] != "]":
                    raise ValueError(text)
                at += 1
            else:
                inner, at, inner_arguments, inner_array = _type(text, at, depth + 1)
                argument = ClrName(inner, inner_arguments, inner_array)
            arguments.append(argument)
            if text[at : at + 1] != ",":
                break
        if text[at : at + 1] != "]":
            raise ValueError(text)
        at += 1
    array_start = at
    while text[at : at + 1] == "[":
        end = text.find("]", at)
        if end < 0 or text[at + 1 : end].strip(",* "):
            raise ValueError(text)
        at = end + 1
    return name, at, tuple(arguments), text[array_start:at]
