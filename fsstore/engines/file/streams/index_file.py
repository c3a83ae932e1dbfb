"""What heads.index and commits.index have in common: disposable, made again when missing, damaged or too old.

Its header says how far folding had come that it covers. Only the folding process writes it; others may look
meanwhile, and see its next version where it was replaced. What stands behind the header is not known here.
"""

from __future__ import annotations

from typing import ClassVar

from fsstore.engines.file.disk.disk import write_again
from fsstore.engines.file.files.layout import StoreFiles
from fsstore.engines.file.formats import file_headers
from fsstore.engines.file.formats.index_entries import INDEX_HEADER_BYTES
from fsstore.errors import CorruptionError


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


class IndexFile:
    """One index of one store: it covers everything below `folded`, and the tokens below `next_token`."""

    name: ClassVar[str]
    kind: ClassVar[str]
    """The word in its header."""

    def __init__(self, files: StoreFiles, *, write: bool) -> None:
        self.path = f"{files.path}/{self.name}"
        self._files = files
        self._disk = files.disk
        self._seed = files.seed
        self._write = write
        self._handle: int | None = None
        self.folded = 0
        self.next_token = 0

    def _numbers(self) -> list[object]:
        """What the header says."""
        raise NotImplementedError

    def _take_numbers(self, header: bytes) -> int:
        """Know what the header says; gives the size that the file must have then. `FormatError` where it makes no
        sense."""
        raise NotImplementedError

    def open(self, *, at_least_folded: int) -> None:
        """Open the index; `StaleIndexError` unless it covers everything that was folded below that position."""
        self.close()
        try:
            self._handle = self._disk.open(self.path, write=self._write)
            size_bytes = self._take_numbers(self._disk.read(self._handle, INDEX_HEADER_BYTES, 0))
            if self.folded < at_least_folded or self._disk.size(self._handle) < size_bytes:
                raise StaleIndexError(self.path)
        except file_headers.NewerFormatError as error:
            self.close()
            raise file_headers.refused(self.path, error) from error
        except (FileNotFoundError, file_headers.FormatError) as error:
            self.close()
            raise StaleIndexError(self.path) from error
        except BaseException:
            self.close()
            raise

    def refresh(self) -> None:
        """See what another process wrote: the file may have been replaced."""
        self.open(at_least_folded=0)

    def mark_folded(self, position: int, next_token: int) -> None:
        """Note that the index now covers everything folded below `position`."""
        self.folded, self.next_token = position, next_token
        self._write_header()

    def _write_header(self) -> None:
        assert self._handle is not None
        data = file_headers.pack_file_header(self.kind, self._seed, self._numbers(), INDEX_HEADER_BYTES)
        self._disk.write(self._handle, data, 0)

    def write_again(self) -> None:
        """Have the next flush take everything to the device, also what an earlier one that failed left behind."""
        assert self._handle is not None
        write_again(self._disk, self._handle)

    def flush(self) -> None:
        assert self._handle is not None
        self._disk.flush(self._handle)

    def close(self) -> None:
        handle, self._handle = self._handle, None
        if handle is not None:
            self._disk.close(handle)
