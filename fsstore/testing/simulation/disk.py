"""`SimulatedDisk`: the calls that an engine makes of a disk, answered in memory by one process's view of a machine.

It has the methods of the file engine's seam and answers as Linux does, so an engine or a whole application runs on it
unchanged. On top of that it cuts the power, kills the process, fails calls and lets bits rot, all when it is told to.
What an outcome means for the application is not known here.
"""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable
from typing import NoReturn, TypeAlias

from fsstore.testing.simulation.choices import Choose, seeded
from fsstore.testing.simulation.files import SECTOR_BYTES, WORD_BYTES, File
from fsstore.testing.simulation.machine import Call, Fault, Handle, Machine, PowerCut, ProcessKilled
from fsstore.testing.simulation.names import Directory, FileSystem, failure, refusal

_Bytes: TypeAlias = bytes | bytearray | memoryview


class SimulatedDisk:
    """A disk as one process sees it. Every choice comes from `choose`, or from `seed` when there is none.

    `process()` gives another process on the same disk, `restarted()` the disk after a power cut. It is not
    thread-safe: run an engine on it without threads of its own (`background=False`).
    """

    def __init__(self, choose: Choose | None = None, *, seed: int = 0, capacity_bytes: int | None = None) -> None:
        self._machine = Machine(FileSystem(), choose or seeded(seed), capacity_bytes)
        self._killed = False
        self._kill_at = 0

    @classmethod
    def _of(cls, machine: Machine) -> SimulatedDisk:
        made = cls(machine.choose)
        made._machine = machine
        return made

    @property
    def choose(self) -> Choose:
        """Where the machine's choices come from."""
        return self._machine.choose

    @choose.setter
    def choose(self, choose: Choose) -> None:
        self._machine.choose = choose

    # ---- processes and power ----

    def process(self) -> SimulatedDisk:
        """Another process on the same disk."""
        return self._of(self._machine)

    def kill(self) -> None:
        """Kill this process: its locks are free, what it wrote stays visible, it makes no further call."""
        self._killed = True
        self._machine.let_go(self)

    def kill_at(self, calls: int | None) -> None:
        """Kill this process in its n-th call from now on, or in none; of a write, a part may be there.

        Within `watch`, 0 is the call that is looked at.
        """
        self._kill_at = self._call_from_now(calls, first=0 if self._machine.is_watched else 1)

    def cut_power_at(self, calls: int | None) -> None:
        """Cut the power in the n-th call from now on, whoever makes it, or in none. `PowerCut` is raised there."""
        self._machine.power_cut_at = self._call_from_now(calls, first=1)

    def _call_from_now(self, calls: int | None, *, first: int) -> int:
        if calls is None:
            return 0
        if calls < first:
            raise ValueError(f"calls count from {first}: there is no call {calls}; None stands for none")
        return self._machine.calls + calls

    def restarted(self, choose: Choose | None = None) -> SimulatedDisk:
        """The disk of the first process after a power cut, which comes now unless it came already.

        What was flushed is there. Of everything else each sector, each size, each mapped word and each name is there
        or not as `choose` says.
        """
        machine = self._machine
        machine.is_off = True
        machine.files.cut_power(choose or machine.choose)
        return self._of(Machine(machine.files, machine.choose, machine.capacity_bytes))

    def copy(self) -> SimulatedDisk:
        """The same disk once more, unsynced changes and all, without processes: to look at more than one outcome."""
        machine = self._machine
        return self._of(Machine(machine.files.copy(), machine.choose, machine.capacity_bytes))

    # ---- what goes wrong ----

    def fail(self, name: str, code: int = errno.EIO, *, path: str = "*", skip: int = 0, times: int = 1) -> Fault:
        """Have calls of this name (one of `CALLS`) on paths that match the pattern fail.

        A failed write leaves a part of itself. A failed flush leaves any part of what was to be flushed on the
        device and marks the rest as clean: a later flush succeeds without it. `skip` calls succeed before.
        """
        fault = Fault(name, code, path, skip, times)
        self._machine.faults.append(fault)
        return fault

    def heal(self) -> None:
        """No call fails any more on its own."""
        self._machine.faults.clear()

    def set_capacity(self, capacity_bytes: int | None) -> None:
        """From now on the disk holds that many bytes of file content; `None`: there is no limit."""
        self._machine.capacity_bytes = capacity_bytes

    def evict(self) -> None:
        """The system forgets clean pages; what a failed flush marked as clean is read from the device again."""
        self._machine.files.evict()

    def rot(self, path: str, offset: int, bit: int = 0) -> None:
        """Flip one bit of a file."""
        file = self._machine.files.file(path)
        if not 0 <= offset < file.size_bytes:
            raise ValueError(f"{path} has {file.size_bytes} bytes: there is none at {offset}")
        if not 0 <= bit < 8:
            raise ValueError(f"a byte has bits 0 to 7, not {bit}")
        file.flip(offset, bit)

    # ---- looking ----

    @property
    def is_off(self) -> bool:
        """Whether the power went, and the machine was not restarted."""
        return self._machine.is_off

    @property
    def calls(self) -> int:
        """How many calls all processes have made since the machine was started."""
        return self._machine.calls

    def watch(self, look: Callable[[Call], None] | None) -> None:
        """Have `look` called before each call; it may `copy` the disk."""
        self._machine.watch = look

    def take_turns(self, turn: Callable[[object, bool], None] | None) -> None:
        """Have `turn(disk, blocked)` called at every lock and unlock; it returns when this process goes on."""
        self._machine.turn = turn

    def sizes_bytes(self) -> dict[str, int]:
        """Every file by its path, with its size."""
        return {path: file.size_bytes for path, file in self._machine.files.files().items()}

    def used_bytes(self) -> int:
        """How much of the capacity is taken."""
        return SECTOR_BYTES * sum(file.used_sectors for file in self._machine.files.files().values())

    def open_files(self) -> list[str]:
        """The paths that this process has open, one for each handle."""
        return [handle.path for handle in self._machine.handles.values() if handle.owner is self]

    def content(self) -> tuple[object, ...]:
        """Equal for disks on which every file reads the same."""
        return self._machine.files.content()

    # ---- the calls of an engine: files ----

    def _begin(self, name: str, path: str) -> Machine:
        machine = self._machine
        if machine.is_off or self._killed:
            self._stop()
        code = machine.begin(name, path)
        if machine.calls == self._kill_at:
            self.kill()
            raise ProcessKilled(f"in call {machine.calls}: {name} {path}")
        if code:
            raise failure(code, path)
        return machine

    def _stop(self) -> NoReturn:
        if self._machine.is_off:
            raise PowerCut("the machine is off")
        raise ProcessKilled("this process was killed")

    def _handle(self, handle: int) -> Handle:
        found = self._machine.handles.get(handle)
        if found is None or found.owner is not self:
            if self._machine.is_off or self._killed:
                self._stop()
            raise failure(errno.EBADF, "")
        return found

    def open(self, path: str, *, write: bool = False, create: bool = False) -> int:
        machine = self._begin("open", path)
        directory, name = machine.files.parent(path)
        node = directory.names.get(name) if name else directory
        if node is None:
            if not create:
                raise failure(errno.ENOENT, path)
            node = File()
            machine.files.change((directory, name, node))
        elif isinstance(node, Directory):
            raise refusal(path, "a directory", "file")
        return machine.opened(Handle(self, node, path, write))

    def close(self, handle: int) -> None:
        if self._killed or self._machine.is_off:
            return
        self._handle(handle)
        locked = self._machine.handles.pop(handle).lock
        if locked:
            self._take_turn(blocked=False)

    def read(self, handle: int, length_bytes: int, offset: int) -> bytes:
        one = self._handle(handle)
        self._begin("read", one.path)
        return one.file.read(length_bytes, offset)

    def write(self, handle: int, data: _Bytes, offset: int) -> None:
        one = self._handle(handle)
        content = bytes(data)
        try:
            machine = self._begin("write", one.path)
            if not one.write:
                raise failure(errno.EBADF, one.path)
        except (OSError, ProcessKilled):
            if one.write:
                one.file.write(content[: self._machine.prefix(len(content))], offset)
            raise
        room = machine.room_for(one.file, len(content), offset)
        one.file.write(content[:room], offset)
        if room < len(content):
            raise failure(errno.ENOSPC, one.path)

    def truncate(self, handle: int, size_bytes: int) -> None:
        one = self._handle(handle)
        self._begin("truncate", one.path)
        if not one.write:
            raise failure(errno.EINVAL, one.path)
        one.file.truncate(size_bytes)

    def size(self, handle: int) -> int:
        one = self._handle(handle)
        self._begin("size", one.path)
        return one.file.size_bytes

    def flush(self, handle: int) -> None:
        one = self._handle(handle)
        try:
            self._begin("flush", one.path)
        except OSError:
            one.file.fail_to_flush(self._machine.choose)
            raise
        one.file.flush()

    def flush_directory(self, path: str) -> None:
        machine = self._begin("flush_directory", path)
        machine.files.flush_directory(machine.files.directory(path))

    def flush_file_system(self, handle: int) -> bool:
        one = self._handle(handle)
        self._begin("flush_file_system", one.path).files.flush()
        return True

    # ---- names ----

    def rename(self, source: str, target: str) -> None:
        files = self._begin("rename", source).files
        from_directory, from_name = files.parent(source)
        directory, name = files.parent(target)
        node = files.find(source)
        replaced = directory.names.get(name)
        if replaced is node:
            return
        if isinstance(node, Directory):
            if f"{target}/".startswith(f"{source}/"):
                raise failure(errno.EINVAL, source)
            if isinstance(replaced, File):
                raise failure(errno.ENOTDIR, source)
            if replaced is not None and replaced.names:
                raise failure(errno.ENOTEMPTY, source)
        elif isinstance(replaced, Directory):
            raise failure(errno.EISDIR, source)
        files.change((from_directory, from_name, None), (directory, name, node))

    def unlink(self, path: str) -> None:
        files = self._begin("unlink", path).files
        files.file(path)
        files.change((*files.parent(path), None))

    def make_directory(self, path: str) -> None:
        files = self._begin("make_directory", path).files
        directory, name = files.parent(path)
        known = directory.names.get(name) if name else directory
        if known is None:
            files.change((directory, name, Directory()))
        elif isinstance(known, File):
            raise refusal(path, "a file", "directory")

    def remove_directory(self, path: str) -> None:
        files = self._begin("remove_directory", path).files
        node = files.find(path)
        if isinstance(node, File):
            raise failure(errno.ENOTDIR, path)
        if node.names:
            raise failure(errno.ENOTEMPTY, path)
        files.change((*files.parent(path), None))

    def names(self, path: str) -> list[str]:
        files = self._begin("names", path).files
        try:
            return sorted(files.directory(path).names)
        except FileNotFoundError:
            return []

    def exists(self, path: str) -> bool:
        files = self._begin("exists", path).files
        try:
            files.find(path)
        except FileNotFoundError:
            return False
        return True

    # ---- locks and mapped words ----

    def lock(self, handle: int, *, shared: bool = False, blocking: bool = True) -> bool:
        one = self._handle(handle)
        machine = self._begin("lock", one.path)
        self._take_turn(blocked=False)
        kind = "shared" if shared else "exclusive"
        if one.lock == kind:
            return True
        # The kernel lets go of the one before it asks for the other, and does not give it back.
        one.lock = ""
        while machine.holder(one, kind) is not None:
            if not blocking:
                return False
            if machine.turn is None:
                raise RuntimeError(f"{one.path} is locked by another handle, and nothing runs that would release it")
            self._take_turn(blocked=True)
        one.lock = kind
        return True

    def unlock(self, handle: int) -> None:
        if self._killed or self._machine.is_off:
            return
        self._handle(handle).lock = ""
        self._take_turn(blocked=False)

    def _take_turn(self, *, blocked: bool) -> None:
        if self._machine.turn is not None:
            self._machine.turn(self, blocked)
            if self._machine.is_off or self._killed:
                self._stop()

    def map_words(self, handle: int, count: int, *, write: bool) -> SimulatedWords:
        one = self._handle(handle)
        self._begin("map_words", one.path)
        if count * WORD_BYTES > one.file.size_bytes:
            raise ValueError("mmap length is greater than file size")
        if write and not one.write:
            raise failure(errno.EACCES, one.path)
        return SimulatedWords(self, one, count, write=write)

    def network_file_system(self, path: str) -> str | None:
        """None is simulated."""
        return None

    def let_go(self) -> None:
        """Nothing is kept open here but handles."""


class SimulatedWords:
    """A mapped page. What is stored is seen by every process at once and reaches the device in any order."""

    def __init__(self, disk: SimulatedDisk, handle: Handle, count: int, *, write: bool) -> None:
        self._disk = disk
        self._handle = handle
        self._count = count
        self._write = write

    def __getitem__(self, index: int, /) -> int:
        disk = self._disk
        if disk._machine.is_off or disk._killed:
            disk._stop()
        if not 0 <= index < self._count:
            raise IndexError("index out of bounds")
        return int.from_bytes(self._handle.file.word(index), sys.byteorder)

    def __setitem__(self, index: int, value: int, /) -> None:
        self._disk._begin("store", self._handle.path)
        if not 0 <= index < self._count:
            raise IndexError("index out of bounds")
        if not self._write:
            raise TypeError("cannot modify read-only memory")
        self._handle.file.set_word(index, value.to_bytes(WORD_BYTES, sys.byteorder))

    def release(self) -> None:
        self._count = 0
