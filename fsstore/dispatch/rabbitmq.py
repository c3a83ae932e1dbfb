"""RabbitMQ: each commit a persistent message, delivered once the broker has confirmed it (extra `rabbitmq`).

A message that no queue takes is a failure: it would be lost. Doubles after a retry carry the same message id.
"""

from __future__ import annotations

from typing import Any

from fsstore.dispatch.arguments import checked_timeout
from fsstore.dispatch.messages import CloudEvents, Message, MessageForm
from fsstore.model import Commit

_MAX_ROUTING_KEY_BYTES = 255


class RabbitDispatcher:
    """Publishes to `exchange` with the stream as routing key, or with `routing_key` for all.

    `url`: `amqp://user:password@host:port/vhost`. Exchange, queues and bindings are the operator's to make. Raises
    pika's errors: `UnroutableError` when no queue takes a message, `AMQPError` while the broker is away, or for want of
    memory or disk takes nothing for `timeout_seconds`, unless the url gives a `blocked_connection_timeout`.
    """

    blocks = True

    def __init__(
        self,
        url: str,
        *,
        exchange: str = "",
        routing_key: str | None = None,
        timeout_seconds: float = 10.0,
        form: MessageForm | None = None,
    ) -> None:
        try:
            import pika
        except ImportError as error:
            raise ImportError("RabbitMQ needs the package pika: pip install 'fsstore[rabbitmq]'") from error
        self._pika: Any = pika
        timeout_seconds = checked_timeout(timeout_seconds)
        self._parameters = pika.URLParameters(url)
        if self._parameters.blocked_connection_timeout is None:
            self._parameters.blocked_connection_timeout = timeout_seconds
        self._exchange = exchange
        self._routing_key = routing_key
        self._form = form if form is not None else CloudEvents()
        self._channel: Any = None

    def dispatch(self, commit: Commit) -> None:
        """Return once the broker has taken the commit."""
        was_open = self._channel is not None
        try:
            self._publish(commit)
        except (self._pika.exceptions.UnroutableError, self._pika.exceptions.NackError):
            raise
        except self._pika.exceptions.AMQPError:
            if not was_open:
                raise
            # The broker drops a connection that was idle for long; a fresh one tells whether it is there.
            self._publish(commit)

    def _publish(self, commit: Commit) -> None:
        message = self._form.message(commit)
        try:
            self._send(message)
        except (self._pika.exceptions.UnroutableError, self._pika.exceptions.NackError):
            raise
        except BaseException:
            # On this channel the broker's word on this message would be taken for that on the next one.
            self._forget()
            raise

    def _send(self, message: Message) -> None:
        if self._channel is None:
            connection = self._pika.BlockingConnection(self._parameters)
            self._channel = connection.channel()
            self._channel.confirm_delivery()
        self._channel.basic_publish(
            self._exchange,
            _routing_key(message.key) if self._routing_key is None else self._routing_key,
            message.body,
            self._pika.BasicProperties(message_id=message.id, content_type=message.content_type, delivery_mode=2),
            mandatory=True,
        )

    def _forget(self) -> None:
        channel, self._channel = self._channel, None
        if channel is not None and channel.connection.is_open:
            channel.connection.close()

    def close(self) -> None:
        self._forget()


def _routing_key(key: str) -> str:
    """The key as far as RabbitMQ takes it; what is cut only matters to bindings, not to the order."""
    return key.encode()[:_MAX_ROUTING_KEY_BYTES].decode(errors="ignore")
