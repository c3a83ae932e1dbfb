"""Handing commits on: dispatchers, and the schedulers that call them at least once and in order."""

from fsstore.dispatch.dispatchers import DelegateMessageDispatcher, Dispatcher, NullDispatcher
from fsstore.dispatch.schedulers import (
    AsynchronousDispatchScheduler,
    DispatchHealth,
    Retry,
    SynchronousDispatchScheduler,
)

__all__ = [
    "AsynchronousDispatchScheduler",
    "DelegateMessageDispatcher",
    "DispatchHealth",
    "Dispatcher",
    "NullDispatcher",
    "Retry",
    "SynchronousDispatchScheduler",
]
