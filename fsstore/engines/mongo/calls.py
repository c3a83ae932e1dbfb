"""What is said to the server: single calls, and conversations made of them.

A conversation is a generator that yields calls and is sent their answers; an error of the server is raised at
its `yield`. It knows what to say and nothing of threads, event loops or connections: `driver.py` carries it out
with either of pymongo's clients.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar

Document: TypeAlias = dict[str, Any]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Call:
    """One method of a collection, or of the database, named by its role in `layout.Names`.

    With `documents` the answer is a cursor, to be read to its end: the conversation is sent a list.
    """

    role: str
    method: str
    arguments: tuple[Any, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    documents: bool = False


@dataclass(frozen=True, slots=True)
class Transaction:
    """The calls of `conversation` take effect together or not at all; its result is the answer.

    The driver retries the whole of it when the server asks for that, so it must start anew each time.
    """

    conversation: Callable[[], Conversation[Any]]


Conversation: TypeAlias = Generator[Call | Transaction, Any, T]


def call(role: str, method: str, *arguments: Any, **options: Any) -> Call:
    """A call with one answer."""
    return Call(role, method, arguments, options)


def find(
    role: str,
    where: Document,
    *,
    fields: Sequence[str] | None = None,
    sort: Sequence[tuple[str, int]] = (),
    limit: int = 0,
) -> Call:
    """The documents that fit, at most `limit` of them."""
    options: dict[str, Any] = {"limit": limit}
    if fields is not None:
        options["projection"] = {"_id": 1, **dict.fromkeys(fields, 1)}
    if sort:
        options["sort"] = list(sort)
    return Call(role, "find", (where,), options, documents=True)


def aggregate(role: str, *stages: Document) -> Call:
    """What the pipeline gives."""
    return Call(role, "aggregate", (list(stages),), {"allowDiskUse": True}, documents=True)
