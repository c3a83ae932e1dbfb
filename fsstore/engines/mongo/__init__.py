"""The MongoDB engine, for `mongodb://` and `mongodb+srv://`. Needs pymongo: the extra `mongodb`."""

from __future__ import annotations

from typing import Any

from fsstore.engine import PersistenceEngine
from fsstore.serialization import Serializer


def open_engine(
    url: str,
    *,
    serializer: Serializer | None = None,
    database: str | None = None,
    commits: str = "Commits",
    snapshots: str = "Snapshots",
    streams: str = "Streams",
    own: str = "Fsstore",
    write_concern: Any = None,
    read_concern: Any = None,
    **client_options: Any,
) -> PersistenceEngine:
    """The store in the database that the URL or `database` names; not yet connected.

    `commits`, `snapshots`, `streams`: the collections as NEventStore calls them; `own`: that of fsstore's own
    documents. `write_concern` and `read_concern` are pymongo's; everything else goes to its client (`tls`,
    `username`, `authSource`, `timeoutMS`, …).
    """
    try:
        from fsstore.engines.mongo.engine import MongoEngine
        from fsstore.engines.mongo.layout import Names
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in ("pymongo", "bson"):
            raise
        raise ImportError("a MongoDB store needs pymongo: pip install 'fsstore[mongodb]'") from error
    return MongoEngine(
        url,
        serializer=serializer,
        database=database,
        names=Names(commits, snapshots, streams, own),
        write_concern=write_concern,
        read_concern=read_concern,
        client_options=client_options,
    )
