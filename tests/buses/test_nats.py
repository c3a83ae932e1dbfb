"""NATS JetStream, which drops doubles by message id."""

from __future__ import annotations

import asyncio
import socket
import threading
from typing import Any

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

    def dispatcher(self, broker: Broker, form: MessageForm | None = None, **options: Any) -> JetStreamDispatcher:
        return JetStreamDispatcher(broker.url, stream="COMMITS", form=form, **options)

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

    def test_a_stream_that_is_there_is_taken_as_it_is(self, broker: Broker) -> None:
        async def make() -> None:
            client = await nats.connect(broker.url)
            await client.jetstream().add_stream(name="KEPT", subjects=["kept.>", "others"], max_msgs=10)
            await client.close()

        asyncio.run(make())
        dispatcher = JetStreamDispatcher(broker.url, subject="kept", stream="KEPT")
        dispatcher.dispatch(Commit.of(first_attempt("order-1"), 1))
        dispatcher.close()

    def test_a_stream_that_could_not_be_made_is_made_at_the_next_try(self, broker: Broker) -> None:
        async def end(name: str) -> None:
            client = await nats.connect(broker.url)
            await client.jetstream().delete_stream(name)
            await client.close()

        async def begin(name: str) -> None:
            client = await nats.connect(broker.url)
            await client.jetstream().add_stream(name=name, subjects=["late.>"])
            await client.close()

        asyncio.run(begin("HINDRANCE"))
        dispatcher = JetStreamDispatcher(broker.url, subject="late", stream="LATE")
        commit = Commit.of(first_attempt("order-1"), 1)
        with pytest.raises(nats.js.errors.BadRequestError):
            dispatcher.dispatch(commit)
        asyncio.run(end("HINDRANCE"))
        dispatcher.dispatch(commit)
        dispatcher.close()

    def test_the_broker_drops_doubles(self, broker: Broker) -> None:
        commit = Commit.of(first_attempt("order-1"), 1)
        dispatcher = self.dispatcher(broker)
        for _ in range(3):
            dispatcher.dispatch(commit)
        dispatcher.close()
        assert len(self.consume(broker)) == 1


def test_closing_ends_what_waits_for_a_broker_that_is_silent() -> None:
    ended: list[BaseException] = []

    def dispatch(dispatcher: JetStreamDispatcher) -> None:
        try:
            dispatcher.dispatch(Commit.of(first_attempt("order-1"), 1))
        except Exception as error:
            ended.append(error)

    with socket.create_server(("127.0.0.1", 0)) as silent:
        dispatcher = JetStreamDispatcher(f"nats://127.0.0.1:{silent.getsockname()[1]}", timeout_seconds=600)
        waiting = threading.Thread(target=dispatch, args=(dispatcher,), daemon=True)
        waiting.start()
        connection, _ = silent.accept()
        dispatcher.close()
        waiting.join(20)
        connection.close()
    assert len(ended) == 1
