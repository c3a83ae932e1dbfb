"""The table of engines says what ran, what was skipped and why, and never looks better than it is; so do servers."""

from __future__ import annotations

from pathlib import Path

import pytest
import servers
from servers.process import Server, ServerStartError, free_port


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


@pytest.mark.parametrize(
    ("script", "seconds", "what"),
    [
        ("echo no room; exit 3", 60, "ended with 3; it printed:\nno room"),
        ("exec sleep 60", 0.1, "was not ready within 0.1 s"),
    ],
)
def test_a_server_that_does_not_come_up_says_why(tmp_path: Path, script: str, seconds: float, what: str) -> None:
    server = Server(["sh", "-c", script], free_port(), tmp_path / "out", start_seconds=seconds)
    with pytest.raises(ServerStartError, match=what):
        server.start()
