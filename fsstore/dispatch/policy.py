"""What happens when a dispatcher fails: how long to wait, when to give up, and what to do then.

Rules only: nothing here waits, reads or writes, so that threads and coroutines follow the same ones.
"""

from __future__ import annotations

import random
from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any, Literal

from fsstore.errors import ForwardingConflictError
from fsstore.model import Commit, checked_at_least, checked_seconds


@dataclass(frozen=True, slots=True)
class Retry:
    """How a failing dispatcher is tried again: waits double from the first to the longest, with jitter.

    The limit is reached after `max_attempts`, or once a commit has failed for `max_seconds`. Then, with
    `then="stop"`, delivery stands at that commit: a synchronous scheduler raises, an asynchronous one goes on
    trying at the longest wait. With `then="park"` the commit is put into the dead-letter stream with the reason,
    and delivery goes on behind it.
    """

    initial_backoff_seconds: float = 0.05
    max_backoff_seconds: float = 30.0
    max_attempts: int = 5
    max_seconds: float | None = None
    then: Literal["stop", "park"] = "stop"

    def __post_init__(self) -> None:
        for name in ("initial_backoff_seconds", "max_backoff_seconds", "max_seconds"):
            value = getattr(self, name)
            if value is not None or name != "max_seconds":
                object.__setattr__(self, name, checked_seconds(value, name))
        if self.initial_backoff_seconds > self.max_backoff_seconds:
            raise ValueError("0 <= initial_backoff_seconds <= max_backoff_seconds must hold")
        checked_at_least(self.max_attempts, 1, "max_attempts")
        if self.then not in ("stop", "park"):
            raise ValueError(f"then must be 'stop' or 'park', not {self.then!r}")

    def wait_seconds(self, failures: int) -> float:
        """How long to wait after so many failures in a row; between half of the doubled wait and all of it."""
        longest = min(self.max_backoff_seconds, self.initial_backoff_seconds * 2.0 ** min(failures - 1, 32))
        return longest * random.uniform(0.5, 1.0)

    def is_exhausted(self, failures: int, seconds: float) -> bool:
        """Whether the limit is reached after so many failures in so long a time."""
        return failures >= self.max_attempts or (self.max_seconds is not None and seconds >= self.max_seconds)


@dataclass(frozen=True, slots=True)
class DispatchHealth:
    """How delivery goes: the commit it fails at and why, if it fails. `stopped`: the limit of attempts is reached."""

    failures: int = 0
    failing_token: int | None = None
    last_error: str | None = None
    bucket_id: str | None = None
    stream_id: str | None = None
    commit_id: str | None = None
    stopped: bool = False

    @property
    def ok(self) -> bool:
        """Whether nothing fails."""
        return not self.failures

    def as_dict(self) -> dict[str, Any]:
        """The fields and `ok`, as `fsstore stat` shows them."""
        return {"ok": self.ok, **asdict(self)}


class Verdict(Enum):
    """What to do with a commit after an attempt."""

    DELIVERED = "delivered"
    AGAIN = "again"
    STOP = "stop"
    PARK = "park"


class Attempts:
    """The attempts at one commit after the other. `health` says how the last one went."""

    def __init__(self, retry: Retry) -> None:
        self.retry = retry
        self.health = DispatchHealth()
        self._token = 0
        self._failures = 0
        self._failing_since = 0.0

    def begin(self) -> None:
        """Somebody new tries: attempts count from one again."""
        self._failures = 0

    def succeeded(self) -> None:
        """The commit is dealt with, or nothing is left to deliver."""
        self._failures = 0
        self.health = DispatchHealth()

    def failed(self, commit: Commit, error: Exception, now: float) -> Verdict:
        """The commit failed at the time `now`, in seconds of a clock that only goes forward."""
        if not self._failures or self._token != commit.checkpoint_token:
            self._token, self._failures, self._failing_since = commit.checkpoint_token, 0, now
        self._failures += 1
        # No later commit may pass one that conflicts, so there is nothing to wait for and nothing to park.
        conflict = isinstance(error, ForwardingConflictError)
        exhausted = conflict or self.retry.is_exhausted(self._failures, now - self._failing_since)
        stops = exhausted and (conflict or self.retry.then == "stop")
        self.health = DispatchHealth(
            self._failures,
            commit.checkpoint_token,
            describe(error),
            commit.bucket_id,
            commit.stream_id,
            str(commit.commit_id),
            stops,
        )
        if not exhausted:
            return Verdict.AGAIN
        return Verdict.STOP if stops else Verdict.PARK

    def wait_seconds(self) -> float:
        """How long to wait before the next attempt."""
        return self.retry.wait_seconds(max(self._failures, 1))


def describe(error: BaseException) -> str:
    """An error in one line, for health and dead letters: text that can be stored, whatever a file's name made of it."""
    return f"{type(error).__name__}: {error}".encode("utf-8", "backslashreplace").decode("utf-8")
