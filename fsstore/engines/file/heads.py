"""heads.index: how far each folded stream goes, in one hash table on disk.

A commit to a stream that this process has not seen finds its head here with one read, and a segment that is
shorter than the table says is seen to be damaged. Open addressing, linear probing, slots of 64 bytes, each
with a checksum; rebuilt from the segments when it is missing or older than the fold mark. Only the folding
process writes it.
"""

from __future__ import annotations

from collections.abc import Iterator

from fsstore.engines.file import file_headers, index_entries
from fsstore.engines.file.disk import Disk, write_again
from fsstore.errors import CorruptionError

_FIRST_CAPACITY = 1024
_PROBE_SLOTS = 4
_SCAN_SLOTS = 16_384
_EMPTY = bytes(index_entries.HEAD_BYTES)
_EMPTY_STRETCH = _EMPTY * 16
FILE_NAME = "heads.index"
_NOTHING_FOUND = (b"", 0, 0, False)


class StaleIndexError(CorruptionError):
    """The index is missing, damaged or older than what it must cover: rebuild it."""

    def __init__(self, path: str) -> None:
        super().__init__(
            "an index is missing, damaged or too old",
            path=path,
            offset_bytes=0,
            expected="an index of everything that is folded",
            repair="close the store in every process and open it again",
        )


def used(data: bytes) -> Iterator[int]:
    """Where in these slots one begins that is not empty. Most are empty, and are passed over by the stretch."""
    for stretch in range(0, len(data), len(_EMPTY_STRETCH)):
        slots = data[stretch : stretch + len(_EMPTY_STRETCH)]
        if slots != _EMPTY_STRETCH:
            for offset in range(0, len(slots), index_entries.HEAD_BYTES):
                if slots[offset : offset + index_entries.HEAD_BYTES].strip(b"\0"):
                    yield stretch + offset


class Heads:
    """The table of one store. Readers may look while the folding process writes."""

    def __init__(self, disk: Disk, store: str, seed: int, *, write: bool) -> None:
        self._disk = disk
        self._path = f"{store}/{FILE_NAME}"
        self._store = store
        self._seed = seed
        self._write = write
        self._handle: int | None = None
        self._found = _NOTHING_FOUND
        self.capacity = 0
        self.count = 0
        self.folded = 0
        self.next_token = 0

    @property
    def path(self) -> str:
        return self._path

    def open(self, *, at_least_folded: int) -> None:
        """Open the table; `StaleIndexError` unless it covers every stream folded below that position."""
        self.close()
        try:
            self._handle = self._disk.open(self._path, write=self._write)
            data = self._disk.read(self._handle, index_entries.INDEX_HEADER_BYTES, 0)
            numbers = file_headers.read_numbers("heads", data, self._seed, 4)
            self.capacity, self.count, self.folded, self.next_token = numbers
            size = index_entries.INDEX_HEADER_BYTES + self.capacity * index_entries.HEAD_BYTES
            # No table is ever more than eight times as large as it is full, but for the first.
            sane = 1 <= self.capacity <= max(_FIRST_CAPACITY, self.count * 8)
            if self.folded < at_least_folded or self._disk.size(self._handle) < size or not sane:
                raise StaleIndexError(self._path)
        except file_headers.NewerFormatError as error:
            self.close()
            raise file_headers.refused(self._path, error) from error
        except (FileNotFoundError, file_headers.FormatError) as error:
            self.close()
            raise StaleIndexError(self._path) from error
        except BaseException:
            self.close()
            raise

    def apart(self) -> Heads:
        """The table once more, for its caller to walk through and close: whatever becomes of this one meanwhile."""
        other = Heads(self._disk, self._store, self._seed, write=False)
        other.open(at_least_folded=self.folded)
        return other

    def create(self, capacity: int = _FIRST_CAPACITY) -> None:
        """An empty table in place of any other."""
        self.close()
        self._handle = self._new_file(f"{self._path}.new", capacity)
        self._disk.rename(f"{self._path}.new", self._path)
        self.capacity, self.count, self.folded, self.next_token = capacity, 0, 0, 0

    def _new_file(self, path: str, capacity: int) -> int:
        handle = self._disk.open(path, write=True, create=True)
        try:
            self._disk.truncate(handle, 0)
            self._disk.truncate(handle, index_entries.INDEX_HEADER_BYTES + capacity * index_entries.HEAD_BYTES)
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
        first = int.from_bytes(key[:8], "big") % self.capacity
        free, probed = -1, 0
        while probed < self.capacity:
            slots = min(_PROBE_SLOTS, self.capacity - first)
            data = self._read(first, slots)
            for slot in range(slots):
                offset = slot * index_entries.HEAD_BYTES
                if data[offset : offset + 16] == key:
                    head = index_entries.read_head(data, offset, self._seed)
                    if head is not None:
                        return first + slot, head
                    free = first + slot if free < 0 else free
                elif data[offset : offset + index_entries.HEAD_BYTES] == _EMPTY:
                    return (first + slot if free < 0 else free), None
            probed += slots
            first = (first + slots) % self.capacity
        return free, None

    def _read(self, slot: int, slots: int) -> bytes:
        assert self._handle is not None
        return self._disk.read(
            self._handle,
            slots * index_entries.HEAD_BYTES,
            index_entries.INDEX_HEADER_BYTES + slot * index_entries.HEAD_BYTES,
        )

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
        offset = index_entries.INDEX_HEADER_BYTES + slot * index_entries.HEAD_BYTES
        self._disk.write(self._handle, head.pack(self._seed), offset)

    def _grow(self) -> None:
        """Twice the slots, in a new file that replaces the old one; tombstones stay behind."""
        assert self._handle is not None
        kept = [head for head in self.all() if head.segment_bytes or head.snapshots_bytes]
        capacity = _FIRST_CAPACITY
        while capacity < len(kept) * 4:
            capacity *= 2
        table = bytearray(capacity * index_entries.HEAD_BYTES)
        for head in kept:
            slot = int.from_bytes(head.key[:8], "big") % capacity
            while table[slot * index_entries.HEAD_BYTES : (slot + 1) * index_entries.HEAD_BYTES] != _EMPTY:
                slot = (slot + 1) % capacity
            table[slot * index_entries.HEAD_BYTES : (slot + 1) * index_entries.HEAD_BYTES] = head.pack(self._seed)
        handle = self._new_file(f"{self._path}.new", capacity)
        old, old_capacity, old_count = self._handle, self.capacity, self.count
        try:
            self._disk.write(handle, table, index_entries.INDEX_HEADER_BYTES)
            self._handle, self.capacity, self.count = handle, capacity, len(kept)
            self._write_header()
            self._disk.flush(handle)
            self._disk.rename(f"{self._path}.new", self._path)
        except BaseException:
            self._handle, self.capacity, self.count = old, old_capacity, old_count
            self._disk.close(handle)
            raise
        self._found = _NOTHING_FOUND
        self._disk.close(old)

    def all(self) -> Iterator[index_entries.Head]:
        """Every slot that holds a stream, in no order that means anything; `CorruptionError` at a damaged one."""
        for number, head in self.slots():
            if head is None:
                raise CorruptionError(
                    "a slot of the table of heads is damaged",
                    path=self._path,
                    offset_bytes=index_entries.INDEX_HEADER_BYTES + number * index_entries.HEAD_BYTES,
                    expected="a stream's head",
                    repair=f"fsstore repair {self._store}",
                )
            yield head

    def slots(self) -> Iterator[tuple[int, index_entries.Head | None]]:
        """The number of every used slot and what it holds: `None` where that is damaged."""
        for first in range(0, self.capacity, _SCAN_SLOTS):
            slots = min(_SCAN_SLOTS, self.capacity - first)
            data = self._read(first, slots)
            for offset in used(data[: len(data) - len(data) % index_entries.HEAD_BYTES]):
                yield first + offset // index_entries.HEAD_BYTES, index_entries.read_head(data, offset, self._seed)

    def mark_folded(self, position: int, next_token: int) -> None:
        """Note that the table now covers everything folded below `position`."""
        self.folded, self.next_token = position, next_token
        self._write_header()

    def _write_header(self) -> None:
        assert self._handle is not None
        fields: list[object] = [self.capacity, self.count, self.folded, self.next_token]
        data = file_headers.pack_file_header("heads", self._seed, fields, index_entries.INDEX_HEADER_BYTES)
        self._disk.write(self._handle, data, 0)

    def write_again(self) -> None:
        """Have the next flush take everything to the device, also what an earlier one that failed left behind.

        A fold that did not end left slots that the header does not count: they are counted anew.
        """
        assert self._handle is not None
        write_again(self._disk, self._handle)
        self.count = sum(1 for _ in self.slots())

    def flush(self) -> None:
        assert self._handle is not None
        self._disk.flush(self._handle)

    def refresh(self) -> None:
        """See what another process wrote: the file may have been replaced by a larger one."""
        self.open(at_least_folded=0)

    def close(self) -> None:
        self._found = _NOTHING_FOUND
        handle, self._handle = self._handle, None
        if handle is not None:
            self._disk.close(handle)
