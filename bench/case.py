"""What a question to the contenders is: prepared once, measured once for each contender in each round."""

from __future__ import annotations

import gc
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

Figures = dict[str, float]
"""What one measurement gives: the name of a figure → its value."""


class Case(ABC):
    """One row of the report, or a few that are measured together."""

    name: str
    title: str
    units: Mapping[str, str]
    """Each figure's unit. More is better of what ends in "/s" and of shares; less of everything else."""
    contenders: tuple[str, ...]
    rounds: int

    @abstractmethod
    def prepare(self, directory: Path, scale: int) -> None:
        """Make what all rounds need. `scale` divides the amounts: 1 measures, more only shows that it works."""

    @abstractmethod
    def measure(self, contender: str) -> Figures:
        """One measurement, proved."""

    def close(self) -> None:  # noqa: B027
        """Let go of what was prepared; files go with the whole run, see `fresh`."""


def more_is_better(unit: str) -> bool:
    return unit.endswith("/s") or unit == "share"


class Clock:
    """What has passed since this was made: by the clock, and of the processor in this process."""

    def __init__(self) -> None:
        self._began, self._began_processor = time.perf_counter(), time.process_time()

    def seconds(self) -> float:
        return time.perf_counter() - self._began

    def processor_seconds(self) -> float:
        """Of all threads, in the kernel, too."""
        return time.process_time() - self._began_processor


def processor_figure(contender: str, seconds: float, commits: int) -> Figures:
    """What a commit took of the processor, in µs; nothing of a contender that works in a process of its own."""
    return {} if contender == "umadb" else {"processor": 1e6 * seconds / commits}


def worker_command(module: str, *arguments: object) -> list[str]:
    """How to run `work` of a module of cases in a process of its own."""
    return [sys.executable, "-m", "bench.worker", module, *map(str, arguments)]


@contextmanager
def quiet_collector() -> Iterator[None]:
    """Hide from the cyclic collector what the bench itself keeps in memory: no contender pays for it."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


@contextmanager
def fresh(directory: Path) -> Iterator[Path]:
    """An empty directory, and a quiet collector meanwhile.

    It stays until the whole run is over: for minutes ext4 steps over every inode that was just freed when a file is
    made, so that removing the files of one measurement would slow down the next.
    """
    with quiet_collector():
        yield Path(tempfile.mkdtemp(prefix="bench-", dir=directory))
