"""Collections, fields and indexes, and recognizing whose database it is before anything is written.

Collections, fields and index names are those of NEventStore.Persistence.MongoDB. What only fsstore keeps stands
in one collection of its own, `Fsstore`: the mark that tells a store of ours, and what delivery remembers.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, fields
from typing import Any

from bson.binary import UuidRepresentation
from bson.codec_options import CodecOptions, DatetimeConversion

from fsstore.engines.mongo.calls import Conversation, Document, call, find
from fsstore.errors import StorageError

COMMITS, SNAPSHOTS, STREAMS, OWN, DATABASE = "commits", "snapshots", "streams", "own", "database"
MARK = "store"
FORMAT = 1
PAGE = 500
MOST = (1 << 63) - 1

# GUIDs have two forms, so they are told apart here and not by the driver; C# knows times that Python does not.
CODEC: CodecOptions[Any] = CodecOptions(
    tz_aware=True,
    uuid_representation=UuidRepresentation.UNSPECIFIED,
    datetime_conversion=DatetimeConversion.DATETIME_AUTO,
)


@dataclass(frozen=True, slots=True)
class Names:
    """What the collections are called in this database."""

    commits: str = "Commits"
    snapshots: str = "Snapshots"
    streams: str = "Streams"
    own: str = "Fsstore"

    def __post_init__(self) -> None:
        names = [getattr(self, each.name) for each in fields(self)]
        if len(set(names)) < len(names):
            raise ValueError(f"collections need different names, not {', '.join(names)}")


class Kind(enum.Enum):
    """Whose documents they are."""

    OURS = "fsstore"
    NEVENTSTORE = "NEventStore 5 or later"
    UNNUMBERED = "JOliver EventStore 3 or NEventStore 4"


def recognize(names: Names) -> Conversation[Kind | None]:
    """Whose store this database holds; `None` when there is none yet. Reads only.

    The collections are listed before the mark is looked for, and `found` sets the mark before it makes a
    collection: a store that another process is just founding is never taken for somebody else's.
    """
    present = yield call(DATABASE, "list_collection_names")
    marks = yield find(OWN, {"_id": MARK}, limit=1)
    if marks:
        if marks[0].get("Format") != FORMAT:
            raise StorageError(
                f"the store in collection {names.own!r} has format {marks[0].get('Format')!r}; this fsstore knows "
                f"format {FORMAT}: use a newer one"
            )
        return Kind.OURS
    if names.commits not in present:
        return None
    commits = yield find(COMMITS, {}, fields=["CommitSequence"], limit=1)
    if commits and isinstance(commits[0]["_id"], dict):
        return Kind.UNNUMBERED
    return Kind.NEVENTSTORE


def found() -> Conversation[None]:
    """Mark the database as ours, then make what is missing. Harmless when repeated."""
    yield call(OWN, "update_one", {"_id": MARK}, {"$setOnInsert": {"Format": FORMAT}}, upsert=True)
    for name, (keys, options) in _INDEXES.items():
        yield call(COMMITS, "create_index", [(key, 1) for key in keys], name=name, **options)


def forget(kind: Kind) -> Conversation[None]:
    """Drop every collection of the store; the mark goes last, so that what is left is still known as ours."""
    for role in (COMMITS, SNAPSHOTS, STREAMS, OWN):
        if kind is Kind.OURS or role != OWN:
            yield call(role, "drop")


def capabilities() -> Conversation[bool]:
    """Whether the server has transactions and change streams: a replica set or a sharded cluster has."""
    hello: Document = yield call(DATABASE, "command", "hello")
    return "setName" in hello or hello.get("msg") == "isdbgrid"


_INDEXES: dict[str, tuple[list[str], dict[str, Any]]] = {
    "GetFrom_Index": (["BucketId", "StreamId", "StreamRevisionFrom", "StreamRevisionTo"], {"unique": True}),
    "LogicalKey_Index": (["BucketId", "StreamId", "CommitSequence"], {"unique": True}),
    "CommitId_Index": (["BucketId", "StreamId", "CommitId"], {"unique": True}),
    "StampMicroseconds_Index": (["StampMicroseconds"], {}),
    "Bucket_Index": (["BucketId", "_id"], {}),
    "Dispatched_Index": (["Dispatched", "_id"], {"partialFilterExpression": {"Dispatched": False}}),
}
