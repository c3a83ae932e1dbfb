"""Eight writers at once, each on streams of its own: threads of one process, and processes.

Every worker commits one by one for the same time; the rate counts all of them, the share compares the slowest with
the fastest. Workers that are processes are started first, and let go together.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from bench.case import Case, Clock, Figures, fresh, processor_figure, worker_command
from bench.peers import peer
from bench.peers.peer import Peer
from bench.work import attempts, prove
from fsstore.model import CommitAttempt

WORKERS = 8
_UNITS = {"durable": "commits/s", "fairness": "share", "processor": "µs"}
_SECONDS = 1.5
_STREAMS = 16
_MOST_PER_SECOND = 8_000


def part(worker: int, seconds: float) -> list[CommitAttempt]:
    """More than a worker can commit in that time."""
    return list(attempts(f"w{worker}", _STREAMS, max(1, int(seconds * _MOST_PER_SECOND) // _STREAMS)))


def commit_for(store: Peer, seconds: float, made: list[CommitAttempt]) -> tuple[int, float]:
    """Commit one by one until the time is over; how many there were, and how long it took."""
    clock = Clock()
    count = 0
    for attempt in made:
        store.commit((attempt,))
        count += 1
        if clock.seconds() >= seconds:
            break
    return count, clock.seconds()


class Threads(Case):
    """One store, shared."""

    name = "threads"
    title = "8 threads, single commits"
    units: Mapping[str, str] = _UNITS
    contenders: tuple[str, ...] = ("fsstore", "sqlite", "lmdb", "rocksdb", "umadb")
    rounds = 3

    def prepare(self, directory: Path, scale: int) -> None:
        self._directory = directory
        self._seconds = _SECONDS / min(scale, 20)
        self._parts = [part(number, self._seconds) for number in range(WORKERS)]

    def measure(self, contender: str) -> Figures:
        with fresh(self._directory) as place:
            store = peer(contender)(place)
            try:
                clock = Clock()
                done = self._run(store)
                processor = processor_figure(contender, clock.processor_seconds(), sum(count for count, _ in done))
                stored = [one for made, (count, _) in zip(self._parts, done, strict=True) for one in made[:count]]
                prove(f"{contender} after {self.name}", store.events(store.read_all()), stored)
            finally:
                store.close()
        return _figures(done) | processor

    def _run(self, store: Peer) -> list[tuple[int, float]]:
        done: dict[int, tuple[int, float]] = {}
        together = threading.Barrier(WORKERS)

        def run(number: int) -> None:
            together.wait()
            done[number] = commit_for(store, self._seconds, self._parts[number])

        _together(WORKERS, run)
        if len(done) < WORKERS:
            raise RuntimeError("a thread failed; its error is above")
        return [done[number] for number in range(WORKERS)]


def _together(count: int, work: Callable[[int], None]) -> None:
    running = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()


def _figures(done: list[tuple[int, float]]) -> Figures:
    rates = [count / seconds for count, seconds in done]
    return {"durable": sum(rates), "fairness": min(rates) / max(rates)}


class Processes(Case):
    """One store, opened by each."""

    name = "processes"
    title = "8 processes, single commits"
    units: Mapping[str, str] = _UNITS
    contenders: tuple[str, ...] = ("fsstore", "sqlite", "lmdb")
    rounds = 3

    def prepare(self, directory: Path, scale: int) -> None:
        self._directory = directory
        self._seconds = _SECONDS / min(scale, 20)
        self._workers = WORKERS if scale == 1 else 2

    def measure(self, contender: str) -> Figures:
        with fresh(self._directory) as place:
            peer(contender)(place).close()
            done, processor_seconds = self._run(contender, place)
            stored = [one for number, (count, _) in enumerate(done) for one in part(number, self._seconds)[:count]]
            store = peer(contender)(place)
            try:
                prove(f"{contender} after {self.name}", store.events(store.read_all()), stored)
            finally:
                store.close()
        return _figures(done) | processor_figure(contender, processor_seconds, len(stored))

    def _run(self, contender: str, place: Path) -> tuple[list[tuple[int, float]], float]:
        command = worker_command("concurrency", contender, place, self._seconds)
        workers = [
            subprocess.Popen([*command, str(number)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            for number in range(self._workers)
        ]
        try:
            for worker in workers:
                assert worker.stdout is not None
                if worker.stdout.readline().strip() != "ready":
                    raise RuntimeError(f"a process with {contender} did not start; its error is above")
            for worker in workers:
                assert worker.stdin is not None
                worker.stdin.write("go\n")
                worker.stdin.flush()
            done = [json.loads(worker.communicate(timeout=120)[0]) for worker in workers]
        finally:
            for worker in workers:
                if worker.poll() is None:
                    worker.kill()
                worker.communicate()
        return [(count, seconds) for count, seconds, _ in done], sum(processor for _, _, processor in done)


def work(contender: str, place: str, seconds: str, number: str) -> None:
    """One of the eight processes."""
    made = part(int(number), float(seconds))
    store = peer(contender)(Path(place))
    print("ready", flush=True)
    sys.stdin.readline()
    clock = Clock()
    count, took = commit_for(store, float(seconds), made)
    print(json.dumps([count, took, clock.processor_seconds()]), flush=True)
    store.close()


def cases() -> list[Case]:
    """Threads, processes."""
    return [Threads(), Processes()]
