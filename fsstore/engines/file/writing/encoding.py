"""What callers hand in as records for the journal: encoded, checksummed and not too large, outside of every lock.

It must not know what a record's place and token will be, nor whether it is stored.
"""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import Sequence
from uuid import UUID

from fsstore.engines.arguments import checked_bucket, checked_place
from fsstore.engines.file.formats import format
from fsstore.engines.file.options import Options
from fsstore.engines.file.streams.segments import Stream
from fsstore.engines.file.writing.planning import CommitRequest, ForgetRequest, Planned, SnapshotRequest, beyond
from fsstore.engines.refusals import unwritable, writing_snapshot
from fsstore.errors import SerializationError
from fsstore.model import CommitAttempt, Snapshot, named
from fsstore.serialization import Serializer, encode_payload


class KnownStreams:
    """Streams by the names that callers give them; the last `limit` of them are kept."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.by_names: OrderedDict[tuple[str, str], Stream] = OrderedDict()

    def get(self, bucket_id: str | UUID, stream_id: str | UUID) -> Stream:
        """The stream of these names, which are checked."""
        return self.of(*checked_place(bucket_id, stream_id))

    def of(self, bucket_id: str, stream_id: str) -> Stream:
        """The stream of these names, which were checked."""
        names = (bucket_id, stream_id)
        known = self.by_names.get(names)
        if known is None:
            known = self.by_names[names] = Stream.of(*names)
            if len(self.by_names) > self._limit:
                with contextlib.suppress(KeyError):  # another thread emptied it
                    self.by_names.popitem(last=False)
        return known


class Encoder:
    """Makes one store's requests."""

    def __init__(self, streams: KnownStreams, serializer: Serializer, seed: int, options: Options) -> None:
        self._streams = streams
        self._serializer = serializer
        self._seed = seed
        self._options = options

    def commits(self, attempts: Sequence[CommitAttempt]) -> CommitRequest:
        """`ValueError` where one attempt or all of them are too large, `SerializationError` where one has no bytes."""
        request = CommitRequest([self._commit(attempt) for attempt in attempts])
        if request.size_bytes > self._options.max_batch_bytes:
            raise ValueError(
                f"a batch of {request.size_bytes} bytes is over max_batch_bytes = {self._options.max_batch_bytes}; "
                "commit it in parts"
            )
        return request

    def _commit(self, attempt: CommitAttempt) -> Planned:
        # An attempt's ids were checked when it was made.
        stream = self._streams.by_names.get((attempt.bucket_id, attempt.stream_id))
        if stream is None:
            stream = self._streams.of(attempt.bucket_id, attempt.stream_id)
        try:
            payload = encode_payload(self._serializer, attempt.headers, attempt.events)
        except SerializationError as error:
            raise unwritable(attempt, error) from error
        body = stream.prefix + payload
        if len(body) > self._options.max_record_bytes:
            raise self._too_large(len(body), named(attempt))
        return Planned(
            format.COMMIT,
            body,
            self._seed,
            stream,
            attempt.stream_revision,
            attempt.commit_sequence,
            len(attempt.events),
            attempt.commit_id.int.to_bytes(16, "big"),
            format.stamp_to_us(attempt.commit_stamp),
        )

    def snapshot(self, snapshot: Snapshot) -> SnapshotRequest:
        stream = self._streams.get(snapshot.bucket_id, snapshot.stream_id)
        with writing_snapshot(snapshot):
            body = stream.prefix + self._serializer.dumps(snapshot.payload)
        if len(body) > self._options.max_record_bytes:
            raise self._too_large(len(body), f"snapshot {snapshot.stream_revision} of {stream}")
        if snapshot.stream_revision > format.MAX_REVISION:
            raise beyond(snapshot.stream_revision, stream)
        return SnapshotRequest(Planned(format.SNAPSHOT, body, self._seed, stream, snapshot.stream_revision))

    def deletion(self, bucket_id: str, stream_id: str) -> ForgetRequest:
        stream = self._streams.get(bucket_id, stream_id)
        return self._forgetting(format.DELETE_STREAM, stream.prefix, stream)

    def purge(self, bucket_id: str | None) -> ForgetRequest:
        return self._forgetting(format.PURGE, format.pack_purge(checked_bucket(bucket_id)), None)

    def _forgetting(self, kind: int, body: bytes, stream: Stream | None) -> ForgetRequest:
        return ForgetRequest(Planned(kind, body, self._seed, stream))

    def _too_large(self, size_bytes: int, what: str) -> ValueError:
        return ValueError(
            f"{what} has {size_bytes} bytes, over max_record_bytes = {self._options.max_record_bytes}; "
            "store large content elsewhere and its address in the event"
        )
