"""Which engine a path or URL means.

The engines of this package stand in a table and are imported when they are asked for; those of other packages
register a factory under the entry-point group `fsstore.engines`, with the URL scheme as its name. A factory is
`open_engine(url, *, serializer=None, **options)` and gives an engine that is not yet initialized.
"""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Iterable
from importlib import import_module
from typing import TYPE_CHECKING, Any

from fsstore.engine import PersistenceEngine
from fsstore.serialization import Serializer

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "fsstore.engines"
SQL_SCHEMES = ("sqlite", "postgresql", "mysql", "mariadb", "mssql", "oracle")
_BUILT_IN = {
    "file": "fsstore.engines.file",
    "memory": "fsstore.engines.memory",
    "mongodb": "fsstore.engines.mongo",
    "mongodb+srv": "fsstore.engines.mongo",
    **dict.fromkeys(SQL_SCHEMES, "fsstore.engines.sql"),
}
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9.+-]+):")
# Up to the last @, as a password that nobody escaped may hold some.
_LOGIN = re.compile(r"(?<=://)([^/:@]*):.*@", re.DOTALL)
_SECRET = re.compile(r"([?&][^=&]*(?:pass|pwd)[^=&]*=)[^&]*", re.IGNORECASE)


def engine_for(
    target: str | os.PathLike[str], *, serializer: Serializer | None = None, **options: Any
) -> PersistenceEngine:
    """The engine for a path (the file engine) or URL, not yet initialized.

    `ValueError` for a scheme that nobody registered; `ImportError` that names the extra when the engine's
    client library is not installed.
    """
    text = os.fspath(target)
    if not isinstance(text, str):
        raise TypeError(f"a store is named by a path or URL as str, not {type(text).__name__}")
    found = _SCHEME.match(text) if isinstance(target, str) else None
    scheme = found[1].lower() if found else "file"
    if found:
        target = scheme + text[len(scheme) :]
    factory = _factory(scheme)
    if factory is not None:
        engine: PersistenceEngine = factory(target, serializer=serializer, **options)
        return engine
    known, shown = ", ".join(known_schemes()), without_password(text)
    raise ValueError(
        f"no engine is registered for {scheme!r}: of {shown!r} (give a path with a colon as a Path); known are {known}"
    )


def without_password(target: str) -> str:
    """A path or URL as it may be shown: what stands where a URL has a password is left out."""
    return _SECRET.sub(r"\1***", _LOGIN.sub(r"\1:***@", target))


def can_open_without_creating(scheme: str) -> bool:
    """Whether the engine of the scheme has the option `create`: one of another package, where its factory names it."""
    if scheme.partition("+")[0] in ("file", *SQL_SCHEMES):
        return True
    factory = None if scheme in _BUILT_IN else _factory(scheme)
    return factory is not None and "create" in inspect.signature(factory).parameters


def _factory(scheme: str) -> Any:
    # "postgresql+psycopg://" is the engine "postgresql" unless somebody registered the long form.
    for name in (scheme, scheme.partition("+")[0]):
        module = _BUILT_IN.get(name)
        if module is not None:
            return import_module(module).open_engine
        for entry in _registered():
            if entry.name == name:
                return entry.load()
    return None


def _registered() -> Iterable[EntryPoint]:
    from importlib.metadata import entry_points  # a tenth of what importing fsstore takes, and seldom needed

    return entry_points(group=GROUP)


def known_schemes() -> list[str]:
    """The schemes that `engine_for` understands here."""
    return sorted({*_BUILT_IN, *(entry.name for entry in _registered())})
