"""The SQL engine against bare inserts on SQLite, PostgreSQL and MariaDB, each durable; run as a program, from the root:

    PYTHONPATH=tests python tests/sql/throughput.py [--commits 400] [--rounds 5]

Private servers that flush as they do by default, and an SQLite file beside them. What is compared, `bench/sql.py` says.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from servers import mariadb, postgresql

from bench.sql import measured


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--commits", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        measured(f"sqlite:///{Path(directory, 'store.db')}", options.commits, options.rounds)
    for server in (postgresql, mariadb):
        with server.private(fsync=True) as (_, url):
            measured(url, options.commits, options.rounds)


if __name__ == "__main__":
    main()
