"""Recognizing a C# store and opening it, before anything else touches the database."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace

from sqlalchemy import Engine, select

from fsstore.engines.sql.neventstore.cells import Cells
from fsstore.engines.sql.neventstore.connecting import Connecting, sqlite_engine
from fsstore.engines.sql.neventstore.engine import NEventStoreEngine
from fsstore.engines.sql.neventstore.generation import Generation, recognized
from fsstore.engines.sql.neventstore.rows import Rows, hashed
from fsstore.engines.sql.neventstore.writing import Writing
from fsstore.errors import SerializationError
from fsstore.serialization import Serializer
from fsstore.serialization.neventstore import NEventStoreJson, NEventStorePayloads, PayloadWriter
from fsstore.serialization.neventstore.payloads import innermost

_SAMPLES = 200


def open_sqlite(path: str, serializer: Serializer | None) -> NEventStoreEngine | None:
    """The engine over the C# store in an SQLite file; `None` when the file is not there or holds none."""
    if not os.path.isfile(path) or not os.path.getsize(path):
        return None
    return open_database(lambda write: sqlite_engine(path, write=write), path, serializer)


def open_database(
    engine_for: Callable[[bool], Engine], name: str, serializer: Serializer | None
) -> NEventStoreEngine | None:
    """The engine over the C# store in a database; `None` when it holds none, or one of fsstore's own. `engine_for`
    gives SQLAlchemy's engine, for writing or not; `name` is the database's in messages."""
    reading = Connecting(engine_for(False), name)
    try:
        with reading.connect() as connection:
            generation = recognized(connection)
        if generation is None:
            reading.close()
            return None
        rows = _rows(reading, generation, NEventStorePayloads.of(serializer))
        if not isinstance(innermost(serializer), NEventStoreJson):
            return NEventStoreEngine(reading, rows, _ask_for_permission(name, generation))
        if not generation.is_numbered or generation.snapshots is None or not rows.own_hash:
            return NEventStoreEngine(reading, rows, _never(name, generation))
        try:
            payloads = PayloadWriter(rows.payloads, _samples(reading, rows))
        except SerializationError as error:
            return NEventStoreEngine(reading, rows, f"{name} is opened for reading only: {error}")
    except BaseException:
        reading.close()
        raise
    reading.close()
    writing = Connecting(engine_for(True), name)
    return NEventStoreEngine(writing, rows, Writing(writing, rows, payloads))


def _rows(connecting: Connecting, generation: Generation, payloads: NEventStorePayloads) -> Rows:
    """What the tables' rows are like, by the first that comes."""
    rows = Rows(generation, Cells(connecting.dialect, generation.zoned), payloads)
    with connecting.connect() as connection:
        row = connection.execute(select(*rows.columns).limit(1)).first()
    if row is None:
        return rows
    cells = row._mapping
    own_hash = not generation.has_buckets or str(cells["streamid"]).rstrip() == hashed(rows.stream(row))
    return replace(rows, cells=rows.cells.like(cells["commitid"], cells["commitstamp"]), own_hash=own_hash)


def _samples(connecting: Connecting, rows: Rows) -> list[bytes]:
    """The payloads of the newest commits, and of the oldest."""
    table = rows.generation.commits.c
    with connecting.connect() as connection:
        return [
            payload
            for order in (table.checkpointnumber.desc(), table.checkpointnumber)
            for (payload,) in connection.execute(select(table.payload).order_by(order).limit(_SAMPLES))
        ]


def _ask_for_permission(name: str, generation: Generation) -> str:
    if not generation.is_numbered:
        return _never(name, generation)
    return (
        f"{name} is a store of {generation}, a C# library, and is opened for reading only: to write rows as that "
        "library would, build the store with using_serializer('neventstore_json')"
    )


def _never(name: str, generation: Generation) -> str:
    return (
        f"{name} is a store of {generation}, a C# library, in tables that fsstore reads and does not write: "
        "`fsstore copy` brings it into a store that can be written"
    )
