"""Recognizing a C# store and opening it, before anything else touches the database."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

from sqlalchemy import URL, select

from fsstore.engines import without_password
from fsstore.engines.sql.dialects import Database, parsed
from fsstore.engines.sql.neventstore.cells import Cells
from fsstore.engines.sql.neventstore.connecting import Connecting, sqlite_engine
from fsstore.engines.sql.neventstore.engine import NEventStoreEngine
from fsstore.engines.sql.neventstore.generation import Generation, recognized
from fsstore.engines.sql.neventstore.rows import Rows, hashed
from fsstore.engines.sql.neventstore.writing import ISOLATION, Writing
from fsstore.engines.sql.sqlite_file import file_of, is_database
from fsstore.engines.sql.transactions import checked_timeout, connected
from fsstore.errors import SerializationError, StorageError
from fsstore.model import checked_at_least
from fsstore.serialization import Serializer
from fsstore.serialization.neventstore import NEventStoreJson, NEventStorePayloads, PayloadWriter
from fsstore.serialization.neventstore.payloads import innermost

_SAMPLES = 200


def open_csharp_store(
    url: str,
    serializer: Serializer | None,
    *,
    timeout_seconds: float = 30.0,
    pool_size: int = 8,
    create: bool = True,
    **sqlalchemy_options: Any,
) -> NEventStoreEngine | None:
    """The engine over the C# store in a database; `None` when it holds none, or one of fsstore's own. The options are
    those of `SqlEngine`; nothing is ever created."""
    found, database = parsed(url)
    timeout_seconds, pool_size = checked_timeout(timeout_seconds), checked_at_least(pool_size, 0, "pool_size")
    connecting = partial(_connecting, found, database, timeout_seconds, pool_size, sqlalchemy_options)
    if found.get_backend_name() == "sqlite":
        path = file_of(found)
        if path is None or not is_database(path):
            return None  # what else is wrong with the file is for `SqlEngine`
    reading = connecting(write=False)
    try:
        generation = _generation(reading)
        if generation is None:
            reading.close()
            return None
        rows = _rows(reading, generation, NEventStorePayloads.of(serializer))
        payloads = _writer(reading, rows, serializer)
        if not isinstance(payloads, PayloadWriter):
            return NEventStoreEngine(reading, rows, payloads)
    except BaseException:
        reading.close()
        raise
    reading.close()
    writing = connecting(write=True)
    return NEventStoreEngine(writing, rows, Writing(writing, rows, payloads))


def _connecting(
    url: URL, database: Database, timeout_seconds: float, pool_size: int, options: dict[str, Any], *, write: bool
) -> Connecting:
    backend = url.get_backend_name()
    if backend == "sqlite":
        engine = sqlite_engine(str(url.database), database, timeout_seconds, write=write)
    else:
        isolation = ISOLATION.get(backend, database.isolation) if write else database.isolation
        engine = connected(url, replace(database, isolation=isolation), timeout_seconds, pool_size, options)
    name = without_password(url.render_as_string(hide_password=True))
    return Connecting(engine, database, name, timeout_seconds)


def _generation(connecting: Connecting) -> Generation | None:
    try:
        return connecting.read(recognized)
    except StorageError:
        # A file that others are making or closing at this moment may be no database for an instant; `SqlEngine`
        # waits for them, and touches no table that it did not make.
        if connecting.dialect == "sqlite":
            return None
        raise


def _writer(connecting: Connecting, rows: Rows, serializer: Serializer | None) -> PayloadWriter | str:
    """What writes rows like those that are there, or the reason why nothing is written."""
    store = f"{connecting.name} is a store of {rows.generation}, a C# library"
    if not rows.generation.is_numbered:
        return (
            f"{store}, in tables that fsstore reads and does not write: `fsstore copy` brings it into a store that "
            "can be written"
        )
    if not isinstance(innermost(serializer), NEventStoreJson):
        return (
            f"{store}, and is opened for reading only: to write rows as that library would, build the store with "
            "using_serializer('neventstore_json')"
        )
    if rows.generation.snapshots is None or not rows.own_hash:
        return f"{store}, with tables or keys of streams that the library itself does not make: it is not written"
    try:
        return PayloadWriter(rows.payloads, _samples(connecting, rows))
    except SerializationError as error:
        return f"{store}, and is not written: {error}"


def _rows(connecting: Connecting, generation: Generation, payloads: NEventStorePayloads) -> Rows:
    """What the tables' rows are like, by the first that comes."""
    rows = Rows(generation, Cells(connecting.dialect, generation.zoned), payloads)
    found = connecting.ask(select(*rows.columns).limit(1))
    if not found:
        return rows
    cells = found[0]._mapping
    own_hash = not generation.has_buckets or str(cells["streamid"]).rstrip() == hashed(rows.stream(found[0]))
    return replace(rows, cells=rows.cells.like(cells["commitid"], cells["commitstamp"]), own_hash=own_hash)


def _samples(connecting: Connecting, rows: Rows) -> list[bytes]:
    """The payloads of the newest commits, and of the oldest."""
    table = rows.generation.commits.c
    return [
        row[0]
        for order in (table.checkpointnumber.desc(), table.checkpointnumber)
        for row in connecting.ask(select(table.payload).order_by(order).limit(_SAMPLES))
    ]
