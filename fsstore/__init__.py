"""fsstore: an event store for applications that live on one machine, and the way up. Public names only."""

from fsstore.engine import PersistenceEngine
from fsstore.errors import (
    ConcurrencyError,
    CorruptionError,
    DuplicateCommitError,
    EventStoreError,
    SerializationError,
    StorageError,
    StorageUnavailableError,
    StoreClosedError,
    StreamNotFoundError,
)
from fsstore.model import Commit, CommitAttempt, EventMessage, Snapshot, StreamHead

__version__ = "0.1.0"

__all__ = [
    "Commit",
    "CommitAttempt",
    "ConcurrencyError",
    "CorruptionError",
    "DuplicateCommitError",
    "EventMessage",
    "EventStoreError",
    "PersistenceEngine",
    "SerializationError",
    "Snapshot",
    "StorageError",
    "StorageUnavailableError",
    "StoreClosedError",
    "StreamHead",
    "StreamNotFoundError",
    "__version__",
]
