"""The file engine: a directory is a store, and nothing else runs.

This module opens and closes it and puts the parts together: commits go to the writer in groups, reads to the
reader, and the folding of the journal into the streams' files runs in the background. The parts, in the order
in which data passes them: group, writer, journal, fold, segments, reader. docs/architecture.md draws them.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from fsstore.engine import AsyncPersistenceEngine
from fsstore.engines.file import format, layout, mounts, recovery
from fsstore.engines.file.background import Background
from fsstore.engines.file.commits_index import CommitsIndex
from fsstore.engines.file.control import (
    CLEAN,
    EPOCH,
    ERASE,
    FAILED,
    FOLD_BEGUN,
    FOLDED,
    NEXT_TOKEN,
    SYNCED,
    TAIL,
    VISIBLE,
    Control,
)
from fsstore.engines.file.delivery import FileDelivery
from fsstore.engines.file.disk import Disk, RealDisk
from fsstore.engines.file.fold import Fold
from fsstore.engines.file.group import Group
from fsstore.engines.file.heads import Heads, StaleIndexError
from fsstore.engines.file.journal import Journal
from fsstore.engines.file.locks import FileLock, PresenceLock
from fsstore.engines.file.marks import DispatchCheckpoint
from fsstore.engines.file.options import Options
from fsstore.engines.file.reader import Reader
from fsstore.engines.file.rebuild import rebuild_indexes
from fsstore.engines.file.segments import Segments, Stream
from fsstore.engines.file.verify import Finding, Progress, verify
from fsstore.engines.file.view import View
from fsstore.engines.file.writer import (
    CommitRequest,
    ForgetRequest,
    Planned,
    Request,
    SnapshotRequest,
    Writer,
)
from fsstore.errors import SerializationError, StorageError, StorageUnavailableError, StoreClosedError
from fsstore.model import (
    Commit,
    CommitAttempt,
    Snapshot,
    StreamHead,
    checked_id,
    checked_stamp,
)
from fsstore.serialization import MsgpackSerializer, Serializer, encode_payload

_log = logging.getLogger("fsstore.file")
_FIRST_JOURNAL_BYTES = 256 << 10
_WAIT_FOLDS = 4
_open_engines: weakref.WeakSet[FileEngine] = weakref.WeakSet()


def _forked() -> None:
    for engine in list(_open_engines):
        engine._leave_to_parent()


os.register_at_fork(after_in_child=_forked)


def stored(attempts: Sequence[CommitAttempt], request: CommitRequest) -> list[Commit]:
    """What the attempts became once their request is done."""
    return [Commit.of(attempt, record.token) for attempt, record in zip(attempts, request.records, strict=True)]


class FileEngine(FileDelivery):
    """A store in a directory of plain files, shared by any number of threads and processes.

    `durability="commit"`: a commit is on the device when the call returns. `"os"`: the operating system has
    it; it survives the process, not the power. `read_only` writes nothing, not even a lock. Every other
    keyword is an option of `Options`. Errors are those of `PersistenceEngine`, and `StorageError` where `path`
    cannot be used as a store.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        serializer: Serializer | None = None,
        create: bool = True,
        read_only: bool = False,
        durability: str = "commit",
        disk: Disk | None = None,
        **tuning: Any,
    ) -> None:
        if durability not in ("commit", "os"):
            raise ValueError(f"durability must be 'commit' or 'os', not {durability!r}")
        self.path = os.path.abspath(os.fspath(path))
        self.read_only = read_only
        self._options = Options(**tuning)
        self._serializer: Serializer = serializer if serializer is not None else MsgpackSerializer()
        self._create = create
        self._durability = durability
        self._disk: Disk = disk if disk is not None else RealDisk()
        self._mutex = threading.RLock()
        self._opening = threading.Lock()
        self._streams: OrderedDict[tuple[str, str], Stream] = OrderedDict()
        self._is_open = False
        self._closed = False
        self._forked = False
        self._attached_epoch = 0
        self._fold_error: Exception | None = None

    # ---- opening ----

    def initialize(self) -> None:
        """Open the store, making or recovering it first where that is needed."""
        with self._opening:
            if self._closed:
                raise StoreClosedError(f"{self.path} was closed; open it anew")
            if self._is_open:
                return
            try:
                self._open()
            except OSError as error:
                raise StorageUnavailableError(f"{self.path} cannot be opened: {error}") from error
            self._is_open = True
            _open_engines.add(self)

    def _open(self) -> None:
        exists = layout.look(self._disk, self.path)
        network = mounts.network_file_system(self.path)
        if network is not None:
            raise StorageError(
                f"{self.path} is on a network file system ({network}), where locks and shared memory do not hold "
                "between machines; put the store on a local disk"
            )
        if not exists and (self.read_only or not self._create):
            raise StorageError(f"there is no store at {self.path}")
        if self.read_only:
            self._open_for_reading()
            return
        if exists:
            layout.read_meta(self._disk, self.path)
        else:
            layout.make_directories(self._disk, self.path)
        with contextlib.ExitStack() as opened:
            self._write_lock = FileLock(self._disk, f"{self.path}/{layout.WRITE_LOCK}")
            opened.callback(self._write_lock.close)
            self._fold_lock = FileLock(self._disk, f"{self.path}/{layout.FOLD_LOCK}")
            opened.callback(self._fold_lock.close)
            self._presence = PresenceLock(self._disk, f"{self.path}/{layout.LOCK}", write=True)
            opened.callback(self._presence.close)
            with self._write_lock:
                if not layout.look(self._disk, self.path):
                    self._make()
                self._attach(recover=self._presence.alone())
                self._presence.share()
            opened.pop_all()
        if self._options.background:
            self._background = Background(self.path, self._fold_in_background)

    def _make(self) -> None:
        """A new store: its first journal file, then, last of all, its meta file."""
        meta = layout.new_meta(time.time_ns() // 1000)
        journal = Journal(self._disk, f"{self.path}/{layout.JOURNAL}", meta.seed, write=True)
        try:
            for base in journal.bases():
                self._disk.unlink(journal.path(base))
            file = journal.create(0, min(_FIRST_JOURNAL_BYTES, self._options.journal_bytes))
            roll = Planned(format.ROLL, b"", format.checksum(b"", meta.seed), token=1)
            journal.write(file.first, format.pack_header(roll.header(file.first, 0, 0), meta.seed))
            journal.flush(file.first)
        finally:
            journal.forget()
        layout.write_meta(self._disk, self.path, meta)

    def _attach(self, *, recover: bool) -> None:
        """Take up the store's state; when nobody else has it open, judge and settle the journal first."""
        disk, path = self._disk, self.path
        meta = layout.read_meta(disk, path)
        self._seed = seed = meta.seed
        journal = Journal(disk, f"{path}/{layout.JOURNAL}", seed, write=True)
        control = Control(disk, f"{path}/{layout.CONTROL}", meta.store_id, write=True)
        heads = Heads(disk, path, seed, write=True)
        commits = CommitsIndex(disk, path, seed, write=True)
        try:
            if recover:
                verdict = recovery.judge(journal, control, seed, path)
                recovery.settle(disk, journal, verdict, f"{path}/{layout.QUARANTINE}")
                if not verdict.clean:
                    disk.flush_directory(path)  # whoever made the store may have been interrupted before that
                erase = control.get(ERASE) if control.whole() else verdict.folded
                try:
                    heads.open(at_least_folded=verdict.folded)
                    commits.open(at_least_folded=verdict.folded)
                except StaleIndexError:
                    unfolded = journal.walk(verdict.folded, verdict.tail)
                    rebuild_indexes(disk, path, seed, heads, commits, verdict.folded, verdict.first_token, unfolded)
                control.reset(
                    epoch=control.lower_bound(EPOCH) + 1,
                    tail=verdict.tail,
                    folded=verdict.folded,
                    next_token=max(verdict.next_token, commits.next_token),
                    erase=erase,
                    # Without the page nobody knows of a fold that did not end, so one is assumed.
                    fold_begun=control.get(FOLD_BEGUN) if control.belongs() else verdict.tail,
                )
                # A file behind the tail may be replaced by whoever goes on there.
                journal.forget()
            # Before the indexes, so that they reach as far at least.
            folded = control.get(FOLDED)
            if not recover:
                heads.open(at_least_folded=folded)
                commits.open(at_least_folded=folded)
            segments = Segments(disk, path, seed, max_handles=self._options.max_open_segments)
            view = View(disk, path, seed, journal, heads, commits, segments, self._options, folded)
            view.refresh(control, to_tail=True)
            self._marks = DispatchCheckpoint(disk, f"{path}/{layout.DISPATCH}/default.checkpoint", seed, write=True)
        except BaseException:
            for part in (commits, heads, control):
                part.close()
            journal.forget()
            raise
        self._control, self._view = control, view
        self._writer = Writer(
            disk,
            path,
            view,
            control,
            self._write_lock,
            self._mutex,
            seed,
            flush=self._durability == "commit",
            journal_bytes=self._options.journal_bytes,
            make_room=self._make_room,
        )
        self.group: Group[Request] = Group(self._writer.lead, max_pass_bytes=self._options.max_batch_bytes)
        self._reader = self._new_reader()
        self._begin_delivery(disk, path, seed)

    def _new_reader(self) -> Reader:
        return Reader(
            self.path,
            self._view,
            lambda: self._control,
            self._mutex,
            self._serializer,
            self._seed,
            self._options,
            self._check,
        )

    def _open_for_reading(self) -> None:
        from fsstore.engines.file.reading_only import attach_for_reading

        meta = layout.read_meta(self._disk, self.path)
        self._seed = meta.seed
        self._control, self._view = attach_for_reading(self._disk, self.path, meta, self._options)  # type: ignore[assignment]
        self._marks = DispatchCheckpoint(
            self._disk, f"{self.path}/{layout.DISPATCH}/default.checkpoint", meta.seed, write=False
        )
        self._reader = self._new_reader()
        self._begin_delivery(self._disk, self.path, meta.seed)

    # ---- closing ----

    def close(self) -> None:
        """Finish what was accepted; the last to close folds everything, so that the next open is quick."""
        with self._opening:
            if self._closed:
                return
            self._closed = True
            if not self._is_open or self._forked:
                return
            _open_engines.discard(self)
            try:
                if not self.read_only:
                    self._close_writing()
            finally:
                self._let_go()

    def _close_writing(self) -> None:
        self.group.stop()
        if self._options.background:
            self._background.stop()
        with self._write_lock:
            if not self._presence.alone():
                return
            control = self._control
            if control.get(FAILED):
                return
            try:
                self._fold_all()
                self._view.journal.drop_above(control.get(TAIL))
                control.set(NEXT_TOKEN, self._view.tail.next_token)
                control.mend()
                control.set(CLEAN, 1)
                control.flush()
            except (OSError, StorageError) as error:
                # Everything acknowledged is in the journal; the next opening folds it.
                _log.warning("closing %s left its journal unfolded: %s", self.path, error)

    def _let_go(self) -> None:
        with self._mutex:
            self._view.segments.forget_handles()
            self._view.heads.close()
            self._view.commits.close()
            self._view.journal.forget()
            self._marks.close()
            self._leases.close()
            self._control.close()
        if not self.read_only:
            self._presence.close()
            self._fold_lock.close()
            self._write_lock.close()

    def _leave_to_parent(self) -> None:
        """In the child of a fork: no use, and no part in the locks, which would outlive the parent here."""
        self._forked = True
        self._leases.close()
        self._marks.close()
        self._control.close()
        if not self.read_only:
            for lock in (self._presence, self._fold_lock, self._write_lock):
                lock.close()

    def drop(self) -> None:
        """Remove the store's files, and its directory when nothing else is in it."""
        if self._forked:
            raise StoreClosedError(f"{self.path} was opened before a fork; open it anew in this process")
        if self.read_only:
            raise StorageError(f"{self.path} is open read-only and cannot be dropped")
        if self._is_open and not self._closed:
            with self._write_lock:
                alone = self._presence.alone()
                self._presence.share()
            if not alone:
                raise self._open_elsewhere()
        self.close()
        if layout.look(self._disk, self.path):
            self._remove()

    def _remove(self) -> None:
        """Nobody comes between: who opens the store meanwhile waits, and then finds the lock's file gone."""
        write_lock = FileLock(self._disk, f"{self.path}/{layout.WRITE_LOCK}")
        presence = PresenceLock(self._disk, f"{self.path}/{layout.LOCK}", write=True)
        try:
            with write_lock:
                if not presence.alone():
                    raise self._open_elsewhere()
                layout.remove(self._disk, self.path)
        finally:
            presence.close()
            write_lock.close()

    def _open_elsewhere(self) -> StorageUnavailableError:
        return StorageUnavailableError(f"{self.path} is open elsewhere; close it there, then drop it")

    def _check(self) -> None:
        if self._forked:
            raise StoreClosedError(f"{self.path} was opened before a fork; open it anew in this process")
        if self._closed:
            raise StoreClosedError(f"{self.path} is closed; open it anew")
        if not self._is_open:
            raise StoreClosedError(f"{self.path} is not open yet; call initialize() first")

    def check_writing(self) -> None:
        self._check()
        if self.read_only:
            raise StorageError(f"{self.path} is open read-only; open it without read_only=True to write")

    # ---- commits ----

    def commit(self, attempt: CommitAttempt) -> Commit:
        """Store `attempt`; durable when this returns."""
        return self.commit_many((attempt,))[0]

    def commit_many(self, attempts: Sequence[CommitAttempt]) -> list[Commit]:
        """Store all attempts in one durable step, or none."""
        self.check_writing()
        if not attempts:
            return []
        request = self.request(attempts)
        self.group.run(request)
        return stored(attempts, request)

    def awaiting(self) -> AsyncPersistenceEngine:
        """This store for the tasks of one event loop, whose commits share flushes."""
        from fsstore.engines.file.awaiting import AsyncFileEngine

        return AsyncFileEngine(self)

    def request(self, attempts: Sequence[CommitAttempt]) -> CommitRequest:
        """The attempts as bytes for the group; nothing is stored yet."""
        request = CommitRequest([self._encode(attempt) for attempt in attempts])
        if request.size_bytes > self._options.max_batch_bytes:
            raise ValueError(
                f"a batch of {request.size_bytes} bytes is over max_batch_bytes = {self._options.max_batch_bytes}; "
                "commit it in parts"
            )
        return request

    def _encode(self, attempt: CommitAttempt) -> Planned:
        # An attempt's ids were checked when it was made.
        stream = self._streams.get((attempt.bucket_id, attempt.stream_id))
        if stream is None:
            stream = self._stream(attempt.bucket_id, attempt.stream_id)
        try:
            payload = encode_payload(self._serializer, attempt.headers, attempt.events)
        except SerializationError as error:
            raise SerializationError(
                f"commit {attempt.commit_id} of {stream} cannot be written: {error}", error.path
            ) from error
        body = stream.prefix + payload
        if len(body) > self._options.max_record_bytes:
            raise self._too_large(len(body), f"commit {attempt.commit_id} of {stream}")
        if attempt.stream_revision > format.MAX_REVISION:
            raise ValueError(f"stream_revision {attempt.stream_revision} of {stream} is beyond {format.MAX_REVISION}")
        return Planned(
            format.COMMIT,
            body,
            format.checksum(body, self._seed),
            stream,
            0,
            attempt.stream_revision,
            attempt.commit_sequence,
            len(attempt.events),
            attempt.commit_id.bytes,
            format.stamp_to_us(attempt.commit_stamp),
        )

    def _too_large(self, size_bytes: int, what: str) -> ValueError:
        return ValueError(
            f"{what} has {size_bytes} bytes, over max_record_bytes = {self._options.max_record_bytes}; "
            "store large content elsewhere and its address in the event"
        )

    def _stream(self, bucket_id: str | UUID, stream_id: str | UUID) -> Stream:
        names = (checked_id(bucket_id, "bucket_id"), checked_id(stream_id, "stream_id"))
        known = self._streams.get(names)
        if known is None:
            known = self._streams[names] = Stream.of(*names)
            if len(self._streams) > self._options.max_cached_streams:
                with contextlib.suppress(KeyError):  # another thread emptied it
                    self._streams.popitem(last=False)
        return known

    # ---- reads ----

    def get_from(
        self, bucket_id: str, stream_id: str, min_revision: int = 0, max_revision: int | None = None
    ) -> Iterator[Commit]:
        """The stream's commits that touch the revisions, oldest first."""
        self._check()
        _check_range(min_revision, max_revision, "revision")
        return self._reader.stream(self._stream(bucket_id, stream_id), min_revision, max_revision)

    def get_from_checkpoint(
        self, checkpoint_token: int = 0, to_checkpoint: int | None = None, *, bucket_id: str | None = None
    ) -> Iterator[Commit]:
        """Commits after the one token up to the other, in checkpoint order."""
        self._check()
        _check_range(checkpoint_token, to_checkpoint, "checkpoint")
        bucket = None if bucket_id is None else checked_id(bucket_id, "bucket_id")
        return self._reader.checkpoints(max(checkpoint_token, 0), to_checkpoint, bucket)

    def get_from_date(
        self, start: datetime, end: datetime | None = None, *, bucket_id: str | None = None
    ) -> Iterator[Commit]:
        """Commits with `start <= commit_stamp < end`, in checkpoint order."""
        self._check()
        start = checked_stamp(start, "start")
        end = None if end is None else checked_stamp(end, "end")
        bucket = None if bucket_id is None else checked_id(bucket_id, "bucket_id")
        return self._reader.dates(start, end, bucket)

    # ---- snapshots ----

    def get_snapshot(self, bucket_id: str, stream_id: str, max_revision: int | None = None) -> Snapshot | None:
        """The newest snapshot at or before `max_revision`."""
        self._check()
        _check_range(0, max_revision, "revision")
        return self._reader.snapshot(self._stream(bucket_id, stream_id), max_revision)

    def add_snapshot(self, snapshot: Snapshot) -> bool:
        """Store a snapshot, durable when this returns; `False` where there may be none."""
        self.check_writing()
        stream = self._stream(snapshot.bucket_id, snapshot.stream_id)
        payload = self._serializer.dumps(snapshot.payload)
        body = stream.prefix + payload
        if len(body) > self._options.max_record_bytes:
            raise self._too_large(len(body), f"snapshot {snapshot.stream_revision} of {stream}")
        if snapshot.stream_revision > format.MAX_REVISION:
            raise ValueError(f"stream_revision {snapshot.stream_revision} of {stream} is beyond {format.MAX_REVISION}")
        crc = format.checksum(body, self._seed)
        request = SnapshotRequest(stream, snapshot.stream_revision, body, crc)
        self.group.run(request)
        return bool(request.records)

    def get_streams_to_snapshot(self, bucket_id: str, max_threshold: int) -> Iterator[StreamHead]:
        """Heads of streams whose newest snapshot is at least `max_threshold` revisions behind."""
        self._check()
        return self._reader.heads_to_snapshot(checked_id(bucket_id, "bucket_id"), max_threshold)

    # ---- dispatch ----

    def get_undispatched_commits(self) -> Iterator[Commit]:
        """Commits that are not marked as dispatched, in checkpoint order."""
        self._check()
        return self._undispatched()

    def _undispatched(self) -> Iterator[Commit]:
        marks = self._marks.read()
        last = self._reader.last_token()
        first = True
        for commit in self._reader.checkpoints(marks.up_to, last, None):
            if commit.checkpoint_token in marks:
                continue
            if first and marks.ranges and not self.read_only:
                # What was deleted below this commit will never be marked: close the hole for good. Where that
                # cannot be written now, the next look does it.
                with contextlib.suppress(StorageUnavailableError):
                    self._marks.raise_to(commit.checkpoint_token - 1)
            first = False
            yield commit

    def mark_commit_as_dispatched(self, commit: Commit) -> None:
        """Remember that `commit` was dispatched; survives the process."""
        self.check_writing()
        self._marks.mark(commit.checkpoint_token)

    def _visible_position(self) -> int:
        return self._control.get(VISIBLE)

    def _last_token(self) -> int:
        return self._reader.last_token()

    # ---- deletion ----

    def delete_stream(self, bucket_id: str, stream_id: str) -> None:
        """Forget the stream; the next fold removes its bytes from every file."""
        self.check_writing()
        stream = self._stream(bucket_id, stream_id)
        self._forget(format.DELETE_STREAM, stream.prefix, stream)

    def purge(self, bucket_id: str | None = None) -> None:
        """Forget every stream of the bucket or of the store; the next fold removes their bytes."""
        self.check_writing()
        bucket = None if bucket_id is None else checked_id(bucket_id, "bucket_id")
        self._forget(format.PURGE, format.pack_purge(bucket), None)

    def _forget(self, kind: int, body: bytes, stream: Stream | None) -> None:
        self.group.run(ForgetRequest(Planned(kind, body, format.checksum(body, self._seed), stream)))

    # ---- folding ----

    def fold(self) -> None:
        """Write everything that is durable by now into the streams' files. Waits for a fold that is going on."""
        self.check_writing()
        self._fold_all()

    def _fold_all(self) -> None:
        with self._fold_lock:
            self._writer.check_failed(in_doubt=False)
            control = self._control
            while control.get(FOLDED) < control.get(VISIBLE):
                with self._mutex:
                    self._view.refresh(control, to_tail=True)
                    newest_reset = self._view.tail.newest_reset
                if newest_reset >= max(control.get(ERASE), 1):
                    self._writer.roll_now()
                if control.get(SYNCED) < control.get(VISIBLE):
                    self._writer.flush_to(control.get(TAIL))
                try:
                    self._fold_once(control.get(SYNCED))
                except OSError as error:
                    raise StorageUnavailableError(
                        f"the journal of {self.path} could not be folded ({error}); it still holds everything, and "
                        "folding is tried again"
                    ) from error

    def _fold_once(self, target: int) -> None:
        control, disk = self._control, self._disk
        journal = Journal(disk, f"{self.path}/{layout.JOURNAL}", self._seed, write=False)
        heads = Heads(disk, self.path, self._seed, write=True)
        commits = CommitsIndex(disk, self.path, self._seed, write=True)
        try:
            heads.open(at_least_folded=0)
            commits.open(at_least_folded=0)
            fold = Fold(
                disk,
                self.path,
                self._seed,
                journal,
                heads,
                commits,
                index_from_bytes=self._options.index_from_bytes,
            )
            start = control.get(FOLDED)
            end = fold.run(
                start,
                target,
                self._options.fold_bytes,
                again=control.get(FOLD_BEGUN) > start,
                begin=lambda end: control.advance({FOLD_BEGUN: end}),
            )
            control.advance({FOLDED: end})
            with self._write_lock:
                journal.retire_below(end, erase_below=control.get(ERASE))
            with self._mutex:
                self._view.refresh(control, to_tail=False)
        finally:
            journal.forget()
            heads.close()
            commits.close()

    def _unfolded_bytes(self) -> int:
        return self._control.get(TAIL) - self._control.get(FOLDED)

    def _make_room(self) -> None:
        """Before a pass: wake the folding when it is due, and wait for it when it is far behind."""
        unfolded = self._unfolded_bytes()
        if unfolded < self._options.fold_bytes:
            return
        if self._options.background:
            self._background.wake()
            if unfolded < self._options.fold_bytes * _WAIT_FOLDS:
                return
        self._fold_all()

    def _fold_in_background(self) -> None:
        """One round of background work; an error is kept for `stat` and tried again at the next wake."""
        if self._unfolded_bytes() < self._options.fold_bytes:
            return
        if not self._fold_lock.acquire(blocking=False):
            return
        try:
            self._fold_all()
            with self._mutex:
                file = self._view.journal.file_at(self._control.get(TAIL) - 1)
            if file is not None:
                size = min(file.size_bytes * 2, self._options.journal_bytes)
                journal = Journal(self._disk, f"{self.path}/{layout.JOURNAL}", self._seed, write=True)
                journal.keep_spare(size, self._write_lock)
            self._fold_error = None
        except (OSError, StorageError) as error:
            self._fold_error = error
            _log.warning("folding the journal of %s failed, and will be tried again: %s", self.path, error)
        finally:
            self._fold_lock.release()

    # ---- looking ----

    def verify(self, *, progress: Progress | None = None) -> Iterator[Finding]:
        """Read everything, also beside writers, and say what is damaged; nothing is changed.

        `progress` is called with the bytes that were read and those that there are.
        """
        self._check()
        return verify(self._disk, self.path, progress=progress)

    def stat(self) -> dict[str, Any]:
        """Numbers about the store as it is now; sizes in bytes."""
        self._check()
        with self._mutex:
            control = self._control
            self._view.refresh(control, to_tail=False)
            heads = sum(1 for head in self._view.heads.all() if head.segment_bytes)
            return {
                "path": self.path,
                "durability": self._durability,
                "last_checkpoint": self._reader.last_token(),
                "folded_streams": heads,
                "unfolded_commits": len(self._view.tail.commits),
                "unfolded_bytes": control.get(VISIBLE) - control.get(FOLDED),
                "failed": bool(control.get(FAILED)),
                "fold_error": None if self._fold_error is None else str(self._fold_error),
                "next_checkpoint": control.get(NEXT_TOKEN),
            }


def _check_range(low: int, high: int | None, what: str) -> None:
    """A range may begin below the first and end beyond the last, but its ends are numbers."""
    for value in (low, high):
        if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
            raise TypeError(f"a {what} must be an int, not {type(value).__name__}")
