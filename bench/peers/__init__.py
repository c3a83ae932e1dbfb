"""The contenders: one module each, all behind `Peer`. A library that is missing is said, not skipped in silence."""

from __future__ import annotations

from importlib import import_module

from bench.peers.peer import Peer

_MODULES = {
    "fsstore": ("fsstore_file", "FsstoreFile"),
    "sqlite": ("sqlite", "Sqlite"),
    "lmdb": ("lmdb_", "Lmdb"),
    "rocksdb": ("rocksdb", "RocksDb"),
    "eventsourcing": ("eventsourcing_recorder", "Recorder"),
    "eventsourcing-app": ("eventsourcing_application", "Application"),
    "umadb": ("umadb_", "UmaDb"),
}
PEERS = ("floor", *(name for name in _MODULES if name != "fsstore"))
TITLES = {
    "floor": "disk's floor",
    "fsstore": "fsstore",
    "sqlite": "SQLite",
    "lmdb": "LMDB",
    "rocksdb": "RocksDB",
    "eventsourcing": "eventsourcing, recorder",
    "eventsourcing-app": "eventsourcing, application",
    "umadb": "UmaDB",
    "clean": "after a clean stop",
    "killed": "after SIGKILL",
    "empty": "an empty store",
    "long-stream": "a stream of 1M commits",
    "many-streams": "a store of 1M streams",
    "packed": "packed records alone",
}


class NotAvailableError(Exception):
    """This contender cannot run here; says why."""


def peer(name: str) -> type[Peer]:
    """The contender of that name; `NotAvailableError` when what it needs is not installed."""
    module, kind = _MODULES[name]
    try:
        found: type[Peer] = getattr(import_module(f"bench.peers.{module}"), kind)
    except ImportError as error:
        raise NotAvailableError(f"{error}; pip install 'fsstore[bench]'") from error
    return found
