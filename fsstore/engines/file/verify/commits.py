"""Verification of commits.index: its entries are whole, say what the segments say, and none is left over.

The segments' commits are shown to it one by one; what it never saw is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from fsstore.engines.file import format
from fsstore.engines.file.commits_index import FILE_NAME
from fsstore.engines.file.verify.finding import NOTHING_LOST, Finding
from fsstore.engines.file.verify.look import Look

_BATCH_TOKENS = 65_536


class CommitsCheck:
    """Remembers which checkpoints were found, so that none is left over."""

    def __init__(self, look: Look) -> None:
        self._look = look
        self._path = f"{look.path}/{FILE_NAME}"
        self._limit = look.commits.next_token if look.commits is not None else 1
        self._seen = bytearray(self._limit // 8 + 1)
        self._damaged: set[bytes] = set()

    def excuse(self, key: bytes) -> None:
        """Damage of that stream was reported; its commits are not missed once more."""
        self._damaged.add(key)

    def compare(self, key: bytes, header: format.RecordHeader) -> Finding | None:
        """Note that the commit was found; what is wrong with its entry."""
        commits, seed = self._look.commits, self._look.seed
        if header.token < self._limit:
            self._seen[header.token >> 3] |= 1 << (header.token & 7)
        first = self._look.unfolded.first_token
        if commits is None or (first and header.token >= first):
            return None
        data = commits.read(header.token, header.token)
        expected = format.pack_commits_entry(
            seed,
            header.token,
            key,
            header.place,
            header.length_bytes,
            header.revision,
            header.sequence,
            header.stamp_us,
        )
        if data == expected or not format.commits_entry_is_whole(data.ljust(48, b"\0"), 0, header.token, seed):
            return None
        return Finding(
            self._path,
            _offset(header.token),
            f"the entry of checkpoint {header.token} is another commit's",
            f"commit {header.sequence} of the stream with key {key.hex()}",
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
            found = []
            for number, entry in enumerate(format.read_commits_entries(data)):
                token = first + number
                if unfolded.first_token and token >= unfolded.first_token:
                    break
                if not format.commits_entry_is_whole(data, number * format.COMMITS_ENTRY_BYTES, token, look.seed):
                    expected = f"the entry of checkpoint {token}"
                    found.append(
                        Finding(self._path, _offset(token), "an entry is damaged", expected, NOTHING_LOST, True)
                    )
                elif not (entry.deleted or self._is_found(token, entry.key) or unfolded.deletes(entry.key, None)):
                    found.append(
                        Finding(
                            self._path,
                            _offset(token),
                            f"checkpoint {token} is in no segment",
                            f"commit {entry.sequence} of the stream with key {entry.key.hex()} at byte {entry.place}",
                            f"checkpoint {token}",
                            False,
                        )
                    )
            yield from found
            advance(len(data))
            first = last + 1

    def _is_found(self, token: int, key: bytes) -> bool:
        """Whether the commit was found, or is missing from a stream of which damage was reported already."""
        return bool(self._seen[token >> 3] & 1 << (token & 7)) or key in self._damaged


def _offset(token: int) -> int:
    return format.INDEX_HEADER_BYTES + (token - 1) * format.COMMITS_ENTRY_BYTES
