"""Rebuilding what is disposable: heads.index and commits.index, from the streams' own files.

Needed only when an index was deleted, damaged in its header, or is older than the fold mark. Reads every
segment once. It trusts records, never indexes.
"""

from __future__ import annotations

from fsstore.engines.file import format
from fsstore.engines.file.commits_index import CommitsIndex
from fsstore.engines.file.disk import Disk
from fsstore.engines.file.heads import Heads
from fsstore.engines.file.segments import SEGMENT, SNAPSHOTS, Segments, Stream

_FILL_TOKENS = 65_536


def stream_keys(disk: Disk, store: str) -> list[bytes]:
    """The keys of all streams that have a segment, from the names of the files."""
    keys = []
    for directory in disk.names(f"{store}/streams"):
        for name in disk.names(f"{store}/streams/{directory}"):
            stem, _, ending = name.partition(".")
            if ending == SEGMENT and len(stem) == 32:
                try:
                    keys.append(bytes.fromhex(stem))
                except ValueError:
                    continue
    return keys


def rebuild_indexes(
    disk: Disk, store: str, seed: int, heads: Heads, commits: CommitsIndex, folded: int, first_token: int
) -> None:
    """Make both indexes anew, for a journal that goes on at `folded` with `first_token`; durable on return."""
    heads.create()
    commits.create()
    segments = Segments(disk, store, seed, max_handles=1)
    last_token = 0
    for key in stream_keys(disk, store):
        head = format.Head(key, 0, 0, 0, 0, 0, 0, 0)
        bucket_id, stream_id = segments.names(key)
        stream = Stream.of(bucket_id, stream_id)
        head.bucket = format.bucket_mark(bucket_id)
        for record in segments.whole_headers(stream):
            entry = format.pack_commits_entry(
                seed,
                record.token,
                key,
                record.place,
                record.length_bytes,
                record.revision,
                record.sequence,
                record.stamp_us,
            )
            commits.write(record.token, entry)
            head.segment_bytes = record.place + record.length_bytes
            head.token, head.revision, head.sequence = record.token, record.revision, record.sequence
            last_token = max(last_token, record.token)
        for record in segments.whole_headers(stream, SNAPSHOTS):
            head.snapshots_bytes = record.place + record.length_bytes
            head.snapshot_revision = max(head.snapshot_revision, record.revision)
        heads.put(head)
    next_token = max(last_token + 1, first_token)
    _fill_holes(commits, seed, next_token - 1)
    heads.mark_folded(folded, next_token)
    commits.mark_folded(folded, next_token)
    heads.flush()
    commits.flush()
    disk.flush_directory(store)


def _fill_holes(commits: CommitsIndex, seed: int, last_token: int) -> None:
    """Tokens that no segment has were deleted, or are still in the journal, whose fold writes them again."""
    width = format.COMMITS_ENTRY_BYTES
    empty = bytes(width)
    for first in range(1, last_token + 1, _FILL_TOKENS):
        last = min(last_token, first + _FILL_TOKENS - 1)
        data = commits.read(first, last).ljust((last - first + 1) * width, b"\0")
        for number in range(last - first + 1):
            if data[number * width : (number + 1) * width] == empty:
                commits.write(first + number, format.deleted_commits_entry(seed, first + number))
