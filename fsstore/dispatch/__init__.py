"""Handing commits on, at least once and in order: schedulers push them to dispatchers, subscribers pull them."""

from fsstore.dispatch.delivery import published_health
from fsstore.dispatch.dispatchers import DelegateMessageDispatcher, Dispatcher, NullDispatcher
from fsstore.dispatch.forwarding import ForwardingDispatcher
from fsstore.dispatch.parking import PARKED_BUCKET, ParkedCommit, Parking
from fsstore.dispatch.policy import DispatchHealth, Retry
from fsstore.dispatch.positions import SubscriptionState
from fsstore.dispatch.projections import SqliteProjection, StoreProjection
from fsstore.dispatch.schedulers import AsynchronousDispatchScheduler, SynchronousDispatchScheduler
from fsstore.dispatch.subscription import Subscription
from fsstore.dispatch.subscriptions import Subscriptions

__all__ = [
    "PARKED_BUCKET",
    "AsynchronousDispatchScheduler",
    "DelegateMessageDispatcher",
    "DispatchHealth",
    "Dispatcher",
    "ForwardingDispatcher",
    "NullDispatcher",
    "ParkedCommit",
    "Parking",
    "Retry",
    "SqliteProjection",
    "StoreProjection",
    "Subscription",
    "SubscriptionState",
    "Subscriptions",
    "SynchronousDispatchScheduler",
    "published_health",
]
