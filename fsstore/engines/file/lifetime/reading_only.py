"""Opening a store without writing a byte: beside writers, or at rest and perhaps after a crash.

At rest the journal is judged in memory and nothing is settled, but what is shown is on the device first. When a writer
opens the store later, its control page shows a new epoch and is followed from then on. No lock is held beyond the
opening.
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Callable

from fsstore.engines.file.disk.disk import Disk
from fsstore.engines.file.files import layout
from fsstore.engines.file.files.handles import locked_if_there
from fsstore.engines.file.lifetime.open_store import OpenStore
from fsstore.engines.file.log.journal import Journal
from fsstore.engines.file.options import Options
from fsstore.engines.file.processes.control import (
    EPOCH,
    FAILED,
    FOLD_BEGUN,
    FOLDED,
    NEXT_TOKEN,
    SYNCED,
    TAIL,
    VISIBLE,
    Control,
)
from fsstore.engines.file.processes.locks import at_rest
from fsstore.engines.file.state import recovery
from fsstore.engines.file.state.view import View
from fsstore.engines.file.streams.index_file import StaleIndexError
from fsstore.engines.file.streams.indexes import Indexes
from fsstore.engines.file.streams.segments import Segments
from fsstore.errors import StorageUnavailableError
from fsstore.serialization import Serializer

# What is said of a medium that nobody can write.
_NOTHING_TO_FLUSH = frozenset((errno.EINVAL, errno.EROFS))


class ReadControl:
    """The marks as a reader sees them: a verdict's until a writer opens the store, then the control page's."""

    def __init__(self, open_page: Callable[[], Control | None]) -> None:
        self._open_page = open_page
        self.page = open_page()
        self._epoch = self.page.lower_bound(EPOCH) if self.page is not None else 0
        self._marks: dict[int, int] | None = None

    def judged(self, marks: dict[int, int]) -> None:
        """Go by these marks for as long as no writer makes the page anew."""
        self._marks = marks

    def get(self, mark: int) -> int:
        if self._marks is not None:
            if self.page is None:
                self.page = self._open_page()
            # Beside writers a mark may disagree with its complement: it belongs to the store once all of them are set.
            if self.page is None or self.page.lower_bound(EPOCH) == self._epoch or not self.page.belongs():
                return self._marks[mark]
            self._marks = None
        assert self.page is not None
        return self.page.get(mark)

    def close(self) -> None:
        if self.page is not None:
            self.page.close()


def open_to_read(
    disk: Disk, path: str, options: Options, serializer: Serializer, check_open: Callable[[], object]
) -> OpenStore:
    """The store at `path`."""
    meta = layout.read_meta(disk, path)
    files = layout.StoreFiles(disk, path, meta.seed)
    with contextlib.ExitStack() as opened:
        with locked_if_there(disk, f"{path}/{layout.WRITE_LOCK}"):
            control, view = _attach(files, meta, options, opened)
        store = OpenStore(files, control, view, options, serializer, check_open)
        opened.pop_all()
    return store


def _attach(
    files: layout.StoreFiles, meta: layout.Meta, options: Options, opened: contextlib.ExitStack
) -> tuple[ReadControl, View]:
    """The store's marks and the view of it; what `opened` closes where they do not become a store."""
    disk, path = files.disk, files.path
    journal = Journal(files, write=False, max_record_bytes=options.max_record_bytes)
    opened.callback(journal.forget)
    control = ReadControl(lambda: _page(disk, path, meta))
    opened.callback(control.close)
    unfolded = None
    # Beside writers a mark may disagree with its complement, since one of them was killed; the next moves it again.
    if control.page is None or not control.page.belongs() or at_rest(disk, path):
        verdict = recovery.judge(journal, control.page, path)
        _have_it_durable(journal, verdict, control.page, path)
        unfolded = verdict.unfolded
        marks = dict.fromkeys((TAIL, SYNCED, VISIBLE), verdict.tail)
        marks |= {FOLDED: verdict.folded, FOLD_BEGUN: verdict.folded, NEXT_TOKEN: verdict.next_token, FAILED: 0}
        control.judged(marks)
        # A file behind the tail may be replaced by whoever goes on there.
        journal.forget()
    folded = control.get(FOLDED)
    indexes = Indexes(files, write=False)
    opened.callback(indexes.close)
    try:
        indexes.open(at_least_folded=folded)
    except StaleIndexError as error:
        raise StorageUnavailableError(
            f"{error.path} must be rebuilt, which reading only may not do: open {path} for writing once"
        ) from error
    segments = Segments(files, max_handles=options.max_open_segments, max_record_bytes=options.max_record_bytes)
    view = View(files, journal, indexes, segments, options, folded, unfolded)
    return control, view


def _have_it_durable(journal: Journal, verdict: recovery.Verdict, page: Control | None, path: str) -> None:
    """A process that was killed may have left records that the power could still take, and others get their tokens."""
    synced = page.lower_bound(SYNCED) if page is not None else 0
    if synced >= verdict.tail:
        return
    if page is not None and page.whole() and page.get(FAILED):
        raise StorageUnavailableError(
            f"a flush failed, and what it was to take to the device has to be written again, which reading only may "
            f"not do: open {path} for writing once"
        )
    for base, _ in recovery.files_between(journal, max(synced, verdict.folded), verdict.tail):
        try:
            journal.flush(base)
        except OSError as error:
            if error.errno not in _NOTHING_TO_FLUSH:
                raise


def _page(disk: Disk, path: str, meta: layout.Meta) -> Control | None:
    try:
        return Control(disk, f"{path}/{layout.CONTROL}", meta.store_id, write=False)
    except FileNotFoundError:
        return None
