"""A MariaDB or MySQL server for tests: the one that `FSSTORE_TEST_MYSQL_URL` names, else a private MariaDB.

A private server has an own directory, a free loopback port and no password, and is gone afterwards. It does not run
as root, and flushes little; its files are in memory where there is room, since it flushes every table that is made.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from servers.process import HOST, Server, find, free_port, given_or_private, private_directory

URL_VARIABLE = "FSSTORE_TEST_MYSQL_URL"
INSTALL = "no MariaDB server: apt install mariadb-server, or set FSSTORE_TEST_MYSQL_URL"
PROGRAMS = ["/usr/sbin", "/usr/bin"]
USER = "mysql"


def running() -> AbstractContextManager[str]:
    """The URL of a server that is up, with the database `test`."""
    return given_or_private(URL_VARIABLE, private)


@contextmanager
def private(*, fsync: bool = False) -> Iterator[tuple[Server, str]]:
    """A server of the test's own, up, which it may kill and start again; and its URL."""
    server_program = find("mariadbd", also_in=PROGRAMS)
    if server_program is None or _installer() is None:
        pytest.skip(INSTALL)
    with private_directory("mariadb", USER, in_memory=not fsync) as directory:
        install(directory / "data", USER)
        port = free_port()
        flags = [f"--{name}={value}" for name, value in settings(directory, port, fsync=fsync).items()]
        server = Server([server_program, "--no-defaults", *flags], port, directory / "log", user=USER)
        server.start()
        try:
            yield server, f"mysql://root@{HOST}:{port}/test"
        finally:
            server.kill()


def install(data: Path, user: str) -> None:
    """Make the directory with a server's first data; root has no password."""
    subprocess.run(
        [
            str(_installer()),
            "--no-defaults",
            f"--datadir={data}",
            "--auth-root-authentication-method=normal",
            *([f"--user={user}"] if os.geteuid() == 0 else []),
        ],
        check=True,
        stdout=subprocess.DEVNULL,
        cwd=data.parent,
    )


def settings(directory: Path, port: int, *, fsync: bool = False) -> dict[str, object]:
    """What every private server is told."""
    return {
        "datadir": directory / "data",
        "socket": directory / "socket",
        "pid-file": directory / "pid",
        "bind-address": HOST,
        "port": port,
        "innodb-buffer-pool-size": "32M",
        "innodb-flush-log-at-trx-commit": 1 if fsync else 0,
    }


def _installer() -> str | None:
    return find("mariadb-install-db", also_in=PROGRAMS)


def description(url: str) -> str:
    """For the table of engines."""
    return f"MariaDB at {url.rpartition('@')[2]}"
