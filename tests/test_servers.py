"""The table of engines says what ran, what was skipped and why, and never looks better than it is."""

from __future__ import annotations

import pytest
import servers


def report(engine: str, outcome: str, reason: str = "", **properties: str) -> tuple[str, pytest.TestReport]:
    longrepr = ("file.py", 1, f"Skipped: {reason}") if outcome == "skipped" else None
    return outcome, pytest.TestReport(
        nodeid=f"tests/test_conformance_{engine}.py::TestIt::test_it",
        location=("", 0, ""),
        keywords={},
        outcome=outcome,  # type: ignore[arg-type]
        longrepr=longrepr,
        when="call",
        user_properties=list(properties.items()),
    )


def test_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "ENGINES", {"memory": "none needed", "file": "none needed", "sql": "", "mongo": ""})
    table = servers.rows(
        [
            report("memory", "passed"),
            report("memory", "passed"),
            report("memory", "skipped", "not durable"),
            report("memory", "failed"),
            report("sql", "passed", server="PostgreSQL 16"),
            report("mongo", "skipped", "no mongod"),
            report("other", "passed"),
        ]
    )
    assert servers.lines(table) == [
        "engine  server         tests",
        "memory  none needed    3 ran, 1 failed, 1 skipped: not durable",
        "file    none needed    not selected",
        "sql     PostgreSQL 16  1 ran",
        "mongo   -              skipped: no mongod",
    ]
