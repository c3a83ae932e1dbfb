"""What differs between the documents of one writer and another's, as the conversations and the engine see it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from bson.binary import Binary

from fsstore.engines.mongo.calls import Conversation, Document
from fsstore.model import Commit, CommitAttempt, Snapshot, StreamHead


class Form(Protocol):
    """How commits and snapshots stand in documents. Knows values, nothing of calls."""

    live: Document
    """The filter that leaves out numbers without a commit."""
    undispatched: Document
    """The filter for commits that nobody marked."""
    buried: list[Document]
    """The update that makes a deleted commit a number without one."""
    keeps_heads: bool
    """Whether the collection of stream heads is written; reading computes them from the commits."""
    keeps_marks: bool
    """Whether commits say that they were dispatched."""

    def document(self, attempt: CommitAttempt) -> Document:
        """The attempt's document, still without its number; `SerializationError` names the commit."""
        ...

    def commit(self, document: Document) -> Commit:
        """The commit that the document holds."""
        ...

    def snapshot_payload(self, payload: Any) -> Any:
        """A snapshot's payload as it stands in its document."""
        ...

    def snapshot_value(self, stored: Any) -> Any:
        """The payload that stands so in a snapshot's document."""
        ...

    def commit_id(self, commit_id: UUID) -> Binary:
        """A commit's id as it stands in the documents."""
        ...

    def stamped(self, start: datetime, end: datetime | None) -> Document:
        """The filter for `start <= commit_stamp < end`."""
        ...


class Pages(Protocol):
    """A walk over commits. Ask for pages as long as there is `more`; one may be empty."""

    more: bool

    def page(self) -> Conversation[Iterable[Commit]]:
        """The next commits, made as they are taken."""
        ...


class Reads(Protocol):
    """The questions that a store answers, in the words of `PersistenceEngine`."""

    def stream(self, bucket_id: str, stream_id: str, low: int, high: int | None) -> Pages: ...
    def checkpoints(self, after: int, to: int | None, bucket_id: str | None) -> Pages: ...
    def dates(self, start: datetime, end: datetime | None, bucket_id: str | None) -> Pages: ...
    def undispatched(self) -> Pages: ...
    def snapshot(self, bucket_id: str, stream_id: str, high: int | None) -> Conversation[Snapshot | None]: ...
    def heads(self, bucket_id: str, threshold: int) -> Conversation[list[StreamHead]]: ...
    def is_above(self, number: int) -> Conversation[bool]:
        """Whether there is a commit after this one."""
        ...
