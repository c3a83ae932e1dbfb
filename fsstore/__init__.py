"""fsstore: an event store for applications that live on one machine, and the way up. Public names only."""

from fsstore.aio import AsyncEventStore, AsyncEventStream
from fsstore.dispatch import DelegateMessageDispatcher, Dispatcher, NullDispatcher
from fsstore.engine import AsyncPersistenceEngine, DeliveryEngine, Lease, PersistenceEngine
from fsstore.errors import (
    AfterCommitError,
    ConcurrencyError,
    CorruptionError,
    DispatchError,
    DuplicateCommitError,
    EventStoreError,
    ForwardingConflictError,
    LeaseLostError,
    SerializationError,
    StorageError,
    StorageUnavailableError,
    StoreClosedError,
    StreamNotFoundError,
)
from fsstore.hooks import PipelineHook
from fsstore.model import Commit, CommitAttempt, EventMessage, Snapshot, StreamHead
from fsstore.serialization import Keys, MsgpackSerializer, Serializer, TypeName, TypeRegistry, event_type
from fsstore.store import EventStore
from fsstore.stream import EventStream
from fsstore.wireup import Wireup, open, open_async

__version__ = "0.1.0"

__all__ = [
    "AfterCommitError",
    "AsyncEventStore",
    "AsyncEventStream",
    "AsyncPersistenceEngine",
    "Commit",
    "CommitAttempt",
    "ConcurrencyError",
    "CorruptionError",
    "DelegateMessageDispatcher",
    "DeliveryEngine",
    "DispatchError",
    "Dispatcher",
    "DuplicateCommitError",
    "EventMessage",
    "EventStore",
    "EventStoreError",
    "EventStream",
    "ForwardingConflictError",
    "Keys",
    "Lease",
    "LeaseLostError",
    "MsgpackSerializer",
    "NullDispatcher",
    "PersistenceEngine",
    "PipelineHook",
    "SerializationError",
    "Serializer",
    "Snapshot",
    "StorageError",
    "StorageUnavailableError",
    "StoreClosedError",
    "StreamHead",
    "StreamNotFoundError",
    "TypeName",
    "TypeRegistry",
    "Wireup",
    "__version__",
    "event_type",
    "open",
    "open_async",
]
