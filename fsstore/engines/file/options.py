"""The file engine's limits and sizes, each with its unit, its default and its check."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from fsstore.engines.file.disk.disk import DIRECTORY_MODE, FILE_MODE
from fsstore.options import check_options

MIB = 1 << 20
_FIRST_JOURNAL_BYTES = 256 << 10
_OF_OPENING = ("create", "durability", "read_only")


@dataclass(frozen=True, slots=True)
class Options:
    """Tuning of one opened store. None of it changes what is in the files for others.

    `journal_bytes`: size of a journal file once the store has grown to it; a store that is closed has a small one.
    `fold_bytes`: unfolded journal at which folding starts; at four times as much a commit waits for it.
    `max_record_bytes`: the largest commit or snapshot; to write a larger one is a `ValueError`, to read one, where it
    takes memory to see whether it is one, a `CorruptionError`.
    `max_batch_bytes`: the largest `commit_many`, and the most that one pass writes for all waiting threads.
    `max_cached_streams`: streams whose heads and commit ids are kept in memory.
    `max_open_segments`: segment files kept open for reading in checkpoint order.
    `index_from_bytes`: size at which a segment gets an index beside it.
    `page_commits`: the most commits fetched at once when reading in checkpoint order; fewer where they are large.
    `background`: fold in a thread; without it folding happens within the commit that makes it due.
    `file_mode`, `directory_mode`: permissions of every file and directory that is made, whatever the umask. Whoever
        shares a store between users says the same in each process that writes to it.
    """

    journal_bytes: int = 16 * MIB
    fold_bytes: int = 16 * MIB
    max_record_bytes: int = 64 * MIB
    max_batch_bytes: int = 256 * MIB
    max_cached_streams: int = 4096
    max_open_segments: int = 128
    index_from_bytes: int = 64 << 10
    page_commits: int = 8192
    background: bool = True
    file_mode: int = FILE_MODE
    directory_mode: int = DIRECTORY_MODE

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name == "background":
                if not isinstance(value, bool):
                    raise TypeError(f"background must be a bool, not {value!r}")
            elif isinstance(value, bool) or not isinstance(value, int):
                raise TypeError(f"{field.name} must be an int, not {value!r}")
            elif value < 1:
                raise ValueError(f"{field.name} must be at least 1, not {value}")
        if self.journal_bytes < 4096:
            raise ValueError(f"journal_bytes must be at least 4096, not {self.journal_bytes}")
        if self.max_record_bytes > 1 << 31:
            raise ValueError(f"max_record_bytes must be at most 2 GiB, not {self.max_record_bytes}")
        for name, owner in (("file_mode", FILE_MODE), ("directory_mode", DIRECTORY_MODE)):
            mode = getattr(self, name)
            if mode & owner != owner or mode > 0o777:
                raise ValueError(f"{name} must let the owner in ({owner:#o}) and be at most 0o777, not {mode:#o}")

    @classmethod
    def of(cls, tuning: Mapping[str, Any]) -> Options:
        """From a caller's keywords."""
        cls.check_names(tuning)
        return cls(**tuning)

    @classmethod
    def check_names(cls, given: Iterable[str]) -> None:
        """`TypeError` for what is no option of a file store: none of these, and none that says how it is opened."""
        check_options("a file store", given, {*(field.name for field in fields(cls)), *_OF_OPENING})

    @property
    def first_journal_bytes(self) -> int:
        """Size of the journal file that a new store begins with, and one that is closed ends with."""
        return min(_FIRST_JOURNAL_BYTES, max(self.journal_bytes // 2, 4096))
