"""From the publication of the sample that decides to the alert in a subscriber's hands.

    python -m pytest tests/benchmarks/test_alert_latency.py -s

500 assets at one message a second each, for twenty seconds; bumps at random
moments.  The state lies on this disk (every commit synced) or in memory.  At
the same time a client that only answers shows what broker, machine and
measurement take of it.
"""

from __future__ import annotations

import json
import random
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

sys.path.insert(0, str(Path(__file__).parents[1] / "integration"))
from rig import Daemon, Mosquitto, Site, closing, wait_for

if TYPE_CHECKING:
    from paho.mqtt.client import MQTTMessage

ASSETS = 500
SECONDS = 20
BUMPS = 0.02  # of the samples begin one
UNSAVED = "autosave_on_changes false"  # or Mosquitto writes its whole queue at every message


class Stream:
    """Publishes in real time and notes when; receives alerts and notes when."""

    def __init__(self, port: int, qos: int) -> None:
        self.sent: dict[tuple[str, int], float] = {}
        self.delays_ms: list[float] = []
        self.floor_ms: list[float] = []
        self._qos = qos
        self._client = Client(CallbackAPIVersion.VERSION2, client_id="stream")
        self._client.on_message = self._heard
        self._client.connect("127.0.0.1", port)
        self._client.subscribe([("offbeat/+/asset/+/alert", 1), ("echo", 1)])
        # Many assets on one connection: their readings are not to wait for each other (Nagle).
        sock = self._client.socket()
        assert sock is not None
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._client.loop_start()

    def play(self) -> None:
        chance = random.Random(1)
        bumped = dict.fromkeys(range(ASSETS), 0)
        start = time.monotonic() + 0.5
        origin_ms = time.time_ns() // 1_000_000 // 1000 * 1000
        for n in range(ASSETS * SECONDS):
            second, asset = divmod(n, ASSETS)
            if second > 10 and chance.random() < BUMPS:
                bumped[asset] = second + 4
            flow = 10.0 + chance.gauss(0, 0.1) + (8.0 if bumped[asset] > second else 0.0)
            ts = origin_ms + second * 1000
            body = json.dumps({"ts": ts, "flow": flow, "heat": 20.0 + chance.gauss(0, 0.1)})
            time.sleep(max(0.0, start + n / ASSETS - time.monotonic()))
            self.sent[f"a{asset}", ts] = time.monotonic()
            self._client.publish(f"plant/a{asset}", body, qos=self._qos)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _heard(self, _client: Client, _data: object, message: MQTTMessage) -> None:
        now = time.monotonic()
        if message.topic == "echo":
            asset, ts = message.payload.decode().split()
            self.floor_ms.append((now - self.sent[asset, int(ts)]) * 1000)
            return
        event = json.loads(message.payload)
        published = self.sent.get((event["asset"], event["time_ms"]))
        if published is not None:
            self.delays_ms.append((now - published) * 1000)


@pytest.mark.parametrize("qos", [0, 1])
@pytest.mark.parametrize("state", ["disk", "memory"])
def test_publish_to_alert(tmp_path: Path, qos: int, state: str) -> None:
    broker = Mosquitto(tmp_path / "broker", extra=UNSAVED).start()
    folder = tmp_path if state == "disk" else Path("/dev/shm") / tmp_path.name / f"{qos}"  # noqa: S108
    folder.mkdir(parents=True, exist_ok=True)
    daemon = Daemon(Site(folder, broker.port)).start().ready()
    stream = Stream(broker.port, qos)
    echo = (sys.executable, str(Path(__file__).with_name("echo.py")), str(broker.port), str(qos))
    with subprocess.Popen(echo) as child, closing(daemon, broker):
        stream.play()
        wait_for(lambda: bool(stream.delays_ms), "an alert")
        time.sleep(1.0)
        stream.close()
        child.kill()
    floor50, floor99 = np.percentile(stream.floor_ms, [50, 99])
    p50, p99 = np.percentile(stream.delays_ms, [50, 99])
    print(  # noqa: T201
        f"\nstate in {state}, QoS {qos}: {len(stream.delays_ms)} events, "
        f"median {p50:.1f} ms, p99 {p99:.1f} ms, worst {max(stream.delays_ms):.1f} ms; "
        f"an echo: median {floor50:.1f} ms, p99 {floor99:.1f} ms"
    )
    assert len(stream.delays_ms) > 100
