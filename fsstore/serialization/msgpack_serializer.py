"""The stored form of values: msgpack, with extension types for what msgpack does not have.

| extension | type | content |
|---|---|---|
| 1 | datetime (aware) | microseconds since 1970 (int64), offset from UTC in microseconds (int64), big-endian |
| 2 | date | proleptic ordinal (uint32), big-endian |
| 3 | UUID | its 16 bytes |
| 4 | Decimal | its text |
| 5 | int beyond 64 bits | two's complement, big-endian |
| 6 | tuple | msgpack array |
| 7 | registered type | msgpack name, msgpack map of members |

Anything else is refused with the path to it. Reading trusts nothing: sizes are bounded by the data itself,
and no type is made that was not registered.
"""

from __future__ import annotations

import contextlib
import struct
import threading
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal, InvalidOperation
from functools import lru_cache, partial
from typing import Any
from uuid import UUID

import msgpack

from fsstore.errors import SerializationError
from fsstore.serialization.types import TypeRegistry, not_stored
from fsstore.serialization.untrusted import check_msgpack

DATETIME, DATE, UUID_, DECIMAL, BIG_INT, TUPLE, REGISTERED = range(1, 8)
_MAX_DEPTH = 200
# Tuples and registered types within one another: each level is a nested msgpack, which takes C stack to read.
_MAX_EXTENSIONS = 32
# So little cannot claim enough to matter: eight bytes for each of its own, in a thousand arrays within one another.
_UNCHECKED_BYTES = 4096
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_DATETIME = struct.Struct(">qq")
_DATE = struct.Struct(">I")
# msgpack never uses this byte: what wraps a payload (compression, encryption) starts with it.
WRAPPED = 0xC1
_WRAPPINGS = {0x5A: "compressed; open the store with compress()", 0x45: "encrypted; open the store with its key"}


_NOT_FLAT = frozenset((dict, list, bytearray, memoryview))


class _RefusedError(TypeError):
    """A value that cannot be written; where it stands is found out afterwards."""


def _checked(data: bytes, value: Any) -> bytes:
    """`data`, as which `value` was packed; refused where msgpack took a buffer for bytes, as which it would come back.

    Bytes and buffers follow one of three marks (bin 8 to bin 32); most payloads have none of these, and are not walked.
    """
    if 0xC4 in data or 0xC5 in data or 0xC6 in data:
        _refuse_buffers(value)
    return data


def _refuse_buffers(value: Any) -> None:
    """What is in tuples and objects was packed before, and looked at then."""
    kind = type(value)
    if kind is dict or kind is list:
        for member in value.values() if kind is dict else value:
            if type(member) in _NOT_FLAT:
                _refuse_buffers(member)
    elif kind is bytearray or kind is memoryview:
        raise _RefusedError(f"builtins.{kind.__name__} is not a type that is stored: give it as bytes")


@lru_cache(maxsize=256)
def _zone(offset_us: int) -> timezone:
    return UTC if not offset_us else timezone(timedelta(microseconds=offset_us))


class _Packers(threading.local):
    """Each thread's packer: making one for each value costs as much as packing it."""

    packer: msgpack.Packer | None = None


class MsgpackSerializer:
    """Plain data, `bytes`, aware `datetime`, `date`, `UUID`, `Decimal`, tuples, integers of any size, and
    instances of registered types; all come back equal and of the same type.

    Reads with msgspec where that is installed, unless `msgspec` is false; values and errors are the same.
    """

    def __init__(self, types: TypeRegistry | None = None, *, msgspec: bool = True) -> None:
        self.types = types if types is not None else TypeRegistry()
        self._write_hooks = [partial(self._extension, depth) for depth in range(_MAX_EXTENSIONS + 1)]
        self._read_hooks = [partial(self._value, depth) for depth in range(_MAX_EXTENSIONS + 1)]
        self._packers = _Packers()
        # The one call that every payload's reading makes: msgspec where it is there, msgpack else.
        self.loads: Callable[[bytes], Any] = self._loads
        if msgspec:
            with contextlib.suppress(ImportError):
                from fsstore.serialization.msgspec_decoding import decoder

                self.loads = decoder(self._read_hooks[0], self._loads)

    def dumps(self, value: Any, /) -> bytes:
        packers = self._packers
        packer = packers.packer or msgpack.Packer(default=self._write_hooks[0], strict_types=True)
        # Not for a signal's handler that packs meanwhile. And never again where it failed: it may have kept what it
        # packed, as it does where memory is short, and would put it before the next value.
        packers.packer = None
        try:
            data = _checked(bytes(packer.pack(value)), value)
        except (TypeError, ValueError, OverflowError, UnicodeError, RecursionError) as error:
            self._explain(value, ())
            raise SerializationError(f"the value cannot be written: {error}") from error
        packers.packer = packer
        return data

    def _loads(self, data: bytes, /) -> Any:
        if data and data[0] == WRAPPED:
            raise SerializationError(
                "what is stored is " + _WRAPPINGS.get(data[1] if len(data) > 1 else 0, "wrapped in an unknown form")
            )
        return self._unpack(data)

    def _unpack(self, data: bytes, depth: int = 0) -> Any:
        try:
            if len(data) > _UNCHECKED_BYTES:
                check_msgpack(data)
            return msgpack.unpackb(data, ext_hook=self._read_hooks[depth], strict_map_key=False)
        except SerializationError:
            raise
        except (ValueError, TypeError, RecursionError, OverflowError, msgpack.UnpackException) as error:
            raise SerializationError(
                f"the stored bytes are not a msgpack value: {str(error) or type(error).__name__}"
            ) from error

    # ---- writing ----

    def _extension(self, depth: int, value: Any) -> Any:
        kind = type(value)
        if kind is datetime:
            offset = value.utcoffset()
            if offset is None:
                raise _RefusedError("a naive datetime says no moment: give it a time zone")
            return msgpack.ExtType(DATETIME, _DATETIME.pack((value - _EPOCH) // _MICROSECOND, offset // _MICROSECOND))
        if kind is UUID:
            return msgpack.ExtType(UUID_, value.bytes)
        if kind is Decimal:
            return msgpack.ExtType(DECIMAL, str(value).encode())
        if kind is date:
            return msgpack.ExtType(DATE, _DATE.pack(value.toordinal()))
        if kind is tuple:
            return msgpack.ExtType(TUPLE, self._nested(list(value), depth))
        if kind is int:
            return msgpack.ExtType(BIG_INT, value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True))
        registered = self.types.of(kind)
        if registered is not None:
            members = registered.members(value)
            return msgpack.ExtType(REGISTERED, self._nested(registered.name, depth) + self._nested(members, depth))
        raise _RefusedError(f"{kind.__module__}.{kind.__qualname__} {not_stored(kind)}")

    def _pack(self, value: Any, depth: int) -> bytes:
        return _checked(bytes(msgpack.packb(value, default=self._write_hooks[depth], strict_types=True)), value)

    def _nested(self, value: Any, depth: int) -> bytes:
        if depth >= _MAX_EXTENSIONS:
            raise _RefusedError(f"more than {_MAX_EXTENSIONS} tuples or objects within one another")
        return self._pack(value, depth + 1)

    def _explain(self, value: Any, path: tuple[str | int, ...]) -> None:
        """Find the first place that cannot be written and raise with its path."""
        if len(path) > _MAX_DEPTH:
            raise SerializationError(f"the value is nested more than {_MAX_DEPTH} deep, or contains itself", path)
        kind = type(value)
        if kind is dict:
            for key, member in value.items():
                step: str | int = key if type(key) in (str, int) else repr(key)
                self._try(key, (*path, step), what="a key that cannot be written")
                self._explain(member, (*path, step))
        elif kind is list or kind is tuple:
            for number, member in enumerate(value):
                self._explain(member, (*path, number))
        else:
            registered = self.types.of(kind)
            if registered is not None:
                self._explain(registered.members(value), path)
            else:
                self._try(value, path)

    def _try(self, value: Any, path: tuple[str | int, ...], what: str = "") -> None:
        try:
            self._pack(value, 0)
        except (TypeError, ValueError, OverflowError, UnicodeError) as error:
            raise SerializationError(f"{what}: {error}" if what else str(error), path) from error

    # ---- reading ----

    def _value(self, depth: int, code: int, data: bytes) -> Any:
        try:
            if code == DATETIME:
                moment_us, offset_us = _DATETIME.unpack(data)
                if not offset_us:
                    return _EPOCH + timedelta(microseconds=moment_us)
                # The local time first: the moment itself may be outside of the years 1 to 9999 in UTC.
                local = _EPOCH + timedelta(microseconds=moment_us + offset_us)
                return local.replace(tzinfo=_zone(offset_us))
            if code == UUID_:
                return UUID(bytes=bytes(data))
            if code == DECIMAL:
                return Decimal(bytes(data).decode("ascii"))
            if code == DATE:
                return date.fromordinal(_DATE.unpack(data)[0])
            if code == BIG_INT:
                return int.from_bytes(data, "big", signed=True)
            if code == TUPLE:
                return tuple(self._unpack(data, self._deeper(depth)))
            if code == REGISTERED:
                return self._registered(data, self._deeper(depth))
        except SerializationError:
            raise
        except (ValueError, TypeError, OverflowError, struct.error, InvalidOperation) as error:
            raise SerializationError(f"a stored value of extension type {code} is damaged: {error}") from error
        raise SerializationError(f"extension type {code} is unknown: a newer fsstore, or another program, wrote this")

    @staticmethod
    def _deeper(depth: int) -> int:
        if depth >= _MAX_EXTENSIONS:
            raise SerializationError(f"more than {_MAX_EXTENSIONS} stored tuples or objects within one another")
        return depth + 1

    def _registered(self, data: bytes, depth: int) -> Any:
        unpacker = msgpack.Unpacker(
            ext_hook=self._read_hooks[depth], strict_map_key=False, max_buffer_size=max(len(data), 1)
        )
        unpacker.feed(data)
        try:
            name, members = unpacker.unpack(), unpacker.unpack()
        except SerializationError:
            raise
        except (ValueError, TypeError, RecursionError, msgpack.UnpackException) as error:
            raise SerializationError(f"a stored object is damaged: {str(error) or type(error).__name__}") from error
        if not isinstance(name, str) or not isinstance(members, dict) or unpacker.tell() != len(data):
            raise SerializationError("a stored object is damaged: it is not a name and members")
        return self.types.build(name, members)
