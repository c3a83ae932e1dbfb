"""The process that the demonstration kills: `python -m fsstore.demo.writer STORE`.

It imports the sample, and for each commit prints a line with its id once, and only once, it is durable.
"""

from __future__ import annotations

import sys

from fsstore.demo.sample import history
from fsstore.engines import engine_for
from fsstore.importing import import_commits

BATCH_COMMITS = 8


def main(store: str) -> None:
    """Import the sample into `store`, acknowledging each commit on standard output."""
    engine = engine_for(store)
    engine.initialize()
    for batch in import_commits(engine, history(), batch_commits=BATCH_COMMITS):
        for commit in batch.stored:
            print(commit.commit_id)
        sys.stdout.flush()
    engine.close()


if __name__ == "__main__":
    main(sys.argv[1])
