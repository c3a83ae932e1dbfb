"""Delivery over several processes, measured: who is killed, how soon another goes on, how soon a commit arrives.

    python bench/delivery.py kill --seconds 30      four processes commit and deliver; the delivering one is killed
    python bench/delivery.py latency                commit in one process to a subscriber's callback in another
    python bench/delivery.py catch-up               a subscriber reads what is there
    python bench/delivery.py idle                   what a waiting subscriber costs

Each prints one JSON object; `kill` exits with 1 when a commit was not delivered or came out of order.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import select
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import fsstore
from fsstore import Commit, EventStore, Wireup
from fsstore.testing import first_attempt, next_attempt

SECONDS_PER_NS = 1e-9


def start(what: str, *arguments: object) -> subprocess.Popen[str]:
    """A process of this program in another role."""
    command = [sys.executable, __file__, what, *map(str, arguments)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def append(log: int, *fields: int) -> None:
    """One line in one unbuffered write, so that it is there even when the process is killed right after it."""
    os.write(log, (" ".join(map(str, fields)) + "\n").encode())


def read_log(path: Path) -> list[list[int]]:
    return [[int(field) for field in line.split()] for line in path.read_text().splitlines()]


# ---- kill ----


def work(where: Path, pause_seconds: float, durability: str) -> None:
    """Commit every now and then and deliver whenever it is our turn, until standard input ends; then drain."""
    log = os.open(where / "delivered.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def deliver(commit: Commit) -> None:
        append(log, commit.checkpoint_token, os.getpid(), time.monotonic_ns())

    wireup = Wireup.init().using_file_persistence(where / "store", durability=durability)
    wireup.using_asynchronous_dispatch_scheduler(deliver)
    with wireup.build() as store:
        last = store.commit(first_attempt(f"process {os.getpid()}"))
        while not select.select([sys.stdin], [], [], random.uniform(0.5, 1.5) * pause_seconds)[0]:
            assert last is not None
            last = store.commit(next_attempt(last))
        while next(store.advanced.get_undispatched_commits(), None) is not None:
            time.sleep(0.01)


def kill(
    where: Path, seconds: float, processes: int, every_seconds: float, pause_seconds: float, durability: str
) -> dict[str, Any]:
    """Kill whoever delivers, again and again, and put another in its place; then look at what was delivered."""
    log = where / "delivered.log"
    workers = {
        worker.pid: worker for worker in (start("work", where, pause_seconds, durability) for _ in range(processes))
    }
    killed: list[tuple[int, int]] = []
    _wait(lambda: log.exists() and log.stat().st_size > 0)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        time.sleep(every_seconds)
        delivering = read_log(log)[-1][1]
        if delivering in workers:
            victim = workers.pop(delivering)
            victim.send_signal(signal.SIGKILL)
            killed.append((delivering, time.monotonic_ns()))
            victim.communicate()
            replacement = start("work", where, pause_seconds, durability)
            workers[replacement.pid] = replacement
    for worker in workers.values():
        worker.communicate(timeout=60)
    lines = read_log(log)
    with fsstore.open(where / "store") as store:
        stored = [commit.checkpoint_token for commit in store.advanced.get_from_checkpoint()]
    return judge(lines, stored, killed)


def _wait(condition: Any, seconds: float = 60.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            raise TimeoutError("the workers do not deliver")
        time.sleep(0.01)


def judge(lines: list[list[int]], stored: list[int], killed: list[tuple[int, int]]) -> dict[str, Any]:
    """What came when: first deliveries must be exactly what is stored, in that order."""
    counts = Counter(token for token, _, _ in lines)
    firsts = list(counts)
    take_over = []
    for pid, at in killed:
        later = [when for _, other, when in lines if when > at and other != pid]
        take_over += [(min(later) - at) * SECONDS_PER_NS * 1000] if later else []
    return {
        "killed": len(killed),
        "stored_commits": len(stored),
        "never_delivered": len(set(stored) - set(counts)),
        "first_deliveries_in_order": firsts == stored,
        "delivered_more_than_once": sum(1 for count in counts.values() if count > 1),
        "take_over_ms": _spread(take_over),
        "ok": firsts == stored,
    }


def _spread(values: list[float]) -> dict[str, float]:
    if not values:
        return {}
    ordered = sorted(values)
    return {
        "median": round(statistics.median(ordered), 2),
        "p99": round(ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))], 2),
        "max": round(ordered[-1], 2),
    }


# ---- latency, catch-up, idle ----


def subscriber(where: Path) -> None:
    """Note when each commit arrives, until the store's last is an `end`."""
    log = os.open(where / "received.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    with fsstore.open(where / "store") as store:
        print("ready", flush=True)
        for commit in store.subscribe("bench"):
            now = time.monotonic_ns()
            if commit.stream_id == "end":
                return
            append(log, commit.checkpoint_token, now)


def latency(where: Path, commits: int, pause_seconds: float) -> dict[str, Any]:
    """From the return of `commit` here to the callback there, and from its call."""
    sent: dict[int, tuple[int, int]] = {}
    with fsstore.open(where / "store") as store:
        receiver = _ready("subscriber", where)
        last = store.commit(first_attempt("s"))
        for _ in range(commits):
            time.sleep(random.uniform(0.5, 1.5) * pause_seconds)
            assert last is not None
            attempt = next_attempt(last)
            called = time.monotonic_ns()
            last = store.commit(attempt)
            assert last is not None
            sent[last.checkpoint_token] = called, time.monotonic_ns()
        store.commit(first_attempt("end"))
        receiver.communicate(timeout=60)
    received = {token: when for token, when in read_log(where / "received.log") if token in sent}
    assert len(received) == commits
    return {
        "commits": commits,
        "pause_ms": pause_seconds * 1000,
        "from_return_ms": _spread([(received[token] - sent[token][1]) / 1e6 for token in sent]),
        "from_call_ms": _spread([(received[token] - sent[token][0]) / 1e6 for token in sent]),
    }


def _ready(what: str, *arguments: object) -> subprocess.Popen[str]:
    process = start(what, *arguments)
    assert process.stdout is not None
    process.stdout.readline()
    return process


def catch_up(where: Path, commits: int) -> dict[str, Any]:
    """Commits a second, remembering every one of them or every hundredth."""
    rates = {}
    with fsstore.open(where / "store") as store:
        fill(store, commits)
        for every in (1, 100):
            begin = time.monotonic()
            with store.subscribe(f"every {every}", acknowledge_every=every, timeout_seconds=0) as subscription:
                assert sum(1 for _ in subscription) == commits
            rates[f"acknowledged_every_{every}_commits_per_second"] = round(commits / (time.monotonic() - begin))
    return {"commits": commits, **rates}


def fill(store: EventStore, commits: int) -> None:
    """Commits of one small event, in a hundred streams."""
    heads: list[Any] = [None] * 100
    batch = []
    for number in range(commits):
        head = heads[number % 100]
        heads[number % 100] = next_attempt(head) if head else first_attempt(f"stream {number % 100}")
        batch.append(heads[number % 100])
        if len(batch) == 1000 or number == commits - 1:
            store.advanced.commit_many(batch)
            batch = []


def idle(where: Path, seconds: float) -> dict[str, Any]:
    """The share of a core that a subscriber uses for which there is nothing."""
    fsstore.open(where / "store").close()
    receiver = _ready("subscriber", where)
    time.sleep(min(2.0, seconds))  # what it does at first is not what it costs
    before, begin = _cpu_seconds(receiver.pid), time.monotonic()
    time.sleep(seconds)
    used, lasted = _cpu_seconds(receiver.pid) - before, time.monotonic() - begin
    with fsstore.open(where / "store") as store:
        store.commit(first_attempt("end"))
    receiver.communicate(timeout=60)
    return {"seconds": round(lasted, 1), "cpu_percent_of_a_core": round(100 * used / lasted, 2)}


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["kill", "latency", "catch-up", "idle", "work", "subscriber"])
    parser.add_argument("where", type=Path, nargs="?", help="a directory for the store (default: a temporary one)")
    parser.add_argument("pause", type=float, nargs="?", help=argparse.SUPPRESS)
    parser.add_argument("flush", nargs="?", help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--every-seconds", type=float, default=1.0, help="kill: between two kills")
    parser.add_argument("--commits", type=int, default=None)
    parser.add_argument("--pause-seconds", type=float, default=0.02, help="between two commits of one process")
    parser.add_argument("--durability", default="commit", help="kill: 'os' leaves the disk's flushes out of the times")
    given = parser.parse_args()
    if given.what == "work":
        work(given.where, given.pause, given.flush)
        return 0
    if given.what == "subscriber":
        subscriber(given.where)
        return 0
    where = given.where or Path(tempfile.mkdtemp(prefix="delivery."))
    where.mkdir(parents=True, exist_ok=True)
    try:
        if given.what == "kill":
            result = kill(
                where, given.seconds, given.processes, given.every_seconds, given.pause_seconds, given.durability
            )
        elif given.what == "latency":
            result = latency(where, given.commits or 1000, given.pause_seconds)
        elif given.what == "catch-up":
            result = catch_up(where, given.commits or 100_000)
        else:
            result = idle(where, given.seconds)
    finally:
        if given.where is None:
            with contextlib.suppress(OSError):
                shutil.rmtree(where)
    print(json.dumps(result))
    return 0 if result.get("ok", True) else 1


if __name__ == "__main__":
    sys.exit(main())
