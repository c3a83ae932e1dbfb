"""Dispatch and subscriptions for tasks: the rules and the waiting of `fsstore.dispatch`, in threads of their own.

Dispatchers and hooks are called in the event loop, one at a time, whether they are functions or coroutine
functions; only the waiting for the store happens elsewhere. Knows anyio (extra `aio`) and no engine.
"""

from __future__ import annotations

import _thread
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from fsstore.dispatch import Dispatcher, Subscription, Subscriptions, SubscriptionState
from fsstore.dispatch.dispatchers import DispatcherGoneError
from fsstore.dispatch.schedulers import Scheduler
from fsstore.dispatch.subscription import put_down
from fsstore.engine import PersistenceEngine
from fsstore.errors import StoreClosedError
from fsstore.hooks import Hooks
from fsstore.model import Commit, checked_seconds
from fsstore.steps import Call, Steps, run_async

if TYPE_CHECKING:
    from anyio import CapacityLimiter

T = TypeVar("T")
# How long a task that is cancelled while it waits for a commit may be kept from ending.
_SLICE_SECONDS = 0.2


class InLoop:
    """Has a thread's work done in the event loop that made this."""

    def __init__(self) -> None:
        from anyio import RunFinishedError, from_thread
        from anyio.lowlevel import current_token

        self._run = from_thread.run
        self._ended = RunFinishedError
        self._token = current_token()

    def __call__(self, make: Callable[[], Steps[Any]]) -> Any:
        """Carry out the steps in the loop and wait for their result."""

        async def carry_out() -> Any:
            return await run_async(make())

        try:
            return self._run(carry_out, token=self._token)
        except self._ended as error:
            raise DispatcherGoneError(
                "the event loop in which this store was opened has ended; close the store in it, and open one in each"
            ) from error


class LoopDispatcher:
    """A dispatcher for a scheduler's thread that calls `inner` in the event loop, unless that `blocks`."""

    def __init__(self, inner: Dispatcher, in_loop: InLoop) -> None:
        self._inner = inner
        self._in_loop = in_loop
        self._blocks = getattr(inner, "blocks", False) is True

    def dispatch(self, commit: Commit) -> None:
        self._call(self._inner.dispatch, commit)

    def close(self) -> None:
        self._call(self._inner.close)

    def _call(self, function: Callable[..., Any], *arguments: Any) -> None:
        if self._blocks:
            function(*arguments)
        else:
            self._in_loop(lambda: _calling(function, *arguments))


def _calling(function: Callable[..., Any], *arguments: Any) -> Steps[Any]:
    return (yield Call(function, arguments))


def selecting_in_loop(hooks: Hooks, in_loop: InLoop) -> Callable[[Commit], Commit | None]:
    """What the hooks leave of a commit, for threads that read; the hooks run in the event loop."""

    def select(commit: Commit) -> Commit | None:
        if not hooks.change_reading:
            return commit
        selected: Commit | None = in_loop(lambda: hooks.selecting(commit))
        return selected

    return select


class AwaitedScheduler:
    """A scheduler whose calls wait in a thread, those of commits one after the other."""

    def __init__(self, scheduler: Scheduler) -> None:
        from anyio import CapacityLimiter

        self._scheduler = scheduler
        self._one = CapacityLimiter(1)
        self._starting = threading.Lock()
        self._started = False

    async def start(self) -> None:
        """Harmless when repeated, also after it was cancelled."""
        await _in_thread(self._start)

    def _start(self) -> None:
        with self._starting:
            if not self._started:
                self._started = True
                self._scheduler.start()

    async def committed(self, commit: Commit) -> None:
        if not self._scheduler.told(commit):
            await _to_the_end(self._scheduler.committed, commit, limiter=self._one)

    async def close(self) -> None:
        await _in_thread(self._scheduler.close)


class AsyncSubscription:
    """A `Subscription` for one task: `async for` waits for new commits, `async with` closes it.

    The rules of acknowledging are the same. A commit that was fetched for a task that was cancelled comes with
    the next step. `held` keeps what was made from being collected, as it would put itself down where that happens,
    which is often the event loop's thread.
    """

    def __init__(
        self, make: Callable[[], Subscription], held: set[Subscription], timeout_seconds: float | None
    ) -> None:
        self._make = make
        self._held = held
        self._timeout_seconds = timeout_seconds
        self._subscription: Subscription | None = None
        self._mutex = threading.Lock()
        self._fetched: deque[Commit] = deque()
        self._closed = False

    def __aiter__(self) -> AsyncIterator[Commit]:
        return self

    async def __anext__(self) -> Commit:
        import anyio
        from anyio.lowlevel import checkpoint

        subscription = self._subscription
        if subscription is not None and subscription.has_at_hand:
            await checkpoint()
            if not self._fetched and not self._closed:
                commit = subscription.next_at_hand()
                if commit is not None:
                    return commit
        left = float("inf")
        if self._timeout_seconds is not None:
            left = checked_seconds(self._timeout_seconds, "timeout_seconds")
        until = anyio.current_time() + left
        # At least one look, so that without any time there is what is there now.
        while not self._fetched and not self._closed:
            await _in_thread(self._fetch, min(left, _SLICE_SECONDS))
            left = until - anyio.current_time()
            if left <= 0:
                break
        if not self._fetched:
            raise StopAsyncIteration
        return self._fetched.popleft()

    def _opened(self) -> Subscription:
        if self._subscription is None:
            if self._closed:
                raise StoreClosedError("this consumer was closed before it had been handed out any commit")
            self._subscription = self._make()
            self._held.add(self._subscription)
        return self._subscription

    def _fetch(self, seconds: float) -> None:
        with self._mutex:
            if self._fetched or self._closed:
                return
            subscription = self._opened()
            subscription.timeout_seconds = seconds
            commit = next(subscription, None)
            if commit is not None:
                self._fetched.append(commit)
                subscription.read_ahead()
            elif subscription.closed:
                self._closed = True
            if self._closed:  # meanwhile, and before there was anything that `close` could have closed
                subscription.close()

    async def acknowledge(self, commit: Commit) -> None:
        """`commit`, and all that were handed out before it, need not come again; remembered on return."""
        await _in_thread(lambda: self._opened().acknowledge(commit))

    @property
    def position(self) -> int:
        """The token up to which nothing comes again, as this consumer knows it; 0 before the first step."""
        return 0 if self._subscription is None else self._subscription.position

    async def close(self) -> None:
        """Remember what was acknowledged and let others go on. Harmless when repeated."""
        self._closed = True
        if self._subscription is not None:
            await _to_the_end(self._subscription.close)

    def __del__(self) -> None:
        subscription: Subscription | None = getattr(self, "_subscription", None)
        if subscription is None:
            return
        if subscription.closed:
            self._held.discard(subscription)
            return
        # A loop that was left with `break` has nobody who could close it. `threading` has locks, which may be held
        # by whoever is interrupted here.
        with suppress(RuntimeError):  # the interpreter ends
            _thread.start_new_thread(_put_down, (subscription, self._held))

    async def __aenter__(self) -> AsyncSubscription:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def _put_down(subscription: Subscription, held: set[Subscription]) -> None:
    put_down(subscription)
    held.discard(subscription)


class AsyncSubscriptions:
    """All subscriptions of one store, awaited."""

    def __init__(self, engine: PersistenceEngine, select: Callable[[Commit], Commit | None] | None) -> None:
        self._all = Subscriptions(engine, select)
        self._held: set[Subscription] = set()

    def subscribe(self, name: str, *, timeout_seconds: float | None = None, **options: Any) -> AsyncSubscription:
        """A consumer of `name`; nothing is read before its first step."""
        self._all.check(name, {"timeout_seconds": timeout_seconds, **options})
        return AsyncSubscription(lambda: self._all.subscribe(name, **options), self._held, timeout_seconds)

    async def all(self) -> list[SubscriptionState]:
        """Every subscription of which anything is remembered, by name."""
        return await _in_thread(self._all.all)

    async def reset(self, name: str, checkpoint_token: int = 0) -> None:
        """Have everything after the token delivered again."""
        await _in_thread(self._all.reset, name, checkpoint_token)

    async def delete(self, name: str) -> None:
        """Forget it."""
        await _in_thread(self._all.delete, name)

    async def close(self) -> None:
        """Close every subscription that is open."""
        await _to_the_end(self._all.close)


async def _in_thread(function: Callable[..., T], *arguments: Any) -> T:
    """The function's result, from a thread that no other waiting call can keep it from having; not begun for a task
    whose scope is cancelled already."""
    from anyio.lowlevel import checkpoint_if_cancelled

    await checkpoint_if_cancelled()
    return await _to_the_end(function, *arguments)


async def _to_the_end(  # type: ignore[return]  # a scope may swallow
    function: Callable[..., T], *arguments: Any, limiter: CapacityLimiter | None = None
) -> T:
    """Have a thread do it, whoever is cancelled: it must not be left out. With a limiter, when that has one.

    A scope of its own, as anyio cancels with the caller's what a thread has done in the event loop.
    """
    from anyio import CancelScope, CapacityLimiter, to_thread

    with CancelScope(shield=True):
        return await to_thread.run_sync(function, *arguments, limiter=limiter or CapacityLimiter(1))
