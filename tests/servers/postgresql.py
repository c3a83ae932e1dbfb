"""A PostgreSQL server for tests: the one that `FSSTORE_TEST_POSTGRESQL_URL` names, else a private one.

A private server has an own directory, a free loopback port and no password, and is gone afterwards. It does not run
as root, and flushes nothing.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from servers.process import HOST, Server, find, free_port, given_or_private, listens, private_directory

URL_VARIABLE = "FSSTORE_TEST_POSTGRESQL_URL"
INSTALL = "no PostgreSQL server: apt install postgresql, or set FSSTORE_TEST_POSTGRESQL_URL"
_PROGRAMS = sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin")), reverse=True)
_USER = "postgres"


def running() -> AbstractContextManager[str]:
    """The URL of a server that is up, with the database `postgres`."""
    return given_or_private(URL_VARIABLE, private)


@contextmanager
def private(*, fsync: bool = False) -> Iterator[tuple[Server, str]]:
    """A server of the test's own, up, which it may kill and start again; and its URL."""
    initdb, postgres = find("initdb", also_in=_PROGRAMS), find("postgres", also_in=_PROGRAMS)
    if initdb is None or postgres is None:
        pytest.skip(INSTALL)
    with private_directory("postgresql", _USER, in_memory=not fsync) as directory:
        data = directory / "data"
        subprocess.run(
            [initdb, "-D", data, "-A", "trust", "-U", _USER, "-E", "UTF8", "--locale=C", "--no-sync"],
            check=True,
            stdout=subprocess.DEVNULL,
            user=_USER if os.geteuid() == 0 else None,
            cwd=directory,
        )
        port = free_port()
        settings = {
            "port": port,
            "listen_addresses": HOST,
            "unix_socket_directories": directory,
            "fsync": "on" if fsync else "off",
            # Files of its directory: what is elsewhere a killed server leaves behind.
            "dynamic_shared_memory_type": "mmap",
        }
        flags = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        command = [postgres, "-D", str(data), *flags]
        # Asked by SIGTERM it waits for its clients to leave.
        server = Server(
            command, port, directory / "log", user=_USER, ready=lambda: _accepts(port), asked_by=signal.SIGINT
        )
        server.start()
        try:
            yield server, f"postgresql://{_USER}@{HOST}:{port}/postgres"
        finally:
            server.kill()


def _accepts(port: int) -> bool:
    """Whether it lets anybody in; while it recovers from a kill it listens, and does not."""
    program = find("pg_isready", also_in=_PROGRAMS)
    if program is None:
        return listens(port)
    return not subprocess.run([program, "--quiet", "-h", HOST, "-p", str(port)], check=False).returncode


def run_sql(url: str, script: bytes) -> None:
    """Run a script as `psql` does, a plain dump for instance."""
    psql = find("psql", also_in=_PROGRAMS)
    if psql is None:
        pytest.skip("no psql: apt install postgresql-client")
    command = [psql, "--quiet", "--no-psqlrc", "--set=ON_ERROR_STOP=1", url]
    subprocess.run(command, input=script, check=True, stdout=subprocess.DEVNULL)


def description(url: str) -> str:
    """For the table of engines."""
    return f"PostgreSQL at {url.rpartition('@')[2]}"
