"""Verification of the streams' own files: every file of every stream, and what lies beside it.

One directory at a time, while nobody folds. A stream's files are judged up to where the folded part of it ends;
what is behind that, or about to be deleted, is an interrupted fold's, which the next one does again.
"""

from __future__ import annotations

from collections.abc import Iterator

from fsstore.engines.file.files import layout
from fsstore.engines.file.files.handles import size_of
from fsstore.engines.file.formats import index_entries
from fsstore.engines.file.streams.segments import FILES, IDS, INDEX, SEGMENT, SNAPSHOTS, Segments, Stream
from fsstore.engines.file.verify.commits import CommitsCheck
from fsstore.engines.file.verify.finding import NOTHING_LOST, Finding
from fsstore.engines.file.verify.look import Look
from fsstore.engines.file.verify.segments import KINDS, SegmentCheck, read_names, stated_stream
from fsstore.engines.file.verify.unfolded import First


class StreamsCheck:
    """Looks at directories of streams, and shows every commit to the check of commits.index."""

    def __init__(self, look: Look, commits: CommitsCheck) -> None:
        self._look = look
        self._disk = look.disk
        self._commits = commits
        self._files = Segments(look.files, max_handles=0)
        self._read_bytes = 0

    def take_read_bytes(self) -> int:
        """What was read since this was asked last."""
        taken, self._read_bytes = self._read_bytes, 0
        return taken

    def directories(self) -> list[str]:
        return [name for name in self._disk.names(f"{self._look.path}/{layout.STREAMS}") if len(name) == 2]

    def directory(self, name: str) -> Iterator[Finding]:
        """What is damaged in `streams/<name>`."""
        kinds: dict[bytes, set[str]] = {}
        for file in self._disk.names(f"{self._look.path}/{layout.STREAMS}/{name}"):
            stem, _, ending = file.partition(".")
            if ending in (SEGMENT, SNAPSHOTS, INDEX, IDS) and len(stem) == 32 and stem.startswith(name):
                try:
                    kinds.setdefault(bytes.fromhex(stem), set()).add(ending)
                except ValueError:
                    continue
        for key, found in kinds.items():
            head = self._look.heads.get(key) if self._look.heads is not None else None
            for kind in (SEGMENT, SNAPSHOTS):
                if kind in found:
                    yield from self._file(key, kind, head, found)

    def missing(self, head: index_entries.Head) -> Iterator[Finding]:
        """What a slot of heads.index says should be there and is not."""
        unfolded = self._look.unfolded
        if unfolded.deletes(head.key, None) or unfolded.deletes_bucket(head.bucket):
            return
        for kind, size in ((SEGMENT, head.segment_bytes), (SNAPSHOTS, head.snapshots_bytes)):
            first = unfolded.first(head.key, KINDS[kind])
            if not size or (first is not None and first.begins):
                continue
            path = self._files.path(head.key, kind)
            if not self._disk.exists(path):
                if kind == SEGMENT:
                    self._commits.excuse(head.key)
                    lost = f"commits 1 to {head.sequence} of {self._name(head.key)}"
                else:
                    lost = f"the snapshots of {self._name(head.key)}"
                yield Finding(path, None, "a stream's file is missing", f"{size} bytes", lost)

    def missing_before_the_journal(self) -> Iterator[Finding]:
        """Files that the journal goes on with, that are not there, and of which no slot tells."""
        look = self._look
        for (key, record_kind), first in look.unfolded.firsts():
            kind = FILES[record_kind]
            path, stream = self._files.path(key, kind), Stream.of(*look.journal.names[key])
            if first.begins or look.unfolded.deletes(key, stream.bucket_id) or self._disk.exists(path):
                continue
            if look.heads is None or look.heads.get(key) is None:
                self._commits.excuse(key)
                lost = f"commits 1 to {first.sequence - 1} of {stream}" if kind == SEGMENT else f"snapshots of {stream}"
                yield Finding(path, None, "a stream's file is missing", f"{first.place} bytes", lost)

    def _name(self, key: bytes) -> str:
        stream = stated_stream(self._disk, self._files, key)
        return str(stream) if stream is not None else f"the stream with key {key.hex()}"

    def _file(self, key: bytes, kind: str, head: index_entries.Head | None, found: set[str]) -> Iterator[Finding]:
        look, path = self._look, self._files.path(key, kind)
        names = read_names(self._disk, self._files, key, kind)
        if look.unfolded.deletes(key, names.stream.bucket_id if names is not None else None):
            return
        first = look.unfolded.first(key, KINDS[kind])
        if first is not None and first.begins:
            return
        end = self._end(path, kind, head, first)
        if not end:
            return
        last = _last_sequence(kind, head, first)
        check = SegmentCheck(self._disk, self._files, key, kind, names, end, last, self._commits.compare)
        beside = {}
        if kind == SEGMENT and not look.unfolded.touches(key):
            beside = {index: self._files.path(key, index) for index in (INDEX, IDS) if index in found}
        findings = list(check.findings(beside))
        self._read_bytes += end
        if any(not finding.disposable for finding in findings):
            self._commits.excuse(key)
        yield from findings
        if not findings and kind == SEGMENT and head is not None and first is None:
            told = (head.sequence, head.revision)
            if told != check.head:
                what, expected = f"says commit and revision {told}", f"{check.head}, as in its segment"
                yield self._slot(check, what, expected)
            elif index_entries.lacks(head.id_bits, check.id_bits):
                yield self._slot(check, "leaves out commit ids", "those in its segment")

    def _slot(self, check: SegmentCheck, what: str, expected: str) -> Finding:
        path = f"{self._look.path}/{layout.HEADS_INDEX}"
        return Finding(path, None, f"the slot of {check.stream} {what}", expected, NOTHING_LOST, disposable=True)

    def _end(self, path: str, kind: str, head: index_entries.Head | None, first: First | None) -> int:
        """Up to where the file is the folded part's."""
        if first is not None:
            return first.place
        if head is not None:
            return head.segment_bytes if kind == SEGMENT else head.snapshots_bytes
        return size_of(self._disk, path)


def _last_sequence(kind: str, head: index_entries.Head | None, first: First | None) -> int:
    """The sequence of the last folded commit, 0 where nothing tells."""
    if kind != SEGMENT:
        return 0
    if first is not None:
        return first.sequence - 1
    return head.sequence if head is not None else 0
