"""MQTT 5 with quality of service 1: the broker has taken a commit when it acknowledges it (extra `mqtt`).

Doubles after a retry carry the same `id` among the user properties. Network traffic runs in paho's own thread.
"""

from __future__ import annotations

from threading import Event
from typing import Any
from urllib.parse import quote

from fsstore.dispatch.arguments import checked_timeout
from fsstore.dispatch.messages import CloudEvents, MessageForm
from fsstore.model import Commit, checked_at_least

# Above these a reason code of MQTT 5 is a failure (MQTT 5.0, section 2.4); 0x10 says that nobody subscribes now.
_FIRST_FAILURE = 0x80
_LAST_PORT = 65535


class MqttDispatcher:
    """Publishes to the topic `<topic>/<bucket>/<stream>`, its parts percent-encoded, not retained.

    A subscriber that must not miss anything subscribes with QoS 1 and a session that does not expire. Raises
    `OSError` while the broker is away, does not answer within `timeout_seconds`, or refuses the message.
    """

    blocks = True

    def __init__(
        self,
        host: str,
        port: int = 1883,
        *,
        topic: str = "fsstore",
        client_id: str = "",
        username: str | None = None,
        password: str | None = None,
        tls: bool = False,
        timeout_seconds: float = 10.0,
        form: MessageForm | None = None,
    ) -> None:
        try:
            import paho.mqtt.client
            import paho.mqtt.packettypes
            import paho.mqtt.properties
        except ImportError as error:
            raise ImportError("MQTT needs the package paho-mqtt: pip install 'fsstore[mqtt]'") from error
        self._paho: Any = paho.mqtt
        if checked_at_least(port, 1, "port") > _LAST_PORT:
            raise ValueError(f"port must be at most {_LAST_PORT}, not {port}")
        self._address = host, port
        self._topic = topic
        self._client_id = client_id
        self._login = username, password
        self._tls = tls
        self._timeout_seconds = checked_timeout(timeout_seconds)
        self._form = form if form is not None else CloudEvents()
        self._client: Any = None
        self._acknowledged: dict[int, Any] = {}

    def dispatch(self, commit: Commit) -> None:
        """Return once the broker has acknowledged the commit."""
        message = self._form.message(commit)
        if self._client is None or not self._client.is_connected():
            self._connect()
        properties = self._paho.properties.Properties(self._paho.packettypes.PacketTypes.PUBLISH)
        properties.ContentType = message.content_type
        properties.UserProperty = ("id", message.id)
        topic = f"{self._topic}/{quote(commit.bucket_id, safe='')}/{quote(commit.stream_id, safe='')}"
        sent = self._client.publish(topic, message.body, qos=1, properties=properties)
        try:
            sent.wait_for_publish(self._timeout_seconds)
            taken = sent.is_published()
        except (RuntimeError, ValueError) as error:
            self.close()
            raise ConnectionError(f"commit {message.id} of {message.key} could not be sent: {error}") from error
        if not taken:
            self.close()
            raise TimeoutError(f"the broker did not acknowledge commit {message.id} of {message.key} in time")
        reason = self._acknowledged.pop(sent.mid, None)
        if reason is not None and reason.value >= _FIRST_FAILURE:
            raise ConnectionError(f"the broker refused commit {message.id} of {message.key}: {reason}")

    def _connect(self) -> None:
        self.close()
        client_module = self._paho.client
        client = client_module.Client(
            client_module.CallbackAPIVersion.VERSION2, client_id=self._client_id, protocol=client_module.MQTTv5
        )
        if self._login[0] is not None:
            client.username_pw_set(*self._login)
        if self._tls:
            client.tls_set()
        answered = Event()
        refused: list[Any] = []

        def connected(_client: Any, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
            if reason.is_failure:
                refused.append(reason)
            answered.set()

        def acknowledged(_client: Any, _data: Any, number: int, reason: Any, _properties: Any) -> None:
            self._acknowledged[number] = reason

        client.on_connect = connected
        client.on_publish = acknowledged
        client.connect(*self._address)
        client.loop_start()
        self._client = client
        if not answered.wait(self._timeout_seconds) or refused:
            self.close()
            raise ConnectionError(f"the broker at {self._address} did not let us in: {refused or 'no answer'}")

    def close(self) -> None:
        client, self._client = self._client, None
        self._acknowledged.clear()
        if client is not None:
            client.disconnect()
            client.loop_stop()
