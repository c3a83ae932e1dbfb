"""NATS JetStream, which drops doubles by message id."""

from __future__ import annotations

import asyncio

import pytest
from servers import brokers
from servers.brokers import Broker

from buses.bus_tests import BusTests
from fsstore import Commit
from fsstore.dispatch.messages import MessageForm
from fsstore.dispatch.nats import JetStreamDispatcher
from fsstore.testing import first_attempt

nats = pytest.importorskip("nats", reason="pip install 'fsstore[nats]'")


class TestJetStream(BusTests):
    start_broker = brokers.nats

    def dispatcher(self, broker: Broker, form: MessageForm | None = None) -> JetStreamDispatcher:
        return JetStreamDispatcher(broker.url, stream="COMMITS", form=form)

    def prepare(self, broker: Broker) -> None:
        asyncio.run(self._prepare(broker))

    async def _prepare(self, broker: Broker) -> None:
        client = await nats.connect(broker.url)
        await client.jetstream().add_stream(name="COMMITS", subjects=["fsstore.>"])
        await client.close()

    def consume(self, broker: Broker) -> list[tuple[str, bytes]]:
        return asyncio.run(self._consume(broker))

    async def _consume(self, broker: Broker) -> list[tuple[str, bytes]]:
        client = await nats.connect(broker.url)
        reader = await client.jetstream().pull_subscribe("fsstore.>", durable="reader")
        found = []
        try:
            while True:
                for message in await reader.fetch(100, timeout=0.5):
                    await message.ack()
                    found.append((message.headers["Nats-Msg-Id"], message.data))
        except TimeoutError:
            await client.close()
        return found

    def test_the_broker_drops_doubles(self, broker: Broker) -> None:
        commit = Commit.of(first_attempt("order-1"), 1)
        dispatcher = self.dispatcher(broker)
        for _ in range(3):
            dispatcher.dispatch(commit)
        dispatcher.close()
        assert len(self.consume(broker)) == 1
