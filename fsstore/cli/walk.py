"""What the verbs find out by walking a store through its engine, whichever that is."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from fsstore.dispatch.following import head_token
from fsstore.engine import PersistenceEngine
from fsstore.model import Commit


@dataclass(slots=True)
class StreamTotals:
    """How far a stream has come."""

    bucket_id: str
    stream_id: str
    stream_revision: int = 0
    commits: int = 0
    checkpoint_token: int = 0
    commit_stamp: datetime | None = None


def totals(commits: Iterable[Commit]) -> dict[tuple[str, str], StreamTotals]:
    """The totals of every stream among `commits`, in the order of the streams' first commits."""
    streams: dict[tuple[str, str], StreamTotals] = {}
    for commit in commits:
        key = (commit.bucket_id, commit.stream_id)
        stream = streams.get(key)
        if stream is None:
            stream = streams[key] = StreamTotals(*key)
        stream.stream_revision = commit.stream_revision
        stream.commits += 1
        stream.checkpoint_token = commit.checkpoint_token
        stream.commit_stamp = commit.commit_stamp
    return streams


def last_commits(engine: PersistenceEngine, count: int, bucket_id: str | None = None) -> list[Commit]:
    """The last `count` commits in checkpoint order, without walking the whole store for them."""
    head = head_token(engine, bucket_id)
    reach = count
    while True:
        start = max(0, head - reach)
        last = deque(engine.get_from_checkpoint(start, head, bucket_id=bucket_id), maxlen=count)
        if len(last) == count or not start:
            return list(last)
        reach *= 4
