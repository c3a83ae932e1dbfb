"""heads.index: how far each folded stream goes, in one hash table on disk.

A commit to a stream that this process has not seen finds its head here with one read, and a segment that is
shorter than the table says is seen to be damaged. Open addressing, linear probing, slots of 64 bytes, each
with a checksum; rebuilt from the segments when it is missing or older than the fold mark. Only the folding
process writes it.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, takewhile

from fsstore.engines.file.files import layout
from fsstore.engines.file.formats import file_headers, index_entries
from fsstore.engines.file.streams.index_file import IndexFile
from fsstore.errors import CorruptionError

_FIRST_CAPACITY = 1024
_PROBE_SLOTS = 4
_PART_SLOTS = 16_384
"""What is read, or made, at a time; a power of two, as capacities are."""
_EMPTY = bytes(index_entries.HEAD_BYTES)
_EMPTY_STRETCH = _EMPTY * 16
_NOTHING_FOUND = (b"", 0, 0, False)


def used(data: bytes) -> Iterator[int]:
    """Where in these slots one begins that is not empty. Most are empty, and are passed over by the stretch."""
    for stretch in range(0, len(data), len(_EMPTY_STRETCH)):
        slots = data[stretch : stretch + len(_EMPTY_STRETCH)]
        if slots != _EMPTY_STRETCH:
            for offset in range(0, len(slots), index_entries.HEAD_BYTES):
                if slots[offset : offset + index_entries.HEAD_BYTES].strip(b"\0"):
                    yield stretch + offset


def _home(slot: bytes, capacity: int) -> int:
    """Where in a table of that capacity one looks first for what stands in the slot, or for a key."""
    return int.from_bytes(slot[:8], "big") % capacity


def _offset(slot: int) -> int:
    """Where in the file the slot of that number begins."""
    return index_entries.INDEX_HEADER_BYTES + slot * index_entries.HEAD_BYTES


def _placed(slots: list[tuple[int, bytes]], count: int) -> tuple[bytes, list[bytes]]:
    """A stretch of `count` slots with each of these where it is looked for, or in the next free one behind; and those
    that found none up to the end."""
    places = [_EMPTY] * count
    late = []
    for first, slot in slots:
        place = first
        while place < count and places[place] is not _EMPTY:
            place += 1
        if place < count:
            places[place] = slot
        else:
            late.append(slot)
    return b"".join(places), late


class Heads(IndexFile):
    """The table of one store. Readers may look while the folding process writes."""

    name = layout.HEADS_INDEX
    kind = "heads"

    def __init__(self, files: layout.StoreFiles, *, write: bool) -> None:
        super().__init__(files, write=write)
        self._found = _NOTHING_FOUND
        self.capacity = 0
        self.count = 0

    def _numbers(self) -> list[object]:
        return [self.capacity, self.count, self.folded, self.next_token]

    def _take_numbers(self, header: bytes) -> int:
        numbers = file_headers.read_numbers(self.kind, header, self._seed, 4)
        self.capacity, self.count, self.folded, self.next_token = numbers
        # A power of two, and but for the first no table is ever more than eight times as large as it is full.
        is_power = self.capacity > 0 and not self.capacity & (self.capacity - 1)
        if not is_power or self.capacity > max(_FIRST_CAPACITY, self.count * 8):
            raise file_headers.FormatError(f"a table for {self.count} streams, not of {self.capacity} slots")
        return _offset(self.capacity)

    def apart(self) -> Heads:
        """The table once more, for its caller to walk through and close: whatever becomes of this one meanwhile."""
        other = Heads(self._files, write=False)
        other.open(at_least_folded=self.folded)
        return other

    def create(self, capacity: int = _FIRST_CAPACITY) -> None:
        """An empty table in place of any other."""
        self.close()
        self._handle = self._new_file(f"{self.path}.new", capacity)
        self._disk.rename(f"{self.path}.new", self.path)
        self.capacity, self.count, self.folded, self.next_token = capacity, 0, 0, 0

    def _new_file(self, path: str, capacity: int) -> int:
        handle = self._disk.open(path, write=True, create=True)
        try:
            self._disk.truncate(handle, 0)
            self._disk.truncate(handle, _offset(capacity))
        except BaseException:
            self._disk.close(handle)
            raise
        return handle

    def get(self, key: bytes) -> index_entries.Head | None:
        """The stream's slot, also one that says the stream was deleted; `None` when there is none."""
        slot, head = self._find(key)
        self._found = (key, self.capacity, slot, head is None)
        return head

    def _find(self, key: bytes) -> tuple[int, index_entries.Head | None]:
        """The slot number where the key is, or where it would go."""
        first = _home(key, self.capacity)
        free, probed = -1, 0
        while probed < self.capacity:
            slots = min(_PROBE_SLOTS, self.capacity - first)
            data = self._read(first, slots)
            for offset in range(0, len(data), index_entries.HEAD_BYTES):
                if data.startswith(_EMPTY, offset):
                    slot = first + offset // index_entries.HEAD_BYTES
                    return (slot if free < 0 else free), None
                if data.startswith(key, offset):
                    slot = first + offset // index_entries.HEAD_BYTES
                    head = index_entries.read_head(data, offset, self._seed)
                    if head is not None:
                        return slot, head
                    free = slot if free < 0 else free
            probed += slots
            first = (first + slots) % self.capacity
        return free, None

    def _read(self, slot: int, slots: int) -> bytes:
        assert self._handle is not None
        return self._disk.read(self._handle, slots * index_entries.HEAD_BYTES, _offset(slot))

    def put(self, head: index_entries.Head) -> None:
        """Write the stream's slot; grows the table when it is half full."""
        if (self.count + 1) * 2 > self.capacity:
            self._grow()
        assert self._handle is not None
        # Folding has just looked the stream up.
        key, capacity, slot, is_new = self._found
        if (key, capacity) != (head.key, self.capacity):
            slot, known = self._find(head.key)
            is_new = known is None
        if is_new:
            self.count += 1
        self._found = (head.key, self.capacity, slot, False)
        self._disk.write(self._handle, head.pack(self._seed), _offset(slot))

    def _grow(self) -> None:
        """More slots, in a new file that replaces the old one; tombstones stay behind."""
        assert self._handle is not None
        count = sum(1 for _, slot in self._used(0, self.capacity) if not index_entries.is_tombstone(slot))
        capacity = _FIRST_CAPACITY
        while capacity < count * 4:
            capacity *= 2
        handle = self._new_file(f"{self.path}.new", capacity)
        old, old_capacity, old_count = self._handle, self.capacity, self.count
        try:
            self._copy(handle, capacity)
            self._handle, self.capacity, self.count = handle, capacity, count
            self._write_header()
            self._disk.flush(handle)
            self._disk.rename(f"{self.path}.new", self.path)
        except BaseException:
            self._handle, self.capacity, self.count = old, old_capacity, old_count
            self._disk.close(handle)
            raise
        self._found = _NOTHING_FOUND
        self._disk.close(old)

    def _copy(self, handle: int, capacity: int) -> None:
        """Write every stream's slot to a new table, a part at a time: the memory that takes does not grow with it.

        Both capacities are powers of two. So what led to one part of the old table leads to as long a part of the new
        one or, where that is longer, to one of several.
        """
        shorter = min(capacity, self.capacity)
        part = min(shorter, _PART_SLOTS)
        behind: list[list[bytes]] = [[] for _ in range(capacity // shorter)]
        for first in range(0, shorter, part):
            wanted = [[(0, slot) for slot in slots] for slots in behind]
            for old_first in range(first, self.capacity, shorter):
                for slot in self._leading_to(old_first, part):
                    number, place = divmod(_home(slot, capacity), shorter)
                    wanted[number].append((place - first, slot))
            for number, slots in enumerate(wanted):
                data, behind[number] = _placed(slots, part)
                self._disk.write(handle, data, _offset(number * shorter + first))
        for number, late in enumerate(behind, 1):
            place = number * shorter % capacity
            for slot in late:
                while self._disk.read(handle, index_entries.HEAD_BYTES, _offset(place)) != _EMPTY:
                    place = (place + 1) % capacity
                self._disk.write(handle, slot, _offset(place))

    def _leading_to(self, first: int, slots: int) -> Iterator[bytes]:
        """The slots of streams whose keys lead to these: they are there, or right behind where none was free."""
        behind = (number % self.capacity for number in range(first + slots, first + self.capacity))
        runs = (list(self._used(number, 1)) for number in behind)
        for number, slot in chain(self._used(first, slots), *takewhile(bool, runs)):
            if not index_entries.head_is_whole(slot, self._seed):
                raise self._damage(number)
            if first <= _home(slot, self.capacity) < first + slots and not index_entries.is_tombstone(slot):
                yield slot

    def _used(self, first: int, slots: int) -> Iterator[tuple[int, bytes]]:
        """Number and bytes of those of the slots that are not empty."""
        for begin in range(first, first + slots, _PART_SLOTS):
            data = self._read(begin, min(_PART_SLOTS, first + slots - begin))
            for offset in used(data[: len(data) - len(data) % index_entries.HEAD_BYTES]):
                yield begin + offset // index_entries.HEAD_BYTES, data[offset : offset + index_entries.HEAD_BYTES]

    def all(self) -> Iterator[index_entries.Head]:
        """Every slot that holds a stream, in no order that means anything; `CorruptionError` at a damaged one."""
        for number, head in self.slots():
            if head is None:
                raise self._damage(number)
            yield head

    def _damage(self, slot: int) -> CorruptionError:
        return CorruptionError(
            "a slot of the table of heads is damaged",
            path=self.path,
            offset_bytes=_offset(slot),
            expected="a stream's head",
            repair=f"fsstore repair {self._files.path}",
        )

    def slots(self) -> Iterator[tuple[int, index_entries.Head | None]]:
        """The number of every used slot and what it holds: `None` where that is damaged."""
        for number, slot in self._used(0, self.capacity):
            yield number, index_entries.read_head(slot, 0, self._seed)

    def write_again(self) -> None:
        """Have the next flush take everything to the device, also what an earlier one that failed left behind.

        A fold that did not end left slots that the header does not count: they are counted anew.
        """
        super().write_again()
        self.count = sum(1 for _ in self.slots())

    def close(self) -> None:
        self._found = _NOTHING_FOUND
        super().close()
