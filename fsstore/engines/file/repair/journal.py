"""A new journal in the place of a damaged one: what is still to be folded is folded first.

It takes the records that it is given. Which those are, `unfolded.py` says.
"""

from __future__ import annotations

from collections.abc import Iterator

from fsstore.engines.file.files import layout
from fsstore.engines.file.files.handles import size_of
from fsstore.engines.file.folding.fold import Fold
from fsstore.engines.file.formats import file_headers, format
from fsstore.engines.file.log.journal import Journal
from fsstore.engines.file.options import Options
from fsstore.engines.file.processes.control import TAIL
from fsstore.engines.file.repair.quarantine import set_aside
from fsstore.engines.file.repair.unfolded import WholeRecord
from fsstore.engines.file.state.rebuild import rebuild_indexes
from fsstore.engines.file.streams.indexes import Indexes
from fsstore.engines.file.streams.segments import IDS, INDEX, Segments
from fsstore.engines.file.verify.look import Look


class _Kept:
    """The records of the old journal that are still to be folded, as the fold wants to read them."""

    def __init__(self, records: list[WholeRecord]) -> None:
        self.records = records

    def pages(self, start: int, end: int) -> Iterator[tuple[bytes, list[format.Record]]]:
        for header, record in self.records:
            yield record, [(header, record[format.RECORD_HEADER_BYTES :])]


def begin_journal(look: Look, kept: list[WholeRecord], next_token: int, damaged: set[str]) -> None:
    """Fold what is `kept`, then begin a journal at positions that were never used.

    Both indexes are made anew with it. The old journal's files are taken away, those in `damaged` to quarantine.
    """
    disk, path = look.disk, look.path
    indexes = Indexes(look.files, write=True)
    try:
        log, end = _Kept(kept), kept[-1][0].end if kept else 0
        rebuild_indexes(look.files, indexes, 0, 1, (page for _, page in log.pages(0, end)))
        if kept:
            fold = Fold(look.files, log, indexes, index_from_bytes=1 << 63)  # type: ignore[arg-type]
            fold.run(0, end, 1 << 63, again=False, begin=lambda _: None)
            _drop_stream_indexes(look, {header.key for header, _ in kept})
        base = _unused_position(look)
        rebuild_indexes(look.files, indexes, base, next_token, [])
        next_token = max(next_token, indexes.commits.next_token)
    finally:
        indexes.close()
    directory = f"{path}/{layout.JOURNAL}"
    for old in sorted(damaged):
        if old.startswith(f"{directory}/"):
            set_aside(disk, path, old)
    journal = Journal(look.files, write=True)
    try:
        roll = format.pack_roll(base + file_headers.JOURNAL_HEADER_BYTES, next_token, look.seed)
        # With its first record from the start: this file is the journal once it has its name.
        journal.create(base, Options().first_journal_bytes, roll)
    finally:
        journal.forget()
    # Also one that was begun behind the others, which nobody went on in: see Rolling in docs/file-format.md.
    for other in layout.journal_bases(disk, directory):
        if other != base:
            disk.unlink(f"{directory}/{layout.journal_name(other)}")
    disk.flush_directory(directory)


def _drop_stream_indexes(look: Look, keys: set[bytes]) -> None:
    """Those beside the segments that grew, as nobody extended them: the next fold of such a stream makes them anew."""
    files = Segments(look.files, max_handles=0)
    for path in sorted(files.path(key, kind) for key in keys for kind in (INDEX, IDS)):
        if look.disk.exists(path):
            look.disk.unlink(path)


def _unused_position(look: Look) -> int:
    """A start for the new journal that cannot be taken for the old one's continuation."""
    directory = f"{look.path}/{layout.JOURNAL}"
    used = [file.end for file in (*look.journal.stale_files, *look.journal.files)]
    for base in layout.journal_bases(look.disk, directory):
        used.append(base + size_of(look.disk, f"{directory}/{layout.journal_name(base)}"))
    used += [index.folded for index in (look.heads, look.commits) if index is not None]
    if look.page is not None:
        used.append(look.page.lower_bound(TAIL))
    # No store comes near the half; what claims more would leave no positions to go on with.
    used = [position for position in used if position < format.MAX_POSITION // 2]
    return (max(used, default=0) // 4096 + 2) * 4096
