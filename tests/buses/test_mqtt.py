"""MQTT 5 at quality of service 1, with a subscriber whose session the broker keeps."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from servers import brokers
from servers.brokers import Broker

from buses.bus_tests import BusTests
from fsstore.dispatch.messages import MessageForm
from fsstore.dispatch.mqtt import MqttDispatcher

paho = pytest.importorskip("paho.mqtt.client", reason="pip install 'fsstore[mqtt]'")
_QUIET_SECONDS = 0.7


class TestMqtt(BusTests):
    start_broker = brokers.mosquitto

    def prepare(self, broker: Broker) -> None:
        self.consume(broker)

    def dispatcher(self, broker: Broker, form: MessageForm | None = None, **options: Any) -> MqttDispatcher:
        return MqttDispatcher(broker.url, broker.port, form=form, **options)

    def consume(self, broker: Broker) -> list[tuple[str, bytes]]:
        """Come back to the session, take what was kept for it, and leave it in place."""
        from paho.mqtt.packettypes import PacketTypes
        from paho.mqtt.properties import Properties

        found: list[tuple[str, bytes]] = []
        heard = time.monotonic()
        subscribed = threading.Event()
        client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id="reader", protocol=paho.MQTTv5)

        def received(_client: Any, _data: Any, message: Any) -> None:
            nonlocal heard
            found.append((dict(message.properties.UserProperty)["id"], message.payload))
            heard = time.monotonic()

        client.on_message = received
        client.on_connect = lambda *_: client.subscribe("fsstore/#", qos=1)
        client.on_subscribe = lambda *_: subscribed.set()
        session = Properties(PacketTypes.CONNECT)
        session.SessionExpiryInterval = 0xFFFFFFFF
        client.connect(broker.url, broker.port, clean_start=False, properties=session)
        client.loop_start()
        assert subscribed.wait(10)
        heard = time.monotonic()
        while time.monotonic() < heard + _QUIET_SECONDS:
            time.sleep(0.05)
        client.disconnect()
        client.loop_stop()
        return found

    def test_a_broker_that_is_away_is_said(self, broker: Broker) -> None:
        from servers.process import free_port

        from fsstore import Commit
        from fsstore.testing import first_attempt

        dispatcher = MqttDispatcher(broker.url, free_port(), timeout_seconds=1)
        with pytest.raises(OSError, match="refused"):
            dispatcher.dispatch(Commit.of(first_attempt("order-1"), 1))
        dispatcher.close()
