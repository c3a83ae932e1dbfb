"""One stream in the hands of one task: the rules of `WorkingCopy`, awaited."""

from __future__ import annotations

import uuid
from types import TracebackType

from fsstore.model import Commit
from fsstore.steps import run_async
from fsstore.stream import WorkingCopy


class AsyncEventStream(WorkingCopy):
    """The events of one stream, and a place to gather new ones. Used by one task; `async with` closes it.

    `add` and everything that only looks are plain calls.
    """

    async def commit_changes(self, commit_id: uuid.UUID | None = None) -> Commit | None:
        """Store what was added as one commit; results and errors as with `EventStream.commit_changes`.

        Cancelled while it is being stored, the stream keeps what was added: committing again under the same
        `commit_id` settles whether it was stored. Cancelled afterwards, it has taken it in.
        """
        return await run_async(self.committing(commit_id))

    async def __aenter__(self) -> AsyncEventStream:
        self._check()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
