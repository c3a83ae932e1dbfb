"""Payloads made smaller before they are stored. What comes out too small to gain from it stays as it is."""

from __future__ import annotations

import zlib
from typing import Any

from fsstore.errors import SerializationError
from fsstore.serialization.msgpack_serializer import WRAPPED
from fsstore.serialization.payload import Serializer

_MARK = bytes([WRAPPED, 0x5A])
_ZLIB, _ZSTD = 1, 2
_ALGORITHMS = {"zlib": _ZLIB, "zstd": _ZSTD}


def _zstandard() -> Any:
    try:
        import zstandard
    except ImportError as error:
        raise ImportError("zstd compression needs the package zstandard: pip install 'fsstore[zstd]'") from error
    return zstandard


class CompressedSerializer:
    """Compresses what `inner` makes: the mark `C1 5A`, one byte for the algorithm, the compressed bytes.

    Payloads below `min_bytes`, and those that would not become smaller, are stored plain; plain payloads are
    read. `max_bytes` bounds what a stored payload may grow to, and so what is compressed.
    """

    def __init__(
        self,
        inner: Serializer,
        *,
        algorithm: str = "zlib",
        level: int | None = None,
        min_bytes: int = 128,
        max_bytes: int = 1 << 28,
    ) -> None:
        if algorithm not in _ALGORITHMS:
            raise ValueError(f"algorithm must be one of {sorted(_ALGORITHMS)}, not {algorithm!r}")
        self.inner = inner
        self._algorithm = _ALGORITHMS[algorithm]
        self._level = level
        self._min_bytes = min_bytes
        self._max_bytes = max_bytes
        try:
            self._compressed(b"")
        except zlib.error as error:
            raise ValueError(f"{level!r} is no level of {algorithm}: {error}") from error

    def dumps(self, value: Any, /) -> bytes:
        data = self.inner.dumps(value)
        if len(data) < self._min_bytes:
            return data
        if len(data) > self._max_bytes:
            raise SerializationError(f"the value has {len(data)} bytes; at most {self._max_bytes} are compressed")
        wrapped = _MARK + bytes([self._algorithm]) + self._compressed(data)
        return wrapped if len(wrapped) < len(data) else data

    def _compressed(self, data: bytes) -> bytes:
        if self._algorithm == _ZSTD:
            level = 3 if self._level is None else self._level
            return bytes(_zstandard().ZstdCompressor(level=level).compress(data))
        return zlib.compress(data, zlib.Z_DEFAULT_COMPRESSION if self._level is None else self._level)

    def loads(self, data: bytes, /) -> Any:
        if data[:2] != _MARK:
            return self.inner.loads(data)
        try:
            plain = self._decompress(data[2:3], data[3:])
        except (ValueError, zlib.error) as error:
            raise SerializationError(f"a compressed payload is damaged: {error}") from error
        return self.inner.loads(plain)

    def _decompress(self, algorithm: bytes, data: bytes) -> bytes:
        if algorithm == bytes([_ZLIB]):
            stream = zlib.decompressobj()
            plain = stream.decompress(data, self._max_bytes)
            if stream.unconsumed_tail:
                raise ValueError(f"it grows to more than {self._max_bytes} bytes")
            if not stream.eof or stream.unused_data:
                raise ValueError("it ends early or goes on")
            return plain
        if algorithm == bytes([_ZSTD]):
            zstandard = _zstandard()
            try:
                size = zstandard.frame_content_size(data)
                if not 0 <= size <= self._max_bytes:
                    raise ValueError(f"it says that it grows to {size} bytes, at most {self._max_bytes} are allowed")
                return bytes(zstandard.ZstdDecompressor().decompress(data, max_output_size=size or 1))
            except zstandard.ZstdError as error:
                raise ValueError(str(error)) from error
        raise ValueError("its algorithm is unknown; a newer fsstore wrote it")
