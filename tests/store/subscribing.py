"""Streams for subscriptions, and what one of them gives."""

from __future__ import annotations

from fsstore import Commit, EventStore
from fsstore.dispatch.filters import partition_of
from fsstore.testing import fill, first_attempt

Places = list[tuple[str, int]]
"""A stream's id and the commit's number in it, for each commit."""


def tokens(commits: object) -> list[int]:
    return [commit.checkpoint_token for commit in commits]  # type: ignore[attr-defined]


def caught_up(store: EventStore, name: str, **options: object) -> list[int]:
    """What is there for that name now, acknowledged."""
    with store.subscribe(name, timeout_seconds=0, **options) as subscription:
        return tokens(subscription)


def acknowledged_by_hand(store: EventStore, name: str, **options: object) -> list[int]:
    """The same, each acknowledged by itself."""
    taken = []
    with store.subscribe(name, auto_acknowledge=False, timeout_seconds=0, **options) as subscription:
        for commit in subscription:
            taken.append(commit.checkpoint_token)
            subscription.acknowledge(commit)
    return taken


def filled(store: EventStore, streams: int, each: int) -> Places:
    """Commits the streams one after another; the places of the commits, stream by stream."""
    for number in range(streams):
        fill(store.advanced, f"s{number}", commits=each, events=1, at_once=each)
    return [(f"s{number}", sequence) for number in range(streams) for sequence in range(1, each + 1)]


def last_in(partition: int, *, partitions: int) -> str:
    """A new stream's id in that partition."""
    names = (f"last{number}" for number in range(1_000))
    return next(name for name in names if partition_of(Commit.of(first_attempt(name), 1), partitions) == partition)
