"""What receives commits. A dispatcher knows where they go; when and how often it is called is a scheduler's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

from fsstore.errors import StoreClosedError
from fsstore.model import Commit


class DispatcherGoneError(StoreClosedError):
    """The dispatcher can be called no more: whoever delivers to it ends, and no commit has failed."""


@runtime_checkable
class Dispatcher(Protocol):
    """Receives commits, at least once each, in checkpoint order. In an asynchronous store the methods may be
    coroutine functions; they are called in the event loop, and in a thread where the attribute `blocks` is true."""

    def dispatch(self, commit: Commit) -> object:
        """Hand `commit` on; when this returns, the commit counts as delivered. Any exception means: try again."""
        ...

    def close(self) -> object:
        """Let go of what was opened."""
        ...


class NullDispatcher:
    """Delivers to nobody."""

    def dispatch(self, commit: Commit) -> None: ...

    def close(self) -> None: ...


class DelegateMessageDispatcher:
    """Calls a function, in an asynchronous store a coroutine function if you like, with every commit."""

    def __init__(self, deliver: Callable[[Commit], Any]) -> None:
        if not callable(deliver):
            raise TypeError(f"a function is needed, or what has a `dispatch`, not {type(deliver).__name__}")
        self._deliver = deliver

    def dispatch(self, commit: Commit) -> Any:
        return self._deliver(commit)

    def close(self) -> None: ...
