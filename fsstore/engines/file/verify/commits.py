"""Verification of commits.index: its entries are whole, say what the segments say, and none is left over.

The segments' commits are shown to it one by one; what it never saw is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from fsstore.engines.file.files import layout
from fsstore.engines.file.formats import format, index_entries
from fsstore.engines.file.verify.finding import NOTHING_LOST, Finding
from fsstore.engines.file.verify.look import Look
from fsstore.engines.file.verify.unfolded import Unfolded

_BATCH_TOKENS = 65_536
_EMPTY = index_entries.CommitsEntry(format.NO_KEY, 0, 0, 0, 0, 0, 0)


class CommitsCheck:
    """Remembers which checkpoints were found, so that none is left over."""

    def __init__(self, look: Look) -> None:
        self._look = look
        self._path = f"{look.path}/{layout.COMMITS_INDEX}"
        self._limit = look.commits.next_token if look.commits is not None else 1
        # By blocks of tokens, made when the first of them is found: what an index claims may be far more than there is.
        self._seen: dict[int, bytearray] = {}
        self._damaged: set[bytes] = set()
        self._empty: tuple[int, int] | None = None

    def excuse(self, key: bytes) -> None:
        """Damage of that stream was reported; its commits are not missed once more."""
        self._damaged.add(key)

    def compare(self, header: format.RecordHeader) -> Finding | None:
        """Note that the commit was found; what is wrong with its entry."""
        commits, seed = self._look.commits, self._look.seed
        block, number = divmod(header.token, _BATCH_TOKENS)
        if block not in self._seen:
            self._seen[block] = bytearray(_BATCH_TOKENS // 8)
        self._seen[block][number >> 3] |= 1 << (number & 7)
        first = self._look.unfolded.first_token
        if commits is None or (first and header.token >= first):
            return None
        data = commits.read(header.token, header.token)
        expected = index_entries.commits_entry(header, seed)
        if data == expected or not index_entries.commits_entry_is_whole(data.ljust(48, b"\0"), 0, header.token, seed):
            return None
        return Finding(
            self._path,
            index_entries.commits_offset(header.token),
            f"the entry of checkpoint {header.token} is another commit's",
            f"commit {header.sequence} of the stream with key {header.key.hex()}",
            NOTHING_LOST,
            disposable=True,
        )

    def missing(self, advance: Callable[[int], None]) -> Iterator[Finding]:
        """Entries that are damaged, and those whose commit was not found; to be asked for last."""
        look = self._look
        first = 1
        while look.commits is not None and first < self._limit:
            last = min(first + _BATCH_TOKENS, self._limit) - 1
            with look.folding_stopped():
                data = look.commits.read(first, last)
                unfolded = look.unfolded
            if data.count(0) == len(data) and not unfolded.first_token:
                self._note_empty(first, last)
            else:
                yield from self._wrong_entries(data, first, unfolded)
            advance(len(data))
            first = last + 1
        yield from self._end_of_empty()

    def _wrong_entries(self, data: bytes, first: int, unfolded: Unfolded) -> Iterator[Finding]:
        """What is wrong with the entries in `data`, the first of which is that of `first`."""
        for token, entry in enumerate(index_entries.read_commits_entries(data), first):
            if unfolded.first_token and token >= unfolded.first_token:
                return
            if entry == _EMPTY:
                self._note_empty(token, token)
                continue
            yield from self._end_of_empty()
            offset = (token - first) * index_entries.COMMITS_ENTRY_BYTES
            if not index_entries.commits_entry_is_whole(data, offset, token, self._look.seed):
                yield self._damaged_entries(token, token)
            elif not (entry.deleted or self._is_found(token, entry.key) or unfolded.deletes(entry.key, None)):
                what = f"checkpoint {token} is in no segment"
                expected = f"commit {entry.sequence} of the stream with key {entry.key.hex()} at byte {entry.place}"
                yield Finding(self._path, index_entries.commits_offset(token), what, expected, f"checkpoint {token}")

    def _note_empty(self, first: int, last: int) -> None:
        self._empty = (self._empty[0] if self._empty else first, last)

    def _end_of_empty(self) -> Iterator[Finding]:
        """One finding for all empty entries that follow one another: a crafted index is full of them."""
        if self._empty:
            yield self._damaged_entries(*self._empty)
            self._empty = None

    def _damaged_entries(self, first: int, last: int) -> Finding:
        what, expected = "an entry is damaged", f"the entry of checkpoint {first}"
        if last > first:
            what, expected = f"{last - first + 1} entries are damaged", f"the entries of checkpoints {first} to {last}"
        return Finding(self._path, index_entries.commits_offset(first), what, expected, NOTHING_LOST, True)

    def _is_found(self, token: int, key: bytes) -> bool:
        """Whether the commit was found, or is missing from a stream of which damage was reported already."""
        block, number = divmod(token, _BATCH_TOKENS)
        seen = self._seen.get(block)
        return (seen is not None and bool(seen[number >> 3] & 1 << (number & 7))) or key in self._damaged
