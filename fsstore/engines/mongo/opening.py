"""What an engine must know before its first question: which collections, and whose documents stand in them.

The same for a blocking and an awaiting client: `connected` takes either of pymongo's, `opened` is a conversation.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pymongo.errors import ConfigurationError, InvalidName, InvalidURI
from pymongo.read_concern import ReadConcern
from pymongo.read_preferences import ReadPreference
from pymongo.uri_parser import split_options
from pymongo.write_concern import WriteConcern

from fsstore.engines import without_password
from fsstore.engines.mongo import layout, neventstore
from fsstore.engines.mongo.calls import Conversation
from fsstore.engines.mongo.documents import OurForm
from fsstore.engines.mongo.form import Form, Reads
from fsstore.engines.mongo.layout import Kind, Names
from fsstore.engines.mongo.reading import NumberedReads
from fsstore.engines.mongo.unnumbered import UnnumberedReads
from fsstore.errors import StorageError
from fsstore.options import no_option
from fsstore.serialization import Serializer
from fsstore.serialization.neventstore import MongoValues, NEventStorePayloads
from fsstore.serialization.neventstore.payloads import innermost
from fsstore.serialization.neventstore.serializer import NAME, NEventStoreJson

DEFAULT_DATABASE = "fsstore"
_OPTIONS = (
    *("commits", "database", "own", "read_concern", "snapshots", "streams", "write_concern"),
    "those of pymongo's MongoClient",
)
_UNKNOWN = re.compile(r"Unknown option:? ?(\w*)")
"""How pymongo begins to say it; not of which, where it stands in the URL."""


@dataclass(frozen=True, slots=True)
class Connected:
    """A client, what the roles of `layout` mean in its database, and how writes are acknowledged."""

    client: Any
    roles: Mapping[str, Any]
    write_concern: WriteConcern


def connected(
    client_class: Callable[..., Any],
    url: str,
    names: Names,
    *,
    database: str | None,
    write_concern: WriteConcern | None,
    read_concern: ReadConcern | None,
    client_options: Mapping[str, Any],
) -> Connected:
    """Nothing is sent yet. What the caller leaves open the URL says, and else the safe way is taken."""
    _check_url(url)
    try:
        client = client_class(url, connect=False, **client_options)
    except InvalidURI as error:
        raise ValueError(f"this is no MongoDB URL: {error}") from error
    except ConfigurationError as error:
        found = _UNKNOWN.match(str(error))
        if found is None:
            raise
        raise no_option("a MongoDB store", found[1], _OPTIONS) from error
    if write_concern is None:
        write_concern = client.write_concern if client.write_concern.document else WriteConcern("majority", j=True)
    if not write_concern.acknowledged:
        raise ValueError("a commit must be acknowledged; a write concern of w=0 would lose commits unseen")
    if read_concern is None:
        read_concern = client.read_concern if client.read_concern.level else ReadConcern("majority")
    concerns: dict[str, Any] = {
        "codec_options": layout.CODEC,
        "read_preference": ReadPreference.PRIMARY,  # others may lag behind what a commit has promised
        "write_concern": write_concern,
        "read_concern": read_concern,
    }
    try:
        if database is None:
            found = client.get_default_database(DEFAULT_DATABASE, **concerns)
        else:
            found = client.get_database(database, **concerns)
        roles = {
            layout.COMMITS: found[names.commits],
            layout.SNAPSHOTS: found[names.snapshots],
            layout.STREAMS: found[names.streams],
            layout.OWN: found[names.own],
            layout.DATABASE: found,
        }
    except InvalidName as error:
        raise ValueError(f"this is no name in MongoDB: {error}") from error
    return Connected(client, roles, write_concern)


def _check_url(url: str) -> None:
    """`TypeError` for an option that no URL has, `ValueError` for one that is none: pymongo would warn, and go on
    without it."""
    # Behind the last @, as a password that nobody escaped may hold a question mark.
    for option in filter(None, re.split("[&;]", url.rpartition("@")[2].partition("?")[2])):
        try:
            split_options(option)
        except (ConfigurationError, OSError, TypeError, ValueError) as error:
            of = f"the URL {without_password(url)}"
            if _UNKNOWN.match(str(error)):
                known = ("those of pymongo's MongoClient",)
                raise no_option(of, option.partition("=")[0], known) from error
            raise ValueError(f"{of} cannot be used: {error}") from error


@dataclass(frozen=True, slots=True)
class Opened:
    """A store whose documents are known. `transactions`: the server has them, and change streams with them."""

    kind: Kind
    form: Form
    reads: Reads
    writable: bool
    transactions: bool

    @property
    def writing_refused(self) -> str | None:
        """Why nothing may be written; `None` where it may."""
        if self.writable:
            return None
        how = f"; using_serializer({NAME!r}) allows it" if self.kind is Kind.NEVENTSTORE else ""
        return f"{self.kind.value} made this database, and writing into it is refused{how}"

    @property
    def marks_refused(self) -> str | None:
        """Why no commit can be marked as dispatched; `None` where that is possible."""
        if self.writable and not self.form.keeps_marks:
            return f"{self.kind.value} made this database, in which nothing says what was dispatched: subscribe instead"
        return self.writing_refused

    def check_writable(self) -> None:
        """Raise when writing is refused."""
        if self.writing_refused is not None:
            raise StorageError(self.writing_refused)


def opened(names: Names, serializer: Serializer) -> Conversation[Opened]:
    """Find out whose documents these are. A store of ours is made where there is none; others are not touched."""
    transactions = yield from layout.capabilities()
    kind = yield from layout.recognize(names)
    allowed = allows_csharp(serializer)
    ours = OurForm(serializer)
    if kind is None or kind is Kind.OURS:
        if allowed:
            raise StorageError(f"NEventStore did not make this database: open it without the serializer {NAME!r}")
        yield from layout.found()
        return Opened(Kind.OURS, ours, NumberedReads(ours), True, transactions)
    payloads = NEventStorePayloads.of(serializer)
    values = MongoValues(payloads)
    if kind is Kind.UNNUMBERED:
        return Opened(kind, ours, UnnumberedReads(values), False, transactions)
    form = neventstore.NEventStoreForm(values, payloads.types, (yield from neventstore.newest_commit()))
    return Opened(kind, form, NumberedReads(form), allowed, transactions)


def allows_csharp(serializer: Serializer) -> bool:
    """Whether writing into a store of NEventStore was asked for."""
    return isinstance(innermost(serializer), NEventStoreJson)
