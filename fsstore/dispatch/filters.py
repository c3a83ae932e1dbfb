"""Which commits a subscriber wants: by bucket, beginning of the stream id, event type, and share of the streams."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any
from zlib import crc32

from fsstore.dispatch.parking import PARKED_BUCKET
from fsstore.model import Commit


@dataclass(frozen=True, slots=True)
class Filter:
    """Takes a commit when every condition that was given holds.

    `event_types`: one event at least, as a reader gets it, is an instance of one of these classes, or of a class of
    that name, or a mapping whose `$type` is that name.
    """

    bucket_id: str | None = None
    stream_prefix: str | None = None
    event_types: Collection[type | str] = ()

    def takes(self, commit: Commit) -> bool:
        """Whether the commit is in the bucket and in one of the streams."""
        if self.bucket_id is None:
            # The dead letters of this store are nobody's but their reader's.
            if commit.bucket_id == PARKED_BUCKET:
                return False
        elif commit.bucket_id != self.bucket_id:
            return False
        return self.stream_prefix is None or commit.stream_id.startswith(self.stream_prefix)

    def takes_events(self, selected: Commit) -> bool:
        """Whether what the hooks left of the commit has an event of one of the types."""
        return not self.event_types or any(self._is_wanted(event.body) for event in selected.events)

    def _is_wanted(self, body: Any) -> bool:
        names = {type(body).__name__}
        if isinstance(body, Mapping):
            names.add(str(body.get("$type")))
        return any(
            wanted in names if isinstance(wanted, str) else isinstance(body, wanted) for wanted in self.event_types
        )


def partition_of(commit: Commit, partitions: int) -> int:
    """The partition that all commits of a stream are in; the same in every process and for ever."""
    return crc32(f"{commit.bucket_id}\0{commit.stream_id}".encode()) % partitions
