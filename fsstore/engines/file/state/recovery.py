"""Recovery: the sole judge of what the journal holds after a stop, clean or not.

`judge` only reads. It walks the journal from the fold mark, finds where the log ends, and tells a torn tail
(bytes above every durable mark that any valid record or the control page names) from corruption of what was
acknowledged. `settle` carries a verdict out: torn bytes go to quarantine, the last range is written again and
flushed. The numbered steps stand in docs/file-format.md.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

from fsstore.engines.file.disk.disk import Disk
from fsstore.engines.file.formats import file_headers, format
from fsstore.engines.file.log.journal import Journal
from fsstore.engines.file.processes.control import BEGUN, CLEAN, FOLDED, NEXT_TOKEN, SYNCED, TAIL, Control
from fsstore.engines.file.state.tail import Tail
from fsstore.engines.file.streams.index_file import StaleIndexError
from fsstore.engines.file.streams.indexes import Indexes
from fsstore.errors import CorruptionError

_REWRITE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Verdict:
    """Where the log starts to matter (`folded`), where it ends (`tail`), and what follows that is torn.

    The oldest journal file goes on from `begins`: everything before it has to be folded. `unfolded` is the log from
    `folded` to `tail`; `None` where it has to be followed again, which says what makes no sense in it.
    """

    begins: int
    folded: int
    tail: int
    first_token: int
    next_token: int
    torn_end: int
    unfolded: Tail | None
    clean: bool

    @property
    def is_new(self) -> bool:
        """Whether nothing ever followed the record that a store's first journal file is made with."""
        return self.tail == file_headers.JOURNAL_HEADER_BYTES + format.RECORD_HEADER_BYTES


def judge(journal: Journal, control: Control | None, store: str) -> Verdict:
    """What the journal holds; `CorruptionError` when acknowledged bytes of it are damaged."""
    bases = journal.bases()
    if not bases:
        raise CorruptionError(
            "the store has no journal file",
            path=journal.directory,
            expected="at least one file",
            repair=f"fsstore repair {store}",
        )
    trusted = control if control is not None and control.whole() else None
    if trusted is not None and _is_settled(journal, trusted):
        tail, token = trusted.get(TAIL), trusted.get(NEXT_TOKEN)
        return Verdict(tail, tail, tail, token, token, tail, None, clean=True)
    start = journal_start(journal, bases)
    first, _ = next(journal.walk(start), (None, b""))
    begins = first.place if first is not None and first.kind == format.ROLL else 0
    if trusted is not None:
        mark = trusted.get(FOLDED)
        if mark >= start and journal.file_at(mark) is not None:
            start = mark
    synced = control.lower_bound(SYNCED) if control is not None else 0
    tail, first_token, next_token, named, unfolded = _scan(journal, start)
    if not next_token:
        next_token = _token_of_file(journal, tail)
    if max(first_token, next_token) > format.MAX_TOKEN:
        raise journal.damage(start, f"checkpoints up to {format.MAX_TOKEN} from here on, found {next_token - 1}")
    torn_end, later = _beyond(journal, tail)
    bound = max(synced, named, later)
    if bound > tail:
        file = journal.file_at(tail)
        raise CorruptionError(
            "acknowledged commits in the journal are damaged or missing",
            path=journal.path(file.base) if file else journal.directory,
            offset_bytes=tail - file.base if file else None,
            expected=f"whole records up to position {bound}, found them up to {tail}",
            repair=f"fsstore repair {store}",
        )
    return Verdict(
        begins, start, tail, first_token or next_token, next_token, max(torn_end, tail), unfolded, clean=False
    )


def _is_settled(journal: Journal, control: Control) -> bool:
    """Whether the last to close left everything folded, and nothing was written since."""
    tail = control.get(TAIL)
    return bool(
        control.get(CLEAN)
        and control.get(FOLDED) == tail
        and control.get(BEGUN) <= tail
        and 0 < control.get(NEXT_TOKEN) <= format.MAX_TOKEN
        and journal.file_at(tail) is not None
        and next(journal.walk(tail), None) is None
        # Anything above it was written since, and a power cut took the page back to where it was.
        and _beyond(journal, tail) == (tail, 0)
    )


def folding_reached(control: Control | None, indexes: Indexes) -> int:
    """How far folding came, as far as anything says: both indexes say so, flushed, before a journal file goes."""
    reached = control.lower_bound(FOLDED) if control is not None else 0
    for index in (indexes.heads, indexes.commits):
        with contextlib.suppress(StaleIndexError):
            index.open(at_least_folded=0)
            reached = max(reached, index.folded)
    return reached


def check_beginning(journal: Journal, verdict: Verdict, reached: int, store: str) -> None:
    """`CorruptionError` where folding only came to `reached` and the journal that is left begins behind that.

    0: nothing is left that says how far it came.
    """
    if 0 < reached < verdict.begins:
        raise CorruptionError(
            "journal files are missing",
            path=journal.directory,
            expected=f"the log from position {reached} on, found it from {verdict.begins} on",
            repair=f"fsstore repair {store}",
        )


def journal_start(journal: Journal, bases: list[int]) -> int:
    """The first position of the oldest file that leads to the newest without a gap."""
    first = bases[-1]
    for base in reversed(bases[:-1]):
        file = journal.file(base)
        if file is None or file.end != first:
            break
        first = base
    file = journal.file(first)
    assert file is not None
    return file.first


def _scan(journal: Journal, start: int) -> tuple[int, int, int, int, Tail | None]:
    """Where the whole records from `start` end, the first token, the token after them, the highest mark they name,
    and what they say; `None` where whoever opens the store has to follow them again.

    A batch that is not complete never happened: the log ends before it.
    """
    tail, next_token, named = start, 0, 0
    first_token = batch_token = 0
    unfolded = Tail(start, 0)
    makes_sense = True
    for _, page in journal.pages(start):
        for (_, kind, _, following, position, lag_bytes, _, _, token, _, _, _, _, _, body_bytes), _ in page:
            if lag_bytes < format.MAX_LAG and position - lag_bytes > named:
                named = position - lag_bytes
            if kind in (format.COMMIT, format.ROLL):
                batch_token = token + 1 if kind == format.COMMIT else token
                first_token = first_token or token
            if not following:
                tail = position + format.RECORD_HEADER_BYTES + body_bytes
                next_token = max(next_token, batch_token)
        if makes_sense:
            try:
                unfolded.apply(page)
            except ValueError:
                makes_sense = False  # following the log says where, and what was expected
    is_whole = makes_sense and unfolded.end == tail
    return tail, first_token, next_token, named, unfolded if is_whole else None


def _token_of_file(journal: Journal, position: int) -> int:
    """The next token as of `position`, from the beginning of the file that holds it."""
    file = journal.file_at(position)
    token = 0
    if file is not None:
        for header, _ in journal.walk(file.first, position):
            if header.kind == format.COMMIT:
                token = header.token + 1
            elif header.kind == format.ROLL:
                token = max(token, header.token)
    return token


def _beyond(journal: Journal, tail: int) -> tuple[int, int]:
    """The end of the last valid record above `tail`, and the highest durable mark that such records name."""
    end, named = tail, 0
    for base in journal.bases():
        file = journal.file(base)
        if file is None or file.end <= tail:
            continue
        for header in journal.headers(file, tail):
            end = max(end, min(header.end, file.end))
            if header.lag_bytes < format.MAX_LAG:
                named = max(named, header.position - header.lag_bytes)
    return end, named


def settle(disk: Disk, journal: Journal, verdict: Verdict, quarantine: str) -> None:
    """Make the journal agree with the verdict, durably.

    Torn bytes are set aside and zeroed. What follows the fold mark is written again before it is served: after
    a failed flush the system may show pages as clean that never reached the device.
    """
    if verdict.clean:
        return
    if verdict.torn_end > verdict.tail:
        _set_aside(disk, journal, verdict, quarantine)
    for file in files_between(journal, verdict.folded, verdict.torn_end):
        start, end = max(verdict.folded, file[0]), min(verdict.tail, file[1])
        for position in range(start, end, _REWRITE_BYTES):
            data = journal.read(position, min(_REWRITE_BYTES, end - position))
            if data:
                journal.write(position, data)
        journal.flush(file[0])
    journal.drop_above(verdict.tail)


def files_between(journal: Journal, start: int, end: int) -> list[tuple[int, int]]:
    """Where the files that hold any of these positions begin and end."""
    found = []
    for base in journal.bases():
        file = journal.file(base)
        if file is not None and file.end > start and file.base <= end:
            found.append((file.base, file.end))
    return found


def _set_aside(disk: Disk, journal: Journal, verdict: Verdict, quarantine: str) -> None:
    for base, file_end in files_between(journal, verdict.tail, verdict.torn_end):
        start, end = max(verdict.tail, base + file_headers.JOURNAL_HEADER_BYTES), min(verdict.torn_end, file_end)
        if start >= end:
            continue
        handle = disk.open(f"{quarantine}/{start:016x}.torn", write=True, create=True)
        try:
            # What is zeros already takes no room: there may be far more of it than there are torn bytes.
            torn = []
            for position in range(start, end, _REWRITE_BYTES):
                data = journal.read(position, min(_REWRITE_BYTES, end - position)) or b""
                if data.count(0) < len(data):
                    disk.write(handle, data, position - start)
                    torn.append((position, len(data)))
            disk.flush(handle)
        finally:
            disk.close(handle)
        for position, length_bytes in torn:
            journal.write(position, bytes(length_bytes))
    disk.flush_directory(quarantine)
