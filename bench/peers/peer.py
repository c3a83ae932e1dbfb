"""What is asked of every contender. Encoding and decoding into objects happen inside of these calls."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from bench.work import Event
from fsstore.model import CommitAttempt


class Peer(Protocol):
    """One open store. Made anew on a `place` that has one, it opens that."""

    def __init__(self, place: Path, /, **tuning: Any) -> None: ...

    def commit(self, attempts: Sequence[CommitAttempt]) -> None:
        """One durable step: on the device when this returns. Checks sequence and commit id as the contender does."""
        ...

    def settle(self) -> None:
        """Bring what was committed into its final place: fold, checkpoint, flush memtables."""
        ...

    def load(self, stream_id: str) -> list[Any]:
        """One stream's commits or events as objects, oldest first."""
        ...

    def read_all(self) -> Iterable[Any]:
        """Everything in the order of the whole store, as objects."""
        ...

    def events(self, found: Iterable[Any]) -> Iterator[Event]:
        """What `load` or `read_all` gave, for the checksum; outside of the clock."""
        ...

    def close(self) -> None: ...
