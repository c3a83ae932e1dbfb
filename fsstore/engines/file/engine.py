"""The file engine: a directory is a store, and nothing else runs.

This module is the front: it checks what it is asked, and hands commits to the group of an open store and reads to
its reader. What an open store is made of, `open_store` says; docs/architecture.md draws the way of a commit.
"""

from __future__ import annotations

import contextlib
import os
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from fsstore.engine import AsyncPersistenceEngine
from fsstore.engines import arguments
from fsstore.engines.file.delivery import FileDelivery
from fsstore.engines.file.disk.disk import Disk, RealDisk
from fsstore.engines.file.failures import asked
from fsstore.engines.file.files import layout
from fsstore.engines.file.lifetime.making import not_opened, open_elsewhere, remove_store
from fsstore.engines.file.lifetime.open_store import OpenStore, WritableStore
from fsstore.engines.file.lifetime.opening import open_to_write
from fsstore.engines.file.options import Options
from fsstore.engines.file.processes.control import FAILED, FOLDED, NEXT_TOKEN, VISIBLE
from fsstore.engines.file.writing.encoding import Encoder, KnownStreams
from fsstore.engines.file.writing.planning import CommitRequest
from fsstore.engines.refusals import said_of, storing
from fsstore.errors import StorageError, StorageUnavailableError, StoreClosedError
from fsstore.model import Commit, CommitAttempt, Snapshot, StreamHead, not_a
from fsstore.serialization import MsgpackSerializer, Serializer

if TYPE_CHECKING:
    from fsstore.engines.file.verify import Finding, Progress

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
        for name, value in (("create", create), ("read_only", read_only)):
            if not isinstance(value, bool):
                raise TypeError(f"{name} must be a bool, not {value!r}")
        self.path = os.path.abspath(os.fspath(path))
        self.read_only = read_only
        self._options = Options.of(tuning)
        self.serializer: Serializer = serializer if serializer is not None else MsgpackSerializer()
        self._create = create
        self._durability = durability
        self._disk: Disk = (
            disk
            if disk is not None
            else RealDisk(self.path, file_mode=self._options.file_mode, directory_mode=self._options.directory_mode)
        )
        self._streams = KnownStreams(self._options.max_cached_streams)
        self._opening = threading.Lock()
        self._closed = False
        self._forked = False

    # ---- opening ----

    def initialize(self) -> None:
        """Open the store, making or recovering it first where that is needed."""
        with self._opening:
            if self._closed:
                raise StoreClosedError(f"{self.path} was closed; open it anew")
            if self._store is not None:
                return
            try:
                self._store = self._open()
            except OSError as error:
                raise not_opened(self.path, error) from error
            finally:
                self._disk.let_go()  # what was tried may have been dropped and made again meanwhile
            _open_engines.add(self)

    def _open(self) -> OpenStore:
        store: OpenStore | None = None

        def check_open() -> None:
            if self.opened() is not store:  # dropped, and made anew
                raise StoreClosedError(f"{self.path} was dropped while this was read")

        store = self._opened_with(check_open)
        return store

    def _opened_with(self, check_open: Callable[[], object]) -> OpenStore:
        exists = layout.look(self._disk, self.path)
        network = self._disk.network_file_system(self.path)
        if network is not None:
            raise StorageError(
                f"{self.path} is on a network file system ({network}), where locks and shared memory do not hold "
                "between machines; put the store on a local disk"
            )
        if not exists and (self.read_only or not self._create):
            raise StorageError(f"there is no store at {self.path}")
        if self.read_only:
            from fsstore.engines.file.lifetime.reading_only import open_to_read

            return open_to_read(self._disk, self.path, self._options, self.serializer, check_open)
        if exists:
            layout.read_meta(self._disk, self.path)
        else:
            layout.make_directories(self._disk, self.path)
        store = open_to_write(
            self._disk, self.path, self._options, self.serializer, check_open, flush=self._durability == "commit"
        )
        self._encoder = Encoder(self._streams, self.serializer, store.seed, self._options)
        self.group = store.group
        return store

    def close(self) -> None:
        """Finish what was accepted; the last to close folds everything, so that the next open is quick."""
        with self._opening:
            if self._closed:
                return
            self._closed = True
            if self._store is None or self._forked:
                return
            try:
                self._store.close()
            except OSError as error:
                raise StorageUnavailableError(
                    f"{self.path} was closed, but not folded ({error}): its journal holds everything, and the next "
                    "opening goes on from there"
                ) from error
            finally:
                _open_engines.discard(self)
                self._disk.let_go()

    def drop(self) -> None:
        """Remove the store's files, and its directory when nothing else is in it; `initialize()` makes a new store."""
        if self._forked:
            raise StoreClosedError(f"{self.path} was opened before a fork; open it anew in this process")
        if self.read_only:
            raise StorageError(f"{self.path} is open read-only and cannot be dropped")
        with asked(f"dropping {self.path}"):
            if isinstance(self._store, WritableStore) and not self._closed and not self._store.locks.alone():
                raise open_elsewhere(self.path)
            was_closed = self._closed
            self.close()
            if layout.look(self._disk, self.path):
                remove_store(self._disk, self.path)
            with self._opening:
                self._store, self._closed = None, was_closed

    def _leave_to_parent(self) -> None:
        """In the child of a fork: no use of the store."""
        self._forked = True
        self._opening = threading.Lock()  # it was held by a thread that is not here, where the store was being closed
        if self._store is not None and not self._closed:
            self._store.leave_to_parent()

    def opened(self) -> OpenStore:
        """The store, as long as it is open."""
        if self._forked:
            raise StoreClosedError(f"{self.path} was opened before a fork; open it anew in this process")
        if self._closed:
            raise StoreClosedError(f"{self.path} is closed; open it anew")
        if self._store is None:
            raise StoreClosedError(f"{self.path} is not open yet; call initialize() first")
        return self._store

    def writable(self) -> WritableStore:
        """The store, as long as it is open for writing."""
        store = self.opened()
        if not isinstance(store, WritableStore):
            raise StorageError(f"{self.path} is open read-only; open it without read_only=True to write")
        return store

    # ---- commits ----

    def commit(self, attempt: CommitAttempt) -> Commit:
        """Store `attempt`; durable when this returns."""
        if not isinstance(attempt, CommitAttempt):
            raise not_a(CommitAttempt, attempt)
        request = self.request((attempt,))
        self.group.run(request)
        return Commit.of(attempt, request.records[0].token)

    def commit_many(self, attempts: Iterable[CommitAttempt]) -> list[Commit]:
        """Store all attempts in one durable step, or none."""
        attempts = arguments.checked_attempts(attempts)
        request = self.request(attempts)
        if not attempts:
            return []
        self.group.run(request)
        return stored(attempts, request)

    def awaiting(self) -> AsyncPersistenceEngine:
        """This store for the tasks of one event loop, whose commits share flushes."""
        from fsstore.engines.file.awaiting import AsyncFileEngine

        return AsyncFileEngine(self)

    def request(self, attempts: Sequence[CommitAttempt]) -> CommitRequest:
        """The attempts as bytes for the group; nothing is stored yet. Refused where the store takes no commits."""
        try:
            self.writable()
        except (StorageError, StoreClosedError) as error:
            raise said_of(storing(attempts), error) from None
        return self._encoder.commits(attempts)

    # ---- reads ----

    def get_from(
        self, bucket_id: str, stream_id: str, min_revision: int = 0, max_revision: int | None = None
    ) -> Iterator[Commit]:
        """The stream's commits that touch the revisions, oldest first."""
        reader = self.opened().reader
        stream = self._streams.get(bucket_id, stream_id)
        if arguments.names_no_revision(min_revision, max_revision):
            return iter(())
        return reader.stream(stream, min_revision, max_revision)

    def get_from_checkpoint(
        self, checkpoint_token: int = 0, to_checkpoint: int | None = None, *, bucket_id: str | None = None
    ) -> Iterator[Commit]:
        """Commits after the one token up to the other, in checkpoint order."""
        reader = self.opened().reader
        after, to = arguments.checked_tokens(checkpoint_token, to_checkpoint)
        return reader.checkpoints(max(after, 0), to, arguments.checked_bucket(bucket_id))

    def get_from_date(
        self, start: datetime, end: datetime | None = None, *, bucket_id: str | None = None
    ) -> Iterator[Commit]:
        """Commits with `start <= commit_stamp < end`, in checkpoint order."""
        reader = self.opened().reader
        return reader.dates(*arguments.checked_period(start, end), arguments.checked_bucket(bucket_id))

    # ---- snapshots ----

    def get_snapshot(self, bucket_id: str, stream_id: str, max_revision: int | None = None) -> Snapshot | None:
        """The newest snapshot at or before `max_revision`."""
        reader = self.opened().reader
        return reader.snapshot(
            self._streams.get(bucket_id, stream_id), arguments.checked_limit(max_revision, "max_revision")
        )

    def add_snapshot(self, snapshot: Snapshot) -> bool:
        """Store a snapshot, durable when this returns; `False` where there may be none."""
        self.writable()
        request = self._encoder.snapshot(arguments.checked_value(snapshot, Snapshot))
        self.group.run(request)
        return bool(request.records)

    def get_streams_to_snapshot(self, bucket_id: str, max_threshold: int) -> Iterator[StreamHead]:
        """Heads of streams whose newest snapshot is at least `max_threshold` revisions behind."""
        reader = self.opened().reader
        bucket, threshold = arguments.checked_heads(bucket_id, max_threshold)
        return reader.heads_to_snapshot(bucket, threshold)

    # ---- deletion ----

    def delete_stream(self, bucket_id: str, stream_id: str) -> None:
        """Forget the stream; the next fold removes its bytes from every file."""
        self.writable()
        self.group.run(self._encoder.deletion(bucket_id, stream_id))

    def purge(self, bucket_id: str | None = None) -> None:
        """Forget every stream of the bucket or of the store; the next fold removes their bytes."""
        self.writable()
        self.group.run(self._encoder.purge(bucket_id))

    def fold(self) -> None:
        """Write everything that is durable by now into the streams' files. Waits for a fold that is going on."""
        self.writable().fold()

    # ---- looking ----

    def verify(self, *, progress: Progress | None = None) -> Iterator[Finding]:
        """Read everything, also beside writers, and say what is damaged; nothing is changed.

        `progress` is called with the bytes that were read and those that there are.
        """
        from fsstore.engines.file.verify import verify

        self.opened()
        return verify(self._disk, self.path, progress=progress)

    def stat(self) -> dict[str, Any]:
        """Numbers about the store as it is now; sizes in bytes."""
        store = self.opened()
        control, view = store.control, store.view
        with asked(f"looking at {self.path}"):
            with store.mutex:
                self.opened()
                view.refresh(control, to_tail=False)
                numbers = {
                    "path": self.path,
                    "durability": self._durability,
                    "last_checkpoint": store.reader.last_token(),
                    "folded_streams": 0,
                    "unfolded_commits": len(view.tail.commits),
                    "unfolded_bytes": control.get(VISIBLE) - control.get(FOLDED),
                    "failed": bool(control.get(FAILED)),
                    "fold_error": store.folding.error if isinstance(store, WritableStore) else None,
                    "next_checkpoint": control.get(NEXT_TOKEN),
                }
                heads = view.indexes.heads.apart()
            with contextlib.closing(heads):
                numbers["folded_streams"] = sum(1 for head in heads.all() if head.segment_bytes)
            return numbers
