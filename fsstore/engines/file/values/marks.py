"""The dispatch checkpoint: which commits were dispatched, in two slots of one small file.

Everything up to a token, and ranges above it for commits that were marked out of order. What is lost leads to
dispatching again, never to a gap. Shared between processes by a lock on the file itself.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import chain
from operator import le
from typing import Any

from fsstore.engines.file.failures import asked
from fsstore.engines.file.files import layout
from fsstore.engines.file.formats import format
from fsstore.engines.file.values import slots
from fsstore.errors import StorageError, StorageUnavailableError, StoreClosedError


@dataclass(slots=True)
class Dispatched:
    """All tokens up to `up_to`, and those within `ranges` (first and last, ascending, apart)."""

    up_to: int = 0
    ranges: list[list[int]] = field(default_factory=list)

    def __contains__(self, token: object) -> bool:
        assert isinstance(token, int)
        if token <= self.up_to:
            return True
        at = bisect_right(self.ranges, token, key=lambda span: span[0]) - 1
        return at >= 0 and token <= self.ranges[at][1]

    def add(self, token: int) -> bool:
        """Mark one token; `False` when it was marked before."""
        if token in self:
            return False
        at = bisect_right(self.ranges, token, key=lambda span: span[0])
        self.ranges.insert(at, [token, token])
        if at + 1 < len(self.ranges) and self.ranges[at + 1][0] == token + 1:
            self.ranges[at][1] = self.ranges.pop(at + 1)[1]
        if at and self.ranges[at - 1][1] == token - 1:
            self.ranges[at - 1][1] = self.ranges.pop(at)[1]
        self.raise_to(self.up_to)
        return True

    def raise_to(self, token: int) -> None:
        """Everything up to `token` counts as marked: no commit below it is left that is not."""
        self.up_to = max(self.up_to, token)
        while self.ranges and self.ranges[0][0] <= self.up_to + 1:
            self.up_to = max(self.up_to, self.ranges.pop(0)[1])

    def forget_after(self, token: int) -> bool:
        """Whether any token above it was marked; none is any more."""
        before = self.up_to, self.ranges
        self.up_to = min(self.up_to, token)
        self.ranges = [[first, min(last, token)] for first, last in self.ranges if first <= token]
        return (self.up_to, self.ranges) != before


def fits(*fields: Any) -> bool:
    """Whether these are the fields of `Dispatched` as a slot holds them."""
    match fields:
        case [int(up_to), list(ranges)] if all(type(span) is list and len(span) == 2 for span in ranges):
            ascending = [0, up_to, *chain.from_iterable(ranges), format.MAX_TOKEN]
            return all(type(number) is int for number in ascending) and all(map(le, ascending, ascending[1:]))
    return False


class DispatchCheckpoint:
    """The file of one dispatcher's marks."""

    def __init__(self, files: layout.StoreFiles, *, write: bool) -> None:
        self._disk = files.disk
        self._path = f"{files.path}/{layout.DISPATCH_MARKS}"
        self._seed = files.seed
        self._mutex = threading.Lock()
        self._generation = 0
        self._handle: int | None = None
        try:
            self._handle = self._disk.open(self._path, write=write, create=write)
        except FileNotFoundError:
            if write:
                raise

    def read(self) -> Dispatched:
        """What is marked now, by whatever process."""
        with self._mutex:
            return self._read()

    def _read(self) -> Dispatched:
        if self._handle is None:
            return Dispatched()
        self._generation, fields = slots.read_newest(self._disk, self._handle, self._seed, fits)
        return Dispatched(*fields)

    def mark(self, token: int) -> None:
        """Mark one token. Survives the process when this returns, the power with the next flush."""
        self._change(lambda marks: marks.add(token))

    def forget_after(self, token: int) -> None:
        """Forget marks of tokens above it, which nothing has yet; on the device when this returns. For whoever opens
        the store, alone."""
        assert self._handle is not None
        with self._mutex:
            marks = self._read()
            if marks.forget_after(token):
                self._write(self._handle, marks)
                self._disk.flush(self._handle)

    def raise_to(self, token: int) -> None:
        """Note that nothing up to `token` is left to dispatch."""

        def change(marks: Dispatched) -> bool:
            before = marks.up_to
            marks.raise_to(token)
            return marks.up_to != before

        self._change(change)

    def _change(self, change: Callable[[Dispatched], bool]) -> None:
        with self._mutex, asked(f"marking commits as dispatched in {self._path}"):
            if self._handle is None:
                raise StoreClosedError(f"{self._path} is closed; open the store anew")
            self._disk.lock(self._handle)
            try:
                marks = self._read()
                if change(marks):
                    self._write(self._handle, marks)
            except OSError as error:
                raise StorageUnavailableError(
                    f"{self._path} could not be written ({error}); what was to be marked may be dispatched again",
                    in_doubt=True,
                ) from error
            finally:
                self._disk.unlock(self._handle)

    def _write(self, handle: int, marks: Dispatched) -> None:
        generation = self._generation + 1
        content = slots.pack(generation, marks.up_to, marks.ranges)
        if len(content) > slots.MAX_CONTENT_BYTES:
            raise StorageError(
                f"too many commits are marked as dispatched out of order; dispatch from {marks.up_to + 1} on"
            )
        slots.write(self._disk, handle, self._seed, generation, content)

    def close(self) -> None:
        """Nothing is marked any more; returns when what is being marked is."""
        with self._mutex:
            self.leave_to_parent()

    def leave_to_parent(self) -> None:
        """In the child of a fork, where another thread may have had the mutex."""
        handle, self._handle = self._handle, None
        if handle is not None:
            self._disk.close(handle)
