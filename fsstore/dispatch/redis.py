"""Redis Streams: each commit an entry of one stream, with the commit's id to tell doubles by (extra `redis`).

Redis answers before its append-only file is flushed, unless it runs with `appendfsync always`.
"""

from __future__ import annotations

import sys
from typing import Any

from fsstore.dispatch.arguments import checked_timeout
from fsstore.dispatch.messages import CloudEvents, MessageForm
from fsstore.model import Commit, checked_at_least


class RedisStreamDispatcher:
    """Adds to the Redis stream `stream` the fields `id`, `key`, `content_type` and `body`.

    `max_entries` trims the stream to about that many, however many readers are behind. With `replicas`, that many
    must have the entry within `timeout_seconds`, otherwise `redis.exceptions.TimeoutError` is raised and it comes
    again. Raises `redis.exceptions.RedisError` while the broker is away.
    """

    blocks = True

    def __init__(
        self,
        url: str,
        *,
        stream: str = "fsstore",
        max_entries: int | None = None,
        replicas: int = 0,
        timeout_seconds: float = 10.0,
        form: MessageForm | None = None,
    ) -> None:
        try:
            import redis
        except ImportError as error:
            raise ImportError("Redis needs the package redis: pip install 'fsstore[redis]'") from error
        timeout_seconds = checked_timeout(timeout_seconds)
        self._redis: Any = redis
        self._client: Any = redis.Redis.from_url(url, socket_timeout=timeout_seconds + 1)
        self._stream = stream
        self._max_entries = None if max_entries is None else _number(max_entries, 1, "max_entries")
        self._replicas = _number(replicas, 0, "replicas")
        self._timeout_ms = max(1, int(timeout_seconds * 1000))  # to Redis, 0 is for ever
        self._form = form if form is not None else CloudEvents()

    def dispatch(self, commit: Commit) -> None:
        """Return once Redis has added the commit."""
        message = self._form.message(commit)
        fields = {
            "id": message.id,
            "key": message.key,
            "content_type": message.content_type,
            "body": message.body,
        }
        self._client.xadd(self._stream, fields, maxlen=self._max_entries, approximate=True)
        if self._replicas and self._client.wait(self._replicas, self._timeout_ms) < self._replicas:
            raise self._redis.exceptions.TimeoutError(
                f"commit {message.id} of {message.key} is not on {self._replicas} replicas yet"
            )

    def close(self) -> None:
        self._client.close()


def _number(value: int, least: int, what: str) -> int:
    return min(checked_at_least(value, least, what), sys.maxsize)  # the most that Redis counts to
