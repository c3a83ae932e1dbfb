"""RabbitMQ, with publisher confirms."""

from __future__ import annotations

import socket
import time
from typing import Any

import pytest
from servers import brokers
from servers.brokers import Broker

from buses.bus_tests import BusTests
from fsstore import Commit
from fsstore.dispatch.messages import MessageForm
from fsstore.dispatch.rabbitmq import RabbitDispatcher
from fsstore.testing import first_attempt

pika = pytest.importorskip("pika", reason="pip install 'fsstore[rabbitmq]'")
QUEUE = "orders"


class TestRabbitMQ(BusTests):
    start_broker = brokers.rabbitmq

    def prepare(self, broker: Broker) -> None:
        connection = pika.BlockingConnection(pika.URLParameters(broker.url))
        channel = connection.channel()
        channel.exchange_declare("commits", "topic", durable=True)
        channel.queue_declare(QUEUE, durable=True, arguments={"x-queue-type": "quorum"})
        channel.queue_bind(QUEUE, "commits", "#")
        connection.close()

    def dispatcher(self, broker: Broker, form: MessageForm | None = None, **options: Any) -> RabbitDispatcher:
        return RabbitDispatcher(broker.url, exchange="commits", form=form, **options)

    def consume(self, broker: Broker) -> list[tuple[str, bytes]]:
        connection = pika.BlockingConnection(pika.URLParameters(broker.url))
        channel = connection.channel()
        found = []
        for method, properties, body in channel.consume(QUEUE, inactivity_timeout=1):
            if method is None:
                break
            channel.basic_ack(method.delivery_tag)
            found.append((properties.message_id, body))
        connection.close()
        return found

    def test_a_message_that_no_queue_takes_is_a_failure(self, broker: Broker) -> None:
        dispatcher = RabbitDispatcher(broker.url, routing_key="nobody")
        with pytest.raises(pika.exceptions.UnroutableError):
            dispatcher.dispatch(Commit.of(first_attempt("order-1"), 1))
        dispatcher.close()

    def test_a_confirm_that_nobody_waited_for_is_not_taken_for_that_of_the_next_commit(self, broker: Broker) -> None:
        connection = pika.BlockingConnection(pika.URLParameters(broker.url))
        connection.channel().queue_declare("default/order-1", exclusive=True)
        dispatcher = RabbitDispatcher(broker.url)  # to the queue that is called as the stream
        commit = Commit.of(first_attempt("order-1"), 1)
        dispatcher.dispatch(commit)
        channel = dispatcher._channel

        def sent_then_interrupted(*_: object) -> None:
            channel.connection._flush_output(lambda: True)
            raise KeyboardInterrupt

        channel._flush_output, waits_for_the_confirm = sent_then_interrupted, channel._flush_output
        with pytest.raises(KeyboardInterrupt):
            dispatcher.dispatch(commit)
        channel._flush_output = waits_for_the_confirm
        time.sleep(0.5)  # the confirm is there
        with pytest.raises(pika.exceptions.UnroutableError):
            dispatcher.dispatch(Commit.of(first_attempt("nobody"), 2))
        dispatcher.close()
        connection.close()

    def test_a_broker_that_takes_nothing_does_not_keep_delivery_for_ever(self, broker: Broker) -> None:
        commit = Commit.of(first_attempt("order-1"), 1)
        dispatcher = RabbitDispatcher(broker.url, exchange="commits", timeout_seconds=0.5)
        dispatcher.dispatch(commit)
        brokers.rabbitmqctl(broker, "set_vm_memory_high_watermark", "0.000001")
        try:
            with pytest.raises(pika.exceptions.AMQPError):
                dispatcher.dispatch(commit)
        finally:
            brokers.rabbitmqctl(broker, "set_vm_memory_high_watermark", "0.6")
        dispatcher.dispatch(commit)
        dispatcher.close()

    def test_a_connection_that_was_lost_while_idle_is_opened_again(self, broker: Broker) -> None:
        dispatcher = self.dispatcher(broker)
        dispatcher.dispatch(Commit.of(first_attempt("order-1"), 1))
        dispatcher._channel.connection._impl._transport._sock.shutdown(socket.SHUT_RDWR)
        dispatcher.dispatch(Commit.of(first_attempt("order-2"), 2))
        dispatcher.close()
        assert len(self.consume(broker)) == 2
