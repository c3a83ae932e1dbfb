"""What all tests share: one database server of each kind for the whole run, and the table of engines at its end."""

from __future__ import annotations

import gc
import re
import signal
from collections.abc import Iterator
from contextlib import closing
from importlib import import_module
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import servers
from hypothesis import HealthCheck, settings

# Timings are nothing that a test asserts: the machine may be busy with something else.
settings.register_profile("busy machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy machine")


def pytest_collection_finish() -> None:
    """What is there now stays for the run: looking through it again and again would take a twelfth of the time."""
    gc.freeze()


_numbers = count()


@pytest.fixture
def tmp_path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As pytest makes it, which looks through the directories of all tests before for a number: 4 ms in the end."""
    name = re.sub(r"\W", "_", request.node.name)[:30]
    return tmp_path_factory.mktemp(f"{name}-{next(_numbers)}", numbered=False)


@pytest.fixture(autouse=True, scope="session")
def interruptible() -> None:
    """Some tests send SIGINT, which a shell has ignored by what it starts in the background."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


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


@pytest.fixture(scope="session")
def postgresql_databases() -> Iterator[Any]:
    """Databases on a PostgreSQL server, one for each test."""
    yield from _databases("postgresql")


@pytest.fixture(scope="session")
def mariadb_databases() -> Iterator[Any]:
    """Databases on a MariaDB server, one for each test."""
    yield from _databases("mariadb")


@pytest.fixture(scope="session")
def mongodb_server() -> Iterator[str]:
    """The URL of a MongoDB server, without a database."""
    with import_module("servers.mongodb").running() as url:
        yield url


def _databases(name: str) -> Iterator[Any]:
    pytest.importorskip("sqlalchemy", reason="pip install 'fsstore[sql]'")
    databases = import_module("servers.databases")
    server = import_module(f"servers.{name}")
    with server.running() as url, closing(databases.Databases(url, server.description(url))) as made:
        yield made
