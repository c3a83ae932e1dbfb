"""A server that a test starts for itself: a private directory, a free loopback port, ended by its process id.

Nothing here knows which server it is; a module beside this one for each of them does.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

HOST = "127.0.0.1"


class ServerStartError(RuntimeError):
    """The server is installed and did not come up; the message holds the end of what it printed."""


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as one:
        one.bind((HOST, 0))
        return int(one.getsockname()[1])


def find(*names: str, also_in: Sequence[str] = ()) -> str | None:
    """The first of these programs that is installed, on the PATH or in one of the directories."""
    for name in names:
        for path in (None, os.pathsep.join(also_in)):
            found = shutil.which(name, path=path) if path is None or path else None
            if found:
                return found
    return None


def listens(port: int) -> bool:
    """Whether somebody accepts connections on `port`."""
    with contextlib.suppress(OSError), socket.create_connection((HOST, port), timeout=1):
        return True
    return False


def memory() -> Path | None:
    """A file system in memory with room for a server's files: on a disk, making them takes longer than most tests."""
    mounted = Path("/dev/shm")
    return mounted if mounted.is_dir() and shutil.disk_usage(mounted).free > 1 << 30 else None


@contextmanager
def private_directory(name: str, user: str | None = None, *, in_memory: bool = False) -> Iterator[Path]:
    """A directory for a server's files, of that user where root starts it; gone afterwards."""
    directory = Path(tempfile.mkdtemp(prefix=f"fsstore-{name}-", dir=memory() if in_memory else None))
    try:
        if user is not None and os.geteuid() == 0:
            shutil.chown(directory, user, user)
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def given_or_private(variable: str, private: Callable[[], AbstractContextManager[tuple[Server, str]]]) -> Iterator[str]:
    """The URL of the server that the environment names, or else of a private one that is up."""
    given = os.environ.get(variable)
    if given:
        yield given
        return
    with private() as (_, url):
        yield url


class Server:
    """One process of a server, which can be stopped, killed and started again on the same port and data."""

    def __init__(
        self,
        command: Sequence[str],
        port: int,
        log: Path,
        *,
        ready: Callable[[], bool] | None = None,
        user: str | None = None,
        environment: Mapping[str, str] | None = None,
        start_seconds: float = 60.0,
        asked_by: signal.Signals = signal.SIGTERM,
    ) -> None:
        self.port = port
        self._command = list(command)
        self._log = log
        self._ready = ready or (lambda: listens(port))
        user = user if os.geteuid() == 0 else None
        self._surroundings: dict[str, Any] = {
            "env": {**os.environ, **(environment or {})},
            "user": user,
            "group": user,
            "extra_groups": [] if user else None,
            "cwd": log.parent,
        }
        self._start_seconds = start_seconds
        self._asked_by = asked_by
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None, "the server was not started"
        return self._process.pid

    def start(self) -> None:
        """Start it and wait until it is ready; `ServerStartError` when it is not in time."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                **self._surroundings,
            )
        deadline = time.monotonic() + self._start_seconds
        while not self._ready():
            ended = self._process.poll()
            if ended is not None or time.monotonic() > deadline:
                self.kill()
                what = f"was not ready within {self._start_seconds:g} s" if ended is None else f"ended with {ended}"
                printed = self._log.read_text(errors="replace")[-2000:] or "(nothing)"
                raise ServerStartError(f"{self._command[0]} {what}; it printed:\n{printed}")
            time.sleep(0.05)

    def run(self, command: Sequence[str]) -> None:
        """Another program, to its end, as the server's user and with its environment."""
        subprocess.run(command, check=True, capture_output=True, **self._surroundings)

    def kill(self) -> None:
        """SIGKILL, to the server and what it started."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Ask it to end; kill it when it does not within ten seconds."""
        self._end(self._asked_by)

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        # PostgreSQL's backends lead process groups of their own: a killed server takes them along.
        children = _children(process.pid) if how is signal.SIGKILL else []
        for one in (how, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, one)
            for child in children:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
            try:
                process.wait(10)
                return
            except subprocess.TimeoutExpired:
                continue


def _children(pid: int) -> list[int]:
    """The processes that `pid` started itself."""
    found = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in found.read_text().split()] if found.exists() else []
