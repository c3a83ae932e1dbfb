"""Being woken when somebody commits: by a change stream where the server has them, by asking elsewhere.

For the blocking client alone: delivery waits in threads, under asyncio too. Who follows a store waits again and again
for a short time, so that what a wait needs is kept for the next one.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from pymongo.errors import OperationFailure, PyMongoError

from fsstore.engines.mongo.calls import Conversation, Document
from fsstore.engines.mongo.driver import Driver
from fsstore.engines.mongo.failures import our_error
from fsstore.engines.mongo.layout import COMMITS, DATABASE

# How long the server waits at once; closing waits for it.
_SLICE_SECONDS = 0.1
# A stream that rested for longer may have much to say that everybody has read by now.
_LONGEST_REST_SECONDS = 1.0
_REFUSED_SECONDS = 60.0
# The time between two questions is a part of that for which nothing was committed.
_QUESTIONS_OF_QUIET = 0.1
_SHORTEST_PAUSE_SECONDS = 0.01
_LONGEST_PAUSE_SECONDS = 0.5
_INSERTS = [{"$match": {"operationType": "insert"}}, {"$project": {"documentKey": 1}}]


Question = Callable[[int], Conversation[bool]]


class Waking:
    """Waits in one engine, for any number of threads."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        # Open streams that nobody reads now, and since when.
        self._resting: list[tuple[float, Any]] = []
        self._watch_at = 0.0
        self._quiet_since = time.monotonic()

    def wait(self, is_above: Question, after: int, timeout_seconds: float, *, change_streams: bool) -> bool:
        """Whether there is a commit after `after` within the time; early when the driver closes."""
        until = time.monotonic() + timeout_seconds
        found = self._driver.run(is_above(after))
        if not found and timeout_seconds > 0:
            found = (change_streams and self._watched(is_above, after, until)) or self._asked(is_above, after, until)
        if found:
            self._quiet_since = time.monotonic()
        return found

    def _watched(self, is_above: Question, after: int, until: float) -> bool:
        if not _is_worth_a_look(until) or time.monotonic() < self._watch_at:
            return False
        try:
            return self._driver.open(lambda: self._watch(is_above, after, until))
        except OperationFailure:
            # The server's account or its storage may not allow change streams: asking works everywhere.
            self._watch_at = time.monotonic() + _REFUSED_SECONDS
            return False
        except PyMongoError as error:
            raise our_error(error, writing=False) from error

    def _watch(self, is_above: Question, after: int, until: float) -> bool:
        changes = self._rested()
        is_new = changes is None
        if changes is None:
            changes = self._driver.roles[COMMITS].watch(_INSERTS, max_await_time_ms=round(1000 * _SLICE_SECONDS))
        try:
            # What came before the stream was open is not in it.
            found = is_new and self._driver.run(is_above(after))
            while not found and changes.alive and _is_worth_a_look(until) and not self._driver.closing.is_set():
                change = changes.try_next()
                found = change is not None and _may_be_above(change, after)
        except BaseException:
            changes.close()
            raise
        self._resting.append((time.monotonic(), changes))
        return found

    def _rested(self) -> Any:
        """A stream that is open still; `None` where there is none."""
        with suppress(IndexError):
            while True:
                since, changes = self._resting.pop()
                if changes.alive and time.monotonic() - since < _LONGEST_REST_SECONDS:
                    return changes
                changes.close()
        return None

    def _asked(self, is_above: Question, after: int, until: float) -> bool:
        pause_seconds = max((time.monotonic() - self._quiet_since) * _QUESTIONS_OF_QUIET, _SHORTEST_PAUSE_SECONDS)
        while (left := until - time.monotonic()) > 0:
            if self._driver.closing.wait(min(pause_seconds, _LONGEST_PAUSE_SECONDS, left)):
                return False
            if self._driver.run(is_above(after)):
                return True
            pause_seconds *= 2
        return False

    def close(self) -> None:
        """Let go of the streams; nobody waits any more."""
        # A server that is not there has lost them, and would be waited for.
        while self._resting and self._driver.roles[DATABASE].client.nodes:
            self._resting.pop()[1].close()


def _is_worth_a_look(until: float) -> bool:
    return until - time.monotonic() > _SLICE_SECONDS / 2


def _may_be_above(change: Document, after: int) -> bool:
    """Whether it is not one that was read already, as far as the commit's key is its token."""
    key = change["documentKey"]["_id"]
    return not isinstance(key, int) or key > after
