"""What callers ask of the writer, and what one pass makes of it: records, each with its place in its stream.

Requests are made outside of every lock and planned under the write lock, against the store's head and the requests
before them; each fails alone. Where in the journal a record goes, and when it is durable, is the writer's affair.
"""

from __future__ import annotations

from typing import ClassVar, Final
from uuid import UUID

from fsstore.engines.file.failures import unavailable
from fsstore.engines.file.formats import file_headers, format
from fsstore.engines.file.pace import Pace
from fsstore.engines.file.state.view import View
from fsstore.engines.file.streams.segments import SNAPSHOTS, Stream
from fsstore.engines.file.writing.group import Queued
from fsstore.engines.refusals import does_not_follow, said_of, stored_already, storing_named
from fsstore.errors import StorageError

PACED: Final = 8
"""A pass pauses, where it has computed for long, after so many requests or records."""

Head = tuple[int, int, int]
"""A stream's last sequence, its revision, and where its next record goes (0: no file yet)."""


class Planned:
    """A record that is about to be written: encoded outside of every lock, its place and token known only then."""

    __slots__ = (
        "body",
        "body_crc",
        "commit_id",
        "events",
        "key",
        "kind",
        "length_bytes",
        "place",
        "position",
        "revision",
        "sequence",
        "stamp_us",
        "stream",
        "token",
    )

    def __init__(
        self,
        kind: int,
        body: bytes,
        seed: int,
        stream: Stream | None = None,
        revision: int = 0,
        sequence: int = 0,
        events: int = 0,
        commit_id: bytes = format.NO_ID,
        stamp_us: int = 0,
    ) -> None:
        self.kind = kind
        self.body = body
        self.body_crc = format.checksum(body, seed)
        self.length_bytes = format.RECORD_HEADER_BYTES + len(body)
        self.stream = stream
        self.key = stream.key if stream is not None else format.NO_KEY
        self.revision = revision
        self.sequence = sequence
        self.events = events
        self.commit_id = commit_id
        self.stamp_us = stamp_us
        self.place = 0
        self.position = 0
        self.token = 0

    @property
    def names(self) -> tuple[str, str]:
        """Bucket id and stream id, of what belongs to a stream."""
        assert self.stream is not None
        return self.stream.bucket_id, self.stream.stream_id

    def header(self, following: int, lag_bytes: int, seed: int) -> bytes:
        """The header of this record where it stands now, with `following` more of its batch behind it."""
        return format.pack_fields(
            self.kind,
            0,
            following,
            self.position,
            lag_bytes,
            self.place,
            self.key,
            self.token,
            self.revision,
            self.sequence,
            self.commit_id,
            self.stamp_us,
            self.body_crc,
            len(self.body),
            seed,
        )


class Plan:
    """What one pass is going to write. Changes of streams other than commits end the planning of a pass."""

    def __init__(self, view: View) -> None:
        self.view = view
        self.records: list[Planned] = []
        self.batches: list[int] = []
        self.size_bytes = 0
        self.heads: dict[bytes, Head] = {}
        self.ids: set[bytes] = set()
        self.pace = Pace()

    def add(self, request: Request) -> None:
        """Accept the records of one request, which are written whole or not at all; nothing where memory is short."""
        self.size_bytes += request.size_bytes
        self.batches.append(len(request.records))
        try:
            self.records += request.records
        except MemoryError:
            del self.batches[-1]
            raise


class Request(Queued):
    """One caller's records. `plan` adds them to the pass or raises; afterwards `records` have their tokens.

    Those that are `alone` need a pass for themselves.
    """

    __slots__ = ("records",)
    alone: ClassVar[bool] = True
    records: list[Planned]

    def plan(self, plan: Plan) -> None:
        raise NotImplementedError

    def __str__(self) -> str:
        """What is asked, for who is told that it failed."""
        raise NotImplementedError

    def fail(self, error: Exception, store: str, *, in_doubt: bool = False) -> None:
        """Give its caller this error, if there is none yet; `in_doubt` where the system's may have come too late."""
        if self.error is None and not self.done:
            self.error = error
            if isinstance(error, OSError):
                self.error = unavailable(f"{self} in {store}", error, in_doubt=in_doubt)
                self.error.__cause__ = error
            elif isinstance(error, StorageError):
                self.error = said_of(str(self), error)


class CommitRequest(Request):
    """Append commits, all or none."""

    __slots__ = ()
    alone = False

    def __init__(self, records: list[Planned]) -> None:
        size_bytes = 0
        for record in records:
            size_bytes += record.length_bytes
        super().__init__(size_bytes)
        self.records = records

    def __str__(self) -> str:
        return storing_named(_named(self.records[0]), len(self.records))

    def plan(self, plan: Plan) -> None:
        view, heads, ids, records = plan.view, plan.heads, plan.ids, self.records
        if len(records) > 1:
            view.look_up({record.key: record.stream for record in records if record.stream is not None})
        accepted = 0
        try:
            for record in records:
                stream, key, commit_id = record.stream, record.key, record.commit_id
                assert stream is not None
                sequence, revision, end = heads.get(key) or view.head(stream)
                identity = key + commit_id
                if identity in ids or (sequence and view.has_commit(stream, commit_id)):
                    raise stored_already(_named(record))
                if record.sequence != sequence + 1 or record.revision != revision + record.events:
                    raise does_not_follow(_named(record), record.sequence, record.revision, sequence, revision)
                if record.revision > format.MAX_REVISION:
                    raise beyond(record.revision, stream)
                record.place = place = end or file_headers.stream_file_header_bytes(stream.prefix)
                accepted += 1
                heads[key] = (record.sequence, record.revision, place + record.length_bytes)
                ids.add(identity)
            plan.add(self)
        except Exception:
            # None of several counts for others when one was refused.
            for record in reversed(records[:accepted]):
                heads[record.key] = (record.sequence - 1, record.revision - record.events, record.place)
                ids.discard(record.key + record.commit_id)
            raise


class SeveralCommits(Request):
    """Requests of several callers in one, each of which fails alone."""

    __slots__ = ("requests",)
    alone = False

    def __init__(self, requests: list[CommitRequest]) -> None:
        super().__init__(sum([request.size_bytes for request in requests]))
        self.records = []
        self.requests = requests

    def plan(self, plan: Plan) -> None:
        for number, request in enumerate(self.requests):
            if not number % PACED:
                plan.pace()
            try:
                request.plan(plan)
            except Exception as error:  # its caller gets it
                request.fail(error, plan.view.store)

    def fail(self, error: Exception, store: str, *, in_doubt: bool = False) -> None:
        for request in self.requests:
            request.fail(error, store, in_doubt=in_doubt)


def beyond(revision: int, stream: Stream) -> ValueError:
    """No record has room for that revision."""
    return ValueError(f"stream_revision {revision} of {stream} is beyond {format.MAX_REVISION}")


def _named(record: Planned) -> str:
    return f"commit {UUID(bytes=record.commit_id)} of {record.stream}"


class OneRecord(Request):
    """A request for at most one record, which is in `records` once it was planned."""

    __slots__ = ("record",)

    def __init__(self, record: Planned) -> None:
        super().__init__(record.length_bytes)
        self.records = []
        self.record = record


class SnapshotRequest(OneRecord):
    """Add a snapshot, unless the stream has no commit or its revision has a snapshot."""

    __slots__ = ()

    def __str__(self) -> str:
        return f"adding a snapshot to {self.record.stream}"

    def plan(self, plan: Plan) -> None:
        view, record = plan.view, self.record
        stream = record.stream
        assert stream is not None
        if not view.head(stream)[0] or record.revision in view.snapshot_revisions(stream):
            return
        record.place = view.snapshots_end(stream) or view.segments.header_bytes(stream, SNAPSHOTS)
        self.records = [record]
        plan.add(self)


class ForgetRequest(OneRecord):
    """Delete a stream, or purge a bucket, or everything."""

    __slots__ = ()

    def __str__(self) -> str:
        stream = self.record.stream
        return f"deleting {stream}" if stream is not None else "purging"

    def plan(self, plan: Plan) -> None:
        stream = self.record.stream
        if stream is not None and not plan.view.head(stream)[0]:
            return
        self.records = [self.record]
        plan.add(self)
