"""Records decoded into commits: everything between checked bytes and the objects that a reader gets.

This is where a read spends its time, for a record is one of very many: so a page of records goes through one loop,
with the cyclic collector held back. Where records come from is not known here; `no_sense` says it of a record that no
store wrote although its checksums agree.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from uuid import UUID, SafeUUID

from fsstore.engines.file.collector import CollectorHeld
from fsstore.engines.file.formats import format
from fsstore.errors import CorruptionError, SerializationError
from fsstore.model import Commit, stored_commit
from fsstore.serialization import Serializer, decode_payload

Names = tuple[str, str, int]
"""Bucket id, stream id, and how many bytes of a record's body they take."""

_NO_ID = format.NO_ID
_MAX_TOKEN = format.MAX_TOKEN
_new = object.__new__
_put_int = UUID.__dict__["int"].__set__
_put_safe = UUID.__dict__["is_safe"].__set__
_unknown = SafeUUID.unknown


class Decoding:
    """Makes one engine's commits. Remembers the names of at most `max_streams` streams."""

    def __init__(
        self, serializer: Serializer, max_streams: int, no_sense: Callable[[format.Fields, str], CorruptionError]
    ) -> None:
        self._serializer = serializer
        self._max_streams = max_streams
        self._no_sense = no_sense
        self._names: OrderedDict[bytes, tuple[bytes, Names]] = OrderedDict()

    def names(self, fields: format.Fields, body: bytes) -> Names:
        """The names of a record whose stream was not asked for by name."""
        key = fields[format.KEY]
        known = self._names.get(key)
        if known is None or not body.startswith(known[0]):
            try:
                names = format.stream_names(key, body)
            except ValueError as error:
                raise self._no_sense(fields, str(error)) from None
            known = self._names[key] = body[: names[2]], names
            if len(self._names) > self._max_streams:
                self._names.popitem(last=False)
        return known[1]

    def pages(
        self, records: Sequence[format.Record], at_once: int, names: Names | None = None
    ) -> Iterator[list[Commit]]:
        """The commits of the records, up to `at_once` at a time; `names` where all are one stream's.

        What cannot be read raises after what stands before it was given.
        """
        for first in range(0, len(records), at_once):
            made: list[Commit] = []
            failed: SerializationError | CorruptionError | None = None
            with CollectorHeld():
                try:
                    self._make(records[first : first + at_once], names, made)
                except (SerializationError, CorruptionError) as error:
                    failed = error
            yield made
            if failed is not None:
                raise failed

    def _make(self, records: Sequence[format.Record], names: Names | None, made: list[Commit]) -> None:
        # Every call in this loop is one for every commit that anybody reads.
        serializer, from_bytes = self._serializer, int.from_bytes
        for fields, body in records:
            _, _, _, _, _, _, _, _, token, revision, sequence, id_bytes, stamp_us, _, _ = fields
            bucket_id, stream_id, start = names or self.names(fields, body)
            # What `UUID(bytes=id_bytes)` makes, without its checks.
            commit_id = _new(UUID)
            _put_int(commit_id, from_bytes(id_bytes, "big"))
            _put_safe(commit_id, _unknown)
            try:
                headers, events = decode_payload(serializer, body[start:])
            except SerializationError as error:
                raise SerializationError(
                    f"commit {commit_id} (sequence {sequence}) of stream {stream_id!r} in bucket {bucket_id!r} "
                    f"cannot be read: {error}",
                    error.path,
                ) from error
            if not 0 < sequence <= revision - len(events) + 1 or id_bytes == _NO_ID or token > _MAX_TOKEN:
                raise self._no_sense(fields, "an id, a checkpoint, and a sequence and revision that its events lead to")
            try:
                stamp = format.stamp_from_us(stamp_us)
            except OverflowError:
                raise self._no_sense(fields, "a commit stamp in the years 1 to 9999") from None
            made.append(
                stored_commit(stream_id, revision, commit_id, sequence, stamp, headers, events, bucket_id, token)
            )
