"""One verification: the parts of a store, one after the other, and how far it has come.

The meta file and the control page are judged here. Everything else has a module of its own, which must not know
what comes before or after it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from fsstore.engines.file.disk.disk import Disk
from fsstore.engines.file.failures import asked
from fsstore.engines.file.files import layout
from fsstore.engines.file.formats import index_entries
from fsstore.engines.file.verify.commits import CommitsCheck
from fsstore.engines.file.verify.finding import NOTHING_LOST, Finding
from fsstore.engines.file.verify.heads import damaged_slots
from fsstore.engines.file.verify.journal import damaged_records
from fsstore.engines.file.verify.look import Look
from fsstore.engines.file.verify.marks import MarksCheck
from fsstore.engines.file.verify.streams import StreamsCheck
from fsstore.errors import CorruptionError, StorageError

Progress = Callable[[int, int], None]


def verify(disk: Disk, path: str, *, progress: Progress | None = None) -> Iterator[Finding]:
    """What is damaged in the store at `path`; nothing on a healthy one, also while others write to it.

    `progress` is called with the bytes that were read and those that there are. `StorageError` when no store is
    there, or when a later version of fsstore wrote it.
    """
    with asked(f"verifying {path}"):
        yield from _findings(disk, path, progress)


def _findings(disk: Disk, path: str, progress: Progress | None) -> Iterator[Finding]:
    if not layout.look(disk, path):
        raise StorageError(f"there is no store at {path}")
    strangers = list(layout.strangers(disk, path))
    for one in strangers:
        lost = "what belongs in its place; nothing else was looked at"
        yield Finding(one.path or path, None, one.what, one.expected or "a file", lost)
    if strangers:
        return
    try:
        meta = layout.read_meta(disk, path)
    except CorruptionError as error:
        yield Finding(
            f"{path}/{layout.META}",
            error.offset_bytes,
            "the store's meta file is damaged",
            error.expected or "a whole meta file",
            "the whole store cannot be read until its id is known again",
        )
        return
    with Look(disk, path, meta, alone=False) as look:
        yield from Verification(look, progress).findings()


class Verification:
    """What is damaged behind the meta file. `dispatched` is the last checkpoint that any mark found names."""

    def __init__(self, look: Look, progress: Progress | None = None) -> None:
        self._look = look
        self._progress = progress
        self._done_bytes = self._total_bytes = 0
        self.dispatched = 0

    def findings(self) -> Iterator[Finding]:
        look = self._look
        yield from self._control()
        with look.folding_stopped():
            found = list(damaged_records(look))
            found += [self._index(name) for name in look.open_indexes()]
            self._done_bytes = sum(file.size_bytes for file in look.journal.files)
            self._total_bytes = self._done_bytes + self._indexed_bytes()
        yield from found
        commits = CommitsCheck(look)
        streams = StreamsCheck(look, commits)
        for name in streams.directories():
            with look.folding_stopped():
                found = list(streams.directory(name))
            yield from found
            self._advance(streams.take_read_bytes())
        with look.folding_stopped():
            found = list(streams.missing_before_the_journal())
        yield from found
        yield from damaged_slots(look, streams, self._advance)
        yield from commits.missing(self._advance)
        marks = MarksCheck(look)
        yield from marks.findings()
        self.dispatched = marks.dispatched
        self._advance(max(self._total_bytes - self._done_bytes, 0))

    def _advance(self, read_bytes: int) -> None:
        self._done_bytes += read_bytes
        if self._progress is not None:
            self._progress(self._done_bytes, max(self._total_bytes, self._done_bytes))

    def _indexed_bytes(self) -> int:
        """The size of both indexes and of the streams' files that they name."""
        heads, commits = self._look.heads, self._look.commits
        total = 0
        if heads is not None:
            total += heads.capacity * index_entries.HEAD_BYTES
            total += sum(head.segment_bytes + head.snapshots_bytes for _, head in heads.slots() if head is not None)
        if commits is not None:
            total += commits.next_token * index_entries.COMMITS_ENTRY_BYTES
        return total

    def _control(self) -> Iterator[Finding]:
        look = self._look
        path = f"{look.path}/{layout.CONTROL}"
        if look.page is None:
            yield Finding(path, None, "the control page is missing", "4096 bytes", NOTHING_LOST, True)
        elif not look.trusted:
            expected = "marks that agree with their complements"
            yield Finding(path, 0, "the control page is damaged", expected, NOTHING_LOST, True)

    def _index(self, name: str) -> Finding:
        path = f"{self._look.path}/{name}"
        what = "damaged or too old" if self._look.disk.exists(path) else "missing"
        expected = f"an index that covers what is folded below position {self._look.folded}"
        return Finding(path, 0, f"an index is {what}", expected, NOTHING_LOST, True)
