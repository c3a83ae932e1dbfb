"""Every error that fsstore raises on purpose, in one tree under `EventStoreError`.

A caller decides by class; a person reads the message, which names bucket, stream and commit and says what
to do. A bad argument is the caller's mistake and stays a `ValueError` or `TypeError`. This module knows
nothing else of the package.
"""

from __future__ import annotations


class EventStoreError(Exception):
    """Above all errors of this package."""


class ConcurrencyError(EventStoreError):
    """Another writer was first, or the attempt does not directly follow the stream's head.

    Nothing was stored. Read what is new, decide again, commit again.
    """


class DuplicateCommitError(EventStoreError):
    """This commit id is in the stream already: the commit was stored earlier, nothing was stored now."""


class StreamNotFoundError(EventStoreError):
    """The stream has no commit in the range that was asked for."""


class SerializationError(EventStoreError):
    """A value cannot be written, or stored bytes cannot be read, by the store's serializer.

    `path` leads to the offending value from the root of what was serialized: keys and positions.
    """

    def __init__(self, message: str, path: tuple[str | int, ...] = ()) -> None:
        super().__init__(message)
        self.path = path


class StoreClosedError(EventStoreError):
    """The store, stream or engine was closed, or inherited over a fork; open it again."""


class StorageError(EventStoreError):
    """The storage failed or refused. As itself, and not as one of its subclasses, it says that trying again does not
    help: something has to be changed first, which the message names."""


class StorageUnavailableError(StorageError):
    """The storage cannot do this now; come back later.

    `in_doubt` is true when a commit may or may not have been stored. Committing the same attempt again
    settles it: `DuplicateCommitError` says that it was.
    """

    def __init__(self, message: str, *, in_doubt: bool = False) -> None:
        super().__init__(message)
        self.in_doubt = in_doubt


class LeaseLostError(StorageError):
    """Somebody else delivers under this name by now: stop, what was not acknowledged is theirs."""


class CorruptionError(StorageError):
    """Stored bytes are not what was acknowledged. Nothing was cut or changed by finding it.

    `what` says what is wrong, `path` and `offset_bytes` where, `expected` what should be there, `repair` the command
    that mends it.
    """

    def __init__(
        self,
        message: str,
        *,
        path: str | None = None,
        offset_bytes: int | None = None,
        expected: str | None = None,
        repair: str | None = None,
    ) -> None:
        details = [message]
        if path is not None:
            details.append(f"file {path}" + ("" if offset_bytes is None else f" at byte {offset_bytes}"))
        if expected is not None:
            details.append(f"expected {expected}")
        if repair is not None:
            details.append(f"to repair: {repair}")
        super().__init__("; ".join(details))
        self.what = message
        self.path = path
        self.offset_bytes = offset_bytes
        self.expected = expected
        self.repair = repair


class AfterCommitError(EventStoreError):
    """The commit is stored; a hook or the dispatch that followed it failed. Do not commit again.

    `commit` is what was stored.
    """

    def __init__(self, message: str, commit: object = None) -> None:
        super().__init__(message)
        self.commit = commit


class DispatchError(AfterCommitError):
    """The commit is stored, but a dispatcher kept failing; delivery goes on from the commit it failed at."""


class ForwardingConflictError(EventStoreError):
    """A commit cannot be copied because its stream goes another way at the other end. Trying again cannot help."""
