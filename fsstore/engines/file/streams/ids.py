"""The commit ids of one stream, so that a duplicate is seen whatever the stream's length.

A short stream's ids are a set, read from its segment once its head does not rule an id out. A long stream has a file
beside its segment: sorted runs of 64-bit hashes, each run at least twice as long as the next, so that a look costs a
few binary searches and adding to it rewrites little. Disposable: what its checksums do not vouch for is read from the
segment instead.
"""

from __future__ import annotations

import sys
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable

from fsstore.engines.file.disk.disk import Disk
from fsstore.engines.file.files.handles import opened
from fsstore.engines.file.formats import file_headers, format

_HEADER_BYTES = 4096
_WORD_BYTES = 8
_MOST_AHEAD = 1 << 22


def _hash(commit_id: bytes) -> int:
    return int.from_bytes(commit_id[:8], "big") ^ int.from_bytes(commit_id[8:], "big")


def _merged(parts: Iterable[Iterable[int]]) -> array[int]:
    together: list[int] = []
    for part in parts:
        together.extend(part)
    together.sort()
    return array("Q", together)


class LongIds:
    """The hashes of a long stream's commit ids; a hit is proved by `prove` before it is believed."""

    def __init__(self, runs: list[array[int]], prove: Callable[[bytes], bool]) -> None:
        self._runs = runs
        self._prove = prove

    def __contains__(self, commit_id: object) -> bool:
        assert isinstance(commit_id, bytes)
        wanted = _hash(commit_id)
        for run in self._runs:
            at = bisect_left(run, wanted)
            if at < len(run) and run[at] == wanted:
                return self._prove(commit_id)
        return False

    def __len__(self) -> int:
        return sum(map(len, self._runs))


def runs_of(commit_ids: Iterable[bytes]) -> list[array[int]]:
    """The runs of all these ids, for a stream whose file cannot be used."""
    return [_merged([map(_hash, commit_ids)])]


class IdIndex:
    """The file of runs of one stream."""

    def __init__(self, disk: Disk, path: str, seed: int) -> None:
        self._disk = disk
        self._path = path
        self._seed = seed

    def load(self, at_least: int, at_most: int) -> list[array[int]] | None:
        """The runs, or `None` unless they are whole, cover that many commits, and not many more than there can be."""
        try:
            with opened(self._disk, self._path) as handle:
                runs = self._read(handle, at_most)
        except FileNotFoundError:
            return None
        if runs is None or sum(map(len, runs)) < at_least:
            return None
        return runs

    def _read(self, handle: int, at_most: int) -> list[array[int]] | None:
        # An interrupted fold may be ahead, but not by everything that a crafted header can claim.
        most_bytes = min(self._disk.size(handle), _HEADER_BYTES + _WORD_BYTES * (at_most + _MOST_AHEAD))
        try:
            data = self._disk.read(handle, _HEADER_BYTES, 0)
            fields, _ = file_headers.read_file_header("ids", data, self._seed)
            order, lengths, checksums = fields
            if order != sys.byteorder or not isinstance(lengths, list) or not isinstance(checksums, list):
                return None
            runs, offset = [], _HEADER_BYTES
            for length, crc in zip(lengths, checksums, strict=True):
                if type(length) is not int or not 0 <= length * _WORD_BYTES <= most_bytes - offset:
                    return None
                data = self._disk.read(handle, length * _WORD_BYTES, offset)
                if len(data) != length * _WORD_BYTES or format.checksum(data, self._seed) != crc:
                    return None
                run = array("Q")
                run.frombytes(data)
                runs.append(run)
                offset += len(data)
        except file_headers.NewerFormatError as error:
            raise file_headers.refused(self._path, error) from error
        except ValueError:
            return None
        return runs

    def extend(self, first: int, commit_ids: list[bytes], all_ids: Callable[[], Iterable[bytes]], handle: int) -> None:
        """Add the ids of the commits from sequence `first` on, to the file behind `handle`."""
        runs = self._read(handle, first + len(commit_ids))
        covered = sum(map(len, runs)) if runs is not None else -1
        if runs is None or covered < first - 1 or first == 1:
            runs, new = [], _merged([map(_hash, all_ids())])
        else:
            # Repeating a fold adds nothing twice.
            known = max(0, covered - (first - 1))
            new = _merged([map(_hash, commit_ids[known:])])
        while runs and len(runs[-1]) < 2 * len(new):
            new = _merged([runs.pop(), new])
        offset = _HEADER_BYTES + _WORD_BYTES * sum(map(len, runs))
        if len(new):
            runs.append(new)
            self._disk.write(handle, new.tobytes(), offset)
        self._write_header(handle, runs)

    def _write_header(self, handle: int, runs: list[array[int]]) -> None:
        checksums = [format.checksum(run.tobytes(), self._seed) for run in runs]
        fields: list[object] = [sys.byteorder, [len(run) for run in runs], checksums]
        self._disk.write(handle, file_headers.pack_file_header("ids", self._seed, fields, _HEADER_BYTES), 0)
