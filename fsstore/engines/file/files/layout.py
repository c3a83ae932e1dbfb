"""The store as a directory: its names, making it, and recognizing it before a byte of it is touched.

`store.meta` is written last when a store is made, so a directory without it is no store yet, and one with it
is whole. This module knows file names and the meta file, nothing of journal or streams.
"""

from __future__ import annotations

import contextlib
import os
import reprlib
import secrets
from collections.abc import Iterator
from dataclasses import dataclass

from fsstore.engines.file.disk.disk import Disk
from fsstore.engines.file.files.handles import opened, read_from
from fsstore.engines.file.formats import file_headers, format
from fsstore.errors import CorruptionError, StorageError

META = "store.meta"
LOCK = "lock"
WRITE_LOCK = "write.lock"
FOLD_LOCK = "fold.lock"
CONTROL = "control"
JOURNAL = "journal"
HEADS_INDEX = "heads.index"
COMMITS_INDEX = "commits.index"
STREAMS = "streams"
DISPATCH = "dispatch"
DISPATCH_MARKS = f"{DISPATCH}/default.checkpoint"
QUARANTINE = "quarantine"
# What an interrupted creation can leave behind; anything else without a meta file is somebody else's.
_BEFORE_META = frozenset((LOCK, WRITE_LOCK, FOLD_LOCK, CONTROL, JOURNAL, STREAMS, DISPATCH, QUARANTINE, META + ".new"))
_META_BYTES = 4096


@dataclass(frozen=True, slots=True)
class StoreFiles:
    """The files of one store: the disk they are on, the store's directory, and what their checksums begin with."""

    disk: Disk
    path: str
    seed: int


@dataclass(frozen=True, slots=True)
class Meta:
    """What `store.meta` says. `created_us` are microseconds since 1970."""

    store_id: bytes
    created_us: int

    @property
    def seed(self) -> int:
        return format.store_seed(self.store_id)


def journal_name(base: int) -> str:
    """The name of the journal file that starts at that position."""
    return f"{base:016x}.journal"


def journal_bases(disk: Disk, directory: str) -> list[int]:
    """The first positions of the journal files in a directory, ascending. A file of another name is none."""
    found = []
    for name in disk.names(directory):
        with contextlib.suppress(ValueError):
            base = int(name.partition(".")[0], 16)
            if 0 <= base <= format.MAX_POSITION and name == journal_name(base):
                found.append(base)
    return sorted(found)


def look(disk: Disk, path: str) -> bool:
    """Whether a store is at `path`; `StorageError` when something else is there."""
    if not disk.exists(path):
        return False
    try:
        names = disk.names(path)
    except NotADirectoryError:
        raise StorageError(f"{path} is a file, not the directory of a store; name another path") from None
    except PermissionError as error:
        raise StorageError(f"{path} cannot be read: permission denied") from error
    if META in names:
        return True
    foreign = sorted(set(names) - _BEFORE_META)
    if foreign:
        raise StorageError(
            f"{path} is a directory but not a store (it holds {foreign[0]!r} and no {META}); name another path"
        )
    return False


def read_meta(disk: Disk, path: str) -> Meta:
    """The meta file of the store at `path`; errors say whether it is damaged or of a later version."""
    meta_path = f"{path}/{META}"
    try:
        data = read_from(disk, meta_path, 0, _META_BYTES)
    except PermissionError as error:
        raise StorageError(f"{meta_path} cannot be read: permission denied") from error
    try:
        fields, length = file_headers.read_file_header("store", data, None)
        store_id, created_us, settings = fields
        if not isinstance(store_id, bytes) or len(store_id) != 16 or not isinstance(created_us, int):
            raise file_headers.FormatError("a store id of 16 bytes and a time")
        if settings:
            raise file_headers.NewerFormatError(f"no settings, not {reprlib.repr(settings)}")
        if length != len(data):
            raise file_headers.FormatError(f"{length} bytes")
    except file_headers.NewerFormatError as error:
        raise file_headers.refused(meta_path, error) from error
    except ValueError as error:
        raise CorruptionError(
            "the store's meta file is damaged", path=meta_path, offset_bytes=0, expected=str(error)
        ) from None
    return Meta(store_id, created_us)


def write_meta(disk: Disk, path: str, meta: Meta) -> None:
    """Write the meta file; the store exists from here on, also after a power cut."""
    settings: dict[str, object] = {}
    data = file_headers.pack_file_header("store", meta.seed, [meta.store_id, meta.created_us, settings])
    new = f"{path}/{META}.new"
    with opened(disk, new, write=True, create=True) as handle:
        disk.truncate(handle, 0)
        disk.write(handle, data, 0)
        disk.flush(handle)
    disk.rename(new, f"{path}/{META}")
    disk.flush_directory(path)


def new_meta(created_us: int) -> Meta:
    return Meta(secrets.token_bytes(16), created_us)


def make_directories(disk: Disk, path: str) -> None:
    """The store's directory with those above it, and the directories in it; all are on the device on return."""
    for directory in _from_the_root(path):
        if disk.exists(directory):
            # Somebody may have been interrupted between making it and flushing; it may also be none of ours to flush.
            with contextlib.suppress(PermissionError):
                disk.flush_directory(os.path.dirname(directory))
        else:
            _make_directory(disk, directory)
            disk.flush_directory(os.path.dirname(directory))
    for name in (JOURNAL, STREAMS, DISPATCH, QUARANTINE):
        disk.make_directory(f"{path}/{name}")
    disk.flush_directory(path)


def _make_directory(disk: Disk, path: str) -> None:
    try:
        disk.make_directory(path)
    except FileNotFoundError as error:
        # What is above it is there: nobody can make a directory in /proc, for one.
        raise StorageError(f"no directory can be made at {path}; name another path") from error


def _from_the_root(path: str) -> list[str]:
    """The directories on the way to `path`, and `path`."""
    found = []
    while path != os.path.dirname(path):
        found.append(path)
        path = os.path.dirname(path)
    return found[::-1]


def strangers(disk: Disk, path: str) -> Iterator[CorruptionError]:
    """What stands in the store that no store makes: links, pipes, devices, a directory in the place of a file.

    Nothing of it is followed or read; each is said as reading it would be.
    """
    fans = [f"{STREAMS}/{name}" for name in _names(disk, f"{path}/{STREAMS}") if len(name) == 2]
    for directory in ("", JOURNAL, STREAMS, *fans, DISPATCH, QUARANTINE):
        inside = f"{path}/{directory}".rstrip("/")
        try:
            names = disk.names(inside)
        except CorruptionError as error:
            yield error
            continue
        for name in names:
            if (not directory and not _is_ours(name)) or (directory == STREAMS and len(name) == 2):
                continue
            try:
                disk.close(disk.open(f"{inside}/{name}"))
            except CorruptionError as error:
                yield error
            except FileNotFoundError:
                continue  # folding or rolling took it away


def _names(disk: Disk, path: str) -> list[str]:
    try:
        return disk.names(path)
    except CorruptionError:
        return []


def _is_ours(name: str) -> bool:
    """Whether a file of that name in the store's directory is the store's."""
    return name in (META, LOCK, WRITE_LOCK, FOLD_LOCK, CONTROL) or name.partition(".")[0] in ("heads", "commits")


def remove(disk: Disk, path: str) -> None:
    """Remove the store's own files, the meta file first; the directory only when nothing else is in it.

    `CorruptionError`, and nothing removed, where a link stands in the place of one of its directories.
    """
    for name in (JOURNAL, STREAMS, DISPATCH, QUARANTINE):
        disk.names(f"{path}/{name}")
    disk.unlink(f"{path}/{META}")
    disk.flush_directory(path)
    for name in (JOURNAL, STREAMS, DISPATCH, QUARANTINE):
        _remove_tree(disk, f"{path}/{name}")
    for name in disk.names(path):
        if _is_ours(name):
            disk.unlink(f"{path}/{name}")
    if not disk.names(path):
        disk.remove_directory(path)


def _remove_tree(disk: Disk, path: str) -> None:
    for name in disk.names(path):
        try:
            disk.unlink(f"{path}/{name}")
        except IsADirectoryError:
            _remove_tree(disk, f"{path}/{name}")
        except PermissionError as denied:  # some systems say this of a directory
            try:
                _remove_tree(disk, f"{path}/{name}")
            except CorruptionError:
                raise denied from None
    if disk.exists(path):
        disk.remove_directory(path)
