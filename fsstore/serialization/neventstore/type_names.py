"""Which assembly a C# type is in: learned from what a store holds already, so that what is written says the same.

C# needs `Ordering.OrderPlaced, Ordering`; a Python program knows `Ordering.OrderPlaced`.
"""

from __future__ import annotations

from typing import Any

from fsstore.errors import SerializationError
from fsstore.serialization.neventstore.names import ClrName, clr_name
from fsstore.serialization.types import RegisteredType, TypeRegistry

_CORE = "System.Private.CoreLib"
_CORE_QUALIFIED = f"{_CORE}, Version=10.0.0.0, Culture=neutral, PublicKeyToken=7cec85d7bea7798e"


class TypeNames:
    """Names of types in full, with assemblies: by their bare name (Newtonsoft), or `qualified` by version and token."""

    def __init__(self, types: TypeRegistry, *, qualified: bool) -> None:
        self._qualified = qualified
        self._assemblies: dict[str, str] = {}
        self._core = _CORE_QUALIFIED if qualified else _CORE
        self._of_class = _names_of_classes(types)

    def learn(self, tree: Any) -> None:
        """Remember the assembly of every type that a stored tree names."""
        if isinstance(tree, list):
            for each in tree:
                self.learn(each)
        elif isinstance(tree, dict):
            text = tree.get("$type")
            name = clr_name(text) if isinstance(text, str) else None
            if name is not None:
                self._learn_name(name)
            for each in tree.values():
                self.learn(each)

    def _learn_name(self, name: ClrName) -> None:
        if name.assembly:
            self._assemblies.setdefault(name.name, name.assembly)
            if name.name == "System.String" or name.name.startswith("System.Collections.Generic.List`"):
                self._core = name.assembly
        for argument in name.arguments:
            self._learn_name(argument)

    def of_text(self, text: str) -> str:
        """The name that `text` says, with the assemblies that it leaves out."""
        name = clr_name(text)
        if name is None:
            raise SerializationError(f"{text!r} is no name of a C# type")
        return name.text(self._assembly)

    def of_system(self, name: str, *arguments: str) -> str:
        """A type of .NET's core library, with type arguments of the same."""
        return ClrName(name, tuple(ClrName(argument) for argument in arguments)).text(self._assembly)

    def of_class(self, registered: RegisteredType) -> str:
        """The name under which C# knows a registered class: that of its names which says a namespace."""
        names = self._of_class.get(registered.cls, [])
        if not names:
            raise SerializationError(
                f"{registered.cls.__qualname__} has no name that C# knows: register it with an alias that is one, "
                f"such as 'Ordering.{registered.cls.__name__}, Ordering'"
            )
        known = [name for name in names if name.assembly or name.name in self._assemblies]
        return (known or names)[0].text(self._assembly)

    def _assembly(self, name: ClrName) -> str:
        assembly = name.assembly or self._assemblies.get(name.name) or self._neighbours(name)
        if self._qualified and "," not in assembly:
            known = self._assemblies.get(name.name) or self._neighbours(name)
            return known if known.partition(",")[0] == assembly else assembly
        return assembly if self._qualified else assembly.partition(",")[0]

    def _neighbours(self, name: ClrName) -> str:
        """The assembly of a type that no row has named: that of .NET's core, or of a type in the same namespace."""
        if name.is_system:
            return self._core
        namespace = name.name.rpartition(".")[0]
        for known, assembly in self._assemblies.items():
            if known.rpartition(".")[0] == namespace:
                return assembly
        raise SerializationError(
            f"the assembly of {name.name} is not known, and C# could not read it without: write "
            f"'{name.name}, TheAssembly'"
        )


def _names_of_classes(types: TypeRegistry) -> dict[type, list[ClrName]]:
    found: dict[type, list[ClrName]] = {}
    for text, registered in types.names():
        name = clr_name(text)
        if name is not None and "." in name.name:
            found.setdefault(registered.cls, []).append(name)
    return found
