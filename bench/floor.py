"""What the disk allows: one `pwrite` into a preallocated file and one `fdatasync`, of the bytes that a commit has.

No checks, no encoding, no order to keep: nobody who waits for the device can be faster with one commit at a time.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from fsstore.engines.file.formats import format
from fsstore.model import CommitAttempt
from fsstore.serialization import MsgpackSerializer, encode_payload


def records(attempts: Iterable[CommitAttempt]) -> list[bytes]:
    """As many bytes for each attempt as the file engine's journal would hold."""
    serializer = MsgpackSerializer()
    return [
        bytes(format.RECORD_HEADER_BYTES)
        + format.stream_prefix(attempt.bucket_id, attempt.stream_id)
        + encode_payload(serializer, attempt.headers, attempt.events)
        for attempt in attempts
    ]


class Floor:
    """One preallocated file."""

    def __init__(self, place: Path, size_bytes: int) -> None:
        self._handle = os.open(place / "floor", os.O_RDWR | os.O_CREAT, 0o600)
        for offset in range(0, size_bytes, 1 << 20):
            os.pwrite(self._handle, bytes(min(1 << 20, size_bytes - offset)), offset)
        os.fsync(self._handle)

    def append(self, parts: Sequence[bytes]) -> list[float]:
        """Write and flush each part; gives the seconds that each took."""
        seconds, offset = [], 0
        for part in parts:
            began = time.perf_counter()
            os.pwrite(self._handle, part, offset)
            os.fdatasync(self._handle)
            seconds.append(time.perf_counter() - began)
            offset += len(part)
        return seconds

    def close(self) -> None:
        os.close(self._handle)
