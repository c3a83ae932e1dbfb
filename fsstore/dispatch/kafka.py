"""The Kafka protocol: an idempotent producer (extra `kafka`).

The key is the stream, so that a partition keeps a stream's order.
"""

from __future__ import annotations

from typing import Any

from fsstore.dispatch.arguments import checked_timeout
from fsstore.dispatch.messages import CloudEvents, MessageForm
from fsstore.model import Commit


class KafkaDispatcher:
    """Produces to `topic` with the stream as key and the commit's id as header `id`.

    The producer waits for all in-sync replicas and drops its own doubles; a retry of ours may make another one, with
    the same id. `settings` are librdkafka's. Raises `confluent_kafka.KafkaException` when a message is refused, and
    `TimeoutError` when the broker has not taken it within `timeout_seconds`.
    """

    blocks = True

    def __init__(
        self,
        servers: str,
        *,
        topic: str = "fsstore",
        timeout_seconds: float = 30.0,
        form: MessageForm | None = None,
        **settings: Any,
    ) -> None:
        try:
            import confluent_kafka
        except ImportError as error:
            raise ImportError("Kafka needs the package confluent-kafka: pip install 'fsstore[kafka]'") from error
        timeout_seconds = checked_timeout(timeout_seconds)
        self._kafka: Any = confluent_kafka
        self._settings = {
            "bootstrap.servers": servers,
            "enable.idempotence": True,
            "acks": "all",
            "linger.ms": 0,
            "message.timeout.ms": max(1, int(timeout_seconds * 1000)),  # to the client, 0 is for ever
            **{name.replace("_", "."): value for name, value in settings.items()},
        }
        self._topic = topic
        self._timeout_seconds = timeout_seconds
        self._form = form if form is not None else CloudEvents()
        self._producer: Any = None

    def dispatch(self, commit: Commit) -> None:
        """Return once the broker has taken the commit."""
        if self._producer is None:
            self._producer = self._kafka.Producer(self._settings)
        message = self._form.message(commit)
        outcome: list[Any] = []
        self._producer.produce(
            self._topic,
            message.body,
            message.key,
            headers={"id": message.id, "content-type": message.content_type},
            on_delivery=lambda error, _: outcome.append(error),
        )
        self._producer.flush(self._timeout_seconds + 1)
        if not outcome:
            self._forget()
            raise TimeoutError(f"the broker did not take commit {message.id} of {message.key} in time")
        if outcome[0] is not None:
            self._forget()
            raise self._kafka.KafkaException(outcome[0])

    def _forget(self) -> None:
        """A fresh producer for the next try: what this one still has queued must not come behind it."""
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.purge()

    def close(self) -> None:
        self._forget()
