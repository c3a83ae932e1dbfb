"""The file engine, the default: one directory, append-only segments, one journal. See docs/file-format.md."""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from fsstore.engines import without_password
from fsstore.engines.file.engine import FileEngine
from fsstore.engines.file.options import Options
from fsstore.serialization import Serializer

__all__ = ["FileEngine", "open_engine", "path_and_options"]

_BOOLS = {"true": True, "false": False}
_MODES = ("file_mode", "directory_mode")


def open_engine(url: str | os.PathLike[str], *, serializer: Serializer | None = None, **options: Any) -> FileEngine:
    """The engine for a path or a `file:` URL, not yet initialized. `options` go before those in the URL."""
    path, in_url = path_and_options(url)
    return FileEngine(path, serializer=serializer, **{**in_url, **options})


def path_and_options(url: str | os.PathLike[str]) -> tuple[str, dict[str, Any]]:
    """The directory that a path or a `file:` URL names, and the engine's options that stand in the URL's query.

    `file:/srv/orders.store?durability=os&fold_bytes=1000000&file_mode=0640`: modes are octal, yes and no are
    `true` and `false`.
    """
    text = os.fspath(url)
    options: dict[str, Any] = {}
    if isinstance(url, str) and text[:5].lower() == "file:":
        for unsafe in "#\t\r\n":  # a fragment would name another directory, and urlsplit leaves the others out
            if unsafe in text:
                raise ValueError(f"{text!r}: in a file URL, {unsafe!r} is written {quote(unsafe)}")
        parts = urlsplit(text)
        if parts.netloc not in ("", "localhost"):
            shown = without_password(text)
            raise ValueError(f"{shown} names the host {parts.hostname}; a file store is on this machine")
        text = unquote(parts.path, errors="surrogateescape")
        options = dict(_option(*pair) for pair in parse_qsl(parts.query, keep_blank_values=True))
        Options.check_names(options)
    if not text or "\0" in text:
        raise ValueError("a file store needs a path" + (", which has no null character" if text else ""))
    return text, options


def _option(name: str, value: str) -> tuple[str, Any]:
    if name == "durability" or value in _BOOLS:
        return name, _BOOLS.get(value, value)
    try:
        return name, int(value, 8 if name in _MODES else 10)
    except ValueError:
        raise ValueError(f"{name}={value} in a file URL: a number, true or false is expected") from None
