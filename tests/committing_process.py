"""A process that commits to the same few streams as others do until its time is up, and says what was acknowledged.

Run as `python committing_process.py STORE SECONDS STREAMS SEED`, STORE a path or a URL. One line a commit, written with
a single unbuffered `write` after the commit returned, so that a line that is there is an acknowledgement even when the
process is killed right after it. A conflict that was none ends it with an error: whoever is told that another was first
must find that other's commit.
"""

from __future__ import annotations

import os
import random
import sys
import time
import uuid
from datetime import UTC, datetime

from fsstore import CommitAttempt, ConcurrencyError, EventMessage
from fsstore.engines import engine_for


def main(store: str, seconds: float, streams: int, seed: int) -> None:
    small_files = {} if "://" in store else {"journal_bytes": 256 << 10, "fold_bytes": 128 << 10}
    engine = engine_for(store, **small_files)
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
            commits = [engine.commit(attempt)]
        except ConcurrencyError:
            commits = list(engine.get_from("default", stream_id, revision + 1))
            assert commits, f"told of a conflict at revision {revision + 1} of {stream_id}, where nobody was first"
        else:
            line = f"{commits[0].checkpoint_token} {attempt.commit_id} {attempt.commit_sequence} {stream_id}\n"
            os.write(1, line.encode())
        heads[stream_id] = (commits[-1].commit_sequence, commits[-1].stream_revision)
    engine.close()


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
