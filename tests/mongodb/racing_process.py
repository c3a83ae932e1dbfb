"""A process that wins a number of commits on one stream that others write to as well.

Run as `python racing_process.py URL STREAM COMMITS WHO`, who waits: "threads" or "tasks". One line for each commit that
was acknowledged.
"""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from uuid import uuid4

from fsstore import CommitAttempt, ConcurrencyError, EventMessage
from fsstore.engine import PersistenceEngine
from fsstore.engines import engine_for
from fsstore.engines.threaded import awaiting


def main(url: str, stream_id: str, commits: int, who: str) -> None:
    engine = engine_for(url) if who == "threads" else for_tasks(url)
    engine.initialize()
    sequence = 0
    while commits:
        attempt = CommitAttempt(
            stream_id, sequence + 1, uuid4(), sequence + 1, datetime.now(UTC), {}, (EventMessage({"by": os.getpid()}),)
        )
        try:
            stored = engine.commit(attempt)
        except ConcurrencyError:
            for commit in engine.get_from("default", stream_id, sequence + 1):
                sequence = commit.commit_sequence
            continue
        sequence = stored.commit_sequence
        commits -= 1
        os.write(1, f"{stored.checkpoint_token} {stored.commit_id} {sequence}\n".encode())
    engine.close()


def for_tasks(url: str) -> PersistenceEngine:
    from fsstore.testing import AwaitedEngine  # takes as long to import as everything else

    return AwaitedEngine(lambda: awaiting(engine_for(url)))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4])
