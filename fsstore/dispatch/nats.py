"""NATS JetStream: each commit a message whose id is the commit's, so that the broker drops doubles (extra `nats`).

The client is asyncio's; it runs in a thread of this dispatcher's own, and `dispatch` waits for the broker's word.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from hashlib import blake2b
from typing import Any
from urllib.parse import quote

from fsstore.dispatch.arguments import checked_timeout
from fsstore.dispatch.messages import CloudEvents, MessageForm
from fsstore.model import Commit

# A broker takes 4,096 bytes for a message's whole first line.
_MAX_TOKEN_CHARACTERS = 1_500


class JetStreamDispatcher:
    """Publishes to the subject `<subject>.<bucket>.<stream>`, its parts percent-encoded; of one that has more than
    1,500 characters then, the first 1,500, `~` and a digest of all.

    A JetStream stream must cover `<subject>.>`; with `stream` it is made when it is missing, with files as its
    storage. Its duplicate window is the time within which doubles are dropped. Raises nats-py's errors while the
    broker is away or does not answer within `timeout_seconds`.
    """

    blocks = True

    def __init__(
        self,
        servers: str | list[str],
        *,
        subject: str = "fsstore",
        stream: str | None = None,
        timeout_seconds: float = 10.0,
        form: MessageForm | None = None,
        **connect_options: Any,
    ) -> None:
        try:
            import nats
        except ImportError as error:
            raise ImportError("NATS needs the package nats-py: pip install 'fsstore[nats]'") from error
        self._nats: Any = nats
        self._servers = servers
        self._subject = subject
        self._stream = stream
        self._timeout_seconds = timeout_seconds = checked_timeout(timeout_seconds)
        self._form = form if form is not None else CloudEvents()
        self._options = {"connect_timeout": timeout_seconds, "allow_reconnect": False, **connect_options}
        self._client: Any = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fsstore nats", daemon=True)
        self._thread.start()

    def dispatch(self, commit: Commit) -> None:
        """Return once JetStream has stored the commit, or has found that it did before."""
        self._wait(self._publish(commit))

    def _wait(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _publish(self, commit: Commit) -> None:
        message = self._form.message(commit)
        if self._client is None or not self._client.is_connected:
            await self._connect()
        subject = f"{self._subject}.{_token(commit.bucket_id)}.{_token(commit.stream_id)}"
        headers = {"Nats-Msg-Id": message.id, "Content-Type": message.content_type}
        await self._client.jetstream(timeout=self._timeout_seconds).publish(subject, message.body, headers=headers)

    async def _connect(self) -> None:
        await self._disconnect()
        client = await self._nats.connect(self._servers, error_cb=_said_by_the_call, **self._options)
        try:
            if self._stream is not None:
                await self._find_or_make(client.jetstream(timeout=self._timeout_seconds), self._stream)
        except BaseException:
            await client.close()
            raise
        self._client = client

    async def _find_or_make(self, jetstream: Any, stream: str) -> None:
        try:
            await jetstream.stream_info(stream)
        except self._nats.js.errors.NotFoundError:
            await jetstream.add_stream(name=stream, subjects=[f"{self._subject}.>"])

    async def _disconnect(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def _end(self) -> None:
        await self._disconnect()
        # Who still waits for the broker in another thread would wait for ever.
        under_way = asyncio.all_tasks() - {asyncio.current_task()}
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)

    def close(self) -> None:
        if self._loop.is_closed():
            return
        self._wait(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def _said_by_the_call(error: Exception) -> None:
    """The call that fails raises; nats-py would also print a trace for every one."""


def _token(name: str) -> str:
    token = quote(name, safe="").replace(".", "%2E")
    if len(token) <= _MAX_TOKEN_CHARACTERS:
        return token
    return f"{token[:_MAX_TOKEN_CHARACTERS]}~{blake2b(name.encode(), digest_size=16).hexdigest()}"
