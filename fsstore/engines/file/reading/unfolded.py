"""Reading the records that are in the journal only.

An entry of the tail says where a record is. Where the journal was folded and its file used again since, the record's
own position tells. Damage is `CorruptionError` with the position, never a shorter answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from fsstore.engines.file.formats import format
from fsstore.engines.file.processes.control import FOLDED
from fsstore.engines.file.reading.looking import Looking, MovedError
from fsstore.engines.file.state.tail import Entry, SnapshotEntry

_READ_BYTES = 1 << 20
_GAP_BYTES = 4096


class Unfolded:
    """The journal of one engine, for reading what the tail says."""

    def __init__(self, looking: Looking, seed: int) -> None:
        self._looking = looking
        self._journal = looking.view.journal
        self._seed = seed

    def record(self, entry: Entry | SnapshotEntry) -> format.Record:
        """The record of one entry. The caller holds the engine's mutex."""
        data = self._bytes(entry.position, entry.end)
        records = format.read_records(data, 0, len(data), self._seed, format.POSITION, entry.position)
        if not records:
            raise self._damage(entry.position)
        return records[0]

    def records(self, entries: Sequence[Entry]) -> list[format.Record]:
        """The records of the entries, which are in the order of the journal; what is near is read together."""
        found: list[format.Record] = []
        with self._looking.mutex:
            while len(found) < len(entries):
                self._looking.check_open()
                found += self._next_records(entries, len(found))
        return found

    def _next_records(self, entries: Sequence[Entry], first: int) -> list[format.Record]:
        """The records of as many entries, one at least, as one read brings."""
        start = end = entries[first].position
        file = self._journal.file_at(start)
        if file is None:
            raise MovedError
        limit = max(min(file.end, start + _READ_BYTES), entries[first].end)
        positions: list[int] = []
        runs: list[tuple[int, int]] = []
        run_start = start
        for position, length, _, _, _, _, _, _, _ in islice(entries, first, None):
            if position + length > limit or position - end > _GAP_BYTES:
                break
            if position != end:
                runs.append((run_start, end))
                run_start = position
            positions.append(position)
            end = position + length
        runs.append((run_start, end))
        data = self._bytes(start, end)
        records: list[format.Record] = []
        for run_start, run_end in runs:
            records += format.read_records(data, run_start - start, run_end - start, self._seed, format.POSITION, start)
        found = [fields[format.POSITION] for fields, _ in records]
        if found != positions:
            pairs = enumerate(positions)
            raise self._damage(next((at for n, at in pairs if found[n : n + 1] != [at]), positions[-1]))
        return records

    def _bytes(self, start: int, end: int) -> bytes:
        data = self._journal.read(start, end - start)
        if data is None:
            raise MovedError
        return data

    def _damage(self, position: int) -> Exception:
        if position < self._looking.control.get(FOLDED):
            return MovedError()
        return self._journal.damage(position, "a whole record")
