"""What is no number of seconds, entries or the like is refused by name when an adapter is made."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable

import pytest

from fsstore.dispatch import Dispatcher
from fsstore.dispatch.kafka import KafkaDispatcher
from fsstore.dispatch.mqtt import MqttDispatcher
from fsstore.dispatch.nats import JetStreamDispatcher
from fsstore.dispatch.rabbitmq import RabbitDispatcher
from fsstore.dispatch.redis import RedisStreamDispatcher

NO_SECONDS = (math.nan, -1, -math.inf, -(10**400), True, "1", None)
NO_COUNT = (-1, True, math.inf, 1.0, "1")
ADAPTERS: dict[str, tuple[str, Callable[..., Dispatcher], str]] = {
    "rabbitmq": ("pika", RabbitDispatcher, "amqp://127.0.0.1/"),
    "nats": ("nats", JetStreamDispatcher, "nats://127.0.0.1"),
    "redis": ("redis", RedisStreamDispatcher, "redis://127.0.0.1/0"),
    "mqtt": ("paho.mqtt.client", MqttDispatcher, "127.0.0.1"),
    "kafka": ("confluent_kafka", KafkaDispatcher, "127.0.0.1:9092"),
}


@pytest.mark.parametrize("bus", ADAPTERS)
def test_a_broker_that_is_waited_for_for_no_time_is_refused(bus: str) -> None:
    module, adapter, where = ADAPTERS[bus]
    pytest.importorskip(module, reason=f"pip install 'fsstore[{bus}]'")
    before = threading.active_count()
    for wrong in NO_SECONDS:
        with pytest.raises((TypeError, ValueError), match=r"^timeout_seconds must be "):
            adapter(where, timeout_seconds=wrong)
    assert threading.active_count() == before


@pytest.mark.parametrize(("option", "none"), [("max_entries", 0), ("replicas", -1)])
def test_what_is_no_number_of_entries_or_replicas_is_refused(option: str, none: int) -> None:
    pytest.importorskip("redis", reason="pip install 'fsstore[redis]'")
    for wrong in (*NO_COUNT, none):
        with pytest.raises((TypeError, ValueError), match=rf"^{option} must be "):
            RedisStreamDispatcher("redis://127.0.0.1/0", **{option: wrong})


def test_what_is_no_port_is_refused() -> None:
    pytest.importorskip("paho.mqtt.client", reason="pip install 'fsstore[mqtt]'")
    for wrong in (*NO_COUNT, 0, 65536, 2**70):
        with pytest.raises((TypeError, ValueError), match=r"^port must be "):
            MqttDispatcher("127.0.0.1", wrong)  # type: ignore[arg-type]
