"""The command line run within the test's process, and a small store to run it on."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fsstore import Commit, CommitAttempt
from fsstore.cli import main
from fsstore.engines import engine_for
from fsstore.interchange import write_line
from fsstore.testing.attempts import first_attempt, next_attempt


@dataclass(frozen=True)
class Outcome:
    """What a run of the command line left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> list[Any]:
        """Standard output as JSON, an object a line."""
        return [json.loads(line) for line in self.out.splitlines()]


Run = Callable[..., Outcome]


@pytest.fixture
def fsstore(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """`fsstore("ls", store)`: runs the command line as a process would; `stdin=` is what it can read."""

    def run(*arguments: object, stdin: bytes = b"") -> Outcome:
        monkeypatch.setattr(sys, "argv", ["fsstore", *map(str, arguments)])
        # Under `python -m pytest` the program would be called by that.
        monkeypatch.setattr(sys.modules["__main__"], "__package__", None)
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        capfd.readouterr()
        with pytest.raises(SystemExit) as leaving:
            main()
        captured = capfd.readouterr()
        assert "Traceback" not in captured.err
        assert isinstance(leaving.value.code, int)
        return Outcome(leaving.value.code, captured.out, captured.err)

    return run


ORDERS = 3


@pytest.fixture
def attempts() -> list[CommitAttempt]:
    """Nine commits in three streams of two buckets, in turn."""
    last = [first_attempt(f"order-{number}", bucket_id="eu" if number == 2 else "default") for number in range(ORDERS)]
    attempts = list(last)
    for _ in range(2):
        last = [next_attempt(attempt, events=2) for attempt in last]
        attempts += last
    return attempts


@pytest.fixture
def commits(attempts: list[CommitAttempt]) -> list[Commit]:
    """The same as a new store stores them."""
    return [Commit.of(attempt, token) for token, attempt in enumerate(attempts, 1)]


@pytest.fixture
def store(tmp_path: Path, attempts: list[CommitAttempt]) -> Path:
    """A file store that holds them."""
    path = tmp_path / "orders.store"
    engine = engine_for(path)
    engine.initialize()
    engine.commit_many(attempts)
    engine.close()
    return path


@pytest.fixture
def lines(attempts: list[CommitAttempt]) -> list[str]:
    """The same as interchange lines."""
    return [write_line(attempt) for attempt in attempts]


def stored(path: Path) -> list[Commit]:
    """The commits of the store at `path`."""
    engine = engine_for(path, create=False, read_only=True)
    engine.initialize()
    commits = list(engine.get_from_checkpoint())
    engine.close()
    return commits
