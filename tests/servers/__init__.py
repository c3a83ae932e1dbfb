"""Which engines and buses are tested, against which server, and what came of it: the table at the end of a run.

The tests of an engine are in `conformance/test_conformance_<engine>.py`, those of a bus in `buses/test_<bus>.py`. Where
a server is needed, its fixture records the one that was found:
`record_property("server", "PostgreSQL 16.3 on 127.0.0.1:5433")`.
Tests that could not run for want of a server are skipped with the reason, which the table repeats.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import pytest

ENGINES = {
    "memory": "none needed",
    "file": "none needed",
    "sqlite": "none needed",
    "postgresql": "",
    "mariadb": "",
    "mssql": "",
    "oracle": "",
    "mongodb": "",
    "memory_asyncio": "none needed",
    "file_asyncio": "none needed",
    "sqlite_asyncio": "none needed",
    "postgresql_asyncio": "",
    "mariadb_asyncio": "",
    "mongodb_asyncio": "",
    "rabbitmq": "RabbitMQ, private",
    "nats": "NATS JetStream, private",
    "redis": "Redis, private",
    "mqtt": "Mosquitto, private",
    "kafka": "Tansu, private, in memory",
}
"""Engine or bus to server; "" where the server is whatever the tests record."""

_FILE = re.compile(r"(?:test_conformance_|buses/test_)(\w+)\.py::")


@dataclass
class Row:
    """What became of one engine's tests."""

    server: str
    outcomes: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)

    def text(self) -> str:
        """`212 ran`, `skipped: no server`, `210 ran, 2 failed, 3 skipped: …`, or that nothing was tried."""
        ran = self.outcomes["passed"] + self.outcomes["failed"]
        words = [f"{ran} ran"] if ran else []
        if self.outcomes["failed"]:
            words.append(f"{self.outcomes['failed']} failed")
        if self.outcomes["error"]:
            words.append(f"{self.outcomes['error']} could not start")
        if self.outcomes["skipped"]:
            reason = self.reasons.most_common(1)[0][0]
            words.append(f"{self.outcomes['skipped']} skipped: {reason}" if ran else f"skipped: {reason}")
        return ", ".join(words) or "not selected"


def rows(reports: Iterable[tuple[str, pytest.TestReport | pytest.CollectReport]]) -> dict[str, Row]:
    """The table's rows by engine, from pytest's reports with their categories."""
    table = {engine: Row(server) for engine, server in ENGINES.items()}
    for outcome, report in reports:
        found = _FILE.search(report.nodeid + "::")
        if found is None or found[1] not in table or outcome not in ("passed", "failed", "error", "skipped"):
            continue
        row = table[found[1]]
        row.outcomes[outcome] += 1
        if outcome == "skipped" and isinstance(report.longrepr, tuple):
            row.reasons[report.longrepr[2].removeprefix("Skipped: ")] += 1
        row.server = dict(getattr(report, "user_properties", ())).get("server", row.server)
    return table


def lines(table: dict[str, Row]) -> list[str]:
    """The table as text, a line each."""
    cells = [("engine", "server", "tests"), *((name, row.server or "-", row.text()) for name, row in table.items())]
    widths = [max(len(cell[column]) for cell in cells) for column in range(2)]
    return [f"{name:<{widths[0]}}  {server:<{widths[1]}}  {text}" for name, server, text in cells]
