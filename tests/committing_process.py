"""A process that commits to a file store until its time is up, and says on stdout what was acknowledged.

Run as `python committing_process.py STORE SECONDS STREAMS SEED`. One line a commit, written with a single
unbuffered `write` after the commit returned, so that a line that is there is an acknowledgement even when the
process is killed right after it.
"""

from __future__ import annotations

import os
import random
import sys
import time
import uuid
from datetime import UTC, datetime

from fsstore import CommitAttempt, ConcurrencyError, EventMessage
from fsstore.engines.file import FileEngine


def main(store: str, seconds: float, streams: int, seed: int) -> None:
    engine = FileEngine(store, journal_bytes=256 << 10, fold_bytes=128 << 10)
    engine.initialize()
    chance = random.Random(seed)
    heads: dict[str, tuple[int, int]] = {}
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        stream_id = f"stream {chance.randrange(streams)}"
        sequence, revision = heads.get(stream_id, (0, 0))
        events = [EventMessage({"by": seed, "n": n}) for n in range(chance.randint(1, 3))]
        attempt = CommitAttempt(
            stream_id, revision + len(events), uuid.uuid4(), sequence + 1, datetime.now(UTC), {}, events
        )
        try:
            commit = engine.commit(attempt)
        except ConcurrencyError:
            for commit in engine.get_from("default", stream_id, revision):
                heads[stream_id] = (commit.commit_sequence, commit.stream_revision)
            continue
        heads[stream_id] = (commit.commit_sequence, commit.stream_revision)
        line = f"{commit.checkpoint_token} {commit.commit_id} {commit.commit_sequence} {stream_id}\n"
        os.write(1, line.encode())
    engine.close()


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
