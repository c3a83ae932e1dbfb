"""The file engine, the default: one directory, append-only segments, one journal. See docs/file-format.md."""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import unquote, urlsplit

from fsstore.engines.file.engine import FileEngine
from fsstore.serialization import Serializer

__all__ = ["FileEngine", "open_engine"]


def open_engine(url: str | os.PathLike[str], *, serializer: Serializer | None = None, **options: Any) -> FileEngine:
    """The engine for a path or a `file:` URL, not yet initialized."""
    text = os.fspath(url)
    if isinstance(url, str) and text.startswith("file:"):
        parts = urlsplit(text)
        if parts.netloc not in ("", "localhost"):
            raise ValueError(f"{text} names the host {parts.netloc}; a file store is on this machine")
        text = unquote(parts.path)
    if not text:
        raise ValueError("a file store needs a path")
    return FileEngine(text, serializer=serializer, **options)
