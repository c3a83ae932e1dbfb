"""Verification: read every byte that matters, say what is damaged, and what that puts at risk. Changes nothing.

It works beside writers: folded files are looked at under the fold lock, a directory of streams at a time, and the
journal only up to what is visible. What an interrupted fold left, what a torn tail holds and what is about to be
deleted is not damage. It must not know how anything is repaired.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from fsstore.engines.file import delivery, format, layout, slots
from fsstore.engines.file.commits_index import FILE_NAME as COMMITS_INDEX
from fsstore.engines.file.commits_index import CommitsIndex
from fsstore.engines.file.control import EPOCH, FOLDED, NEXT_TOKEN, SYNCED, VISIBLE, Control
from fsstore.engines.file.disk import Disk
from fsstore.engines.file.heads import FILE_NAME as HEADS_INDEX
from fsstore.engines.file.heads import Heads, StaleIndexError
from fsstore.engines.file.locks import PresenceLock
from fsstore.engines.file.scan import Gap, survey
from fsstore.engines.file.verify_streams import Finding, StreamCheck, Unfolded
from fsstore.errors import CorruptionError, StorageError

__all__ = ["Finding", "Progress", "Verification", "verify"]

_BATCH_SLOTS = 16_384
_BATCH_TOKENS = 65_536
NOTHING_LOST = "nothing"


Progress = Callable[[int, int], None]


def verify(disk: Disk, path: str, *, progress: Progress | None = None, alone: bool = False) -> Iterator[Finding]:
    """What is damaged in the store at `path`; nothing on a healthy one, also while others write to it.

    `progress` is called with the bytes that were read and those that there are. With `alone` the caller has the
    store to itself. `StorageError` when no store is there, or when a later version of fsstore wrote it.
    """
    if not layout.look(disk, path):
        raise StorageError(f"there is no store at {path}")
    try:
        meta = layout.read_meta(disk, path)
    except CorruptionError as error:
        yield Finding(
            f"{path}/{layout.META}",
            error.offset_bytes,
            "the store's meta file is damaged",
            error.expected or "a whole meta file",
            "the whole store cannot be read until its id is known again",
            False,
        )
        return
    with Verification(disk, path, meta, progress, alone=alone) as verification:
        yield from verification.findings()


class Verification:
    """One verification. While it is open, `journal`, `folded`, `heads` and `commits` are what it found them to be."""

    def __init__(self, disk: Disk, path: str, meta: layout.Meta, progress: Progress | None, *, alone: bool) -> None:
        self._disk = disk
        self._path = path
        self._meta = meta
        self._seed = meta.seed
        self._progress = progress
        self._alone = alone
        self._done_bytes = self._total_bytes = 0
        self._surveyed_at = -1
        self.dispatched = 0
        self.heads: Heads | None = None
        self.commits: CommitsIndex | None = None

    def __enter__(self) -> Verification:
        self._fold_lock = None if self._alone else _open_if_there(self._disk, f"{self._path}/{layout.FOLD_LOCK}")
        self.page: Control | None = None
        with self._writing_stopped():
            with contextlib.suppress(FileNotFoundError):
                self.page = Control(self._disk, f"{self._path}/{layout.CONTROL}", self._meta.store_id, write=False)
            self._trusted = self.page is not None and self.page.whole()
            self._live = self._trusted and not self._alone and not self._at_rest()
            self._epoch = self.page.get(EPOCH) if self.page is not None else 0
        return self

    def __exit__(self, *_: object) -> None:
        for part in (self.heads, self.commits, self.page):
            if part is not None:
                part.close()
        if self._fold_lock is not None:
            self._disk.close(self._fold_lock)

    @contextlib.contextmanager
    def _writing_stopped(self) -> Iterator[None]:
        lock = None if self._alone else _open_if_there(self._disk, f"{self._path}/{layout.WRITE_LOCK}")
        try:
            if lock is not None:
                self._disk.lock(lock)
            yield
        finally:
            if lock is not None:
                self._disk.close(lock)

    def _at_rest(self) -> bool:
        try:
            presence = PresenceLock(self._disk, f"{self._path}/{layout.LOCK}", write=False)
        except FileNotFoundError:
            return True
        try:
            return presence.alone()
        finally:
            presence.close()

    @contextlib.contextmanager
    def _folding_stopped(self) -> Iterator[None]:
        """Folded files and indexes stand still in here; findings are handed out outside of it only."""
        if self._fold_lock is not None:
            self._disk.lock(self._fold_lock)
        try:
            self._look()
            yield
        finally:
            if self._fold_lock is not None:
                self._disk.unlock(self._fold_lock)

    # ---- the marks ----

    def _look(self) -> None:
        """See how far folding came since the last look, and what is unfolded now."""
        page = self.page
        if page is not None and not self._live and page.get(EPOCH) != self._epoch and page.whole():
            self._live = self._trusted = True
        # Marks are moved while they are read here; the lower bound of one is where it stands or just stood.
        folded = page.lower_bound(FOLDED) if page is not None and self._trusted else 0
        if folded != self._surveyed_at:
            self._visible = page.lower_bound(VISIBLE) if page is not None else 0
            self.journal = survey(self._disk, f"{self._path}/{layout.JOURNAL}", self._seed)
            self._surveyed_at = folded
            known = self.journal.file_at(folded) is not None or folded == self.journal.end
            self.folded = folded if known and folded >= self.journal.start else self.journal.start
            self._unfolded = Unfolded(self.journal, self.folded)
        if self.heads is not None:
            self.heads.refresh()
        if self.commits is not None:
            self.commits.refresh()

    def acknowledged(self) -> int:
        """Up to where the journal was surely acknowledged."""
        if self._live:
            return self._visible
        synced = self.page.lower_bound(SYNCED) if self.page is not None else 0
        return max(synced, self.journal.named)

    # ---- the parts ----

    def findings(self) -> Iterator[Finding]:
        yield from self._control()
        with self._folding_stopped():
            found = list(self._journal())
            found += self._open_indexes()
            self._total_bytes = self._sizes()
        yield from found
        limit = self.commits.next_token if self.commits is not None else 1
        check = StreamCheck(self._disk, self._path, self._seed, limit)
        for name in self._directories():
            with self._folding_stopped():
                found = list(check.directory(name, self.heads, self.commits, self._unfolded))
            yield from found
            self._advance(check.take_read_bytes())
        yield from self._head_slots(check)
        yield from self._entries(check)
        yield from self._dispatch()
        self._advance(max(self._total_bytes - self._done_bytes, 0))

    def _advance(self, read_bytes: int) -> None:
        self._done_bytes += read_bytes
        if self._progress is not None:
            self._progress(self._done_bytes, max(self._total_bytes, self._done_bytes))

    def _directories(self) -> list[str]:
        streams = f"{self._path}/{layout.STREAMS}"
        return [name for name in self._disk.names(streams) if len(name) == 2]

    def _control(self) -> Iterator[Finding]:
        path = f"{self._path}/{layout.CONTROL}"
        if self.page is None:
            yield Finding(path, None, "the control page is missing", "4096 bytes", NOTHING_LOST, True)
        elif not self._trusted:
            expected = "marks that agree with their complements"
            yield Finding(path, 0, "the control page is damaged", expected, NOTHING_LOST, True)

    def _journal(self) -> Iterator[Finding]:
        seen = self.journal
        directory = f"{self._path}/{layout.JOURNAL}"
        acknowledged = self.acknowledged()
        if not seen.files:
            lost = f"every commit, snapshot and deletion from journal position {self.folded} on"
            yield Finding(directory, None, "the store has no journal file", "at least one", lost, False)
            return
        for file in (*seen.stale_files, *seen.files):
            if file.fault is not None:
                kept = file.end <= self.folded
                lost = NOTHING_LOST if kept else "what stands in this file, unless the rest of it is whole"
                yield Finding(file.path, 0, "a journal file's header is damaged", file.fault, lost, kept)
        missing_from = self._surveyed_at
        if 0 < missing_from < seen.files[0].base:
            yield Finding(
                directory,
                None,
                "journal files are missing",
                f"positions {missing_from} to {seen.files[0].base}",
                f"what stood in {seen.files[0].base - missing_from} bytes of the journal",
                False,
            )
        for gap in seen.gaps(acknowledged):
            file_at = seen.file_at(gap.start)
            yield Finding(
                file_at.path if file_at is not None else directory,
                gap.start - file_at.base if file_at is not None else None,
                "acknowledged records in the journal are damaged",
                f"whole records from position {gap.start} to {gap.end}",
                self._lost_in(gap),
                gap.end <= self.folded,
            )
        yield from self._token_order()
        self._done_bytes += sum(file.size_bytes for file in seen.files)

    def _lost_in(self, gap: Gap) -> str:
        """What a gap of the journal held, as far as anything tells."""
        if gap.end <= self.folded:
            return f"{NOTHING_LOST}: all of it is folded"
        parts = [self._describe(header) for header in gap.headers]
        before, after = 0, 0
        for item in self.journal.items:
            if isinstance(item, Gap):
                continue
            if item.kind in (format.COMMIT, format.ROLL):
                token = item.token + (item.kind == format.COMMIT)
                if item.position < gap.start:
                    before = token
                elif not after:
                    after = item.token
        if not after:
            after = self.next_token()
        unnamed = not gap.headers or (before and after - before > len(gap.headers))
        if before and after > before:
            last = after - 1
            parts.append(f"checkpoint {before}" if before == last else f"checkpoints {before} to {last}")
        elif not parts:
            parts.append("no commit that is known of" if before else "unknown commits")
        # Where headers are damaged too, nothing tells how many records there were.
        return ", ".join(parts) + (", and any snapshots or deletions between them" if unnamed else "")

    def _describe(self, header: format.RecordHeader) -> str:
        names = self.journal.names.get(header.key)
        stream = f"stream {names[1]!r} in bucket {names[0]!r}" if names else f"the stream with key {header.key.hex()}"
        if header.kind == format.COMMIT:
            return f"commit {header.sequence} of {stream} (checkpoint {header.token})"
        if header.kind == format.SNAPSHOT:
            return f"the snapshot of revision {header.revision} of {stream}"
        return "a deletion" if header.kind in (format.DELETE_STREAM, format.PURGE) else "no commit"

    def _token_order(self) -> Iterator[Finding]:
        """Tokens in the journal follow one another, where no gap stands between them."""
        expected = 0
        for item in self.journal.items:
            if isinstance(item, Gap):
                expected = 0
            elif item.kind in (format.COMMIT, format.ROLL):
                if expected and item.token != expected:
                    file = self.journal.file_at(item.position)
                    yield Finding(
                        file.path if file is not None else self._path,
                        item.position - file.base if file is not None else None,
                        f"the journal goes on with checkpoint {item.token}",
                        f"checkpoint {expected}",
                        f"checkpoints {expected} to {item.token - 1}",
                        False,
                    )
                expected = item.token + (item.kind == format.COMMIT)

    # ---- the indexes ----

    def _open_indexes(self) -> list[Finding]:
        found = []
        heads = Heads(self._disk, self._path, self._seed, write=False)
        commits = CommitsIndex(self._disk, self._path, self._seed, write=False)
        for index, name in ((heads, HEADS_INDEX), (commits, COMMITS_INDEX)):
            try:
                index.open(at_least_folded=self.folded)
            except StaleIndexError:
                path = f"{self._path}/{name}"
                what = "damaged or too old" if self._disk.exists(path) else "missing"
                expected = f"an index that covers what is folded below position {self.folded}"
                found.append(Finding(path, 0, f"an index is {what}", expected, NOTHING_LOST, True))
            else:
                if isinstance(index, Heads):
                    self.heads = index
                else:
                    self.commits = index
        return found

    def _sizes(self) -> int:
        total = sum(file.size_bytes for file in self.journal.files)
        if self.heads is not None:
            total += self.heads.capacity * format.HEAD_BYTES
            total += sum(
                head.segment_bytes + head.snapshots_bytes for _, head in self.heads.slots() if head is not None
            )
        if self.commits is not None:
            total += self.commits.next_token * format.COMMITS_ENTRY_BYTES
        return total

    def _head_slots(self, check: StreamCheck) -> Iterator[Finding]:
        first, capacity = 0, 0
        while self.heads is not None:
            with self._folding_stopped():
                if capacity != self.heads.capacity:
                    first, capacity = 0, self.heads.capacity
                found = list(self._slots(check, self.heads, first, min(_BATCH_SLOTS, capacity - first)))
            yield from found
            self._advance(_BATCH_SLOTS * format.HEAD_BYTES)
            first += _BATCH_SLOTS
            if first >= capacity:
                return

    def _slots(self, check: StreamCheck, heads: Heads, first: int, count: int) -> Iterator[Finding]:
        path = f"{self._path}/{HEADS_INDEX}"
        start = format.INDEX_HEADER_BYTES + first * format.HEAD_BYTES
        handle = self._disk.open(path)
        try:
            data = self._disk.read(handle, count * format.HEAD_BYTES, start)
        finally:
            self._disk.close(handle)
        for offset in range(0, len(data), format.HEAD_BYTES):
            if not any(data[offset : offset + format.HEAD_BYTES]):
                continue
            head = format.read_head(data, offset, self._seed)
            if head is None:
                yield Finding(path, start + offset, "a slot is damaged", "a stream's head", NOTHING_LOST, True)
                continue
            if heads.get(head.key) != head:
                what = f"the slot of the stream with key {head.key.hex()} cannot be found from its key"
                yield Finding(path, start + offset, what, "one slot that can", NOTHING_LOST, True)
            yield from check.missing(head, self._unfolded)

    def _entries(self, check: StreamCheck) -> Iterator[Finding]:
        path = f"{self._path}/{COMMITS_INDEX}"
        width = format.COMMITS_ENTRY_BYTES
        first = 1
        while self.commits is not None and first < check.limit:
            last = min(first + _BATCH_TOKENS, check.limit) - 1
            with self._folding_stopped():
                data = self.commits.read(first, last)
                unfolded = self._unfolded
            found = []
            for number, entry in enumerate(format.read_commits_entries(data)):
                token = first + number
                if unfolded.first_token and token >= unfolded.first_token:
                    break
                offset = format.INDEX_HEADER_BYTES + (token - 1) * width
                if not format.commits_entry_is_whole(data, number * width, token, self._seed):
                    expected = f"the entry of checkpoint {token}"
                    found.append(Finding(path, offset, "an entry is damaged", expected, NOTHING_LOST, True))
                elif not (entry.deleted or check.has_seen(token, entry.key) or unfolded.deletes(entry.key, None)):
                    found.append(
                        Finding(
                            path,
                            offset,
                            f"checkpoint {token} is in no segment",
                            f"commit {entry.sequence} of the stream with key {entry.key.hex()} at byte {entry.place}",
                            f"checkpoint {token}",
                            False,
                        )
                    )
            yield from found
            self._advance(len(data))
            first = last + 1

    # ---- dispatch ----

    def _dispatch(self) -> Iterator[Finding]:
        directory = f"{self._path}/{layout.DISPATCH}"
        for name in self._disk.names(directory):
            if name.endswith((".checkpoint", delivery.VALUE)):
                yield from self._delivered(f"{directory}/{name}", marks=name.endswith(".checkpoint"))

    def _delivered(self, path: str, *, marks: bool) -> Iterator[Finding]:
        lost = "nothing; commits may be dispatched again"
        handle = self._disk.open(path)
        try:
            self._disk.lock(handle, shared=True)
            contents = [slots.read_slot(self._disk, handle, self._seed, slot) for slot in (0, 1)]
        finally:
            self._disk.close(handle)
        newest = (0, 0)
        for slot, content in enumerate(contents):
            if content is None:
                offset = slot * slots.SLOT_BYTES
                yield Finding(path, offset, "a slot is damaged", "a whole dispatch checkpoint", lost, True)
            elif content and marks:
                generation, up_to, ranges = content
                newest = max(newest, (generation, max([up_to, *(last for _, last in ranges)])))
        self.dispatched = max(self.dispatched, newest[1])
        last_token = self.next_token() - 1
        if 0 <= last_token < newest[1]:
            yield Finding(
                path,
                None,
                f"commits up to checkpoint {newest[1]} are marked as dispatched",
                f"at most {last_token}, the last that was given out",
                "none; commits that get these checkpoints would not be dispatched",
                True,
            )

    def in_journal(self, position: int) -> bool:
        """Whether the log still has a whole record at that position, to be folded."""
        return position >= self.folded and self._unfolded.has(position)

    def unfolded_sequence(self, key: bytes) -> int:
        """The sequence of the stream's first unfolded commit; 0 when there is none."""
        first = self._unfolded.first(key, format.COMMIT)
        return first.sequence if first is not None else 0

    def next_token(self) -> int:
        """The next checkpoint token; 0 when only the control page would know."""
        return self.page.lower_bound(NEXT_TOKEN) if self.page is not None and self._trusted else 0


def _open_if_there(disk: Disk, path: str) -> int | None:
    try:
        return disk.open(path)
    except FileNotFoundError:
        return None
