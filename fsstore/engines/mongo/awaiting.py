"""The MongoDB engine for tasks: the same engine once more, with pymongo's awaiting client.

Conversations, retries and the meaning of errors are those of `MongoEngine`; only who waits differs.
"""

from __future__ import annotations

from copy import copy

from pymongo import AsyncMongoClient

from fsstore.engines import tasks
from fsstore.engines.mongo.engine import MongoEngine
from fsstore.engines.waiting import TaskWaiting

# Each call has one connection of the client's.
_MAX_CALLS = 32


def twin(blocking: MongoEngine) -> tasks.TaskEngine | None:
    """The engine for tasks on the same database; `None` where only threads can do it."""
    if not tasks.possible():
        return None
    called = copy(blocking)
    called.connect(AsyncMongoClient, TaskWaiting())
    return tasks.TaskEngine(called, blocking, max_calls=_MAX_CALLS)
