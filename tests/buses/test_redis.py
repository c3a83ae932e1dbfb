"""Redis Streams."""

from __future__ import annotations

from typing import Any

import pytest
from servers import brokers
from servers.brokers import Broker

from buses.bus_tests import BusTests
from fsstore import Commit
from fsstore.dispatch.messages import MessageForm
from fsstore.dispatch.redis import RedisStreamDispatcher
from fsstore.testing import first_attempt

redis = pytest.importorskip("redis", reason="pip install 'fsstore[redis]'")


class TestRedisStreams(BusTests):
    start_broker = brokers.redis

    def dispatcher(self, broker: Broker, form: MessageForm | None = None, **options: Any) -> RedisStreamDispatcher:
        return RedisStreamDispatcher(broker.url, stream="commits", form=form, **options)

    def consume(self, broker: Broker) -> list[tuple[str, bytes]]:
        client = redis.Redis.from_url(broker.url)
        found = [(fields[b"id"].decode(), fields[b"body"]) for _, fields in client.xrange("commits")]
        client.delete("commits")
        client.close()
        return found

    def test_without_the_replicas_that_were_asked_for_it_fails(self, broker: Broker) -> None:
        dispatcher = RedisStreamDispatcher(broker.url, stream="commits", replicas=1, timeout_seconds=0.1)
        with pytest.raises(redis.exceptions.TimeoutError, match="replicas"):
            dispatcher.dispatch(Commit.of(first_attempt("order-1"), 1))
        dispatcher.close()

    def test_the_stream_is_trimmed_when_asked(self, broker: Broker) -> None:
        dispatcher = RedisStreamDispatcher(broker.url, stream="commits", max_entries=1)
        for number in range(300):
            dispatcher.dispatch(Commit.of(first_attempt(f"order-{number}"), number + 1))
        dispatcher.close()
        assert len(self.consume(broker)) < 300
