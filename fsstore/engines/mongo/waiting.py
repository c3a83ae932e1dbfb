"""Being woken when somebody commits: by a change stream where the server has them, by asking elsewhere.

For the blocking client; what is asked is the same question as everywhere, the last number.
"""

from __future__ import annotations

import time

from pymongo.errors import OperationFailure, PyMongoError

from fsstore.engines.mongo.driver import Driver
from fsstore.engines.mongo.failures import our_error
from fsstore.engines.mongo.layout import COMMITS
from fsstore.engines.mongo.writing import last_number

_SLICE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 0.5
_INSERTS = [{"$match": {"operationType": "insert"}}]


def wait_for_commits(driver: Driver, after: int, timeout_seconds: float, *, change_streams: bool) -> bool:
    """Whether a number above `after` was given out within the time; early when the driver closes."""
    until = time.monotonic() + timeout_seconds
    if driver.run(last_number()) > after:
        return True
    if timeout_seconds <= 0:
        return False
    if change_streams:
        try:
            return _watch(driver, after, until)
        except OperationFailure:
            pass  # the server's account or its storage may not allow change streams: asking works everywhere
        except PyMongoError as error:
            raise our_error(error, writing=False) from error
    return _ask(driver, after, until)


def _watch(driver: Driver, after: int, until: float) -> bool:
    slice_ms = round(1000 * min(_SLICE_SECONDS, max(until - time.monotonic(), 0.001)))
    with driver.open(), driver.roles[COMMITS].watch(_INSERTS, max_await_time_ms=slice_ms) as changes:
        # What came before the stream was open is not in it.
        if driver.run(last_number()) > after:
            return True
        while not driver.closing.is_set() and time.monotonic() < until:
            if changes.try_next() is not None:
                return True
    return False


def _ask(driver: Driver, after: int, until: float) -> bool:
    pause_seconds = 0.01
    while (left := until - time.monotonic()) > 0:
        if driver.closing.wait(min(pause_seconds, left)):
            return False
        if driver.run(last_number()) > after:
            return True
        pause_seconds = min(2 * pause_seconds, _LONGEST_PAUSE_SECONDS)
    return False
