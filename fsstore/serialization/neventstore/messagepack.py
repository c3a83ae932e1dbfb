"""MessagePack as MessagePack for C# writes it without contracts: objects are maps, and extension 100 says a type.

Extension 100 holds two values, the assembly-qualified type name and the object. It becomes a dictionary with
`$type`, the form in which JSON has it, so that everything behind this module is the same for both.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

import msgpack

from fsstore.errors import SerializationError
from fsstore.serialization.neventstore.names import clr_name
from fsstore.serialization.untrusted import check_msgpack

_TYPELESS, _LZ4_BLOCK, _LZ4_BLOCKS = 100, 99, 98
_MAX_EXTENSIONS = 32


def parse(data: bytes) -> Any:
    """The stored tree. `ValueError` when these are not the bytes of exactly one value."""
    return _parse(data, 0)


def _parse(data: bytes, depth: int) -> Any:
    try:
        check_msgpack(data)
        return msgpack.unpackb(
            data,
            ext_hook=lambda code, content: _extension(code, bytes(content), depth),
            timestamp=3,
            strict_map_key=False,
        )
    except (ValueError, SerializationError):
        raise
    except (TypeError, OverflowError, RecursionError, msgpack.UnpackException) as error:
        raise ValueError(f"it is not one MessagePack value: {str(error) or type(error).__name__}") from error


def _extension(code: int, content: bytes, depth: int) -> Any:
    if code in (_LZ4_BLOCK, _LZ4_BLOCKS):
        raise SerializationError(
            "the payload is MessagePack compressed with LZ4, which is not read: write it again in C# without "
            "MessagePackCompression"
        )
    if code != _TYPELESS:
        raise ValueError(f"extension type {code} is unknown")
    if depth >= _MAX_EXTENSIONS:
        raise SerializationError(f"what is stored has more than {_MAX_EXTENSIONS} typed objects within one another")
    # The content is two values in a row; as an array of two they are one.
    parts = _parse(b"\x92" + content, depth + 1)
    if not isinstance(parts[0], str):
        raise ValueError("extension type 100 does not begin with a type name")
    return _typed(*parts)


def _typed(type_name: str, value: Any) -> Any:
    if isinstance(value, dict):
        return {"$type": type_name, **value}
    name = clr_name(type_name)
    if name is None or not name.is_system:
        return {"$type": type_name, "$values": value}
    if name.name == "System.Guid" and isinstance(value, str):
        return UUID(value)
    return value
