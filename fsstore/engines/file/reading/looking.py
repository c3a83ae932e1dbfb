"""A look at the store as it is now, and the rule for looking again: what every kind of reading shares.

A look says where something is; by the time that it is read, a fold or a deletion may have taken it elsewhere. So what
looks damaged is damaged only when nothing has changed since the look. Nothing here knows what is looked for.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from fsstore.engines.file.failures import unavailable
from fsstore.engines.file.formats import format
from fsstore.engines.file.processes.control import FOLD_BEGUN, VISIBLE, ReadableControl
from fsstore.engines.file.state.view import View
from fsstore.engines.file.streams.segments import SEGMENT, SNAPSHOTS
from fsstore.errors import CorruptionError, StorageUnavailableError

_MAX_RETRIES = 8
# Before the first look again at what a fold is changing; longer each time.
_PAUSE_SECONDS = 0.001
Known = tuple[int, int]


class MovedError(Exception):
    """What was looked up is no longer where it was: look again."""


CHANGED = (MovedError, FileNotFoundError, CorruptionError)
"""What a read raises where looking again may help: everything that `Looking.again` judges."""


class Looking:
    """One engine's way of looking. The caller holds `mutex` while it looks, not while it reads what it found."""

    def __init__(
        self,
        store: str,
        view: View,
        control: ReadableControl,
        mutex: threading.RLock,
        check_open: Callable[[], object],
    ) -> None:
        self.store = store
        self.view = view
        self.control = control
        self.mutex = mutex
        self.check_open = check_open

    def refresh(self) -> int:
        """Bring the view up to what is visible now, and say up to which position that is."""
        self.check_open()
        visible = self.control.get(VISIBLE)
        self.view.refresh(self.control, to_tail=False)
        return visible

    def known(self) -> Known:
        """What tells one state of the view from a later one.

        Taken without the mutex: a pair that never was only makes for one look more.
        """
        return self.view.folded, self.view.tail.end

    def no_sense(self, fields: format.Fields, expected: str) -> CorruptionError:
        """Where a record is, in the journal or its stream's file, that no store wrote although its checksums agree."""
        position, view = fields[format.POSITION], self.view
        with self.mutex:
            if position >= view.folded and view.journal.file_at(position) is not None:
                return view.journal.damage(position, expected)
        kind = SNAPSHOTS if fields[format.KIND] == format.SNAPSHOT else SEGMENT
        return view.segments.damage(fields[format.KEY], kind, fields[format.PLACE], expected)

    def unavailable(self, what: str, error: OSError) -> StorageUnavailableError:
        """The system refused what looking again does not help against."""
        return unavailable(f"{what} in {self.store}", error)

    def again(self, error: Exception, known: Known, retries: int, damage: Callable[[], CorruptionError]) -> None:
        """Return when looking again may help: a fold or a deletion changed files between looking and reading.

        What looked damaged is damaged when nothing has changed since the look, and nobody folds: what a fold deletes or
        begins anew may be read half-written. `damage` says what it means that something is not there however often one
        looks.
        """
        with self.mutex:
            self.refresh()
            changed = (self.view.folded, self.view.tail.end) != known
            folds = self.control.get(FOLD_BEGUN) > self.view.folded
        if folds and not changed:
            time.sleep(_PAUSE_SECONDS * retries)
            changed = True
        if isinstance(error, CorruptionError) and (not changed or retries > _MAX_RETRIES):
            raise error
        if retries > _MAX_RETRIES:
            raise damage() from None
