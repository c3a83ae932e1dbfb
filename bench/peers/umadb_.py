"""UmaDB: its server in a process of its own, as its wheel brings it, and its client over a local socket.

A stream is a tag; that nobody else wrote to it is the append condition. The only contender with a process
between it and the disk: part of what is measured is gRPC.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgpack
import umadb

from bench.work import Event
from fsstore.model import CommitAttempt, EventMessage, stored_event

_SERVER = "from umadb.umadb_server_cli import main; main()"
Found = tuple[int, EventMessage]


class UmaDb:
    """One server on one file, with its defaults."""

    def __init__(self, place: Path, **_: Any) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            address = f"127.0.0.1:{free.getsockname()[1]}"
        arguments = [sys.executable, "-c", _SERVER, "--listen", address, "--db-path", str(place / "bench.umadb")]
        self._lock = threading.Lock()
        self._server = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            self._client = self._connect(address)
            self._head = self._client.head() or 0
        except BaseException:
            self._stop()
            raise

    def _connect(self, address: str) -> Any:
        deadline = time.monotonic() + 20
        while True:
            try:
                client = umadb.Client(f"http://{address}")
                client.head()
            except Exception:
                if time.monotonic() > deadline or self._server.poll() is not None:
                    raise
                time.sleep(0.02)
            else:
                return client

    def commit(self, attempts: Sequence[CommitAttempt]) -> None:
        events = []
        for attempt in attempts:
            tags = [attempt.stream_id]
            first = attempt.stream_revision - len(attempt.events) + 1
            for number, each in enumerate(attempt.events):
                headers = {**each.headers, **attempt.headers, "stream": attempt.stream_id}
                data = msgpack.packb([first + number, each.body, headers])
                events.append(umadb.Event(each.body["type"], data, tags))
        items = [umadb.QueryItem(tags=[stream]) for stream in {attempt.stream_id for attempt in attempts}]
        condition = umadb.AppendCondition(umadb.Query(items), self._head)
        position = self._client.append(events, condition)
        with self._lock:
            self._head = max(self._head, position)

    def settle(self) -> None:
        """Nothing to do."""

    def load(self, stream_id: str) -> list[Found]:
        return list(self._found(self._client.read(umadb.Query([umadb.QueryItem(tags=[stream_id])]))))

    def read_all(self) -> Iterable[Found]:
        return self._found(self._client.read())

    @staticmethod
    def _found(response: Any) -> Iterator[Found]:
        for each in response:
            revision, body, headers = msgpack.unpackb(each.event.data)
            yield revision, stored_event(body, headers)

    def events(self, found: Iterable[Found]) -> Iterator[Event]:
        for revision, event in found:
            yield event.headers["stream"], revision, event.body

    def close(self) -> None:
        self._client.close()
        self._stop()

    def _stop(self) -> None:
        self._server.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._server.wait(10)
        if self._server.poll() is None:
            self._server.kill()
            self._server.wait()
