"""What all tests share: the table of engines at the end of a run."""

from __future__ import annotations

import pytest
import servers


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print which engines were tested, so that a skipped one is seen."""
    reports = [
        (outcome, report)
        for outcome, found in terminalreporter.stats.items()
        for report in found
        if isinstance(report, pytest.TestReport | pytest.CollectReport)
    ]
    terminalreporter.section("engines")
    for line in servers.lines(servers.rows(reports)):
        terminalreporter.line(line)
