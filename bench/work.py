"""The commits that every contender stores, and the checksum that proves it gave them back.

Deterministic: two runs store the same bytes. A record of two events has about 500 bytes in fsstore's journal. No
contender is known here.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID
from zlib import crc32

from fsstore.model import Commit, CommitAttempt, EventMessage

EVENTS = 2
_START = datetime(2026, 1, 1, tzinfo=UTC)

Event = tuple[str, int, dict[str, Any]]
"""What is compared: stream id, revision, body."""


def attempts(prefix: str, streams: int, commits_each: int, *, events: int = EVENTS) -> Iterator[CommitAttempt]:
    """`commits_each` commits on each of `streams` streams, the streams in turn."""
    chance = random.Random(f"{prefix} {streams} {commits_each}")
    number = 0
    for sequence in range(1, commits_each + 1):
        for stream in range(streams):
            number += 1
            yield CommitAttempt(
                stream_id=f"{prefix}-{stream:07}",
                stream_revision=events * sequence,
                commit_id=UUID(int=chance.getrandbits(128) | 1),
                commit_sequence=sequence,
                commit_stamp=_START + timedelta(milliseconds=number),
                headers={"correlation_id": f"{chance.getrandbits(64):016x}"},
                events=tuple(
                    EventMessage({"type": "ItemAdded", "sku": f"SKU-{number:08}", "quantity": part, "note": "x" * 90})
                    for part in range(events)
                ),
            )


def batches(made: Iterable[CommitAttempt], size: int) -> list[list[CommitAttempt]]:
    """The attempts in lists of `size`."""
    all_of_them = list(made)
    return [all_of_them[first : first + size] for first in range(0, len(all_of_them), size)]


def events_of(commits: Iterable[Commit | CommitAttempt]) -> Iterator[Event]:
    """Every event with its stream and revision."""
    for commit in commits:
        first = commit.stream_revision - len(commit.events) + 1
        for number, event in enumerate(commit.events):
            yield commit.stream_id, first + number, event.body


def checksum(events: Iterable[Event]) -> tuple[int, int]:
    """How many events, and a sum over their content that does not depend on their order."""
    count = total = 0
    for stream_id, revision, body in events:
        count += 1
        total += crc32(f"{stream_id} {revision} {sorted(body.items())}".encode())
    return count, total


class WrongAnswerError(Exception):
    """A contender lost something, or made something up: its figures mean nothing."""


def prove(what: str, found: Iterable[Event], stored: Sequence[CommitAttempt]) -> None:
    """Raise unless the events found are exactly those of the attempts."""
    got, expected = checksum(found), checksum(events_of(stored))
    if got != expected:
        raise WrongAnswerError(f"{what}: events and checksum are {got}, not {expected}")
