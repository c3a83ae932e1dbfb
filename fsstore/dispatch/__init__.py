"""Handing commits on: dispatchers, and the schedulers that call them at least once and in order."""

from fsstore.dispatch.delivery import published_health
from fsstore.dispatch.dispatchers import DelegateMessageDispatcher, Dispatcher, NullDispatcher
from fsstore.dispatch.parking import PARKED_BUCKET, ParkedCommit, Parking
from fsstore.dispatch.policy import DispatchHealth, Retry
from fsstore.dispatch.schedulers import AsynchronousDispatchScheduler, SynchronousDispatchScheduler

__all__ = [
    "PARKED_BUCKET",
    "AsynchronousDispatchScheduler",
    "DelegateMessageDispatcher",
    "DispatchHealth",
    "Dispatcher",
    "NullDispatcher",
    "ParkedCommit",
    "Parking",
    "Retry",
    "SynchronousDispatchScheduler",
    "published_health",
]
