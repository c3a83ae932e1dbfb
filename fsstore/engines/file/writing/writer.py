"""One pass over the journal for every request that is queued: give out tokens, append, flush.

What the requests become was planned by then; all records go out in one write, the tail mark moves, and one flush
makes them durable. Encoding happened before, delivery happens after; this module sees records only.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from fsstore.engines.file.files.layout import StoreFiles
from fsstore.engines.file.formats import file_headers, format
from fsstore.engines.file.log.journal import GROWTH
from fsstore.engines.file.processes.control import BEGUN, ERASE, FAILED, NEXT_TOKEN, SYNCED, TAIL, VISIBLE, Control
from fsstore.engines.file.processes.locks import FileLock
from fsstore.engines.file.state.view import View
from fsstore.engines.file.writing.planning import PACED, Plan, Request
from fsstore.errors import StorageError, StorageUnavailableError

# Records that the tail takes in between two pauses.
_APPLIED_AT_ONCE = 64


class Writer:
    """Carries out passes for one engine; one at a time."""

    def __init__(
        self,
        files: StoreFiles,
        view: View,
        control: Control,
        write_lock: FileLock,
        mutex: threading.RLock,
        *,
        flush: bool,
        journal_bytes: int,
        make_room: Callable[[], None],
    ) -> None:
        self._disk = files.disk
        self._store = files.path
        self._seed = files.seed
        self._view = view
        self._control = control
        self._write_lock = write_lock
        self._mutex = mutex
        self._flush = flush
        self._journal_bytes = journal_bytes
        self._make_room = make_room

    def lead(self, requests: list[Request]) -> None:
        """One pass for all requests; each gets its error or is durable afterwards."""
        try:
            waiting = requests
            while waiting:
                # What deletes or counts streams is planned by itself, against a view that knows all before it.
                count = 1
                while not waiting[0].alone and count < len(waiting) and not waiting[count].alone:
                    count += 1
                self._pass(waiting[:count])
                waiting = waiting[count:]
        except Exception as error:  # handed to every caller that still waits, never lost
            self._fail(requests, error)

    def interrupted(self, requests: list[Request]) -> None:
        """What interrupts the thread that leads is no affair of the others, for whom it writes."""
        self._fail(
            requests,
            StorageUnavailableError(
                f"the thread that wrote this to {self._store} was interrupted; whether it is stored is in doubt: "
                "commit the same attempt again",
                in_doubt=True,
            ),
        )

    def _fail(self, requests: list[Request], error: Exception, *, in_doubt: bool = False) -> None:
        for request in requests:
            request.fail(error, self._store, in_doubt=in_doubt)

    def _pass(self, requests: list[Request]) -> None:
        self._make_room()
        words = self._control.words
        with self._write_lock:
            if words[FAILED]:
                self.check_failed(in_doubt=False)
            with self._mutex:
                if words[BEGUN] > words[TAIL]:
                    self._clear_begun()
                self._view.refresh(self._control, to_tail=True)
                plan = Plan(self._view)
                for request in requests:
                    try:
                        request.plan(plan)
                    except Exception as error:  # this request fails alone; its caller gets it
                        request.fail(error, self._store)
                end = words[TAIL]
                if plan.records:
                    try:
                        end = self._append(plan)
                    except Exception as error:
                        self._fail(requests, error, in_doubt=words[BEGUN] > end)
                        return
                if self._view.tail.newest_reset >= words[VISIBLE]:
                    self._finish_unseen(requests, end)
                    return
            alone = self._control.is_alone()
            if alone:
                # Nobody waits for the lock, and holding it saves taking another one to move the marks.
                self._finish(requests, end, self._control.advance_alone)
        if not alone:
            self._finish(requests, end, self._control.advance)

    def _finish(self, requests: list[Request], end: int, advance: Callable[[dict[int, int]], None]) -> None:
        # Also when nothing was appended: what a request lost against, or is a duplicate of, must be durable
        # and visible before its caller hears of it.
        try:
            self._make_durable(end, advance)
        except Exception as error:
            self._fail(requests, error, in_doubt=True)
        for request in requests:
            request.done = True

    def _finish_unseen(self, requests: list[Request], end: int) -> None:
        """Nobody looks meanwhile, as this process knows of a deletion that the power could still undo."""
        try:
            self._finish(requests, end, self._control.advance)
        finally:
            self._hide_deletions()

    def _hide_deletions(self) -> None:
        """Know nothing of a deletion that is not durable, for whatever reason, as nobody may see it."""
        if self._view.tail.newest_reset >= self._control.get(VISIBLE):
            self._view.forget()

    # ---- appending ----

    def _append(self, plan: Plan) -> int:
        control, journal, tail_view = self._control, self._view.journal, self._view.tail
        words = control.words
        tail = words[TAIL]
        file = journal.file_at(tail)
        if file is None or tail < file.first or tail + plan.size_bytes >= file.end:
            tail = self._roll(tail, plan.size_bytes)
            file = journal.file_at(tail)
            assert file is not None
        # Not the control page's: a writer that died between its two marks left them apart.
        token = tail_view.next_token
        synced, seed = words[SYNCED], self._seed
        position = tail
        parts: list[bytes] = []
        paced = 2 * PACED
        records = iter(plan.records)
        for count in plan.batches:
            if len(parts) >= paced:
                plan.pace()
                paced = len(parts) + 2 * PACED
            for following in range(count - 1, -1, -1):
                record = next(records)
                record.position = position
                if record.kind == format.COMMIT:
                    record.token = token
                    token += 1
                lag_bytes = min(position - synced, format.MAX_LAG)
                parts += (record.header(following, lag_bytes, seed), record.body)
                position += record.length_bytes
        data = b"".join(parts)
        control.set(BEGUN, position)
        try:
            self._disk.write(file.handle, data, tail - file.base)
        except OSError as error:
            self._clear_begun()
            raise StorageUnavailableError(
                f"the journal of {self._store} could not be written ({error}); nothing was stored"
            ) from error
        control.set(NEXT_TOKEN, token)
        control.set(TAIL, position)
        if plan.records[0].kind != format.COMMIT:
            self._view.take_in_other(tail, data)
            return position
        for at in range(0, len(plan.records), _APPLIED_AT_ONCE):
            if at:
                plan.pace()
            self._view.take_in(plan.records[at : at + _APPLIED_AT_ONCE])
        return position

    def _clear_begun(self) -> None:
        """Zeros over what a writer left behind the tail when it failed or died, on the device before anything follows.

        Else the rest of its batch could stand directly behind a shorter one that came after, as if it had happened.
        """
        control, journal = self._control, self._view.journal
        tail, begun = control.get(TAIL), control.get(BEGUN)
        if begun <= tail:
            return
        try:
            journal.write(tail, bytes(begun - tail))
        except OSError as error:
            # The mark stays, so that whoever commits next does this first: a full disk may have room by then.
            raise StorageUnavailableError(
                f"what a failed commit left in the journal of {self._store} could not be put back yet ({error}): "
                "whether it is stored is in doubt until another commit succeeds or the store is opened again",
                in_doubt=True,
            ) from error
        try:
            journal.flush(tail)
        except OSError as error:
            control.set(FAILED, 1)
            raise StorageUnavailableError(
                f"what a failed commit left in the journal of {self._store} could not be put back ({error}): "
                "close the store in every process and open it again",
                in_doubt=True,
            ) from error
        control.set(BEGUN, tail)

    def _roll(self, previous_end: int, needed_bytes: int, *, times: int = GROWTH, most_bytes: int | None = None) -> int:
        """Go on in the next journal file, `times` as large as the last; gives the position after its ROLL record."""
        journal, control = self._view.journal, self._control
        file = journal.file_at(previous_end - 1)
        if file is None:
            raise StorageError(f"position {previous_end} is in no journal file of {self._store}")
        # One byte more, because no record ends where its file does: see docs/file-format.md.
        needed = file_headers.JOURNAL_HEADER_BYTES + format.RECORD_HEADER_BYTES + needed_bytes + 1
        size = min(file.size_bytes * times, most_bytes or self._journal_bytes)
        size = max(size, -(-needed // 4096) * 4096)
        try:
            following = journal.create(file.end, size)
        except OSError as error:
            raise StorageUnavailableError(
                f"{self._store} has no room for another journal file ({error}); nothing was stored"
            ) from error
        lag_bytes = min(following.first - previous_end, format.MAX_LAG)
        next_token = self._view.tail.next_token
        roll = format.pack_roll(following.first, next_token, self._seed, previous_end=previous_end, lag_bytes=lag_bytes)
        try:
            self.flush_to(previous_end)
            journal.write(following.first, roll)
        except BaseException as error:
            # Until the tail is in it, another process may put another file in its place.
            journal.forget(following.base)
            if isinstance(error, OSError):
                raise StorageUnavailableError(
                    f"the next journal file of {self._store} could not be written ({error}); nothing was stored"
                ) from error
            raise
        tail = following.first + format.RECORD_HEADER_BYTES
        self._view.take_in_other(following.first, roll)
        control.set(TAIL, tail)
        return tail

    def shrink(self, size_bytes: int) -> None:
        """Go on in a journal file of `size_bytes` where the present one is larger; the old ones go once folded."""
        file = self._view.journal.file_at(self._control.get(TAIL) - 1)
        if file is not None and file.size_bytes > size_bytes:
            self.roll_now(most_bytes=size_bytes)

    def roll_now(self, *, most_bytes: int | None = None) -> int:
        """Go on in a new journal file, so that the old ones can be erased whole. Everything before the position that
        this gives is in them, and on the device."""
        with self._write_lock, self._mutex:
            self.check_failed(in_doubt=False)
            self._clear_begun()
            try:
                self._view.refresh(self._control, to_tail=True)
                self._view.journal.drop_spare()
                end = self._roll(self._control.get(TAIL), 0, times=1, most_bytes=most_bytes)
                self.flush_to(end)
            finally:
                self._hide_deletions()
            file = self._view.journal.file_at(end - 1)
            assert file is not None
            self._control.advance({ERASE: file.base})
            return end

    # ---- durability ----

    def _make_durable(self, end: int, advance: Callable[[dict[int, int]], None]) -> None:
        """Return when everything below `end` is as durable as was asked for, and visible."""
        words = self._control.words
        if not self._flush:
            advance({VISIBLE: end})
        elif words[SYNCED] < end or words[VISIBLE] < end:
            # Also when only the second of the two marks was not moved: who should have done it died between them.
            self._flush_to(end, advance)

    def flush_to(self, end: int) -> None:
        """Flush the journal file that ends or goes on at `end`; moves the marks. A failure poisons the store."""
        self._flush_to(end, self._control.advance)

    def _flush_to(self, end: int, advance: Callable[[dict[int, int]], None]) -> None:
        words, journal = self._control.words, self._view.journal
        tail = words[TAIL]
        with self._mutex:
            file = journal.pin(end - 1)
        if file is None:
            # Another process went on in the next file; it flushed this one first.
            self.check_failed(in_doubt=True)
            if words[SYNCED] >= end:
                return
            raise StorageError(f"position {end} is in no journal file of {self._store}")
        try:
            self._disk.flush(file.handle)
        except OSError as error:
            self._control.set(FAILED, 1)
            raise StorageUnavailableError(
                f"flushing the journal of {self._store} failed ({error}); whether these commits are stored is "
                "in doubt: close the store in every process, open it again, then commit the same attempt again",
                in_doubt=True,
            ) from error
        finally:
            with self._mutex:
                journal.unpin(file)
        # What others appended to this file before the flush began is covered as well.
        covered = tail if end < tail <= file.end else end
        if words[FAILED]:
            self.check_failed(in_doubt=True)
        advance({SYNCED: covered, VISIBLE: covered})

    def check_failed(self, *, in_doubt: bool) -> None:
        """Raise when a flush failed in any process: nothing more is stored until all have closed the store."""
        if self._control.get(FAILED):
            raise StorageUnavailableError(
                f"writing to {self._store} failed in this or another process; close the store in every process "
                "and open it again" + ("; whether this commit is stored is in doubt" if in_doubt else ""),
                in_doubt=in_doubt,
            )
