"""When the journal is folded: in the background or within a commit, on demand and on close; one at a time.

The locks between processes and the marks of what was folded are moved here. It must not know what a fold does to
the streams' files: that is `fold`.
"""

from __future__ import annotations

import logging
import threading
import time

from fsstore.engines.file.files.layout import StoreFiles
from fsstore.engines.file.folding.background import Background
from fsstore.engines.file.folding.fold import Fold
from fsstore.engines.file.log.journal import GROWTH, Journal
from fsstore.engines.file.options import Options
from fsstore.engines.file.processes.control import ERASE, FOLD_BEGUN, FOLDED, SYNCED, TAIL, VISIBLE, Control
from fsstore.engines.file.processes.locks import StoreLocks
from fsstore.engines.file.state.view import View
from fsstore.engines.file.streams.indexes import Indexes
from fsstore.engines.file.writing.writer import Writer
from fsstore.errors import StorageError, StorageUnavailableError

_log = logging.getLogger("fsstore.file")
_WAIT_FOLDS = 4
# A round that fails has written up to `fold_bytes` in vain, and commits ask for the next one all the time.
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.05, 5.0


class Folding:
    """The folding of one open store."""

    def __init__(
        self,
        files: StoreFiles,
        control: Control,
        view: View,
        writer: Writer,
        locks: StoreLocks,
        mutex: threading.RLock,
        options: Options,
    ) -> None:
        self._files = files
        self._path = files.path
        self._control = control
        self._view = view
        self._writer = writer
        self._locks = locks
        self._mutex = mutex
        self._options = options
        self._background = Background(files.path, self._in_background) if options.background else None
        self._error: str | None = None
        self._pause_seconds = 0.0
        self._again_at_seconds = 0.0

    @property
    def error(self) -> str | None:
        """What failed in the last round in the background, as long as a fold is due."""
        return self._error if self._is_due() else None

    def _is_due(self) -> bool:
        return self._control.get(TAIL) - self._control.get(FOLDED) >= self._options.fold_bytes

    def stop(self) -> None:
        """Fold nothing more in the background; returns when what was begun is done."""
        if self._background is not None:
            self._background.stop()

    def make_room(self) -> None:
        """Before a pass: wake the folding when it is due, and wait for it when it is far behind."""
        words, fold_bytes = self._control.words, self._options.fold_bytes
        unfolded = words[TAIL] - words[FOLDED]
        if unfolded < fold_bytes:
            return
        if self._background is not None:
            self._background.wake()
            if unfolded < fold_bytes * _WAIT_FOLDS:
                return
        self.fold()

    def fold(self) -> None:
        """Write everything that is durable by now into the streams' files. Waits for a fold that is going on."""
        with self._locks.fold:
            self._writer.check_failed(in_doubt=False)
            control = self._control
            try:
                if control.get(FOLDED) >= control.get(VISIBLE):
                    self._retire()
                while control.get(FOLDED) < control.get(VISIBLE):
                    self._fold_once(self._target())
                    self._retire()
            except OSError as error:
                raise StorageUnavailableError(
                    f"the journal of {self._path} could not be folded ({error}); it still holds everything, and "
                    "folding is tried again"
                ) from error

    def _target(self) -> int:
        """How far to fold now. The files with what is deleted below are to be erased whole once that is folded."""
        control = self._control
        target = control.get(VISIBLE)
        if control.get(SYNCED) < target:
            self._writer.flush_to(control.get(TAIL))
        with self._mutex:
            # After the target was taken, so that nothing is folded unseen that another process deletes now.
            self._view.refresh(control, to_tail=False)
            newest_reset = self._view.tail.newest_reset
        return self._writer.roll_now() if newest_reset >= max(control.get(ERASE), 1) else target

    def _retire(self) -> None:
        """Let go of the journal files below the fold mark, also of those that were left where this failed before."""
        journal = Journal(self._files, write=False)
        try:
            with self._locks.write:
                journal.retire_below(self._control.get(FOLDED), erase_below=self._control.get(ERASE))
        finally:
            journal.forget()

    def _fold_once(self, target: int) -> None:
        control = self._control
        journal = Journal(self._files, write=False)
        indexes = Indexes(self._files, write=True)
        try:
            indexes.open(at_least_folded=0)
            fold = Fold(self._files, journal, indexes, index_from_bytes=self._options.index_from_bytes)
            start = control.get(FOLDED)
            end = fold.run(
                start,
                target,
                self._options.fold_bytes,
                again=control.get(FOLD_BEGUN) > start,
                begin=lambda end: control.advance({FOLD_BEGUN: end}),
            )
            control.advance({FOLDED: end})
            with self._mutex:
                self._view.refresh(control, to_tail=False)
        finally:
            journal.forget()
            indexes.close()

    def _in_background(self) -> None:
        """One round of background work; an error is kept for `stat`, and after a pause a wake tries again."""
        if not self._is_due() or time.monotonic() < self._again_at_seconds:
            return
        try:
            if not self._locks.fold.try_to_acquire():
                return
        except OSError as error:
            self._failed(error)
            return
        try:
            self.fold()
            self._error, self._pause_seconds = None, 0.0
            self._keep_spare()
        except (OSError, StorageError) as error:
            self._failed(error)
        finally:
            self._locks.fold.release()

    def _keep_spare(self) -> None:
        """Have the next journal file ready. Without one, whoever goes on in a new file makes it."""
        try:
            with self._mutex:
                file = self._view.journal.file_at(self._control.get(TAIL) - 1)
            if file is not None:
                size = min(file.size_bytes * GROWTH, self._options.journal_bytes)
                journal = Journal(self._files, write=True)
                journal.keep_spare(size, self._locks.write)
        except (OSError, StorageError) as error:
            _log.warning("%s has no spare journal file: %s", self._path, error)

    def _failed(self, error: Exception) -> None:
        self._pause_seconds = min(max(self._pause_seconds * 2, _FIRST_PAUSE_SECONDS), _LONGEST_PAUSE_SECONDS)
        self._again_at_seconds = time.monotonic() + self._pause_seconds
        self._error = str(error)  # the error itself would keep files open that it was met with
        _log.warning("folding the journal of %s failed, and will be tried again: %s", self._path, error)
