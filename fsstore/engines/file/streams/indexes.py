"""Both indexes of a store, which cover the same and are opened, written, marked and closed together."""

from __future__ import annotations

from fsstore.engines.file.files.layout import StoreFiles
from fsstore.engines.file.streams.commits_index import CommitsIndex
from fsstore.engines.file.streams.heads import Heads


class Indexes:
    """The table of heads and the index of checkpoints. Each call is for both."""

    def __init__(self, files: StoreFiles, *, write: bool) -> None:
        self.heads = Heads(files, write=write)
        self.commits = CommitsIndex(files, write=write)

    def open(self, *, at_least_folded: int) -> None:
        """`StaleIndexError` unless both cover everything that was folded below that position."""
        self.heads.open(at_least_folded=at_least_folded)
        self.commits.open(at_least_folded=at_least_folded)

    def create(self) -> None:
        """Empty ones in place of any others."""
        self.heads.create()
        self.commits.create()

    def refresh(self) -> None:
        """See what another process wrote."""
        self.heads.refresh()
        self.commits.refresh()

    def mark_folded(self, position: int, next_token: int) -> None:
        """Note that they now cover everything folded below `position`."""
        self.heads.mark_folded(position, next_token)
        self.commits.mark_folded(position, next_token)

    def write_again(self) -> None:
        """Have the next flush take everything to the device, also what an earlier one that failed left behind."""
        self.heads.write_again()
        self.commits.write_again()

    def flush(self) -> None:
        self.heads.flush()
        self.commits.flush()

    def close(self) -> None:
        try:
            self.heads.close()
        finally:
            self.commits.close()
