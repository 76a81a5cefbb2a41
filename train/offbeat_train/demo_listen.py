"""What the demo hears from the daemon: alerts, scores, its status.

Rules: one MQTT client in paho's own thread; everything that arrives is kept,
and alerts are also told as they come.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion

from offbeat_edge.schema import AlertEvent, ScoreRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Listener:
    """Everything heard from one gateway."""

    def __init__(self, *, gateway: str, tell: Callable[[AlertEvent], None]) -> None:
        self.root = f"offbeat/{gateway}"
        self.events: dict[str, AlertEvent] = {}  # by id: delivery is at least once
        self.scores: dict[str, list[tuple[int, float]]] = defaultdict(list)
        self._tell = tell
        self._newest_ms = 0  # of all scores
        self._status = ""
        self._changed = threading.Condition()

    def take(self, topic: str, payload: bytes) -> None:
        """Keep one message."""
        last = topic.rsplit("/", 1)[-1]
        with self._changed:
            if last == "score":
                record = msgspec.json.decode(payload, type=ScoreRecord)
                self.scores[record.asset].append((record.time_ms, record.score))
                self._newest_ms = max(self._newest_ms, record.time_ms)
            elif last == "status":
                self._status = payload.decode()
            elif last == "alert":
                self._alert(msgspec.json.decode(payload, type=AlertEvent))
            self._changed.notify_all()

    def _alert(self, event: AlertEvent) -> None:
        if event.id not in self.events:
            self.events[event.id] = event
            self._tell(event)

    def wait_status(self, status: str, seconds: float) -> bool:
        """Wait until the daemon says so; false when it does not."""
        with self._changed:
            return self._changed.wait_for(lambda: self._status == status, seconds)

    def wait_newest(self, until_ms: int, seconds: float) -> bool:
        """Wait until any asset is scored up to a moment; false when it takes too long."""
        with self._changed:
            return self._changed.wait_for(lambda: self._newest_ms >= until_ms, seconds)

    def wait_scored(self, assets: tuple[str, ...], until_ms: int, quiet_s: float) -> bool:
        """Wait until every asset is scored up to a moment; false when nothing comes any more."""
        while True:
            with self._changed:
                if all(self.scores[a] and self.scores[a][-1][0] >= until_ms for a in assets):
                    return True
                if not self._changed.wait(quiet_s):
                    return False


@contextmanager
def listening(
    port: int, *, gateway: str, tell: Callable[[AlertEvent], None], within_s: float = 10.0
) -> Iterator[Listener]:
    """Subscribe on this machine's broker; yield what hears it."""
    listener = Listener(gateway=gateway, tell=tell)
    ready = threading.Event()
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id="")

    def on_connect(*_: object) -> None:
        client.subscribe(f"{listener.root}/#", qos=1)

    client.on_connect = on_connect
    client.on_subscribe = lambda *_: ready.set()
    client.on_message = lambda _client, _data, message: listener.take(
        message.topic, bytes(message.payload)
    )
    client.connect("127.0.0.1", port)
    client.loop_start()
    try:
        if not ready.wait(within_s):
            raise TimeoutError(f"demo: expected a subscription within {within_s} s")
        yield listener
    finally:
        client.disconnect()
        client.loop_stop()
