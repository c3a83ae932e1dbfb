"""The machine that simulated processes share: its files, who holds which lock, what is going to go wrong, and when.

Every call of every process passes `begin`, which counts it, so that "the 17th call" means the same call in every run.
What a call does is `disk`'s business; when another process gets its turn is decided by whoever sets `turn`.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final, NamedTuple

from fsstore.testing.simulation.choices import Choose
from fsstore.testing.simulation.files import SECTOR_BYTES, File
from fsstore.testing.simulation.names import FileSystem

CALLS: Final = (
    "exists",
    "flush",
    "flush_directory",
    "flush_file_system",
    "lock",
    "make_directory",
    "map_words",
    "names",
    "open",
    "read",
    "remove_directory",
    "rename",
    "size",
    "store",
    "truncate",
    "unlink",
    "write",
)
"""The calls that are counted and can fail; `store` is one into a mapped page."""


class PowerCut(BaseException):
    """The power went in this call. Raised by every call of every process until the machine is restarted."""


class ProcessKilled(BaseException):
    """This process was killed in this call. Raised by every further call it makes."""


class Call(NamedTuple):
    """One call that a process is about to make."""

    number: int
    name: str
    path: str


@dataclass(slots=True)
class Fault:
    """Calls of that name, on paths that match, fail with `code`: `skip` of them succeed first, then `times` fail."""

    name: str
    code: int = errno.EIO
    path: str = "*"
    skip: int = 0
    times: int = 1

    def __post_init__(self) -> None:
        if self.name not in CALLS:
            raise ValueError(f"no call is named {self.name!r}; there are {', '.join(CALLS)}")
        if self.skip < 0 or self.times < 1:
            raise ValueError(f"skip must be at least 0 and times at least 1, not {self.skip} and {self.times}")

    def strikes(self, call: Call) -> bool:
        """Whether this call fails; counts it."""
        if self.name != call.name or not self.times or not fnmatchcase(call.path, self.path):
            return False
        if self.skip:
            self.skip -= 1
            return False
        self.times -= 1
        return True


@dataclass(slots=True, eq=False)
class Handle:
    """An open file of one process. A lock belongs to the handle, as `flock` has it."""

    owner: object
    file: File
    path: str
    write: bool
    lock: str = ""


class Machine:
    """What all processes share. With `capacity_bytes` the disk is full at some time."""

    def __init__(self, files: FileSystem, choose: Choose, capacity_bytes: int | None = None) -> None:
        self.files = files
        self.choose = choose
        self.capacity_bytes = capacity_bytes
        self.calls = 0
        self.faults: list[Fault] = []
        self.handles: dict[int, Handle] = {}
        self.is_off = False
        self.power_cut_at = 0
        self.watch: Callable[[Call], None] | None = None
        self.is_watched = False
        self.turn: Callable[[object, bool], None] | None = None
        self._last_handle = 2

    def begin(self, name: str, path: str) -> int:
        """Count a call; gives the error code with which it has to fail, or 0."""
        self.calls += 1
        if self.calls == self.power_cut_at:
            self.is_off = True
            raise PowerCut(f"in call {self.calls}: {name} {path}")
        if self.watch is not None:
            self.is_watched = True
            try:
                self.watch(Call(self.calls, name, path))
            finally:
                self.is_watched = False
        if self.faults:
            call = Call(self.calls, name, path)
            for fault in self.faults:
                if fault.strikes(call):
                    return fault.code
        return 0

    # ---- handles ----

    def opened(self, handle: Handle) -> int:
        self._last_handle += 1
        self.handles[self._last_handle] = handle
        return self._last_handle

    def holder(self, wanted: Handle, kind: str) -> Handle | None:
        """Whose lock stands against a lock of that kind on the handle's file."""
        for other in self.handles.values():
            against = other.lock == "exclusive" or (other.lock and kind == "exclusive")
            if against and other.file is wanted.file and other is not wanted:
                return other
        return None

    def let_go(self, owner: object) -> None:
        """The process is gone, and with it its handles and locks."""
        for number in [number for number, handle in self.handles.items() if handle.owner is owner]:
            del self.handles[number]

    # ---- room ----

    def room_for(self, file: File, length_bytes: int, offset: int) -> int:
        """How many of these bytes there is room for."""
        if self.capacity_bytes is None or not length_bytes:
            return length_bytes
        missing = file.missing_sectors(length_bytes, offset)
        free = self.capacity_bytes // SECTOR_BYTES - sum(one.used_sectors for one in self.files.files().values())
        if len(missing) <= free:
            return length_bytes
        return max(0, missing[max(free, 0)] * SECTOR_BYTES - offset)

    def prefix(self, length_bytes: int) -> int:
        """How much of a write is there that did not come to its end."""
        sectors = length_bytes // SECTOR_BYTES
        return min(length_bytes, self.choose(sectors + 2) * SECTOR_BYTES)
