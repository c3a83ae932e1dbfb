"""The store as a verification sees it: its marks, its journal and both indexes, while others go on writing to it.

Every look is taken under the fold lock and holds until the next one. It opens and follows; it must not judge: what
is damage is for the parts of `verify` to say, and what is done about it for `repair`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import AbstractContextManager

from fsstore.engines.file.disk.disk import Disk
from fsstore.engines.file.files import layout
from fsstore.engines.file.files.handles import locked_if_there
from fsstore.engines.file.formats import format
from fsstore.engines.file.log.scan import survey
from fsstore.engines.file.processes.control import EPOCH, FOLDED, NEXT_TOKEN, SYNCED, VISIBLE, Control
from fsstore.engines.file.processes.locks import at_rest
from fsstore.engines.file.state import recovery
from fsstore.engines.file.streams.commits_index import CommitsIndex
from fsstore.engines.file.streams.heads import Heads
from fsstore.engines.file.streams.index_file import StaleIndexError
from fsstore.engines.file.streams.indexes import Indexes
from fsstore.engines.file.verify.unfolded import Unfolded


class Look:
    """While it is open, `journal`, `folded`, `unfolded`, `heads` and `commits` are as the last look found them.

    With `alone` the caller has the store to itself, and no lock is taken.
    """

    def __init__(self, disk: Disk, path: str, meta: layout.Meta, *, alone: bool) -> None:
        self.files = layout.StoreFiles(disk, path, meta.seed)
        self.disk = disk
        self.path = path
        self.seed = meta.seed
        self._meta = meta
        self._alone = alone
        self.fold_mark = -1
        self.heads: Heads | None = None
        self.commits: CommitsIndex | None = None

    def __enter__(self) -> Look:
        self.page: Control | None = None
        try:
            with self._held(layout.WRITE_LOCK):
                with contextlib.suppress(FileNotFoundError):
                    self.page = Control(self.disk, f"{self.path}/{layout.CONTROL}", self._meta.store_id, write=False)
                page = self.page
                self._live = (
                    page is not None and page.belongs() and not self._alone and not at_rest(self.disk, self.path)
                )
                # Beside writers a mark may disagree with its complement, since one was killed; the next moves it again.
                self.trusted = page is not None and (self._live or page.whole())
                self._epoch = self.page.get(EPOCH) if self.page is not None else 0
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for part in (self.heads, self.commits, self.page):
            if part is not None:
                part.close()

    def _held(self, name: str) -> AbstractContextManager[None]:
        return contextlib.nullcontext() if self._alone else locked_if_there(self.disk, f"{self.path}/{name}")

    @contextlib.contextmanager
    def folding_stopped(self) -> Iterator[None]:
        """Folded files and indexes stand still in here; findings are handed out outside of it only."""
        with self._held(layout.FOLD_LOCK):
            self._refresh()
            yield

    def _refresh(self) -> None:
        """See how far folding came since the last look, and what is unfolded now."""
        page = self.page
        if page is not None and not self._live and page.get(EPOCH) != self._epoch and page.belongs():
            self._live = self.trusted = True
        # Marks are moved while they are read here; the lower bound of one is where it stands or just stood.
        fold_mark = page.lower_bound(FOLDED) if page is not None and self.trusted else 0
        if fold_mark != self.fold_mark:
            self._visible = page.lower_bound(VISIBLE) if page is not None else 0
            self.journal = survey(self.disk, f"{self.path}/{layout.JOURNAL}", self.seed)
            self.fold_mark = fold_mark
            known = self.journal.file_at(fold_mark) is not None or fold_mark == self.journal.end
            self.folded = fold_mark if known and fold_mark >= self.journal.start else self.journal.start
            self.unfolded = Unfolded(self.journal, self.folded)
        if self.heads is not None:
            self.heads.refresh()
        if self.commits is not None:
            self.commits.refresh()

    def open_indexes(self) -> list[str]:
        """Open both indexes; the names of those that cannot be used."""
        unusable = []
        heads = Heads(self.files, write=False)
        try:
            heads.open(at_least_folded=self.folded)
            self.heads = heads
        except StaleIndexError:
            unusable.append(layout.HEADS_INDEX)
        commits = CommitsIndex(self.files, write=False)
        try:
            commits.open(at_least_folded=self.folded)
            self.commits = commits
        except StaleIndexError:
            unusable.append(layout.COMMITS_INDEX)
        return unusable

    # ---- what follows from it ----

    def folding_reached(self) -> tuple[int, int]:
        """How far folding came, as far as anything says, and the next checkpoint then: 0 where no index knows it."""
        with contextlib.closing(Indexes(self.files, write=False)) as indexes:
            reached = recovery.folding_reached(self.page, indexes)
            both = (indexes.heads, indexes.commits)
            return reached, next((one.next_token for one in both if one.folded == reached), 0)

    def acknowledged(self) -> int:
        """Up to where the journal was surely acknowledged."""
        if self._live:
            return self._visible
        synced = self.page.lower_bound(SYNCED) if self.page is not None else 0
        return max(synced, self.journal.named)

    def next_token(self) -> int:
        """The next checkpoint token; 0 when only the control page would know."""
        token = self.page.lower_bound(NEXT_TOKEN) if self.page is not None and self.trusted else 0
        return token if token <= format.MAX_TOKEN else 0

    def in_journal(self, position: int) -> bool:
        """Whether the log still has a whole record at that position, to be folded."""
        return position >= self.folded and self.unfolded.has(position)

    def unfolded_sequence(self, key: bytes) -> int:
        """The sequence of the stream's first unfolded commit; 0 when there is none."""
        first = self.unfolded.first(key, format.COMMIT)
        return first.sequence if first is not None else 0
