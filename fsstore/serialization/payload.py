"""What a commit's headers and events become before a serializer turns them into bytes.

One flat list, `[headers, body, headers, body, headers, …]`: few containers, so that reading makes few. A
serializer's complaint about a place in that list is put into the caller's words: `events[0].body.price`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from fsstore.errors import SerializationError
from fsstore.model import EventMessage, stored_events


@runtime_checkable
class Serializer(Protocol):
    """Anything that turns a value into bytes and back. Safe to call from any number of threads."""

    def dumps(self, value: Any, /) -> bytes:
        """The bytes of `value`; `SerializationError` with the path to what cannot be written."""
        ...

    def loads(self, data: bytes, /) -> Any:
        """The value of `data`; `SerializationError` for anything that `dumps` did not make."""
        ...


def encode_payload(serializer: Serializer, headers: dict[str, Any], events: Sequence[EventMessage]) -> bytes:
    """The bytes of a commit's headers and events; `SerializationError` names the offending key."""
    parts: list[Any] = [headers]
    for event in events:
        parts += (event.body, event.headers)
    try:
        return serializer.dumps(parts)
    except SerializationError as error:
        path = _commit_path(error.path)
        raise SerializationError(f"{path_text(path)}: {error}" if path else str(error), path) from error


def decode_payload(serializer: Serializer, data: bytes) -> tuple[dict[str, Any], tuple[EventMessage, ...]]:
    """Headers and events of the bytes that `encode_payload` made."""
    parts = serializer.loads(data)
    if not isinstance(parts, list) or len(parts) < 3 or not len(parts) % 2 or not isinstance(parts[0], dict):
        raise SerializationError("these bytes are not the headers and events of a commit")
    following = iter(parts)
    try:
        return next(following), stored_events(following)
    except ValueError as error:
        raise SerializationError(str(error)) from None


def _commit_path(path: tuple[str | int, ...]) -> tuple[str | int, ...]:
    if not path or not isinstance(path[0], int):
        return path
    number, inner = path[0], path[1:]
    if number == 0:
        return ("headers", *inner)
    return ("events", (number - 1) // 2, "body" if number % 2 else "headers", *inner)


def path_text(path: tuple[str | int, ...]) -> str:
    """A path as a person writes it: `events[0].body.items[2].price`."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        elif step.isidentifier():
            text += f".{step}" if text else step
        else:
            text += f"[{step!r}]"
    return text
