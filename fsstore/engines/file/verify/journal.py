"""Verification of the journal: every acknowledged record is whole, and checkpoints follow one another.

Bytes above what was surely acknowledged are a torn tail, which is no damage.
"""

from __future__ import annotations

from collections.abc import Iterator

from fsstore.engines.file.files import layout
from fsstore.engines.file.formats import format
from fsstore.engines.file.log.scan import Gap
from fsstore.engines.file.verify.finding import NOTHING_LOST, Finding
from fsstore.engines.file.verify.look import Look


def damaged_records(look: Look) -> Iterator[Finding]:
    """What is damaged in the journal as `look` has it."""
    seen = look.journal
    directory = f"{look.path}/{layout.JOURNAL}"
    if not seen.files:
        lost = f"every commit, snapshot and deletion from journal position {look.folded} on"
        yield Finding(directory, None, "the store has no journal file", "at least one", lost)
        return
    for file in (*seen.stale_files, *seen.files):
        if file.fault is not None:
            kept = file.end <= look.folded
            lost = NOTHING_LOST if kept else "what stands in this file, unless the rest of it is whole"
            yield Finding(file.path, 0, "a journal file's header is damaged", file.fault, lost, kept)
    yield from _missing_files(look)
    for gap in seen.gaps(look.acknowledged()):
        file_at = seen.file_at(gap.start)
        yield Finding(
            file_at.path if file_at is not None else directory,
            gap.start - file_at.base if file_at is not None else None,
            "acknowledged records in the journal are damaged",
            f"whole records from position {gap.start} to {gap.end}",
            _lost_in(gap, look),
            gap.end <= look.folded,
        )
    yield from _token_order(look)


def _missing_files(look: Look) -> Iterator[Finding]:
    """The oldest file says where the log ended in the one before it; folding has to have come there."""
    first = next(iter(look.journal.items), None)
    if first is None or isinstance(first, Gap) or first.kind != format.ROLL:
        return
    reached, token = look.folding_reached()
    if not 0 < reached < first.place:
        return
    if not token:
        lost = "unknown commits, snapshots and deletions"
    elif token == first.token:
        lost = "snapshots or deletions, no commit"
    else:
        lost = f"{_checkpoints(token, first.token - 1)}, and any snapshots or deletions between them"
    expected = f"the log from position {reached} on, found it from {first.place} on"
    yield Finding(f"{look.path}/{layout.JOURNAL}", None, "journal files are missing", expected, lost)


def _checkpoints(first: int, last: int) -> str:
    return f"checkpoint {first}" if first == last else f"checkpoints {first} to {last}"


def _lost_in(gap: Gap, look: Look) -> str:
    """What a gap of the journal held, as far as anything tells."""
    if gap.end <= look.folded:
        return f"{NOTHING_LOST}: all of it is folded"
    parts = [_describe(header, look) for header in gap.headers]
    before, after = 0, 0
    for item in look.journal.items:
        if isinstance(item, Gap):
            continue
        if item.kind in (format.COMMIT, format.ROLL):
            token = item.token + (item.kind == format.COMMIT)
            if item.position < gap.start:
                before = token
            elif not after:
                after = item.token
    if not after:
        after = look.next_token()
    unnamed = not gap.headers or (before and after - before > len(gap.headers))
    if before and after > before:
        parts.append(_checkpoints(before, after - 1))
    elif not parts:
        parts.append("no commit that is known of" if before else "unknown commits")
    # Where headers are damaged too, nothing tells how many records there were.
    return ", ".join(parts) + (", and any snapshots or deletions between them" if unnamed else "")


def _describe(header: format.RecordHeader, look: Look) -> str:
    names = look.journal.names.get(header.key)
    stream = f"stream {names[1]!r} in bucket {names[0]!r}" if names else f"the stream with key {header.key.hex()}"
    if header.kind == format.COMMIT:
        return f"commit {header.sequence} of {stream} (checkpoint {header.token})"
    if header.kind == format.SNAPSHOT:
        return f"the snapshot of revision {header.revision} of {stream}"
    return "a deletion" if header.kind in (format.DELETE_STREAM, format.PURGE) else "no commit"


def _token_order(look: Look) -> Iterator[Finding]:
    """Tokens in the journal follow one another, where no gap stands between them."""
    expected = 0
    for item in look.journal.items:
        if isinstance(item, Gap):
            expected = 0
        elif item.kind in (format.COMMIT, format.ROLL):
            if expected and item.token != expected:
                file = look.journal.file_at(item.position)
                yield Finding(
                    file.path if file is not None else look.path,
                    item.position - file.base if file is not None else None,
                    f"the journal goes on with checkpoint {item.token}",
                    f"checkpoint {expected}",
                    f"checkpoints {expected} to {item.token - 1}",
                )
            expected = item.token + (item.kind == format.COMMIT)
