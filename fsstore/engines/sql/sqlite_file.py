"""The file of an SQLite database: where it is, whether it is one, and what is wrong where SQLite gives only a hint.

Asks the operating system and SQLite, and changes nothing. Knows no statement about commits.
"""

from __future__ import annotations

import errno
import os
import sqlite3
from contextlib import closing
from urllib.parse import quote

from sqlalchemy import URL

_HEADER = b"SQLite format 3\0"
_NO_DATABASE = "file is not a database"
_NOT_OPENED = "unable to open database file"
_OUT_OF_HANDLES = (errno.EMFILE, errno.ENFILE)


def in_memory(url: URL) -> bool:
    """Whether it is an SQLite database that no file holds."""
    return url.get_backend_name() == "sqlite" and url.database in (None, "", ":memory:")


def file_of(url: URL) -> str | None:
    """The path of the database's file; `None` where there is none, and where SQLite's own kind of URI names it."""
    if url.get_backend_name() != "sqlite" or in_memory(url) or str(url.database).startswith("file:"):
        return None
    return os.path.abspath(str(url.database))


def is_missing(url: URL) -> bool:
    """Whether it is an SQLite database whose file is not there."""
    path = file_of(url)
    return path is not None and not os.path.exists(path)


def is_database(path: str) -> bool:
    """Whether there is a file that SQLite would take for one of its own."""
    return is_in_use(path) or _has_header(path)


def is_in_use(path: str) -> bool:
    """Whether somebody has the database open in WAL mode, or had when the power was cut."""
    return os.path.exists(path + "-wal")


def is_wal_at_rest(path: str) -> bool:
    """Whether the database is in WAL mode and nobody has it open."""
    # Without locks SQLite opens none in this mode, and makes no log.
    return not is_in_use(path) and _NOT_OPENED in _said_without("nolock", path)


def _said_without(locks: str, path: str) -> str:
    """What SQLite says of a file in a look that alters nothing and waits for nobody; "" where it is a database.

    Not read otherwise: closing any other handle of it would let go of all locks that SQLite holds on it in this process
    (fcntl(2)). Then two could write at once, and who closes it last would remove the log in use.
    """
    try:
        uri = f"file:{quote(os.fsencode(os.path.abspath(path)))}?mode=ro&{locks}=1"
        with closing(sqlite3.connect(uri, uri=True)) as connection:
            connection.execute("PRAGMA schema_version")
    except sqlite3.Error as error:
        return str(error)
    return ""


def _has_header(path: str) -> bool:
    try:
        if not os.path.isfile(path) or not os.path.getsize(path):  # opening a pipe would wait
            return False
        said = _said_without("immutable", path)
        if _NO_DATABASE not in said:
            return _NOT_OPENED not in said
        # So nobody holds a lock on it.
        with open(path, "rb") as file:
            return file.read(len(_HEADER)) == _HEADER
    except OSError:
        return False


def fault(path: str, said: str) -> str | None:
    """What is wrong at `path` and what to do, where no other try would help after what SQLite `said`."""
    if _NO_DATABASE in said and not _has_header(path):
        return "is no SQLite database: name another path, or move that file away"
    if _NOT_OPENED in said:
        return _not_opened(path)
    return None


def _not_opened(path: str) -> str | None:
    directory = os.path.dirname(path)
    try:
        os.stat(path)
        if os.path.isdir(path):
            return "is a directory: name a file in it"
        if not os.access(path, os.R_OK | os.W_OK):
            return "may not be read and written by this user: change its permissions, or name another path"
    except FileNotFoundError:
        if not os.path.isdir(directory):
            return "cannot be made, its directory does not exist: make it or name another path"
        if not _out_of_handles(directory):
            return "cannot be made in its directory: see to the permissions there, or name another path"
    except OSError as error:
        return f"cannot be opened ({error.strerror}): name another path"
    return None


def _out_of_handles(directory: str) -> bool:
    try:
        os.close(os.open(directory, os.O_RDONLY))
    except OSError as error:
        return error.errno in _OUT_OF_HANDLES
    return False
