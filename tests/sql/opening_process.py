"""A process that opens a store, makes its tables where there are none, and stores one commit.

Run as `python opening_process.py URL STREAM`. It says `ready`, and begins when a line comes on stdin.
"""

from __future__ import annotations

import sys

from fsstore.engines import engine_for
from fsstore.testing.attempts import first_attempt


def main(url: str, stream_id: str) -> None:
    engine = engine_for(url)
    print("ready", flush=True)
    sys.stdin.readline()
    engine.initialize()
    engine.commit(first_attempt(stream_id))
    engine.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
