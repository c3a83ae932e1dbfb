"""One stream in the hands of one task: the rules of `WorkingCopy`, awaited."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Generator
from typing import Any

from fsstore.model import Commit
from fsstore.steps import run_async
from fsstore.stream import WorkingCopy


class _Done:
    """What a call gives that is over when it returns, so that `await` may stand before it."""

    __slots__ = ()

    def __await__(self) -> Generator[Any, Any, None]:
        yield from ()


_DONE = _Done()


class AsyncEventStream(WorkingCopy):
    """The events of one stream, and a place to gather new ones. Used by one task; `async with` closes it.

    `add`, `clear_changes`, `close` and everything that only looks are plain calls; the three may be awaited too.
    """

    def add(self, event: Any) -> Awaitable[None]:  # type: ignore[override]
        """Add an event to the next commit; a bare body is wrapped. `ValueError` for `None`."""
        super().add(event)
        return _DONE

    def clear_changes(self) -> Awaitable[None]:  # type: ignore[override]
        """Forget what was added and is not committed."""
        super().clear_changes()
        return _DONE

    def close(self) -> Awaitable[None]:  # type: ignore[override]
        """No more calls; harmless when repeated."""
        super().close()
        return _DONE

    async def commit_changes(self, commit_id: uuid.UUID | None = None) -> Commit | None:
        """Store what was added as one commit; results and errors as with `EventStream.commit_changes`.

        Cancelled while it is being stored, the stream keeps what was added: committing again under the same
        `commit_id` settles whether it was stored. Cancelled afterwards, it has taken it in.
        """
        return await run_async(self.committing(commit_id))

    async def __aenter__(self) -> AsyncEventStream:
        self._check()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()


class CreatedStream(AsyncEventStream):
    """One that was created, which waits for nothing either: `await` gives the stream itself."""

    def __await__(self) -> Generator[Any, Any, AsyncEventStream]:
        yield from ()
        return self
