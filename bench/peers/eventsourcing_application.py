"""The eventsourcing library as its users know it: an application that saves aggregates, in an SQLite file.

Its unit of work is an aggregate in memory, so this contender keeps each one between the commits to it, as an
application with a cache would; loading rebuilds the aggregate from its events.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

from eventsourcing.application import Application as _Application
from eventsourcing.domain import Aggregate, event

from bench.peers.eventsourcing_recorder import originator
from bench.work import Event
from fsstore.model import CommitAttempt


class Basket(Aggregate):
    """Keeps what was added to it."""

    @event("Opened")
    def __init__(self, id: UUID, stream: str) -> None:
        self._id = id
        self.stream = stream
        self.items: list[dict[str, Any]] = []

    @event("ItemAdded")
    def add(self, item: dict[str, Any], correlation_id: str) -> None:
        self.items.append(item)

    @classmethod
    def create_id(cls, id: UUID, stream: str) -> UUID:
        return id


class Application:
    """The first commit of a stream also stores the event that the basket was opened."""

    def __init__(self, place: Path, **_: Any) -> None:
        env = {
            "PERSISTENCE_MODULE": "eventsourcing.sqlite",
            "SQLITE_DBNAME": str(place / "bench.eventsourcing-app.db"),
        }
        self._application: _Application[UUID] = _Application(env)
        self._baskets: dict[str, Basket] = {}

    def commit(self, attempts: Sequence[CommitAttempt]) -> None:
        changed = []
        for attempt in attempts:
            basket = self._baskets.get(attempt.stream_id)
            if basket is None:
                basket = Basket(id=originator(attempt.stream_id), stream=attempt.stream_id)
                self._baskets[attempt.stream_id] = basket
            for each in attempt.events:
                basket.add(item=each.body, correlation_id=attempt.headers["correlation_id"])
            changed.append(basket)
        self._application.save(*changed)

    def settle(self) -> None:
        """The library offers nothing to call."""

    def load(self, stream_id: str) -> list[Basket]:
        return [self._application.repository.get(originator(stream_id))]

    def read_all(self) -> Iterable[Basket]:
        for stream_id in self._baskets:
            yield from self.load(stream_id)

    def events(self, found: Iterable[Basket]) -> Iterator[Event]:
        for basket in found:
            for number, item in enumerate(basket.items, 1):
                yield basket.stream, number, item

    def close(self) -> None:
        self._application.close()
