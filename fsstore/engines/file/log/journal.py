"""The journal: the one log that a commit flushes and that orders the whole store.

A row of preallocated files, each named after the journal position of its first byte; a position never means
two things. A file that is full ends where its successor's ROLL record says. Old files are used again, which is
safe because every record carries its own position. This module reads, appends and replaces files; what a
record means, and whether damage at the end is a torn tail, is for others to say.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Final

from fsstore.engines.file.files import layout
from fsstore.engines.file.formats import file_headers, format
from fsstore.engines.file.log import scan
from fsstore.errors import CorruptionError, StorageError

GROWTH: Final = 4
"""How many times as large as the one before it each file is, until they are as large as files are to get."""
_CHUNK_BYTES = 1 << 18
_ZEROS = bytes(1 << 20)
_SPARE = "spare"
_NEW = "new"


@dataclass(frozen=True, slots=True)
class JournalFile:
    """One open journal file that holds the positions from `base` up to `end`; its first record is at `first`."""

    base: int
    size_bytes: int
    handle: int
    first: int
    end: int

    @classmethod
    def of(cls, base: int, size_bytes: int, handle: int) -> JournalFile:
        return cls(base, size_bytes, handle, base + file_headers.JOURNAL_HEADER_BYTES, base + size_bytes)


class Journal:
    """The files of one store's journal. Writing calls are for the holder of the write lock only."""

    def __init__(self, files: layout.StoreFiles, *, write: bool, max_record_bytes: int = format.MAX_BODY_BYTES) -> None:
        self.directory = f"{files.path}/{layout.JOURNAL}"
        self._max_record_bytes = max_record_bytes
        self._disk = files.disk
        self._seed = files.seed
        self._write = write
        self._files: dict[int, JournalFile] = {}
        self._pinned: list[JournalFile] = []

    # ---- files ----

    def bases(self) -> list[int]:
        """The first positions of the files that exist, ascending."""
        return layout.journal_bases(self._disk, self.directory)

    def path(self, base: int) -> str:
        return f"{self.directory}/{layout.journal_name(base)}"

    def file(self, base: int) -> JournalFile | None:
        """The file that starts at `base`, opened if need be; `None` when there is none."""
        known = self._files.get(base)
        if known is not None:
            return known
        path = self.path(base)
        try:
            handle = self._disk.open(path, write=self._write)
        except FileNotFoundError:
            return None
        try:
            data = self._disk.read(handle, file_headers.JOURNAL_HEADER_BYTES, 0)
            size_bytes = file_headers.read_journal_size(data, base, self._seed)
            if self._disk.size(handle) < size_bytes:
                raise file_headers.FormatError(f"{size_bytes} bytes, as its header says")
        except file_headers.NewerFormatError as error:
            self._disk.close(handle)
            raise file_headers.refused(path, error) from error
        except file_headers.FormatError as error:
            self._disk.close(handle)
            if not self._disk.exists(path):
                return None  # recycled between opening and reading: it is another file now
            raise CorruptionError("a journal file is damaged", path=path, offset_bytes=0, expected=str(error)) from None
        except BaseException:
            self._disk.close(handle)
            raise
        self._files[base] = found = JournalFile.of(base, size_bytes, handle)
        return found

    def file_at(self, position: int) -> JournalFile | None:
        """The file that holds `position`, or `None`: it was recycled, or never written."""
        for known in self._files.values():
            if known.base <= position < known.end:
                return known
        below = [base for base in self.bases() if base <= position]
        found = self.file(below[-1]) if below else None
        return found if found is not None and position < found.end else None

    def forget(self, base: int | None = None) -> None:
        """Close the handle of one file, or of all, so that the next use looks at the directory again."""
        for known in [base] if base is not None else list(self._files):
            file = self._files.pop(known, None)
            if file is not None:
                self._disk.close(file.handle)

    def forget_below(self, position: int) -> None:
        """Close the handles of files that end at or before `position`."""
        for file in [file for file in self._files.values() if file.end <= position]:
            if file not in self._pinned:
                self.forget(file.base)

    def pin(self, position: int) -> JournalFile | None:
        """The file that holds `position`, kept open until `unpin` for use without the engine's mutex."""
        file = self.file_at(position)
        if file is not None:
            self._pinned.append(file)
        return file

    def unpin(self, file: JournalFile) -> None:
        self._pinned.remove(file)

    # ---- reading ----

    def read(self, position: int, length_bytes: int) -> bytes | None:
        """The bytes from `position`, all within one file; `None` when they are no longer in the journal."""
        file = self.file_at(position)
        if file is None:
            return None
        return self._disk.read(file.handle, length_bytes, position - file.base)

    def walk(self, position: int, end: int | None = None) -> Iterator[tuple[format.RecordHeader, bytes]]:
        """Header and whole bytes of the records that `pages` gives."""
        for data, page in self.pages(position, end):
            at = 0
            for fields, body in page:
                start, at = at, at + format.RECORD_HEADER_BYTES + len(body)
                yield format.header_of(format.RecordHeader, fields), data[start:at]

    def pages(self, position: int, end: int | None = None) -> Iterator[tuple[bytes, list[format.Record]]]:
        """The records from `position`, over file borders, up to `end`: the bytes of as many as one read brings, and
        what they say.

        Stops early at the first place where no whole record stands; the caller judges what that means.
        """
        file = self.file_at(position)
        while file is not None and (end is None or position < end):
            data = self._chunk(file, position, end)
            page = format.read_records(data, 0, len(data), self._seed, format.POSITION, position)
            if page and _end(page) >= file.end:
                page.pop()  # no record ends where its file does
            if page:
                position = _end(page)
                yield data, page
            else:
                file = self._successor(file, position)
                if file is not None:
                    position = file.first

    def _chunk(self, file: JournalFile, position: int, end: int | None) -> bytes:
        """What the file holds from `position` on: as much as is read at a time, and a whole record at least.

        `StorageError` where it begins with a record that a later version wrote.
        """
        limit = file.end if end is None else min(file.end, end)
        data = self._disk.read(file.handle, min(_CHUNK_BYTES, limit - position), position - file.base)
        header = format.read_header(data, 0, self._seed)
        if header is not None and header.position == position and header.end < file.end:
            format.refuse_unknown(self.path(file.base), header)
            if len(data) < header.length_bytes:
                if header.body_bytes > self._max_record_bytes:
                    most_bytes = format.RECORD_HEADER_BYTES + self._max_record_bytes
                    raise self.damage(position, f"a record of at most {most_bytes} bytes: see max_record_bytes")
                data = self._disk.read(file.handle, header.length_bytes, position - file.base)
        return data

    def _successor(self, file: JournalFile, position: int) -> JournalFile | None:
        """The next file, if it says that the log went on there after `position`."""
        following = self.file(file.end)
        if following is None:
            return None
        data = self._disk.read(following.handle, format.RECORD_HEADER_BYTES, file_headers.JOURNAL_HEADER_BYTES)
        header = format.read_header(data, 0, self._seed)
        if header is None or header.kind != format.ROLL or header.position != following.first:
            return None
        return following if header.place == position else None

    def headers(self, file: JournalFile, position: int) -> Iterator[format.RecordHeader]:
        """The record headers from `position` on in a file, whole and at their own positions, whatever is between."""
        start = max(position, file.base) - file.base
        for at, header in scan.headers(self._disk, file.handle, self._seed, start, file.size_bytes):
            if header.position == file.base + at:
                yield header

    def damage(self, position: int, expected: str) -> CorruptionError:
        """What is at that position is not what must be there."""
        file = self.file_at(position)
        return CorruptionError(
            "a record in the journal is damaged",
            path=self.path(file.base) if file is not None else self.directory,
            offset_bytes=position - file.base if file is not None else position,
            expected=expected,
            repair=f"fsstore repair {self.directory.rpartition('/')[0]}",
        )

    # ---- writing ----

    def write(self, position: int, data: bytes | bytearray | memoryview) -> None:
        file = self.file_at(position)
        if file is None or position + len(data) > file.end:
            raise StorageError(f"journal position {position} is not in any file of {self.directory}")
        self._disk.write(file.handle, data, position - file.base)

    def flush(self, position: int) -> None:
        """The file that holds `position` is on the device when this returns."""
        file = self.file_at(position)
        if file is None:
            raise StorageError(f"journal position {position} is not in any file of {self.directory}")
        self._disk.flush(file.handle)

    def create(self, base: int, size_bytes: int, first_record: bytes = b"") -> JournalFile:
        """A flushed file for the positions from `base`, from the spare one where it fits; empty, or with a record."""
        spare = f"{self.directory}/{_SPARE}"
        source = spare
        handle = self._open_spare(spare, size_bytes)
        if handle is None:
            source = f"{self.directory}/{_NEW}"
            handle = self._preallocate(source, size_bytes)
        try:
            self._disk.write(handle, file_headers.journal_header(self._seed, base, size_bytes) + first_record, 0)
            self._disk.flush(handle)
            self._disk.rename(source, self.path(base))
            self._disk.flush_directory(self.directory)
        except BaseException:
            self._disk.close(handle)
            raise
        self.forget(base)
        self._files[base] = made = JournalFile.of(base, size_bytes, handle)
        return made

    def _open_spare(self, path: str, size_bytes: int) -> int | None:
        try:
            handle = self._disk.open(path, write=True)
        except FileNotFoundError:
            return None
        try:
            if self._disk.size(handle) == size_bytes:
                return handle
        except BaseException:
            self._disk.close(handle)
            raise
        self._disk.close(handle)
        return None

    def _preallocate(self, path: str, size_bytes: int) -> int:
        handle = self._disk.open(path, write=True, create=True)
        try:
            self._disk.truncate(handle, 0)
            for offset in range(0, size_bytes, len(_ZEROS)):
                self._disk.write(handle, _ZEROS[: size_bytes - offset], offset)
        except BaseException:
            # What was half made must not fill a disk that is full already.
            try:
                self._disk.truncate(handle, 0)
            finally:
                self._disk.close(handle)
            raise
        return handle

    def keep_spare(self, size_bytes: int, write_lock: AbstractContextManager[object]) -> None:
        """Have a preallocated file of that size ready for the next roll; the lock is held for a rename only."""
        spare, making = f"{self.directory}/{_SPARE}", f"{self.directory}/{_SPARE}.new"
        handle = self._open_spare(spare, size_bytes)
        if handle is not None:
            self._disk.close(handle)
            return
        handle = self._preallocate(making, size_bytes)
        try:
            self._disk.flush(handle)
            with write_lock:
                self._disk.rename(making, spare)
        finally:
            self._disk.close(handle)

    def drop_spare(self) -> None:
        """Remove the spare file: it holds bytes of old records, and takes room."""
        spare = f"{self.directory}/{_SPARE}"
        if self._disk.exists(spare):
            self._disk.unlink(spare)

    def drop_above(self, position: int) -> None:
        """Remove the files that begin above the log's end: somebody began them and was killed before going on there."""
        above = [base for base in self.bases() if base > position]
        for base in above:
            self.forget(base)
            self._disk.unlink(self.path(base))
        if above:
            self._disk.flush_directory(self.directory)

    def retire_below(self, position: int, *, erase_below: int) -> None:
        """Let go of the files that end at or before `position`: one becomes the spare, the others go.

        None that begins below `erase_below` is kept: its old bytes must not stay.
        """
        spare = f"{self.directory}/{_SPARE}"
        is_changed = False
        for base in self.bases()[:-1]:  # the newest is in use
            file = self.file(base)
            if file is None or file.end > position:
                continue
            self.forget(base)
            if base < erase_below or self._disk.exists(spare):
                self._disk.unlink(self.path(base))
            else:
                self._disk.rename(self.path(base), spare)
            is_changed = True
        if is_changed:
            self._disk.flush_directory(self.directory)


def _end(page: list[format.Record]) -> int:
    """The position after the last of these records."""
    fields, body = page[-1]
    return fields[format.POSITION] + format.RECORD_HEADER_BYTES + len(body)
