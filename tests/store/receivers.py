"""A dispatcher that fails when it is told to, and waiting for what it gets."""

from __future__ import annotations

import time

from fsstore import Commit
from fsstore.dispatch import Retry

QUICK = Retry(initial_backoff_seconds=0.001, max_backoff_seconds=0.002, max_attempts=3)


class Receiver:
    """Keeps what it gets; fails at a commit as often as it is told to."""

    def __init__(self) -> None:
        self.tokens: list[int] = []
        self.failures: dict[int, int] = {}
        self.closed = False

    def dispatch(self, commit: Commit) -> None:
        left = self.failures.get(commit.checkpoint_token, 0)
        if left:
            self.failures[commit.checkpoint_token] = left - 1
            raise RuntimeError(f"cannot take {commit.checkpoint_token}")
        self.tokens.append(commit.checkpoint_token)

    def close(self) -> None:
        self.closed = True


def wait_for(condition: object, seconds: float = 20.0) -> None:
    until = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.002)
