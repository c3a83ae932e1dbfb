"""Being woken when somebody commits: by a change stream where the server has them, by asking elsewhere.

For the blocking client alone: delivery waits in threads, under asyncio too.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from pymongo.errors import OperationFailure, PyMongoError

from fsstore.engines.mongo.calls import Conversation
from fsstore.engines.mongo.driver import Driver
from fsstore.engines.mongo.failures import our_error
from fsstore.engines.mongo.layout import COMMITS

_SLICE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 0.5
_INSERTS = [{"$match": {"operationType": "insert"}}]


Question = Callable[[int], Conversation[bool]]


def wait_for_commits(
    driver: Driver, is_above: Question, after: int, timeout_seconds: float, *, change_streams: bool
) -> bool:
    """Whether there is a commit after `after` within the time; early when the driver closes."""
    until = time.monotonic() + timeout_seconds
    if driver.run(is_above(after)):
        return True
    if timeout_seconds <= 0:
        return False
    if change_streams:
        try:
            return driver.open(lambda: _watch(driver, is_above, after, until))
        except OperationFailure:
            pass  # the server's account or its storage may not allow change streams: asking works everywhere
        except PyMongoError as error:
            raise our_error(error, writing=False) from error
    return _ask(driver, is_above, after, until)


def _watch(driver: Driver, is_above: Question, after: int, until: float) -> bool:
    slice_ms = round(1000 * min(_SLICE_SECONDS, max(until - time.monotonic(), 0.001)))
    with driver.roles[COMMITS].watch(_INSERTS, max_await_time_ms=slice_ms) as changes:
        # What came before the stream was open is not in it.
        if driver.run(is_above(after)):
            return True
        while not driver.closing.is_set() and time.monotonic() < until:
            if changes.try_next() is not None:
                return True
    return False


def _ask(driver: Driver, is_above: Question, after: int, until: float) -> bool:
    pause_seconds = 0.01
    while (left := until - time.monotonic()) > 0:
        if driver.closing.wait(min(pause_seconds, left)):
            return False
        if driver.run(is_above(after)):
            return True
        pause_seconds = min(2 * pause_seconds, _LONGEST_PAUSE_SECONDS)
    return False
