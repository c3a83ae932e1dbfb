"""What there is of a store while it is open: the marks, this process's view, and who reads, writes and folds.

`opening` and `reading_only` put it together, the engine uses it and closes it once. It must not know how a store is
made, found or recovered.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable

from fsstore.engines.file.files.layout import StoreFiles
from fsstore.engines.file.folding.schedule import Folding
from fsstore.engines.file.options import Options
from fsstore.engines.file.processes.control import CLEAN, FAILED, NEXT_TOKEN, TAIL, VISIBLE, Control, ReadableControl
from fsstore.engines.file.processes.locks import StoreLocks
from fsstore.engines.file.reading.looking import Looking
from fsstore.engines.file.reading.reader import Reader
from fsstore.engines.file.state.view import View
from fsstore.engines.file.values.leases import Leases
from fsstore.engines.file.values.marks import DispatchCheckpoint
from fsstore.engines.file.values.named_values import NamedValues
from fsstore.engines.file.writing.group import Group
from fsstore.engines.file.writing.planning import Request
from fsstore.engines.file.writing.writer import Writer
from fsstore.errors import StorageError
from fsstore.serialization import Serializer

_log = logging.getLogger("fsstore.file")


class OpenStore:
    """A store that is open, perhaps for reading only. The mutex is held while `view` is looked at or changed."""

    def __init__(
        self,
        files: StoreFiles,
        control: ReadableControl,
        view: View,
        options: Options,
        serializer: Serializer,
        check_open: Callable[[], object],
        *,
        write: bool = False,
    ) -> None:
        self.path = files.path
        self.seed = files.seed
        self.control = control
        self.view = view
        self.mutex = threading.RLock()
        looking = Looking(files.path, view, control, self.mutex, check_open)
        self.reader = Reader(looking, serializer, files.seed, options)
        self.marks = DispatchCheckpoint(files, write=write)
        self.values = NamedValues(files)
        self.leases = Leases(files)

    def close(self) -> None:
        view = self.view
        with self.mutex, contextlib.ExitStack() as closing:
            for part in (self.leases, self.control, self.marks, view.indexes, view.segments):
                closing.callback(part.close)
            closing.callback(view.journal.forget)

    def leave_to_parent(self) -> None:
        """In the child of a fork: no part in the marks and locks, which would outlive the parent here."""
        self.marks.leave_to_parent()
        self.leases.leave_to_parent()
        self.control.close()


class WritableStore(OpenStore):
    """A store that is open for writing. With `flush` a commit is on the device when its request is done."""

    control: Control

    def __init__(
        self,
        files: StoreFiles,
        control: Control,
        view: View,
        options: Options,
        serializer: Serializer,
        check_open: Callable[[], object],
        locks: StoreLocks,
        *,
        flush: bool,
    ) -> None:
        super().__init__(files, control, view, options, serializer, check_open, write=True)
        self.locks = locks
        self._check_open = check_open
        self._fold_is_asked = threading.Lock()
        self._first_journal_bytes = options.first_journal_bytes
        self._writer = Writer(
            files,
            view,
            control,
            locks.write,
            self.mutex,
            flush=flush,
            journal_bytes=options.journal_bytes,
            make_room=lambda: self.folding.make_room(),  # noqa: PLW0108 - it needs the writer, so it is made after it
        )
        self.group: Group[Request] = Group(
            self._writer.lead, interrupted=self._interrupted, max_pass_bytes=options.max_batch_bytes
        )
        self.folding = Folding(files, control, view, self._writer, locks, self.mutex, options)

    def _interrupted(self, requests: list[Request]) -> None:
        self.locks.let_go()
        self._writer.interrupted(requests)

    def fold(self) -> None:
        """Fold everything that is durable by now, for whoever asks. Closing waits for it, as it folds under a lock that
        folding needs."""
        with self._fold_is_asked:
            self._check_open()
            try:
                self.folding.fold()
            except BaseException as error:
                if not isinstance(error, Exception):
                    self.locks.let_go()
                raise

    def is_deleting(self) -> bool:
        """Whether something was deleted that a power cut could still bring back."""
        with self.mutex:
            self._check_open()
            return self.view.tail.newest_reset >= self.control.get(VISIBLE)

    def close(self) -> None:
        """Finish what was accepted; the last to close folds everything, so that the next open is quick."""
        try:
            self.group.stop()
            self.folding.stop()
            with self._fold_is_asked, self.locks.write:
                if self.locks.presence.alone() and not self.control.get(FAILED):
                    self._leave_clean()
        finally:
            try:
                super().close()
            finally:
                self.locks.close()

    def _leave_clean(self) -> None:
        control, view = self.control, self.view
        try:
            self._writer.shrink(self._first_journal_bytes)
        except (OSError, StorageError) as error:
            # For want of room; where a flush failed, or the journal is damaged, folding says so.
            _log.warning("closing %s left its large journal file: %s", self.path, error)
        try:
            self.folding.fold()
            view.journal.drop_above(control.get(TAIL))
            view.journal.drop_spare()
            with self.mutex:  # others may have committed since the last look, and folded all of it themselves
                view.refresh(control, to_tail=True)
            control.set(NEXT_TOKEN, view.tail.next_token)
            control.mend()
            control.set(CLEAN, 1)
            control.flush()
        except (OSError, StorageError) as error:
            # Everything acknowledged is in the journal; the next opening folds it.
            _log.warning("closing %s left its journal unfolded: %s", self.path, error)

    def leave_to_parent(self) -> None:
        super().leave_to_parent()
        self.locks.leave_to_parent()
