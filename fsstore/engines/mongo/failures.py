"""The server's and the driver's errors as ours: whether to come back later, and whether a commit is in doubt."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pymongo.errors import (
    AutoReconnect,
    ConnectionFailure,
    DocumentTooLarge,
    ExecutionTimeout,
    PyMongoError,
    ServerSelectionTimeoutError,
    WriteConcernError,
    WTimeoutError,
)

from fsstore.errors import StorageError, StorageUnavailableError

_DUPLICATE_KEY = 11000
_TOO_LARGE = 10334
_WRITE_CONFLICT = 112
# The server's answers that mean "not now": it is stepping down, shutting down, not primary, or was interrupted.
_LATER = {6, 7, 50, 89, 91, _WRITE_CONFLICT, 134, 189, 262, 9001, 10107, 11600, 11602, 13435, 13436}


def our_error(error: PyMongoError, *, writing: bool) -> Exception:
    """What to raise for an error that no conversation expected.

    `writing`: the call may have stored something although its answer was lost. Only a server that could not be
    chosen at all has certainly not been asked; pymongo gives the first error when a retry cannot find one.
    """
    code = _code(error)
    if isinstance(error, DocumentTooLarge) or code == _TOO_LARGE:
        return ValueError(f"MongoDB takes no document of more than 16 MiB: {error}")
    if isinstance(error, ServerSelectionTimeoutError):
        return StorageUnavailableError(f"no MongoDB server could be reached, nothing was asked of it: {error}")
    unanswered = isinstance(
        error, AutoReconnect | ConnectionFailure | ExecutionTimeout | WriteConcernError | WTimeoutError
    )
    if unanswered or code in _LATER or error.has_error_label("RetryableWriteError"):
        doubt = writing and code != _WRITE_CONFLICT
        hint = "; whether it was stored is in doubt: commit the same attempt again to settle it" if doubt else ""
        return StorageUnavailableError(f"MongoDB did not answer as it should: {error}{hint}", in_doubt=doubt)
    return StorageError(f"MongoDB refused: {error}")


def duplicate_index(error: PyMongoError) -> tuple[str, int] | None:
    """For error 11000 the name of the index that was hit, and which document of several hit it."""
    found = _details(error)
    if found.get("code") != _DUPLICATE_KEY:
        return None
    # The message says "E11000 duplicate key error collection: db.Commits index: LogicalKey_Index dup key: …".
    name = str(found.get("errmsg", "")).partition(" index: ")[2].partition(" ")[0].rpartition("$")[2]
    return name or _named_by_pattern(found.get("keyPattern") or {}), int(found.get("index", 0))


def _details(error: PyMongoError) -> Mapping[str, Any]:
    """What the server said; of a bulk write about the first document that failed."""
    details: Mapping[str, Any] = getattr(error, "details", None) or {}
    return next(iter(details.get("writeErrors", ())), details)


def _code(error: PyMongoError) -> int | None:
    return _details(error).get("code") or getattr(error, "code", None)


def _named_by_pattern(pattern: Mapping[str, Any]) -> str:
    """The index by its keys, for servers whose message does not name it."""
    if "CommitId" in pattern:
        return "CommitId_Index"
    return "_id_" if list(pattern) == ["_id"] else "LogicalKey_Index"
