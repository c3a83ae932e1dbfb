"""Opening a store without writing a byte: beside writers, or at rest and perhaps after a crash.

At rest the journal is judged in memory and nothing is settled; when a writer opens the store later, its
control page shows a new epoch and is followed from then on. No lock is held beyond the opening.
"""

from __future__ import annotations

from fsstore.engines.file import layout, recovery
from fsstore.engines.file.commits_index import CommitsIndex
from fsstore.engines.file.control import EPOCH, FAILED, FOLDED, NEXT_TOKEN, SYNCED, TAIL, VISIBLE, Control
from fsstore.engines.file.disk import Disk
from fsstore.engines.file.heads import Heads, StaleIndexError
from fsstore.engines.file.journal import Journal
from fsstore.engines.file.locks import PresenceLock
from fsstore.engines.file.options import Options
from fsstore.engines.file.segments import Segments
from fsstore.engines.file.view import View
from fsstore.errors import StorageUnavailableError


class ReadControl:
    """The marks as a reader sees them: a verdict's until a writer opens the store, then the control page's."""

    def __init__(self, page: Control | None, marks: dict[int, int] | None) -> None:
        self._page = page
        self._marks = marks
        self._epoch = page.get(EPOCH) if page is not None else 0

    def get(self, mark: int) -> int:
        if self._marks is not None:
            page = self._page
            if page is None or page.get(EPOCH) == self._epoch or not page.whole():
                return self._marks[mark]
            self._marks = None
        assert self._page is not None
        return self._page.get(mark)

    def close(self) -> None:
        if self._page is not None:
            self._page.close()


def attach_for_reading(disk: Disk, path: str, meta: layout.Meta, options: Options) -> tuple[ReadControl, View]:
    """The marks and the view of the store at `path`."""
    write_lock = _open_if_there(disk, f"{path}/{layout.WRITE_LOCK}")
    if write_lock is not None:
        disk.lock(write_lock)
    try:
        return _attach(disk, path, meta, options)
    finally:
        if write_lock is not None:
            disk.unlock(write_lock)
            disk.close(write_lock)


def _open_if_there(disk: Disk, path: str) -> int | None:
    try:
        return disk.open(path)
    except FileNotFoundError:
        return None


def _attach(disk: Disk, path: str, meta: layout.Meta, options: Options) -> tuple[ReadControl, View]:
    seed = meta.seed
    journal = Journal(disk, f"{path}/{layout.JOURNAL}", seed, write=False)
    try:
        page: Control | None = Control(disk, f"{path}/{layout.CONTROL}", meta.store_id, write=False)
    except FileNotFoundError:
        page = None
    if page is not None and page.whole() and not _at_rest(disk, path):
        control = ReadControl(page, None)
    else:
        verdict = recovery.judge(journal, page, seed, path)
        marks = dict.fromkeys((TAIL, SYNCED, VISIBLE), verdict.tail)
        marks |= {FOLDED: verdict.folded, NEXT_TOKEN: verdict.next_token, FAILED: 0}
        control = ReadControl(page, marks)
    heads = Heads(disk, path, seed, write=False)
    commits = CommitsIndex(disk, path, seed, write=False)
    try:
        heads.open(at_least_folded=control.get(FOLDED))
        commits.open(at_least_folded=control.get(FOLDED))
    except StaleIndexError as error:
        raise StorageUnavailableError(
            f"{error} must be rebuilt, which reading only may not do: open {path} for writing once"
        ) from error
    segments = Segments(disk, path, seed, max_handles=options.max_open_segments)
    view = View(disk, path, seed, journal, heads, commits, segments, options, control.get(FOLDED))
    return control, view


def _at_rest(disk: Disk, path: str) -> bool:
    """Whether no writer has the store open; asked under the write lock."""
    try:
        presence = PresenceLock(disk, f"{path}/{layout.LOCK}", write=False)
    except FileNotFoundError:
        return True
    try:
        return presence.alone()
    finally:
        presence.close()
