"""A broker to retain things at: paho on a thread of its own, one call at a time.

Rules: QoS 1, MQTT 5 (a refusal is told), a bounded number in flight.  Every
failure is a `LinkError` that names the broker.
"""

from __future__ import annotations

import queue
import threading
import uuid
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING

from paho.mqtt.client import Client, MQTTMessage, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion

from offbeat_edge import dial
from offbeat_edge.delivery import wire
from offbeat_edge.errors import LinkError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from paho.mqtt.client import MQTTMessageInfo
    from paho.mqtt.reasoncodes import ReasonCode

    from offbeat_edge.config import Mqtt

CONNECT_S = 30.0  # a broker that starts beside us may take a while
ANSWER_S = 60.0  # for an acknowledgement, a reconnect included
IN_FLIGHT = 50  # messages
KEEPALIVE_S = 30


class BrokerWire:
    """A connected client; see `connected`."""

    def __init__(self, client: Client, where: str) -> None:
        self._client = client
        self._where = where
        self._arrived: queue.Queue[tuple[str, bytes]] = queue.Queue()
        self._waiting: deque[tuple[str, MQTTMessageInfo]] = deque()
        self.refused: queue.Queue[str] = queue.Queue()
        client.on_message = self._message
        client.on_publish = self._published

    def retained(self, filter_: str) -> dict[str, bytes]:
        """Return what the broker retains, by topic."""
        done = f"offbeat/fleet/tuf/sync/{uuid.uuid4().hex}"
        self._client.subscribe([(filter_, 1), (done, 1)])
        self._send(done, b"-", retain=False)  # comes back behind all that is retained
        found: dict[str, bytes] = {}
        try:
            while (item := self._arrived.get(timeout=ANSWER_S))[0] != done:
                found[item[0]] = item[1]
        except queue.Empty:
            raise LinkError(f"{self._where}: expected what it retains, got nothing") from None
        self._client.unsubscribe([filter_, done])
        return found

    def retain(self, topic: str, payload: bytes) -> None:
        """Have the broker retain a message; an empty one clears the topic."""
        self._send(topic, payload, retain=True)

    def settle(self) -> None:
        """Wait until the broker has all that was sent."""
        while self._waiting:
            self._settle_one()

    def _send(self, topic: str, payload: bytes, *, retain: bool) -> None:
        if len(self._waiting) >= IN_FLIGHT:
            self._settle_one()
        info = self._client.publish(topic, payload, qos=1, retain=retain)
        self._waiting.append((topic, info))

    def _settle_one(self) -> None:
        topic, info = self._waiting.popleft()
        info.wait_for_publish(ANSWER_S)
        if not self.refused.empty():
            raise LinkError(f"{self._where}: {topic}: refused: {self.refused.get()}")
        if not info.is_published():
            raise LinkError(f"{self._where}: {topic}: expected an acknowledgement, got none")

    def _message(self, _client: Client, _data: object, message: MQTTMessage) -> None:
        self._arrived.put((message.topic, bytes(message.payload)))

    def _published(
        self, _client: Client, _data: object, _mid: int, code: ReasonCode, _properties: object
    ) -> None:
        if code.is_failure:
            self.refused.put(str(code))


@contextmanager
def connected(mqtt: Mqtt) -> Iterator[BrokerWire]:
    """Connect, yield the wire, wait for what is in flight, disconnect; raises LinkError."""
    where = f"{mqtt.host}:{mqtt.port}"
    client = Client(CallbackAPIVersion.VERSION2, client_id="", protocol=MQTTv5)
    client.max_inflight_messages_set(IN_FLIGHT)
    context = dial.tls(mqtt)
    if context is not None:
        client.tls_set_context(context())
    broker = dial.broker(mqtt, max_payload_bytes=wire.META_MAX)
    if broker.username:
        client.username_pw_set(broker.username, broker.password)
    made = BrokerWire(client, where)
    up, answers = threading.Event(), deque[str]()

    def on_connect(*args: object) -> None:
        answers.append(str(args[3]))
        up.set()

    client.on_connect = on_connect
    client.connect_async(mqtt.host, mqtt.port, keepalive=KEEPALIVE_S)
    client.loop_start()
    try:
        if not up.wait(CONNECT_S) or not client.is_connected():
            raise LinkError(f"{where}: expected a broker, got {(*answers, 'no answer')[0]}")
        yield made
        made.settle()
    finally:
        client.disconnect()
        client.loop_stop()
