"""fsstore's file engine, as a user gets it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from bench.work import Event, events_of
from fsstore.engines.file import FileEngine
from fsstore.model import Commit, CommitAttempt


class FsstoreFile:
    """`durability="commit"`, which is the default; `tuning` are the engine's options."""

    def __init__(self, place: Path, **tuning: Any) -> None:
        self._engine = FileEngine(place / "bench.store", **tuning)
        self._engine.initialize()

    def commit(self, attempts: Sequence[CommitAttempt]) -> None:
        if len(attempts) == 1:
            self._engine.commit(attempts[0])
        else:
            self._engine.commit_many(attempts)

    def settle(self) -> None:
        self._engine.fold()

    def load(self, stream_id: str) -> list[Commit]:
        return list(self._engine.get_from("default", stream_id))

    def read_all(self) -> Iterable[Commit]:
        return self._engine.get_from_checkpoint()

    def events(self, found: Iterable[Commit]) -> Iterator[Event]:
        return events_of(found)

    def close(self) -> None:
        self._engine.close()
