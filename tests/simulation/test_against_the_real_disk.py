"""The simulated disk answers as the real one does, for everything that is not a crash."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from fsstore import CorruptionError
from fsstore.engines.file.disk.disk import Disk, RealDisk, Words
from fsstore.testing import SimulatedDisk

NAMES = st.sampled_from(["a", "b", "c", "d/a", "d/b", "d/e/a", "d", "d/e", "b/a"])
NUMBERS = st.integers(min_value=0, max_value=20)
OFFSETS = st.one_of(st.integers(0, 20), st.sampled_from([500, 511, 512, 513, 1023, 1024, 5000]))
LENGTHS = st.one_of(st.integers(0, 20), st.sampled_from([511, 512, 513, 1024, 1500]))
WORDS = st.integers(min_value=0, max_value=(1 << 64) - 1)


class SameAnswers(RuleBasedStateMachine):
    """Every call goes to both disks. Two processes in the simulation: the real disk cannot tell them apart."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.mkdtemp(prefix="fsstore-disk-")
        self.real: Disk = RealDisk(self.directory)
        first = SimulatedDisk()
        self.processes: list[SimulatedDisk] = [first, first.process()]
        self.handles: list[tuple[int, int, SimulatedDisk]] = []
        self.words: list[tuple[Words, Words]] = []

    @initialize()
    def same_root(self) -> None:
        path = ""
        for part in self.directory.strip("/").split("/"):
            path += f"/{part}"
            self.processes[0].make_directory(path)

    def teardown(self) -> None:
        for mine, theirs in self.words:
            mine.release()
            theirs.release()
        for real, simulated, disk in self.handles:
            self.real.close(real)
            disk.close(simulated)
        shutil.rmtree(self.directory)

    def both(self, real: Callable[[], Any], simulated: Callable[[], Any]) -> tuple[Any, Any]:
        """The two answers, whose errors are the same; what a caller makes of them is his."""
        answers: list[Any] = []
        errors: list[object] = []
        for call in (real, simulated):
            try:
                answers.append(call())
                errors.append(None)
            except (OSError, ValueError, CorruptionError) as error:
                answers.append(None)
                errors.append((type(error), getattr(error, "errno", None)))
        assert errors[0] == errors[1]
        return answers[0], answers[1]

    def same(self, name: str, *arguments: Any) -> None:
        real, simulated = self.both(
            lambda: getattr(self.real, name)(*arguments), lambda: getattr(self.processes[0], name)(*arguments)
        )
        assert real == simulated

    def path(self, name: str) -> str:
        return f"{self.directory}/{name}"

    # ---- names ----

    @rule(
        name=NAMES,
        write=st.booleans(),
        create=st.booleans(),
        process=st.integers(0, 1),
    )
    def open(self, name: str, write: bool, create: bool, process: int) -> None:
        disk = self.processes[process]
        options = {"write": write, "create": create and write}
        real, simulated = self.both(
            lambda: self.real.open(self.path(name), **options), lambda: disk.open(self.path(name), **options)
        )
        if real is not None:
            self.handles.append((real, simulated, disk))

    @rule(name=NAMES)
    def make_directory(self, name: str) -> None:
        self.same("make_directory", self.path(name))

    @rule(name=NAMES)
    def remove_directory(self, name: str) -> None:
        self.same("remove_directory", self.path(name))

    @rule(name=NAMES)
    def unlink(self, name: str) -> None:
        self.same("unlink", self.path(name))

    @rule(old=NAMES, new=NAMES)
    def rename(self, old: str, new: str) -> None:
        self.same("rename", self.path(old), self.path(new))

    @rule(name=st.one_of(NAMES, st.just("")))
    def names(self, name: str) -> None:
        self.same("names", self.path(name).rstrip("/"))

    @rule(name=NAMES)
    def exists(self, name: str) -> None:
        self.same("exists", self.path(name))

    @rule(name=st.one_of(NAMES, st.just("")))
    def flush_directory(self, name: str) -> None:
        self.same("flush_directory", self.path(name).rstrip("/"))

    # ---- bytes ----

    def on_handle(self, number: int, call: Callable[[Any, int], Any]) -> None:
        real, simulated, disk = self.handles[number % len(self.handles)]
        mine, theirs = self.both(lambda: call(self.real, real), lambda: call(disk, simulated))
        assert mine == theirs

    @precondition(lambda self: bool(self.handles))
    @rule(number=NUMBERS, length=LENGTHS, offset=OFFSETS)
    def read(self, number: int, length: int, offset: int) -> None:
        self.on_handle(number, lambda disk, handle: disk.read(handle, length, offset))

    @precondition(lambda self: bool(self.handles))
    @rule(number=NUMBERS, length=LENGTHS, offset=OFFSETS, byte=st.integers(1, 255))
    def write(self, number: int, length: int, offset: int, byte: int) -> None:
        self.on_handle(number, lambda disk, handle: disk.write(handle, bytes([byte]) * length, offset))

    @precondition(lambda self: bool(self.handles))
    @rule(number=NUMBERS, size=OFFSETS)
    def truncate(self, number: int, size: int) -> None:
        if not self.words:  # a mapped page beyond the end of its file is a signal, not an answer
            self.on_handle(number, lambda disk, handle: disk.truncate(handle, size))

    @precondition(lambda self: bool(self.handles))
    @rule(number=NUMBERS)
    def size(self, number: int) -> None:
        self.on_handle(number, lambda disk, handle: disk.size(handle))

    @precondition(lambda self: bool(self.handles))
    @rule(number=NUMBERS)
    def flush(self, number: int) -> None:
        self.on_handle(number, lambda disk, handle: disk.flush(handle))

    @precondition(lambda self: bool(self.handles))
    @rule(number=NUMBERS)
    def flush_file_system(self, number: int) -> None:
        real, simulated, disk = self.handles[number % len(self.handles)]
        assert disk.flush_file_system(simulated)
        self.real.flush(real)  # flushing the whole machine for this would be rude

    @precondition(lambda self: bool(self.handles))
    @rule(number=NUMBERS)
    def close(self, number: int) -> None:
        real, simulated, disk = self.handles.pop(number % len(self.handles))
        self.real.close(real)
        disk.close(simulated)

    # ---- locks and words ----

    @precondition(lambda self: bool(self.handles))
    @rule(number=NUMBERS, shared=st.booleans())
    def lock(self, number: int, shared: bool) -> None:
        self.on_handle(number, lambda disk, handle: disk.lock(handle, shared=shared, blocking=False))

    @precondition(lambda self: bool(self.handles))
    @rule(number=NUMBERS)
    def unlock(self, number: int) -> None:
        self.on_handle(number, lambda disk, handle: disk.unlock(handle))

    @precondition(lambda self: bool(self.handles))
    @rule(number=NUMBERS, count=st.integers(1, 64), write=st.booleans())
    def map_words(self, number: int, count: int, write: bool) -> None:
        real, simulated, disk = self.handles[number % len(self.handles)]
        mine, theirs = self.both(
            lambda: self.real.map_words(real, count, write=write),
            lambda: disk.map_words(simulated, count, write=write),
        )
        if mine is not None:
            self.words.append((mine, theirs))

    @precondition(lambda self: bool(self.words))
    @rule(number=NUMBERS, index=st.integers(0, 63))
    def load_word(self, number: int, index: int) -> None:
        self.on_words(number, lambda words: words[index])

    @precondition(lambda self: bool(self.words))
    @rule(number=NUMBERS, index=st.integers(0, 63), value=WORDS)
    def store_word(self, number: int, index: int, value: int) -> None:
        self.on_words(number, lambda words: words.__setitem__(index, value))

    def on_words(self, number: int, call: Callable[[Words], Any]) -> None:
        answers: list[Any] = []
        for words in self.words[number % len(self.words)]:
            try:
                answers.append(call(words))
            except (IndexError, TypeError) as error:
                answers.append(type(error))
        assert answers[0] == answers[1]


TestSameAnswers = SameAnswers.TestCase
TestSameAnswers.settings = settings(
    max_examples=150,
    stateful_step_count=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)


@pytest.mark.parametrize("make", [RealDisk, SimulatedDisk])
def test_a_lock_that_could_not_be_converted_is_lost(make: Callable[[], Disk], tmp_path: Path) -> None:
    disk = make()
    for parent in [*reversed(tmp_path.parents), tmp_path]:
        disk.make_directory(str(parent))
    first, second = (disk.open(f"{tmp_path}/lock", write=True, create=True) for _ in range(2))
    assert disk.lock(first, shared=True)
    assert disk.lock(second, shared=True)
    assert not disk.lock(first, blocking=False)
    assert disk.lock(second, blocking=False)
