"""The files of a simulated disk: what processes see, what the device holds, and everything in between.

A file is a map of sectors, once as processes read it and once as the device has it, with the log of unsynced
steps that lead from the one to the other. Directories are the same with names. Flushing moves steps to the
device; a power cut lets `choose` say which of the steps that were not flushed are there. Handles, processes and
errors on purpose are not known here.

`choose(n)` gives a number from 0 to n - 1; 0 always means the least damage.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

SECTOR_BYTES = 512
WORD_BYTES = 8
_ZERO = bytes(SECTOR_BYTES)
_WORDS_KEPT = 256

Choose: TypeAlias = Callable[[int], int]


def failure(code: int, path: str) -> OSError:
    """The `OSError` (the subclass that belongs to the code) that the kernel would give."""
    return OSError(code, os.strerror(code), path)


class Step(NamedTuple):
    """One unsynced change: the new content of whole sectors, or of one word of a mapped page."""

    sectors: dict[int, bytes]
    size_bytes: int
    shrinks: bool = False
    word: tuple[int, bytes] | None = None


class File:
    """One file, whatever its names are."""

    __slots__ = ("device", "device_size_bytes", "locks", "log", "sectors", "size_bytes")

    def __init__(self) -> None:
        self.sectors: dict[int, bytes] = {}
        self.size_bytes = 0
        self.device: dict[int, bytes] = {}
        self.device_size_bytes = 0
        self.log: list[Step] = []
        self.locks: dict[int, bool] = {}

    def copy(self) -> File:
        other = File()
        other.sectors, other.size_bytes = self.sectors.copy(), self.size_bytes
        other.device, other.device_size_bytes = self.device.copy(), self.device_size_bytes
        other.log = self.log.copy()
        return other

    # ---- as processes see it ----

    def read(self, length_bytes: int, offset: int) -> bytes:
        length = min(length_bytes, self.size_bytes - offset)
        if length <= 0:
            return b""
        first, start = divmod(offset, SECTOR_BYTES)
        last = (offset + length - 1) // SECTOR_BYTES
        get = self.sectors.get
        return b"".join([get(number, _ZERO) for number in range(first, last + 1)])[start : start + length]

    def write(self, data: bytes, offset: int) -> None:
        if not data:
            return
        first, start = divmod(offset, SECTOR_BYTES)
        end = start + len(data)
        rest = -end % SECTOR_BYTES
        last = first + (end - 1) // SECTOR_BYTES
        head = self.sectors.get(first, _ZERO)[:start]
        tail = self.sectors.get(last, _ZERO)[SECTOR_BYTES - rest :] if rest else b""
        whole = head + data + tail
        sectors = {
            first + number: whole[number * SECTOR_BYTES : (number + 1) * SECTOR_BYTES]
            for number in range(last - first + 1)
        }
        self.sectors.update(sectors)
        self.size_bytes = max(self.size_bytes, offset + len(data))
        self.log.append(Step(sectors, self.size_bytes))

    def truncate(self, size_bytes: int) -> None:
        if size_bytes == self.size_bytes:
            return
        shrinks = size_bytes < self.size_bytes
        changed: dict[int, bytes] = {}
        if shrinks:
            changed = _cut(self.sectors, size_bytes)
            changed.update((number, _ZERO) for number in self.device if number * SECTOR_BYTES >= size_bytes)
        self.size_bytes = size_bytes
        self.log.append(Step(changed, size_bytes, shrinks))

    def word(self, index: int) -> bytes:
        return self.read(WORD_BYTES, index * WORD_BYTES)

    def set_word(self, index: int, value: bytes) -> None:
        """A store into a mapped page: no order among words holds until the page is flushed."""
        _put_word(self.sectors, index, value)
        self.log.append(Step({}, self.size_bytes, word=(index, value)))
        if len(self.log) > 2 * _WORDS_KEPT:
            # The kernel writes pages back by itself in the end.
            self._apply(self.log[:_WORDS_KEPT])
            del self.log[:_WORDS_KEPT]

    def missing_sectors(self, length_bytes: int, offset: int) -> int:
        """How many sectors a write there would have to allocate."""
        last = (offset + length_bytes - 1) // SECTOR_BYTES
        return sum(number not in self.sectors for number in range(offset // SECTOR_BYTES, last + 1))

    # ---- as the device has it ----

    def flush(self) -> None:
        """Every sector that was changed since the last flush reaches the device."""
        for step in self.log:
            for number in step.sectors:
                self.device[number] = self.sectors.get(number, _ZERO)
            if step.word is not None:
                number = step.word[0] * WORD_BYTES // SECTOR_BYTES
                self.device[number] = self.sectors[number]
        if self.log:
            self.device_size_bytes = self.size_bytes
            _cut(self.device, self.size_bytes)
        self.log.clear()

    def lose(self, choose: Choose) -> None:
        """A failed flush: what did not reach the device counts as clean now, and never will by itself."""
        how = choose(3) if self.log else 0
        if how == 1:
            self.flush()
        elif how == 2:
            self._torn(choose)
        self.log.clear()

    def cut_power(self, choose: Choose) -> None:
        """What is on the device from now on is what everybody sees."""
        how = choose(4) if self.log else 1
        if how == 0:
            self.flush()
        elif how == 2:
            self._apply(self.log[: choose(len(self.log))])
        elif how == 3:
            self._torn(choose)
        self.forget_unsynced()

    def forget_unsynced(self) -> None:
        self.log.clear()
        _cut(self.device, self.device_size_bytes)
        self.sectors, self.size_bytes = self.device.copy(), self.device_size_bytes

    def _apply(self, steps: list[Step]) -> None:
        for step in steps:
            self.device.update(step.sectors)
            if step.word is not None:
                _put_word(self.device, *step.word)
            self.device_size_bytes = step.size_bytes

    def _torn(self, choose: Choose) -> None:
        """Each sector and each mapped word as it was at some time since the last flush, alone.

        A truncation that did not happen takes what followed it along: the sizes of a file are in order.
        """
        cuts = [number for number, step in enumerate(self.log) if step.shrinks]
        cut = choose(len(cuts) + 1) if cuts else 0
        steps = self.log[: cuts[-cut]] if cut else self.log
        sizes = {self.device_size_bytes: None}
        versions: dict[int, list[bytes]] = {}
        words: dict[int, list[bytes]] = {}
        for step in steps:
            if step.shrinks:
                sizes.clear()
                for number, content in step.sectors.items():
                    versions[number] = [content]
            else:
                for number, content in step.sectors.items():
                    known = versions.setdefault(number, [self.device.get(number, _ZERO)])
                    if known[-1] != content:
                        known.append(content)
            if step.word is not None:
                words.setdefault(step.word[0], []).append(step.word[1])
            sizes[step.size_bytes] = None
        for number, content in _picked(versions, choose):
            self.device[number] = content
        for index, values in words.items():
            values.insert(0, _word_of(self.device, index))
        for index, value in _picked(words, choose):
            _put_word(self.device, index, value)
        choice = list(reversed(sizes))
        self.device_size_bytes = choice[choose(len(choice))] if len(choice) > 1 else choice[0]


def _picked(versions: dict[int, list[bytes]], choose: Choose) -> Iterator[tuple[int, bytes]]:
    """One version of each: mostly the newest or the oldest, by one draw for all of them."""
    older = choose(1 << len(versions)) if versions else 0
    for place, (number, known) in enumerate(versions.items()):
        if older >> place & 1 and len(known) > 1:
            yield number, known[choose(len(known) - 1) if len(known) > 2 else 0]
        else:
            yield number, known[-1]


def _cut(sectors: dict[int, bytes], size_bytes: int) -> dict[int, bytes]:
    """Forget everything from `size_bytes` on; gives the sectors that this changed."""
    last, kept = divmod(size_bytes, SECTOR_BYTES)
    changed = {number: _ZERO for number in sectors if number > last or (number == last and not kept)}
    for number in changed:
        del sectors[number]
    if kept and any(sectors.get(last, _ZERO)[kept:]):
        sectors[last] = changed[last] = sectors[last][:kept] + _ZERO[kept:]
    return changed


def _word_of(sectors: dict[int, bytes], index: int) -> bytes:
    number, start = divmod(index * WORD_BYTES, SECTOR_BYTES)
    return sectors.get(number, _ZERO)[start : start + WORD_BYTES]


def _put_word(sectors: dict[int, bytes], index: int, value: bytes) -> None:
    number, start = divmod(index * WORD_BYTES, SECTOR_BYTES)
    sector = sectors.get(number, _ZERO)
    sectors[number] = sector[:start] + value + sector[start + WORD_BYTES :]


class Directory:
    """Names of files and directories, as processes see them and as the device has them."""

    __slots__ = ("device", "names")

    def __init__(self) -> None:
        self.names: dict[str, Node] = {}
        self.device: dict[str, Node] = {}


Node: TypeAlias = File | Directory


@dataclass(slots=True, eq=False)
class Change:
    """An atomic change of names: each entry is put or, with `None`, taken away."""

    entries: list[tuple[Directory, str, Node | None]]
    keys: set[int | tuple[int, str]] = field(init=False)

    def __post_init__(self) -> None:
        self.keys = {(id(directory), name) for directory, name, _ in self.entries}
        self.keys.update(id(node) for _, _, node in self.entries if node is not None)

    def apply(self) -> None:
        for directory, name, node in self.entries:
            if node is None:
                directory.device.pop(name, None)
            else:
                directory.device[name] = node


class FileSystem:
    """A tree of directories. Names change in order per name and file, otherwise in any order, until flushed."""

    def __init__(self) -> None:
        self.root = Directory()
        self.changes: list[Change] = []

    # ---- finding ----

    def find(self, path: str) -> Node:
        node: Node = self.root
        for part in path.split("/"):
            if part:
                if not isinstance(node, Directory):
                    raise failure(errno.ENOTDIR, path)
                if part not in node.names:
                    raise failure(errno.ENOENT, path)
                node = node.names[part]
        return node

    def parent(self, path: str) -> tuple[Directory, str]:
        above, _, name = path.rstrip("/").rpartition("/")
        node = self.find(above)
        if not isinstance(node, Directory):
            raise failure(errno.ENOTDIR, path)
        return node, name

    def directory(self, path: str) -> Directory:
        node = self.find(path)
        if not isinstance(node, Directory):
            raise failure(errno.ENOTDIR, path)
        return node

    def file(self, path: str) -> File:
        node = self.find(path)
        if not isinstance(node, File):
            raise failure(errno.EISDIR, path)
        return node

    def files(self) -> dict[str, File]:
        """Every file by its path, in order."""
        found: dict[str, File] = {}

        def look(directory: Directory, path: str) -> None:
            for name in sorted(directory.names):
                node = directory.names[name]
                if isinstance(node, File):
                    found[f"{path}/{name}"] = node
                else:
                    look(node, f"{path}/{name}")

        look(self.root, "")
        return found

    # ---- changing names ----

    def put(self, *entries: tuple[Directory, str, Node | None]) -> None:
        for directory, name, node in entries:
            if node is None:
                directory.names.pop(name, None)
            else:
                directory.names[name] = node
        self.changes.append(Change(list(entries)))

    def flush_directory(self, directory: Directory) -> None:
        """Its names reach the device, with every earlier change that these depend on."""
        wanted: set[int | tuple[int, str]] = set()
        kept: list[Change] = []
        flushed: list[Change] = []
        for change in reversed(self.changes):
            if change.keys & wanted or any(one is directory for one, _, _ in change.entries):
                wanted |= change.keys
                flushed.append(change)
            else:
                kept.append(change)
        for change in reversed(flushed):
            change.apply()
        self.changes = kept[::-1]

    def flush(self) -> None:
        for change in self.changes:
            change.apply()
        self.changes.clear()
        for node in self._nodes():
            if isinstance(node, File):
                node.flush()

    def _nodes(self) -> list[Node]:
        """Every node that has a name, now or on the device, each once."""
        found: dict[int, Node] = {}
        waiting: list[Node] = [self.root]
        waiting += [node for change in self.changes for _, _, node in change.entries if node is not None]
        while waiting:
            node = waiting.pop()
            if id(node) not in found:
                found[id(node)] = node
                if isinstance(node, Directory):
                    waiting += [*node.names.values(), *node.device.values()]
        return list(found.values())

    # ---- copies ----

    def copy(self) -> FileSystem:
        """An independent copy with everything unsynced; no locks are held in it."""
        copies: dict[int, Node] = {}
        nodes = self._nodes()
        for node in nodes:
            copies[id(node)] = node.copy() if isinstance(node, File) else Directory()
        for node in nodes:
            if isinstance(node, Directory):
                made = copies[id(node)]
                assert isinstance(made, Directory)
                made.names = {name: copies[id(one)] for name, one in node.names.items()}
                made.device = {name: copies[id(one)] for name, one in node.device.items()}
        other = FileSystem()
        root = copies[id(self.root)]
        assert isinstance(root, Directory)
        other.root = root
        for change in self.changes:
            entries = []
            for directory, name, one in change.entries:
                owner = copies.get(id(directory))
                if isinstance(owner, Directory):
                    entries.append((owner, name, None if one is None else copies[id(one)]))
            other.changes.append(Change(entries))
        return other

    def cut_power(self, choose: Choose) -> None:
        """Only the device is left. All unsynced steps are there, or none, or each file and name for itself."""
        files = [node for node in self._nodes() if isinstance(node, File)]
        unsynced = [file for file in files if file.log]
        how = choose(3) if unsynced or self.changes else 0
        if how == 0:
            self.flush()
        elif how == 2:
            self._cut_changes(choose)
            for file in unsynced:
                file.cut_power(choose)
        self.changes.clear()
        self._names_from_device(self.root)

    def _cut_changes(self, choose: Choose) -> None:
        how = choose(4) if self.changes else 1
        if how == 0:
            for change in self.changes:
                change.apply()
        elif how == 2:
            for change in self.changes[: choose(len(self.changes))]:
                change.apply()
        elif how == 3:
            dropped = choose(1 << len(self.changes))
            blocked: set[int | tuple[int, str]] = set()
            for number, change in enumerate(self.changes):
                if dropped >> number & 1 or change.keys & blocked:
                    blocked |= change.keys
                else:
                    change.apply()

    def _names_from_device(self, directory: Directory) -> None:
        directory.names = directory.device.copy()
        for node in directory.names.values():
            if isinstance(node, Directory):
                self._names_from_device(node)
            else:
                node.forget_unsynced()

    def fingerprint(self) -> int:
        """Equal for equal content; to tell outcomes apart."""
        return hash(
            tuple(
                (path, file.size_bytes, frozenset((n, s) for n, s in file.sectors.items() if s != _ZERO))
                for path, file in self.files().items()
            )
        )
