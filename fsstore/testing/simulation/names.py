"""The directories of a simulated disk: names as processes see them, as the device has them, and the changes between.

A change of names is atomic and reaches the device when its directory is flushed; until then it may be there or not,
alone, except that changes of one name or one file keep their order. The bytes of a file are not its names' concern:
a file can be there by name and still be empty. Handles, locks and processes are not known here.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

from fsstore.errors import CorruptionError
from fsstore.testing.simulation.choices import Choose
from fsstore.testing.simulation.files import File


def failure(code: int, path: str) -> OSError:
    """The `OSError` (the subclass that belongs to the code) that the kernel would give."""
    return OSError(code, os.strerror(code), path)


def refusal(path: str, found: str, what: str) -> CorruptionError:
    """What an engine is told where a file and a directory stand in each other's place."""
    return CorruptionError(f"{found} stands where the store has a {what}; it was left alone", path=path)


@lru_cache(maxsize=4096)
def _parts(path: str) -> tuple[str, ...]:
    return tuple(part for part in path.split("/") if part)


@lru_cache(maxsize=4096)
def _split(path: str) -> tuple[str, str]:
    above, _, name = path.rstrip("/").rpartition("/")
    return above, name


class Directory:
    """Names of files and directories, as processes see them and as the device has them."""

    __slots__ = ("device", "names")

    def __init__(self) -> None:
        self.names: dict[str, Node] = {}
        self.device: dict[str, Node] = {}


Node: TypeAlias = File | Directory
Entry: TypeAlias = tuple[Directory, str, Node | None]
"""What a name in a directory stands for from now on; `None`: nothing."""


@dataclass(frozen=True, slots=True, eq=False)
class Change:
    """An atomic change of one or more entries."""

    entries: tuple[Entry, ...]
    touches: frozenset[int | tuple[int, str]]

    @classmethod
    def of(cls, entries: tuple[Entry, ...]) -> Change:
        touches: set[int | tuple[int, str]] = {(id(directory), name) for directory, name, _ in entries}
        touches.update(id(node) for _, _, node in entries if node is not None)
        return cls(entries, frozenset(touches))

    def reach_device(self) -> None:
        for directory, name, node in self.entries:
            if node is None:
                directory.device.pop(name, None)
            else:
                directory.device[name] = node


class FileSystem:
    """A tree of directories and what of it has reached the device."""

    def __init__(self) -> None:
        self.root = Directory()
        self._changes: list[Change] = []

    # ---- finding ----

    def find(self, path: str) -> Node:
        node: Node = self.root
        for part in _parts(path):
            if not isinstance(node, Directory):
                raise refusal(path, "a file", "directory")
            found = node.names.get(part)
            if found is None:
                raise failure(errno.ENOENT, path)
            node = found
        return node

    def directory(self, path: str) -> Directory:
        node = self.find(path)
        if not isinstance(node, Directory):
            raise refusal(path, "a file", "directory")
        return node

    def parent(self, path: str) -> tuple[Directory, str]:
        above, name = _split(path)
        return self.directory(above), name

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

    def change(self, *entries: Entry) -> None:
        """Put or take away entries, all at once."""
        for directory, name, node in entries:
            if node is None:
                directory.names.pop(name, None)
            else:
                directory.names[name] = node
        self._changes.append(Change.of(entries))

    def flush_directory(self, directory: Directory) -> None:
        """Its names reach the device, with every earlier change that these depend on."""
        needed: set[int | tuple[int, str]] = set()
        kept: list[Change] = []
        flushed: list[Change] = []
        for change in reversed(self._changes):
            if change.touches & needed or any(owner is directory for owner, _, _ in change.entries):
                needed |= change.touches
                flushed.append(change)
            else:
                kept.append(change)
        for change in reversed(flushed):
            change.reach_device()
        self._changes = kept[::-1]

    def flush(self) -> None:
        """Everything reaches the device."""
        for change in self._changes:
            change.reach_device()
        self._changes.clear()
        for node in self._nodes():
            if isinstance(node, File):
                node.flush()

    def evict(self) -> None:
        """The system forgets every clean page."""
        for node in self._nodes():
            if isinstance(node, File):
                node.evict()

    def _nodes(self) -> list[Node]:
        """Every node that has a name, now or on the device, each once, in an order that repeats itself."""
        found: dict[int, Node] = {}
        waiting: list[Node] = [self.root]
        waiting += [node for change in self._changes for _, _, node in change.entries if node is not None]
        while waiting:
            node = waiting.pop()
            if id(node) not in found:
                found[id(node)] = node
                if isinstance(node, Directory):
                    waiting += [*node.names.values(), *node.device.values()]
        return list(found.values())

    # ---- when the power goes ----

    def cut_power(self, choose: Choose) -> None:
        """Only the device is left, with what `choose` says of every unsynced change of names and files."""
        lost: set[int | tuple[int, str]] = set()
        for change in self._changes:
            if change.touches & lost or choose(2):
                lost |= change.touches
            else:
                change.reach_device()
        for node in self._nodes():
            if isinstance(node, File) and not node.is_synced:
                node.cut_power(choose)
        self._changes.clear()
        self._reread(self.root)

    def _reread(self, directory: Directory) -> None:
        directory.names = directory.device.copy()
        for node in directory.names.values():
            if isinstance(node, Directory):
                self._reread(node)
            else:
                node.reread()

    # ---- copies ----

    def copy(self) -> FileSystem:
        """An independent copy, with everything that is unsynced."""
        nodes = self._nodes()
        copies: dict[int, Node] = {id(node): node.copy() if isinstance(node, File) else Directory() for node in nodes}
        other = FileSystem()
        for node in nodes:
            made = copies[id(node)]
            if isinstance(node, Directory) and isinstance(made, Directory):
                made.names = {name: copies[id(one)] for name, one in node.names.items()}
                made.device = {name: copies[id(one)] for name, one in node.device.items()}
                if node is self.root:
                    other.root = made
        for change in self._changes:
            entries = []
            for directory, name, node_or_none in change.entries:
                owner = copies.get(id(directory))
                if isinstance(owner, Directory):  # otherwise it was removed, with everything in it
                    entries.append((owner, name, None if node_or_none is None else copies[id(node_or_none)]))
            other._changes.append(Change.of(tuple(entries)))
        return other

    def content(self) -> tuple[object, ...]:
        """Equal for trees that read alike: every directory's names, every file's bytes."""

        def look(directory: Directory) -> tuple[object, ...]:
            return tuple(
                (name, node.content() if isinstance(node, File) else look(node))
                for name, node in sorted(directory.names.items())
            )

        return look(self.root)
