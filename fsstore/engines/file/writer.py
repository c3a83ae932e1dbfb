"""One pass over the journal: check what is asked for, give out tokens, append, flush.

A pass serves every request that is queued. Each request is planned against the store's head and against the
requests before it, and fails alone; then all planned records go out in one write, the tail mark moves, and one
flush makes them durable. Encoding happened before, delivery happens after; this module sees records only.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from fsstore.engines.file import format
from fsstore.engines.file.control import BEGUN, ERASE, FAILED, NEXT_TOKEN, SYNCED, TAIL, VISIBLE, Control
from fsstore.engines.file.disk import Disk
from fsstore.engines.file.group import Waiting
from fsstore.engines.file.locks import FileLock
from fsstore.engines.file.segments import SNAPSHOTS, Stream
from fsstore.engines.file.view import View
from fsstore.errors import (
    ConcurrencyError,
    DuplicateCommitError,
    StorageError,
    StorageUnavailableError,
)

_HEADER = format.RECORD_HEADER_BYTES
Head = tuple[int, int, int]
"""A stream's last sequence, its revision, and where its next record goes (0: no file yet)."""


@dataclass(slots=True)
class Planned:
    """A record that is about to be written: encoded outside of every lock, its place and token known only then."""

    kind: int
    body: bytes
    body_crc: int
    stream: Stream | None = None
    place: int = 0
    revision: int = 0
    sequence: int = 0
    events: int = 0
    commit_id: bytes = format.NO_ID
    stamp_us: int = 0
    token: int = 0

    @property
    def length_bytes(self) -> int:
        return _HEADER + len(self.body)

    def header(self, position: int, following: int, lag_bytes: int) -> format.RecordHeader:
        """The header of this record at that place of the journal."""
        return format.RecordHeader(
            0,
            self.kind,
            0,
            following,
            position,
            lag_bytes,
            self.place,
            self.stream.key if self.stream is not None else format.NO_KEY,
            self.token,
            self.revision,
            self.sequence,
            self.commit_id,
            self.stamp_us,
            self.body_crc,
            len(self.body),
        )


class Plan:
    """What one pass is going to write. Changes of streams other than commits end the planning of a pass."""

    def __init__(self, view: View) -> None:
        self.view = view
        self.records: list[Planned] = []
        self.batches: list[int] = []
        self.ids: set[bytes] = set()
        self._heads: dict[bytes, Head] = {}

    def head(self, stream: Stream) -> Head:
        """The stream's head after the requests that were planned before in the same pass."""
        return self._heads.get(stream.key) or self.view.head(stream)

    def add(
        self, records: list[Planned], heads: dict[bytes, Head] | None = None, ids: set[bytes] | None = None
    ) -> None:
        """Accept the records of one request, which are written whole or not at all."""
        if heads and ids:
            self._heads |= heads
            self.ids |= ids
        self.records.extend(records)
        self.batches.append(len(records))


class Request(Waiting):
    """One caller's records. `plan` adds them to the pass or raises; afterwards `records` have their tokens."""

    __slots__ = ("alone", "records")

    def __init__(self, size_bytes: int, *, alone: bool) -> None:
        super().__init__(size_bytes)
        self.alone = alone
        self.records: list[Planned] = []

    def plan(self, plan: Plan) -> None:
        raise NotImplementedError


class CommitRequest(Request):
    """Append commits, all or none."""

    __slots__ = ()

    def __init__(self, records: list[Planned]) -> None:
        super().__init__(sum([record.length_bytes for record in records]), alone=False)
        self.records = records

    def plan(self, plan: Plan) -> None:
        view = plan.view
        heads: dict[bytes, Head] = {}
        ids: set[bytes] = set()
        for record in self.records:
            stream, commit_id = record.stream, record.commit_id
            assert stream is not None
            key = stream.key
            sequence, revision, end = heads.get(key) or plan.head(stream)
            identity = key + commit_id
            if identity in ids or identity in plan.ids or view.has_commit(stream, commit_id):
                raise DuplicateCommitError(
                    f"commit {_uuid(commit_id)} is in {stream} already: it was stored earlier, "
                    "there is nothing left to do"
                )
            if record.sequence != sequence + 1 or record.revision != revision + record.events:
                raise ConcurrencyError(_conflict(record, sequence, revision))
            record.place = end or format.stream_file_header_bytes(stream.prefix)
            heads[key] = (record.sequence, record.revision, record.place + record.length_bytes)
            ids.add(identity)
        plan.add(self.records, heads, ids)


def _conflict(record: Planned, sequence: int, revision: int) -> str:
    return (
        f"commit {_uuid(record.commit_id)} of {record.stream} says commit {record.sequence} with {record.events} "
        f"events up to revision {record.revision}, but the stream is at commit {sequence}, revision {revision}: "
        "read what is new, decide again, commit again"
    )


def _uuid(commit_id: bytes) -> str:
    text = commit_id.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


class SnapshotRequest(Request):
    """Add a snapshot, unless the stream has no commit or its revision has a snapshot."""

    __slots__ = ("body", "body_crc", "revision", "stream")

    def __init__(self, stream: Stream, revision: int, body: bytes, body_crc: int) -> None:
        super().__init__(_HEADER + len(body), alone=True)
        self.stream = stream
        self.revision = revision
        self.body = body
        self.body_crc = body_crc

    def plan(self, plan: Plan) -> None:
        view, stream = plan.view, self.stream
        if not view.head(stream)[0] or self.revision in view.snapshot_revisions(stream):
            return
        place = view.snapshots_end(stream) or view.segments.header_bytes(stream, SNAPSHOTS)
        record = Planned(format.SNAPSHOT, self.body, self.body_crc, stream, place=place, revision=self.revision)
        plan.add([record])
        self.records = [record]


class ForgetRequest(Request):
    """Delete a stream, or purge a bucket, or everything."""

    __slots__ = ("record",)

    def __init__(self, record: Planned) -> None:
        super().__init__(record.length_bytes, alone=True)
        self.record = record

    def plan(self, plan: Plan) -> None:
        stream = self.record.stream
        if stream is not None and not plan.view.head(stream)[0]:
            return
        plan.add([self.record])
        self.records = [self.record]


class Writer:
    """Carries out passes for one engine; one at a time."""

    def __init__(
        self,
        disk: Disk,
        store: str,
        view: View,
        control: Control,
        write_lock: FileLock,
        mutex: threading.RLock,
        seed: int,
        *,
        flush: bool,
        journal_bytes: int,
        make_room: Callable[[], None],
    ) -> None:
        self._disk = disk
        self._store = store
        self._view = view
        self._control = control
        self._write_lock = write_lock
        self._mutex = mutex
        self._seed = seed
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
        except BaseException:
            # What interrupts this thread is no affair of the others, for whom it writes.
            self._fail(
                requests,
                StorageUnavailableError(
                    f"the thread that wrote this to {self._store} was interrupted; whether it is stored is in doubt: "
                    "commit the same attempt again",
                    in_doubt=True,
                ),
            )
            raise

    @staticmethod
    def _fail(requests: list[Request], error: Exception) -> None:
        for request in requests:
            if request.error is None and not request.done:
                request.error = error

    def _pass(self, requests: list[Request]) -> None:
        self._make_room()
        with self._write_lock:
            self.check_failed(in_doubt=False)
            with self._mutex:
                self._clear_begun()
                self._view.refresh(self._control, to_tail=True)
                plan = Plan(self._view)
                for request in requests:
                    try:
                        request.plan(plan)
                    except Exception as error:  # this request fails alone; its caller gets it
                        request.error = error
                end = self._control.get(TAIL)
                if plan.records:
                    try:
                        end = self._append(plan)
                    except Exception as error:
                        self._fail(requests, error)
                        return
        # Also when nothing was appended: what a request lost against, or is a duplicate of, must be durable
        # and visible before its caller hears of it.
        try:
            self._make_durable(end)
        except Exception as error:
            self._fail(requests, error)
        for request in requests:
            request.done = True

    # ---- appending ----

    def _append(self, plan: Plan) -> int:
        control, journal = self._control, self._view.journal
        tail = control.get(TAIL)
        total = sum(record.length_bytes for record in plan.records)
        file = journal.file_at(tail)
        if file is None or tail < file.first or tail + total >= file.end:
            tail = self._roll(tail, total)
        # Not the control page's: a writer that died between its two marks left them apart.
        token = self._view.tail.next_token
        lag = min(tail - control.get(SYNCED), format.MAX_LAG)
        position = tail
        parts: list[bytes] = []
        headers: list[format.RecordHeader] = []
        numbers = iter(plan.records)
        for count in plan.batches:
            for following in range(count - 1, -1, -1):
                record = next(numbers)
                if record.kind == format.COMMIT:
                    record.token = token
                    token += 1
                header = record.header(position, following, min(lag + position - tail, format.MAX_LAG))
                parts.append(format.pack_header(header, self._seed))
                parts.append(record.body)
                headers.append(header)
                position += record.length_bytes
        control.set(BEGUN, position)
        try:
            journal.write(tail, b"".join(parts))
        except OSError as error:
            self._clear_begun()
            raise StorageUnavailableError(
                f"the journal of {self._store} could not be written ({error}); nothing was stored"
            ) from error
        control.set(NEXT_TOKEN, token)
        control.set(TAIL, position)
        apply = self._view.tail.apply
        for header, record in zip(headers, plan.records, strict=True):
            apply(header, record.body)
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

    def _roll(self, previous_end: int, needed_bytes: int) -> int:
        """Go on in the next journal file; gives the position after its ROLL record."""
        journal, control = self._view.journal, self._control
        file = journal.file_at(previous_end - 1)
        if file is None:
            raise StorageError(f"position {previous_end} is in no journal file of {self._store}")
        # One byte more, because no record ends where its file does: see docs/file-format.md.
        needed = format.JOURNAL_HEADER_BYTES + _HEADER + needed_bytes + 1
        size = min(file.size_bytes * 2, self._journal_bytes)
        size = max(size, -(-needed // 4096) * 4096)
        try:
            following = journal.create(file.end, size)
        except OSError as error:
            raise StorageUnavailableError(
                f"{self._store} has no room for another journal file ({error}); nothing was stored"
            ) from error
        roll = Planned(format.ROLL, b"", format.checksum(b"", self._seed), place=previous_end)
        roll.token = self._view.tail.next_token
        header = roll.header(following.first, 0, min(following.first - previous_end, format.MAX_LAG))
        try:
            self.flush_to(previous_end)
            journal.write(following.first, format.pack_header(header, self._seed))
        except BaseException as error:
            # Until the tail is in it, another process may put another file in its place.
            journal.forget(following.base)
            if isinstance(error, OSError):
                raise StorageUnavailableError(
                    f"the next journal file of {self._store} could not be written ({error}); nothing was stored"
                ) from error
            raise
        tail = header.end
        self._view.tail.apply(header, b"")
        control.set(TAIL, tail)
        return tail

    def roll_now(self) -> None:
        """Go on in a new journal file, so that the old ones can be erased whole."""
        with self._write_lock, self._mutex:
            self.check_failed(in_doubt=False)
            self._clear_begun()
            self._view.refresh(self._control, to_tail=True)
            self._view.journal.drop_spare()
            end = self._roll(self._control.get(TAIL), 0)
            self.flush_to(end)
            file = self._view.journal.file_at(end - 1)
            assert file is not None
            self._control.advance({ERASE: file.base})

    # ---- durability ----

    def _make_durable(self, end: int) -> None:
        """Return when everything below `end` is as durable as was asked for, and visible."""
        control = self._control
        if not self._flush:
            control.advance({VISIBLE: end})
        elif control.get(SYNCED) < end or control.get(VISIBLE) < end:
            # Also when only the second of the two marks was not moved: who should have done it died between them.
            self.flush_to(end)

    def flush_to(self, end: int) -> None:
        """Flush the journal file that ends or goes on at `end`; moves the marks. A failure poisons the store."""
        control, journal = self._control, self._view.journal
        tail = control.get(TAIL)
        with self._mutex:
            file = journal.pin(end - 1)
        if file is None:
            # Another process went on in the next file; it flushed this one first.
            self.check_failed(in_doubt=True)
            if control.get(SYNCED) >= end:
                return
            raise StorageError(f"position {end} is in no journal file of {self._store}")
        try:
            self._disk.flush(file.handle)
        except OSError as error:
            control.set(FAILED, 1)
            raise StorageUnavailableError(
                f"flushing the journal of {self._store} failed ({error}); whether these commits are stored is "
                "in doubt: close the store in every process, open it again, then commit the same attempt again",
                in_doubt=True,
            ) from error
        finally:
            with self._mutex:
                journal.unpin(file)
        # What others appended to this file before the flush began is covered as well.
        covered = max(end, tail) if tail <= file.end else end
        self.check_failed(in_doubt=True)
        control.advance({SYNCED: covered, VISIBLE: covered})

    def check_failed(self, *, in_doubt: bool) -> None:
        """Raise when a flush failed in any process: nothing more is stored until all have closed the store."""
        if self._control.get(FAILED):
            raise StorageUnavailableError(
                f"writing to {self._store} failed in this or another process; close the store in every process "
                "and open it again" + ("; whether this commit is stored is in doubt" if in_doubt else ""),
                in_doubt=in_doubt,
            )
