"""The asyncio twin: the words of the store with `await`. Runs under asyncio and, through anyio, under trio.

The rules are those of `fsstore.store` and `fsstore.stream`; only who waits is another matter. Nothing in here
knows an engine, and importing it needs no library beyond the core's.
"""

from fsstore.aio.delivery import AsyncSubscription, AsyncSubscriptions
from fsstore.aio.store import AsyncEventStore
from fsstore.aio.stream import AsyncEventStream

__all__ = ["AsyncEventStore", "AsyncEventStream", "AsyncSubscription", "AsyncSubscriptions"]
