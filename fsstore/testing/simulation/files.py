"""One file of a simulated disk: what processes see, what the device holds, and the unsynced steps in between.

Content is kept by sectors, the unit in which a device writes all or nothing. Until a flush each sector reaches the
device when it likes, or never, and so does each word of a mapped page. Names, handles and processes are not known here.
"""

from __future__ import annotations

from typing import NamedTuple

from fsstore.testing.simulation.choices import Choose

SECTOR_BYTES = 512
WORD_BYTES = 8
_ZERO = bytes(SECTOR_BYTES)
_NO_SECTORS: dict[int, bytes] = {}
_MOST_STEPS = 512
_MOST_PARTS = 12


class Step(NamedTuple):
    """One unsynced change: the new content of whole sectors, or of one word of a mapped page."""

    sectors: dict[int, bytes]
    size_bytes: int
    shrinks: bool = False
    word: tuple[int, bytes] | None = None


class File:
    """One file, whatever its names are."""

    __slots__ = ("_device", "_device_size_bytes", "_sectors", "_steps", "size_bytes")

    def __init__(self) -> None:
        self._sectors: dict[int, bytes] = {}
        self.size_bytes = 0
        self._device: dict[int, bytes] = {}
        self._device_size_bytes = 0
        self._steps: list[Step] = []

    def copy(self) -> File:
        other = File()
        other._sectors, other.size_bytes = self._sectors.copy(), self.size_bytes
        other._device, other._device_size_bytes = self._device.copy(), self._device_size_bytes
        other._steps = self._steps.copy()
        return other

    # ---- as processes see it ----

    def read(self, length_bytes: int, offset: int) -> bytes:
        length = min(length_bytes, self.size_bytes - offset)
        if length <= 0:
            return b""
        first, start = divmod(offset, SECTOR_BYTES)
        last = (offset + length - 1) // SECTOR_BYTES
        get = self._sectors.get
        if first == last:
            return get(first, _ZERO)[start : start + length]
        return b"".join([get(number, _ZERO) for number in range(first, last + 1)])[start : start + length]

    def write(self, data: bytes, offset: int) -> None:
        if not data:
            return
        first, start = divmod(offset, SECTOR_BYTES)
        end = start + len(data)
        last = first + (end - 1) // SECTOR_BYTES
        head = self._sectors.get(first, _ZERO)[:start]
        tail = self._sectors.get(last, _ZERO)[(end - 1) % SECTOR_BYTES + 1 :]
        whole = head + data + tail
        if first == last:
            sectors = {first: whole}
        else:
            starts = range(0, len(whole), SECTOR_BYTES)
            sectors = {first + at // SECTOR_BYTES: whole[at : at + SECTOR_BYTES] for at in starts}
        self._sectors.update(sectors)
        self.size_bytes = max(self.size_bytes, offset + len(data))
        self._steps.append(Step(sectors, self.size_bytes))

    def truncate(self, size_bytes: int) -> None:
        if size_bytes == self.size_bytes:
            return
        shrinks = size_bytes < self.size_bytes
        changed: dict[int, bytes] = {}
        if shrinks:
            changed = _cut(self._sectors, size_bytes)
            changed.update((number, _ZERO) for number in self._device if number * SECTOR_BYTES >= size_bytes)
        self.size_bytes = size_bytes
        self._steps.append(Step(changed, size_bytes, shrinks))

    def word(self, index: int) -> bytes:
        at = index * WORD_BYTES
        sector = self._sectors.get(at // SECTOR_BYTES, _ZERO)
        at %= SECTOR_BYTES
        return sector[at : at + WORD_BYTES]

    def set_word(self, index: int, value: bytes) -> None:
        """A store into a mapped page: no order among words holds until the page is flushed."""
        _put_word(self._sectors, index, value)
        self._steps.append(Step(_NO_SECTORS, self.size_bytes, False, (index, value)))
        if len(self._steps) > _MOST_STEPS:
            # The kernel writes pages back by itself in the end.
            self.flush()

    def missing_sectors(self, length_bytes: int, offset: int) -> list[int]:
        """The sectors that a write there would have to find room for."""
        last = (offset + length_bytes - 1) // SECTOR_BYTES
        return [number for number in range(offset // SECTOR_BYTES, last + 1) if number not in self._sectors]

    @property
    def used_sectors(self) -> int:
        return len(self._sectors)

    # ---- as the device has it ----

    @property
    def is_synced(self) -> bool:
        return not self._steps

    def flush(self) -> None:
        """Every sector that was changed since the last flush reaches the device."""
        for number in self._unsynced_sectors():
            self._device[number] = self._sectors.get(number, _ZERO)
        if self._steps:
            self._device_size_bytes = self.size_bytes
            _cut(self._device, self.size_bytes)
        self._steps.clear()

    def _unsynced_sectors(self) -> set[int]:
        found: set[int] = set()
        for step in self._steps:
            found.update(step.sectors)
            if step.word is not None:
                found.add(step.word[0] * WORD_BYTES // SECTOR_BYTES)
        return found

    def fail_to_flush(self, choose: Choose) -> None:
        """Some sectors reach the device; the others count as clean from now on, and never will by themselves."""
        self._reach_device(choose)
        self._steps.clear()

    def evict(self) -> None:
        """The system forgets its clean pages: what a failed flush left behind is read from the device again."""
        changed = self._unsynced_sectors()
        for number in self._sectors.keys() | self._device.keys():
            if number not in changed and number * SECTOR_BYTES < self.size_bytes:
                self._sectors[number] = self._device.get(number, _ZERO)

    def cut_power(self, choose: Choose) -> None:
        """What is on the device from now on is what everybody sees."""
        self._reach_device(choose)
        self.reread()

    def reread(self) -> None:
        """Forget everything that is not on the device."""
        self._steps.clear()
        _cut(self._device, self._device_size_bytes)
        self._sectors, self.size_bytes = self._device.copy(), self._device_size_bytes

    def flip(self, offset: int, bit: int) -> None:
        """One bit rots, on the device and for everybody who reads."""
        number, at = divmod(offset, SECTOR_BYTES)
        for sectors in (self._device, self._sectors):
            sector = bytearray(sectors.get(number, _ZERO))
            sector[at] ^= 1 << bit
            sectors[number] = bytes(sector)

    def _reach_device(self, choose: Choose) -> None:
        """Each sector and each mapped word as it was at some time since the last flush, each for itself.

        A truncation that did not happen takes what followed it along: the sizes of a file are in order.
        """
        if not self._steps:
            return
        cuts = [number for number, step in enumerate(self._steps) if step.shrinks]
        lost = choose(len(cuts) + 1) if cuts else 0
        steps = self._steps[: cuts[-lost]] if lost else self._steps
        sizes = [self._device_size_bytes]
        sectors: dict[int, list[bytes]] = {}
        words: dict[int, list[bytes]] = {}
        for step in steps:
            if step.shrinks:
                sizes.clear()
                sectors.update((number, [content]) for number, content in step.sectors.items())
            else:
                for number, content in step.sectors.items():
                    known = sectors.setdefault(number, [self._device.get(number, _ZERO)])
                    if known[-1] != content:
                        known.append(content)
            if step.word is not None:
                words.setdefault(step.word[0], []).append(step.word[1])
            if step.size_bytes not in sizes:
                sizes.append(step.size_bytes)
        for part in _parts(sectors):
            age = choose(len(sectors[part[0]]))
            for number in part:
                self._device[number] = sectors[number][-1 - age]
        for index, values in words.items():
            number, start = divmod(index * WORD_BYTES, SECTOR_BYTES)
            values.insert(0, self._device.get(number, _ZERO)[start : start + WORD_BYTES])
            _put_word(self._device, index, values[-1 - choose(len(values))])
        self._device_size_bytes = sizes[-1 - choose(len(sizes))]

    def content(self) -> tuple[int, frozenset[tuple[int, bytes]]]:
        """Size and sectors as processes see them; equal for files that read alike."""
        return self.size_bytes, frozenset(item for item in self._sectors.items() if item[1] != _ZERO)


def _parts(sectors: dict[int, list[bytes]]) -> list[list[int]]:
    """Sectors with as many versions as their neighbours, in a bounded number of parts that share a fate."""
    most = -(-len(sectors) // _MOST_PARTS)
    parts: list[list[int]] = []
    for number in sorted(sectors):
        if len(sectors[number]) == 1:
            parts.insert(0, [number])
            continue
        last = parts[-1] if parts else []
        fits = last and len(last) < most and last[-1] == number - 1
        if fits and len(sectors[last[0]]) == len(sectors[number]):
            last.append(number)
        else:
            parts.append([number])
    return parts


def _cut(sectors: dict[int, bytes], size_bytes: int) -> dict[int, bytes]:
    """Forget everything from `size_bytes` on; gives the sectors that this changed."""
    last, kept = divmod(size_bytes, SECTOR_BYTES)
    changed = {number: _ZERO for number in sectors if number > last or (number == last and not kept)}
    for number in changed:
        del sectors[number]
    if kept and any(sectors.get(last, _ZERO)[kept:]):
        sectors[last] = changed[last] = sectors[last][:kept] + _ZERO[kept:]
    return changed


def _put_word(sectors: dict[int, bytes], index: int, value: bytes) -> None:
    at = index * WORD_BYTES
    number = at // SECTOR_BYTES
    sector = sectors.get(number, _ZERO)
    at %= SECTOR_BYTES
    sectors[number] = sector[:at] + value + sector[at + WORD_BYTES :]
