"""What a driver's error means for a caller: try again, somebody was first, come back later, or a plain failure.

The one judge of errors, so that everybody who waits for a database, in whatever way, decides alike. Knows no
statement and no connection.
"""

from __future__ import annotations

import enum
import random

from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as NoConnectionError

from fsstore.engines.sql.dialects import Database, code_of
from fsstore.engines.sql.sqlite_file import fault
from fsstore.errors import CorruptionError, StorageError, StorageUnavailableError

TRIES = 12
"""How often a transaction is tried that others keep in the way of, or whose connection turned out to be dead."""


DONE_AGAIN = "do the same again"
COMMITTED_AGAIN = "commit the same attempt again, a DuplicateCommitError then says that it was stored"
"""What settles whether something was stored."""


class Verdict(enum.Enum):
    """What to do about an error."""

    AGAIN = enum.auto()
    """Nothing was stored; a new transaction may succeed."""
    RECONNECT = enum.auto()
    """The connection is gone before anything was stored; a new one may be there."""
    DUPLICATE = enum.auto()
    """A key is there already."""
    IN_DOUBT = enum.auto()
    """It cannot be known whether the transaction was stored."""
    UNAVAILABLE = enum.auto()
    """Nothing was stored, nor will be soon."""
    DAMAGED = enum.auto()
    """What the database holds is not what was stored."""
    FAILED = enum.auto()
    """Nothing was stored; the database refuses what it was asked."""


def judged(error: SQLAlchemyError, database: Database, *, committing: bool) -> Verdict:
    """What `error` means; `committing` when it is the answer to COMMIT, or that there was none."""
    if isinstance(error, NoConnectionError):
        return Verdict.UNAVAILABLE
    if not isinstance(error, DBAPIError):
        return Verdict.FAILED
    code = code_of(error)
    if database.again.search(code):
        return Verdict.AGAIN
    if committing and not database.undone.search(code):
        return Verdict.IN_DOUBT
    if isinstance(error, IntegrityError) and database.duplicate.search(code):
        return Verdict.DUPLICATE
    if error.connection_invalidated:
        return Verdict.RECONNECT
    if database.damaged.search(code):
        return Verdict.DAMAGED
    if database.refuses.search(code):
        return Verdict.FAILED
    if database.unavailable.search(code):
        return Verdict.UNAVAILABLE
    # A connection that was never made has no connection that could be invalidated.
    return Verdict.RECONNECT if error.statement is None else Verdict.FAILED


def pause_seconds(tries: int) -> float:
    """How long to wait before the next try: longer each time, and not in step with others."""
    return min(0.005 * 2.0**tries, 0.5) * random.uniform(0.5, 1.0)


def file_error(error: SQLAlchemyError, path: str, what: str) -> StorageError | None:
    """The error for the caller where the file of an SQLite database is at fault; `None` where it is not known to be."""
    found = fault(path, _said(error))
    return None if found is None else StorageError(f"{what}: {path} {found}")


def storage_error(
    error: SQLAlchemyError,
    verdict: Verdict,
    database: Database,
    what: str,
    path: str | None = None,
    settles: str = DONE_AGAIN,
) -> StorageError:
    """The error for the caller, with what the database said; `path` is that of an SQLite database's file, and
    `settles` says what to do where it is in doubt."""
    said = _said(error)
    if verdict is Verdict.DAMAGED:
        other = "" if path is None else "; without one, .recover of the sqlite3 shell saves what can be read"
        return CorruptionError(
            f"{what}: {database.name} found damage ({said})",
            path=path,
            expected="what was stored",
            repair=f"put a backup of the database in its place{other}",
        )
    if verdict is Verdict.IN_DOUBT:
        return StorageUnavailableError(
            f"{what}: whether {database.name} stored it is in doubt; {settles} ({said})",
            in_doubt=True,
        )
    if verdict in (Verdict.UNAVAILABLE, Verdict.RECONNECT, Verdict.AGAIN):
        return StorageUnavailableError(
            f"{what}: {database.name} cannot do it now, nothing was stored, try again later ({said})"
        )
    return StorageError(f"{what}: {database.name} refused ({said})")


def _said(error: SQLAlchemyError) -> str:
    return str(getattr(error, "orig", None) or error).strip()
