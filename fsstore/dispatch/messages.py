"""What a message bus carries for a commit: CloudEvents 1.0 in JSON, or the raw record in the store's own form.

One message a commit, so that a bus cannot tear a unit of work apart. Knows no bus.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Protocol

from fsstore.errors import SerializationError
from fsstore.interchange import write_line
from fsstore.model import Commit, EventMessage
from fsstore.serialization import MsgpackSerializer, Serializer
from fsstore.serialization.unregistered import AnyTypes


@dataclass(frozen=True, slots=True)
class Message:
    """`id` is the commit's, by which doubles are told; messages of one `key` belong to one stream, in order."""

    id: str
    key: str
    content_type: str
    body: bytes


class MessageForm(Protocol):
    """How a commit stands in a message. Any object with this method can be given to a bus dispatcher as `form`."""

    def message(self, commit: Commit) -> Message:
        """The commit's message, which may be asked for more than once."""
        ...


class CloudEvents:
    """CloudEvents 1.0, structured JSON, written by the official library.

    `id` is the commit id, `source` names the store, `subject` is the stream id, `type` tells consumers what to expect;
    `data` is the commit as a line of `fsstore.interchange`, with its checkpoint token. Objects of registered
    types are written by their stored names when `serializer` is the store's own.
    """

    def __init__(
        self, source: str = "/fsstore", *, type: str = "fsstore.commit", serializer: Serializer | None = None
    ) -> None:
        try:
            from cloudevents.core.formats.json import JSONFormat
            from cloudevents.core.v1.event import CloudEvent
        except ImportError as error:
            raise ImportError("CloudEvents need the package cloudevents: pip install 'fsstore[cloudevents]'") from error
        self._event: Any = CloudEvent
        self._format = JSONFormat()
        self._source = source
        self._type = type
        # Not what the store's compresses or encrypts, which is undone at once.
        while (inner := getattr(serializer, "inner", None)) is not None:
            serializer = inner
        self._serializer = serializer

    def message(self, commit: Commit) -> Message:
        attributes = {
            "id": str(commit.commit_id),
            "source": self._source,
            "type": self._type,
            "specversion": "1.0",
            "subject": commit.stream_id,
            "time": commit.commit_stamp,
            "datacontenttype": "application/json",
        }
        try:
            line = write_line(self._plain(commit))
        except SerializationError as error:
            if self._serializer is not None:
                raise
            reason = f"{error}: give CloudEvents(serializer=...) a serializer that its class is registered with"
            raise SerializationError(reason, error.path) from error
        event = self._event(attributes, json.loads(line))
        return Message(
            str(commit.commit_id), key_of(commit), self._format.get_content_type(), bytes(self._format.write(event))
        )

    def _plain(self, commit: Commit) -> Commit:
        """The commit with its objects as names and members, which every reader understands."""
        if self._serializer is None:
            return commit
        return unpacked(MsgpackSerializer(AnyTypes()), self._serializer.dumps(_fields(commit)))


class RawRecords:
    """The commit's fields as one value of the store's serializer; `unpacked` reads it back."""

    def __init__(self, serializer: Serializer | None = None) -> None:
        self._serializer = serializer if serializer is not None else MsgpackSerializer()

    def message(self, commit: Commit) -> Message:
        body = self._serializer.dumps(_fields(commit))
        return Message(str(commit.commit_id), key_of(commit), "application/vnd.fsstore.commit", body)


def key_of(commit: Commit) -> str:
    """The stream's name over all buckets."""
    return f"{commit.bucket_id}/{commit.stream_id}"


def _fields(commit: Commit) -> list[Any]:
    return [
        commit.bucket_id,
        commit.stream_id,
        commit.stream_revision,
        commit.commit_id,
        commit.commit_sequence,
        commit.commit_stamp,
        commit.checkpoint_token,
        commit.headers,
        [[event.body, event.headers] for event in commit.events],
    ]


def unpacked(serializer: Serializer, body: bytes) -> Commit:
    """The commit of a raw record."""
    bucket_id, stream_id, revision, commit_id, sequence, stamp, token, headers, events = serializer.loads(body)
    return Commit(
        stream_id,
        revision,
        commit_id,
        sequence,
        stamp,
        headers,
        tuple(EventMessage(*event) for event in events),
        bucket_id,
        token,
    )
