"""A plant's readings live over MQTT: one JSON object per asset and moment.

``plant/pump1 {"ts": 1736121600000, "speed": 1180.0, …}``; a reading that
never came is null, a moment of which nothing came is no message.

Rules: QoS 1, and never more than ``IN_FLIGHT`` messages without an
acknowledgement, so that a slow broker slows the plant down and loses nothing.
MQTT 3.1.1, which every broker speaks.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode

from offbeat_edge import dial
from offbeat_edge.errors import LinkError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from offbeat_broker.plant import History
    from offbeat_edge.config import Mqtt

IN_FLIGHT = 100  # messages without an acknowledgement
CONNECT_SECONDS = 30.0  # a broker that starts beside us may take a while
ACKNOWLEDGE_SECONDS = 60.0  # includes a reconnect
KEEPALIVE_SECONDS = 30


class Pace:
    """Event time against this machine's clock.

    Parameters
    ----------
    speed_up : event seconds a second; 0 is as fast as the broker takes them
    stop : ends every wait
    clock : monotonic seconds
    """

    def __init__(
        self,
        *,
        speed_up: float,
        stop: threading.Event,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.stop = stop
        self._speed_up = speed_up
        self._clock = clock
        self._origin: tuple[float, int] | None = None

    def wait(self, time_ms: int) -> bool:
        """Wait until it is ``time_ms``; return false when it is time to stop."""
        if self._origin is None:
            self._origin = (self._clock(), time_ms)
        if self._speed_up > 0.0:
            begun, first = self._origin
            due = begun + (time_ms - first) / 1000.0 / self._speed_up
            self.stop.wait(max(due - self._clock(), 0.0))
        return not self.stop.is_set()


class Publisher:
    """A connected client with a bounded number of messages in flight."""

    def __init__(self, client: paho.Client, *, topic: str) -> None:
        self._client = client
        self._topic = topic
        self._pending: deque[paho.MQTTMessageInfo] = deque()

    def send(self, history: History, pace: Pace) -> int:
        """Publish a history in time order; return the messages sent."""
        sent = 0
        topics = [self._topic.replace("{asset}", asset) for asset in history.assets]
        readings = history.values.swapaxes(0, 1).tolist()
        for time_ms, moment in zip(history.time_ms.tolist(), readings, strict=True):
            if not pace.wait(time_ms):
                break
            for topic, values in zip(topics, moment, strict=True):
                payload = encode(time_ms, history.sensors, values)
                if payload is not None:
                    self._publish(topic, payload)
                    sent += 1
        return sent

    def flush(self) -> None:
        """Wait until every message is acknowledged."""
        while self._pending:
            self._settle(self._pending.popleft())

    def _publish(self, topic: str, payload: bytes) -> None:
        if len(self._pending) >= IN_FLIGHT:
            self._settle(self._pending.popleft())
        self._pending.append(self._client.publish(topic, payload, qos=1))

    def _settle(self, info: paho.MQTTMessageInfo) -> None:
        info.wait_for_publish(ACKNOWLEDGE_SECONDS)
        if not info.is_published():
            raise LinkError(
                f"simulate: expected an acknowledgement within {ACKNOWLEDGE_SECONDS} s, got none"
            )


def encode(time_ms: int, sensors: tuple[str, ...], values: list[float]) -> bytes | None:
    """Return one message, or None when no reading came.

    >>> encode(0, ("flow", "speed"), [1.5, float("nan")])
    b'{"ts":0,"flow":1.5,"speed":null}'
    """
    if all(value != value for value in values):  # noqa: PLR0124 - NaN
        return None
    # msgspec writes NaN as null.
    return msgspec.json.encode({"ts": time_ms, **dict(zip(sensors, values, strict=True))})


@contextmanager
def connected(mqtt: Mqtt, *, topic: str, within_s: float = CONNECT_SECONDS) -> Iterator[Publisher]:
    """Connect, yield a publisher, wait for what is in flight, disconnect.

    Raises
    ------
    LinkError
        When the broker cannot be reached or stops answering.
    """
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id="")
    client.max_inflight_messages_set(IN_FLIGHT)
    secured = dial.tls(mqtt)
    if secured is not None:
        client.tls_set_context(secured())
    who = dial.broker(mqtt, max_payload_bytes=0)
    if who.username:
        client.username_pw_set(who.username, who.password)
    client.reconnect_delay_set(1, 5)
    up = threading.Event()
    answer: list[str] = []

    def on_connect(*args: object) -> None:
        answer.append(str(args[3]))
        up.set()

    client.on_connect = on_connect
    client.connect_async(mqtt.host, mqtt.port, keepalive=KEEPALIVE_SECONDS)
    client.loop_start()
    try:
        if not up.wait(within_s) or not client.is_connected():
            got = answer[-1] if answer else "no answer"
            raise LinkError(f"simulate: expected a broker at {mqtt.host}:{mqtt.port}, got {got}")
        publisher = Publisher(client, topic=topic)
        yield publisher
        publisher.flush()
    finally:
        if client.disconnect() is not MQTTErrorCode.MQTT_ERR_SUCCESS:
            up.clear()
        client.loop_stop()
