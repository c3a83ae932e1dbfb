"""The Kafka protocol, with a broker that keeps everything in memory."""

from __future__ import annotations

from typing import Any

import pytest
from servers import brokers
from servers.brokers import Broker

from buses.bus_tests import BusTests
from fsstore.dispatch.kafka import KafkaDispatcher
from fsstore.dispatch.messages import MessageForm

kafka = pytest.importorskip("confluent_kafka", reason="pip install 'fsstore[kafka]'")
admin = pytest.importorskip("confluent_kafka.admin")


class TestKafka(BusTests):
    start_broker = brokers.kafka

    def prepare(self, broker: Broker) -> None:
        client = admin.AdminClient({"bootstrap.servers": broker.url})
        for done in client.create_topics([admin.NewTopic("commits", num_partitions=1)]).values():
            done.result(30)
        type(self)._read_up_to = 0

    _read_up_to = 0

    def dispatcher(self, broker: Broker, form: MessageForm | None = None, **options: Any) -> KafkaDispatcher:
        return KafkaDispatcher(broker.url, topic="commits", form=form, **{"timeout_seconds": 5, **options})

    def consume(self, broker: Broker) -> list[tuple[str, bytes]]:
        consumer = kafka.Consumer(
            {"bootstrap.servers": broker.url, "group.id": "reader", "session.timeout.ms": 6000,
             "enable.auto.commit": False}
        )  # fmt: skip
        consumer.assign([kafka.TopicPartition("commits", 0, type(self)._read_up_to)])
        found = []
        _, end = consumer.get_watermark_offsets(kafka.TopicPartition("commits", 0), timeout=30)
        while type(self)._read_up_to < end:
            message = consumer.poll(0.5)
            if message is None or message.error() is not None:
                continue
            found.append((dict(message.headers())["id"].decode(), message.value()))
            type(self)._read_up_to = message.offset() + 1
        consumer.close()
        return found
