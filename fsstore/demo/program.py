"""The demonstration itself, in three steps; each says what it does, checks it, and how fast it was.

1. A history is committed to a file store, commit by commit, each durable before the next, and dispatched to a
   projection as it is stored.
2. Every stream is opened and folded: the files alive must be those of the repository, and of the projection.
3. A second process imports the same history into a second store and is killed in the middle. Importing again
   carries on; nothing that the killed process had acknowledged may be missing, and both stores must be equal.
"""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import fsstore
from fsstore.cli.output import progress
from fsstore.demo import writer
from fsstore.demo.folding import File, Tree, fold
from fsstore.demo.sample import COMMITS, STREAMS, history, tree
from fsstore.engines import engine_for
from fsstore.importing import import_commits
from fsstore.interchange import differing_fields
from fsstore.wireup import Wireup


class _FailedError(Exception):
    """A check of the demonstration failed; the message says which."""


def run(directory: Path | None = None) -> bool:
    """Run it in `directory`, or in a new temporary one, which stays; whether everything was as it must be."""
    place = Path(tempfile.mkdtemp(prefix="fsstore-demo-")) if directory is None else directory.absolute()
    place.mkdir(parents=True, exist_ok=True)
    first, second = place / "repository.store", place / "killed.store"
    began = time.perf_counter()
    try:
        projection = _import_and_dispatch(first)
        _fold_every_stream(first, projection)
        _kill_and_carry_on(second)
        _compare(first, second)
    except _FailedError as failure:
        print(f"\nFAILED: {failure}\nThe stores are in {place}", file=sys.stderr)
        return False
    print(f"\nAll of it as it must be, in {time.perf_counter() - began:.1f} s. Look at the store:\n")
    print(f"  fsstore ls {first}\n  fsstore show {first} README.md\n  fsstore tail {first}")
    return True


def _import_and_dispatch(path: Path) -> Tree:
    print(f"1. The file history of a code repository, into {path}")
    projection = Tree()
    store = Wireup.init().using_file_persistence(path).using_synchronous_dispatch_scheduler(projection).build()
    began = time.perf_counter()
    with store, _steps("committing", COMMITS) as step:
        for number, attempt in history():
            store.commit(attempt)
            step(number)
    seconds = time.perf_counter() - began
    print(f"   {projection.commits:,} commits, each flushed to the device and dispatched before the next")
    print(f"   {seconds:.1f} s, {COMMITS / seconds:,.0f} commits/s")
    _check(projection.commits == COMMITS, f"{projection.commits} commits were dispatched, not {COMMITS}")
    _check(projection.files == tree(), "the projection is not the repository's tree")
    return projection


def _fold_every_stream(path: Path, projection: Tree) -> None:
    print("2. Every stream opened and folded")
    alive: dict[str, File] = {}
    events = 0
    began = time.perf_counter()
    with fsstore.open(path) as store, _steps("folding", STREAMS) as step:
        streams = {commit.stream_id for commit in store.advanced.get_from_checkpoint()}
        for number, stream_id in enumerate(sorted(streams), 1):
            with store.open_stream(stream_id) as stream:
                file = fold(None, stream.committed_events)
                events += len(stream.committed_events)
            if file is not None:
                alive[stream_id] = file
            step(number)
    seconds = time.perf_counter() - began
    expected = tree()
    print(f"   {len(streams)} streams, {events:,} events in {seconds:.1f} s, {events / seconds:,.0f} events/s")
    print(f"   {len(alive)} files alive, the tree of the repository has {len(expected)}")
    _check(len(streams) == STREAMS, f"the store has {len(streams)} streams, not {STREAMS}")
    _check(alive == expected, "the files alive are not those of the repository's tree")
    _check(alive == projection.files, "the files alive are not those of the projection")


def _kill_and_carry_on(path: Path) -> None:
    print(f"3. A writer killed in the middle, into {path}")
    enough = random.randint(COMMITS // 4, COMMITS * 3 // 4)
    with subprocess.Popen(
        [sys.executable, "-m", writer.__name__, str(path)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        acknowledged = []
        with _steps("writer", enough) as step:
            for line in process.stdout:
                if line.endswith("\n"):
                    acknowledged.append(line.strip())
                if len(acknowledged) <= enough:  # what it still said before the signal reached it is not counted
                    step(len(acknowledged))
                if len(acknowledged) == enough:
                    process.send_signal(signal.SIGKILL)
    _check(process.returncode == -signal.SIGKILL, f"the writer ended by itself with code {process.returncode}")
    print(f"   killed with SIGKILL when it had acknowledged {len(acknowledged):,} commits")

    engine = engine_for(path)
    engine.initialize()
    there = {str(commit.commit_id) for commit in engine.get_from_checkpoint()}
    lost = [commit_id for commit_id in acknowledged if commit_id not in there]
    _check(not lost, f"{len(lost)} acknowledged commits are lost, the first is {lost[:1]}")
    print(f"   {len(there):,} are there, none of the acknowledged is missing")
    began = time.perf_counter()
    stored = skipped = 0
    with _steps("carrying on", COMMITS) as step:
        for batch in import_commits(engine, history()):
            stored += len(batch.stored)
            skipped += batch.skipped
            step(stored + skipped)
    engine.close()
    seconds = time.perf_counter() - began
    print(f"   imported again: {skipped:,} were there, {stored:,} stored, in {seconds:.1f} s")
    _check(skipped == len(there), f"{skipped} commits were skipped, not {len(there)}")
    _check(stored + skipped == COMMITS, f"{stored + skipped} commits are there, not {COMMITS}")


def _compare(first: Path, second: Path) -> None:
    one, other = engine_for(first), engine_for(second)
    one.initialize()
    other.initialize()
    count = 0
    for left, right in zip(one.get_from_checkpoint(), other.get_from_checkpoint(), strict=True):
        _check(not differing_fields(left, right), f"commit {left.commit_id} differs between the stores")
        count += 1
    one.close()
    other.close()
    _check(count == COMMITS, f"the stores have {count} commits, not {COMMITS}")
    print("   both stores hold the same commits in the same order")


def _check(holds: bool, otherwise: str) -> None:
    if not holds:
        raise _FailedError(otherwise)


@contextmanager
def _steps(title: str, total: int) -> Iterator[Callable[[int], None]]:
    """Progress that can be seen: a bar on a terminal, else a line for every quarter."""
    if sys.stderr.isatty():
        with progress(f"   {title}", total) as advance:
            yield lambda done: advance(done, f"{done:,} of {total:,}")
        return

    quarter = -(-total // 4)

    def say(done: int) -> None:
        if done % quarter == 0 or done == total:
            print(f"   {title}: {done:,} of {total:,}", flush=True)

    yield say
