"""A full disk and one without inodes: what failed left nothing, reads go on, and work goes on once there is space.

At every call that needs room, on the simulated disk; then on real file systems that are full, where mounting is
allowed. Nothing is opened anew in between.
"""

from __future__ import annotations

import errno
import os
import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from crashes.exploring import continued, prepared
from crashes.history import look, matching
from crashes.workloads import OPERATIONS, Run, verify

from fsstore.engines.file import FileEngine
from fsstore.errors import StorageUnavailableError
from fsstore.model import Commit
from fsstore.testing import ProcessKilled, SimulatedDisk, first_attempt, next_attempt
from fsstore.testing.simulation import Call, keep_everything, lose_everything

BEGIN = prepared()
SECTOR_BYTES = 512
FOREVER = 1 << 30


class Full:
    """From the n-th call that needs room on, `calls` of them find none. `met` says how many there were."""

    def __init__(self, disk: SimulatedDisk, at: int, calls: int) -> None:
        self._disk = disk
        self._at = at
        self._calls = calls
        self.met = 0

    def __call__(self, call: Call) -> None:
        creates = call.name == "open" and call.path not in self._disk.sizes_bytes()
        if creates or call.name in ("write", "make_directory", "rename"):
            self.met += 1
            if self._at <= self.met < self._at + self._calls:
                self._disk.fail(call.name, errno.ENOSPC, path=call.path)


WORK = ("commit", "snapshot", "commit_many", "fold", "mark", "commit_many", "commit", "fold", "delete") * 2


def attempted(run: Run, operation: str, *, may_be_in_doubt: bool = False) -> bool:
    """Whether the operation was done; where not, the error says that nothing was stored."""
    try:
        run.do(operation)
    except StorageUnavailableError as error:
        if error.in_doubt and not may_be_in_doubt:
            raise
        return False
    return True


def same(run: Run) -> None:
    """The engine says what it said before, or all of what was just done."""
    run.allowed = [matching(look(run.engine), run.allowed, marks_may_be_lost=False)]


def goes_on_without_reopening(run: Run) -> None:
    before = run._engine
    for operation in ("commit", "snapshot", "fold", "commit_many", "mark"):
        run.do(operation)
    assert run._engine is before
    same(run)
    run.close()
    assert not run.disk.open_files()
    same(run)
    verify(run)


def everywhere(begin: Run, before: tuple[str, ...], operation: str, calls: int) -> int:
    """The operation, with the disk full at each call that needs room; gives how many there are."""
    at = 0
    while True:
        at += 1
        run = continued(begin)
        assert run.engine
        for earlier in before:
            run.do(earlier)
        full = Full(run.disk, at, calls)
        run.disk.choose = lose_everything if at % 2 else keep_everything  # how much of a failed write is there
        run.disk.watch(full)
        attempted(run, operation, may_be_in_doubt=calls > 1 or operation == "mark")
        same(run)
        run.disk.watch(None)
        run.disk.heal()
        if full.met < at:
            return at - 1
        goes_on_without_reopening(run)


@pytest.mark.parametrize("calls", [1, FOREVER])
@pytest.mark.parametrize("operation", [one for one in OPERATIONS if one not in ("close", "reopen")])
def test_a_call_without_room_leaves_nothing_and_the_next_one_with_room_succeeds(operation: str, calls: int) -> None:
    met = everywhere(BEGIN, (), operation, calls)
    met += everywhere(BEGIN, ("commit_many", "commit_many", "commit"), operation, calls)
    assert met >= 2


def test_a_commit_that_rolls_leaves_nothing_at_any_of_its_calls() -> None:
    begin = continued(BEGIN)
    before: tuple[str, ...] = ()
    while everywhere(begin, before, "commit", 1) < 4:
        before += ("commit",)
        assert len(before) < 20, "no commit rolls"
    everywhere(begin, before, "commit", FOREVER)


@pytest.mark.parametrize("calls", [1, FOREVER])
@pytest.mark.parametrize("state", ["new", "closed", "killed", "torn", "without indexes"])
def test_an_opening_without_room_changes_nothing_and_the_next_one_succeeds(state: str, calls: int) -> None:
    at = met = 0
    while met >= at:
        at += 1
        run = begun(state)
        full = Full(run.disk, at, calls)
        run.disk.watch(full)
        engine = FileEngine(run.path, disk=run.disk, background=False, journal_bytes=4096)
        with suppress(StorageUnavailableError):
            engine.initialize()
        engine.close()
        assert not run.disk.open_files(), f"left open at call {at}: {run.disk.open_files()}"
        run.disk.watch(None)
        run.disk.heal()
        met = full.met
        same(run)
        goes_on_without_reopening(run)
    assert at >= 2


def begun(state: str) -> Run:
    if state == "new":
        return Run(SimulatedDisk(keep_everything))
    run = continued(BEGIN)
    if state == "closed":
        run.close()
        return run
    for operation in ("commit", "commit_many"):
        run.do(operation)
    if state == "torn":
        kill_in_the_middle_of_a_batch(run)
    run.disk.kill()
    disk = run.disk.process()
    if state == "without indexes":
        disk.unlink(f"{run.path}/heads.index")
        disk.unlink(f"{run.path}/commits.index")
    after = Run(disk, run.model, path=run.path)
    after.count = run.count + 10
    return after


def kill_in_the_middle_of_a_batch(run: Run) -> None:
    """Half of the sectors that it writes to the journal are there."""
    disk = run.disk
    batch = [next_attempt(run.model.get_from("default", "b")[-1])]
    for number in range(8):
        batch.append(next_attempt(Commit.of(batch[-1], number)))

    def look_out(call: Call) -> None:
        if call.name == "write" and call.path.endswith(".journal"):
            disk.kill_at(0)

    disk.choose = lambda count: count // 2
    disk.watch(look_out)
    with pytest.raises(ProcessKilled):
        run.commit_again(batch)
    disk.watch(None)
    run.allowed = run.allowed[:1]


@pytest.mark.parametrize("free_sectors", range(0, 40, 3))
def test_a_disk_with_little_room_keeps_what_was_acknowledged(free_sectors: int) -> None:
    run = continued(BEGIN)
    assert run.engine
    run.disk.set_capacity(run.disk.used_bytes() + free_sectors * SECTOR_BYTES)
    done = 0
    for operation in (
        "commit",
        "snapshot",
        "commit_many",
        "fold",
        "mark",
        "commit_many",
        "commit",
        "fold",
        "delete",
    ) * 2:
        done += attempted(run, operation, may_be_in_doubt=operation == "mark")
        same(run)
    assert done < len(WORK) or free_sectors > 20
    run.disk.set_capacity(None)
    goes_on_without_reopening(run)


# ---- real ones -----------------------------------------------------------------------------------------


@contextmanager
def mounted(where: Path, *arguments: str) -> Iterator[Path]:
    where.mkdir()
    done = subprocess.run(["mount", *arguments, str(where)], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"a file system cannot be mounted here: {done.stderr.strip()}")
    try:
        yield where
    finally:
        subprocess.run(["umount", str(where)], check=True)


@contextmanager
def with_inodes(count: int, beside: Path) -> Iterator[Path]:
    """A file system of about so many inodes."""
    image = beside / "image"
    image.write_bytes(b"")
    os.truncate(image, 8 << 20)
    made = subprocess.run(["mkfs.ext4", "-q", "-F", "-N", str(count), str(image)], capture_output=True, check=False)
    if made.returncode:
        pytest.skip("mkfs.ext4 is missing: apt-get install e2fsprogs")
    with mounted(beside / "few", "-o", "loop", str(image)) as few:
        yield few


def filled(engine: FileEngine, most: int, *, streams: int) -> list[Commit]:
    """Commit until there is no room, folding now and then; what was acknowledged."""
    heads: dict[int, Commit] = {}
    done: list[Commit] = []
    for number in range(most):
        stream = number % streams
        attempt = next_attempt(heads[stream]) if stream in heads else first_attempt(f"s{stream}")
        try:
            heads[stream] = engine.commit(attempt)
            done.append(heads[stream])
            if number % 50 == 49:
                engine.fold()
        except StorageUnavailableError as error:
            if error.in_doubt:
                raise
            return done
    raise AssertionError("it never was full")


def holds(engine: FileEngine, commits: list[Commit]) -> None:
    assert list(engine.get_from_checkpoint()) == commits
    stream = [one for one in commits if one.stream_id == "s0"]
    assert list(engine.get_from("default", "s0")) == stream


def goes_on(engine: FileEngine, commits: list[Commit], path: Path) -> None:
    """There is room again: the open engine commits and folds, and a later one finds all of it."""
    commits.append(engine.commit(next_attempt([one for one in commits if one.stream_id == "s0"][-1])))
    engine.fold()
    commits.append(engine.commit(first_attempt("new")))
    holds(engine, commits)
    assert not list(engine.verify())
    engine.close()
    again = FileEngine(path)
    again.initialize()
    holds(again, commits)
    again.close()


@pytest.mark.parametrize("streams", [1, 300])
def test_a_full_file_system(tmp_path: Path, streams: int) -> None:
    with mounted(tmp_path / "small", "-t", "tmpfs", "-o", "size=3m", "tmpfs") as small:
        ballast = small / "ballast"
        ballast.write_bytes(bytes(1 << 20))
        engine = FileEngine(small / "a.store", background=False, journal_bytes=256 << 10)
        engine.initialize()
        commits = filled(engine, 20_000, streams=streams)
        holds(engine, commits)
        ballast.unlink()
        goes_on(engine, commits, small / "a.store")


def test_a_file_system_without_inodes(tmp_path: Path) -> None:
    with with_inodes(48, tmp_path) as few:
        ballast = [few / f"ballast{number}" for number in range(6)]
        for one in ballast:
            one.touch()
        engine = FileEngine(few / "a.store", background=False, journal_bytes=64 << 10)
        engine.initialize()
        commits = filled(engine, 1000, streams=20)
        with pytest.raises(StorageUnavailableError, match="fold"):
            engine.fold()
        holds(engine, commits)
        for one in ballast:
            one.unlink()
        # Twenty streams do not fit; fewer do, and deleting makes room, also for what could not be folded.
        for number in range(1, 16):
            engine.delete_stream("default", f"s{number}")
        kept = {"s0", "s16", "s17", "s18", "s19"}
        goes_on(engine, [one for one in commits if one.stream_id in kept], few / "a.store")


def test_an_opening_without_inodes_leaves_what_a_later_one_completes(tmp_path: Path) -> None:
    with with_inodes(16, tmp_path) as none:
        engine = FileEngine(none / "a.store")
        with pytest.raises(StorageUnavailableError, match="cannot be opened"):
            engine.initialize()


def test_a_limit_on_the_size_of_files(tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    engine = FileEngine(tmp_path / "a.store", background=False)
    engine.initialize()
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, limits[1]))
        commits = filled(engine, 5000, streams=1)
        holds(engine, commits)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    goes_on(engine, commits, tmp_path / "a.store")
