"""The SQL engine against bare SQLAlchemy inserts of the same rows, in alternating rounds.

    python -m bench.sql [--commits 400] [--rounds 5] URL…

Each URL is an empty database, such as `sqlite:////tmp/bench.db` or `postgresql://…`; fsstore's tables are made in it
and dropped at the end. Bare: a transaction with one INSERT of a ready row into the same table, on one connection, and
nothing else: no check of head or id, no token, no serializer. Two ways: one commit a transaction, and 100 in one.

The first round warms up and is not counted. After it PostgreSQL is asked to count its rows, as it would by itself
within a minute: until then it expects an empty table and reads all of it to find the commits that a batch follows.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from sqlalchemy import insert, text

from fsstore.engines.sql.dialects import WRITES
from fsstore.engines.sql.engine import SqlEngine
from fsstore.engines.sql.rows import Rows
from fsstore.engines.sql.tables import commits
from fsstore.model import CommitAttempt, EventMessage
from fsstore.serialization import MsgpackSerializer

BATCH, STREAMS = 100, 50


def attempts(count: int, name: str) -> list[CommitAttempt]:
    """Commits of two events, about 500 bytes, in streams that grow in turn."""
    events = tuple(EventMessage({"text": "x" * 200, "number": number}) for number in range(2))
    return [
        CommitAttempt(
            f"{name} {number % STREAMS}",
            2 * (number // STREAMS + 1),
            uuid4(),
            number // STREAMS + 1,
            datetime.now(UTC),
            {"by": "bench"},
            events,
        )
        for number in range(count)
    ]


def fsstore_seconds(engine: SqlEngine, batches: Sequence[Sequence[CommitAttempt]]) -> float:
    began = time.perf_counter()
    for batch in batches:
        engine.commit_many(batch)
    return time.perf_counter() - began


def bare_seconds(engine: SqlEngine, batches: Sequence[Sequence[CommitAttempt]], first: int) -> float:
    rows: Any = Rows(MsgpackSerializer())
    ready, token = [], first
    for batch in batches:
        ready.append([{**rows.row_of(attempt), "CheckpointNumber": token + n} for n, attempt in enumerate(batch)])
        token += len(batch)
    statement = insert(commits)
    writing = engine.sqlalchemy_engine.execution_options(**{WRITES: True})
    began = time.perf_counter()
    with writing.connect() as connection:
        for some in ready:
            with connection.begin():
                connection.execute(statement, some if len(some) > 1 else some[0])
    return time.perf_counter() - began


def measured(url: str, count: int, rounds: int) -> None:
    engine = SqlEngine(url)
    engine.initialize()
    numbers = iter(range(1, 1 << 30))
    try:
        for title, size in (("1 a transaction", 1), (f"{BATCH} a transaction", BATCH)):
            total = count if size == 1 else count * 10
            seconds: dict[str, list[float]] = {"fsstore": [], "bare": []}
            for number in range(rounds + 1):
                order: list[tuple[str, Callable[[Any], float]]] = [
                    ("fsstore", lambda some: fsstore_seconds(engine, some)),
                    ("bare", lambda some: bare_seconds(engine, some, next(numbers) * 1_000_000)),
                ]
                for name, run in order[:: 1 if number % 2 else -1]:
                    each = attempts(total, f"{name} {size} {number}")
                    took = run([each[start : start + size] for start in range(0, total, size)])
                    if number:
                        seconds[name].append(took)
                if not number and engine.database.name == "PostgreSQL":
                    with engine.sqlalchemy_engine.begin() as connection:
                        connection.execute(text("ANALYZE Commits"))
            rates = {name: total / statistics.median(values) for name, values in seconds.items()}
            print(
                f"{engine.sqlalchemy_engine.dialect.name:12} {title:20} fsstore {rates['fsstore']:9,.0f}/s   "
                f"bare {rates['bare']:9,.0f}/s   ratio {rates['fsstore'] / rates['bare']:.2f}"
            )
    finally:
        engine.drop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("urls", nargs="+", metavar="URL")
    parser.add_argument("--commits", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    for url in options.urls:
        measured(url, options.commits, options.rounds)


if __name__ == "__main__":
    main()
