"""The control page: the few numbers that all processes of one store share through a mapped file.

Marks are journal positions and only ever grow. Each is stored with its complement, so that a word which was
damaged or half-moved at a crash is seen and the smaller, safe value believed. The page is disposable: recovery
makes a new one from the journal. It must not know what the marks are used for.
"""

from __future__ import annotations

import threading
from typing import Final, Protocol

from fsstore.engines.file.disk.disk import Disk, Words
from fsstore.engines.file.formats import file_headers
from fsstore.errors import StorageUnavailableError

_MASK: Final = 0xFFFFFFFFFFFFFFFF
_MAGIC: Final = int.from_bytes(b"fsstore\x01", "big")
CONTROL_BYTES: Final = 4096
_WORDS: Final = CONTROL_BYTES // 8

EPOCH: Final = 4
TAIL: Final = 6
SYNCED: Final = 8
VISIBLE: Final = 10
FOLDED: Final = 12
NEXT_TOKEN: Final = 14
FAILED: Final = 16
CLEAN: Final = 18
ERASE: Final = 20
BEGUN: Final = 22
FOLD_BEGUN: Final = 24
JOINED: Final = 26
_PAIRS: Final = (EPOCH, TAIL, SYNCED, VISIBLE, FOLDED, NEXT_TOKEN, FAILED, CLEAN, ERASE, BEGUN, FOLD_BEGUN, JOINED)


class ReadableControl(Protocol):
    """The marks for who only looks: those of the page, or in its stead those that were judged without it."""

    def get(self, mark: int) -> int: ...
    def close(self) -> None: ...


class Control:
    """The shared page. Tail, begun and next token move under the write lock; the other marks by `advance`.

    `words` are the page itself, for who asks for many marks in a row: `words[TAIL]` is what `get(TAIL)` gives.
    """

    def __init__(self, disk: Disk, path: str, store_id: bytes, *, write: bool) -> None:
        self._disk = disk
        self._path = path
        self._moving = threading.Lock()
        self._joined_first = 0
        self._store = (int.from_bytes(store_id[:8], "big"), int.from_bytes(store_id[8:], "big"))
        self._handle = disk.open(path, write=write, create=write)
        try:
            if disk.size(self._handle) < CONTROL_BYTES:
                if not write:
                    raise FileNotFoundError(path)
                disk.write(self._handle, bytes(CONTROL_BYTES), 0)
            self.words: Words = disk.map_words(self._handle, _WORDS, write=write)
            self._refuse_newer()
        except BaseException:
            disk.close(self._handle)
            raise

    def _refuse_newer(self) -> None:
        """`StorageError` where a later version of fsstore made the page: others may have it open, too."""
        name, version = divmod(self.words[0], 256)
        known_name, known_version = divmod(_MAGIC, 256)
        if name == known_name and version > known_version:
            self.words.release()
            said = f"page version {known_version} or older, not {version}: a newer fsstore wrote this"
            raise file_headers.refused(self._path, file_headers.NewerFormatError(said))

    def belongs(self) -> bool:
        """Whether this is this store's page, made by a recovery that came to its end."""
        words = self.words
        return (words[0], words[1], words[2]) == (_MAGIC, *self._store)

    def whole(self) -> bool:
        """Whether this is this store's page and every mark in it agrees with its complement."""
        words = self.words
        if not self.belongs():
            return False
        # A mark that another process is just moving disagrees with its complement for a moment.
        self._disk.lock(self._handle)
        try:
            return all(words[pair] == _MASK - words[pair + 1] for pair in _PAIRS)
        finally:
            self._disk.unlock(self._handle)

    def lower_bound(self, mark: int) -> int:
        """The smaller of a mark's two copies: never beyond the truth. 0 when this is no page of this store."""
        words = self.words
        if not self.belongs():
            return 0
        return min(words[mark], _MASK - words[mark + 1])

    def forget(self, mark: int) -> None:
        """The device has no value of the mark when this returns, so that it can be set to a lower one.

        Words reach the device one by one: after a power cut the old value, whole on its own, would be believed.
        """
        if self.words[mark] or self.words[mark + 1]:
            self.words[mark] = self.words[mark + 1] = 0
            self.flush()

    def reset(self, *, epoch: int, tail: int, folded: int, next_token: int, erase: int, fold_begun: int) -> None:
        """A new page after recovery: everything up to `tail` is flushed and visible."""
        self.words[0] = 0
        for mark, value in (
            (EPOCH, epoch),
            (FOLDED, folded),  # before what is visible: a reader that looks in between finds no gap
            (TAIL, tail),
            (SYNCED, tail),
            (VISIBLE, tail),
            (NEXT_TOKEN, next_token),
            (FAILED, 0),
            (CLEAN, 0),
            (ERASE, erase),
            (BEGUN, tail),
            (FOLD_BEGUN, fold_begun),
            (JOINED, 0),
        ):
            self.set(mark, value)
        self.words[1], self.words[2] = self._store
        self.words[0] = _MAGIC

    def join(self, *, first: bool) -> None:
        """Note that a process takes part from now on, the first since the page was made anew or a later one.

        For the holder of the write lock.
        """
        number = self.get(JOINED) + 1
        self.set(JOINED, number)
        self._joined_first = number if first else 0

    def is_alone(self) -> bool:
        """Whether no other process ever joined this one, which was the first. True for as long as the caller holds
        the write lock."""
        return self.words[JOINED] == self._joined_first

    def next_epoch(self) -> int:
        """Another epoch than this page had, also where nothing else in it is believed: readers go by it."""
        return (self.words[EPOCH] + 1) & _MASK

    def void(self) -> None:
        """Nobody believes the page from now on, until recovery makes it anew; on the device when this returns."""
        self.words[0] = 0
        self.flush()

    def get(self, mark: int) -> int:
        return self.words[mark]

    def set(self, mark: int, value: int) -> None:
        self.words[mark] = value
        self.words[mark + 1] = _MASK - value

    def advance(self, values: dict[int, int]) -> None:
        """Move marks up to `values`, never back, whatever other processes do at the same time."""
        for mark, value in values.items():
            if self.words[mark] < value:
                break
        else:
            return
        with self._moving:
            try:
                self._disk.lock(self._handle)
                self._raise(values)
            except OSError as error:
                raise StorageUnavailableError(
                    f"{self._path} cannot be locked ({error}): whether this commit is stored is in doubt; close the "
                    "store in every process, open it again, then commit the same attempt again",
                    in_doubt=True,
                ) from error
            finally:
                try:
                    self._disk.unlock(self._handle)
                except BaseException:
                    self._disk.unlock(self._handle)  # this thread was interrupted before it was
                    raise

    def advance_alone(self, values: dict[int, int]) -> None:
        """The same, for who holds the write lock and is alone: only threads of this process move marks."""
        with self._moving:
            self._raise(values)

    def _raise(self, values: dict[int, int]) -> None:
        words = self.words
        for mark, value in values.items():
            if words[mark] < value:
                words[mark] = value
                words[mark + 1] = _MASK - value

    def mend(self) -> None:
        """Make every mark agree with its complement: one that a killed process had moved by half. For who is alone."""
        for mark in _PAIRS:
            self.set(mark, self.words[mark])

    def flush(self) -> None:
        """The page is on the device when this returns."""
        self._disk.flush(self._handle)

    def close(self) -> None:
        self.words.release()
        self._disk.close(self._handle)
