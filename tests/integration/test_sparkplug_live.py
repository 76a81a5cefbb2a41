"""A Sparkplug edge node, a real Mosquitto, a real daemon (extra `sparkplug`)."""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING

import pytest
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion
from rig import START_MS, Daemon, Listener, Player, Site, closing, recording, wait_for

pytest.importorskip("google.protobuf", reason="the extra `sparkplug` is not installed")

from offbeat_edge.sparkplug.host import rebirth
from offbeat_edge.sparkplug.metric import BOOLEAN, DOUBLE, INT64
from offbeat_edge.sparkplug.proto import new_payload, parse

if TYPE_CHECKING:
    from pathlib import Path

    from rig import Mosquitto

LEVELS = {"flow": 10.0, "heat": 20.0}


class EdgeNode:
    """Node ``n1`` with device ``pump1``: aliases after birth, only what changed, rebirths."""

    def __init__(self, port: int) -> None:
        self.births = 0
        self._seq = 0
        self._time_ms = START_MS
        self._said: dict[str, float] = {}
        self._lock = threading.RLock()
        self._client = Client(CallbackAPIVersion.VERSION2)
        death = new_payload()
        death.metrics.add(name=b"bdSeq", datatype=INT64, long_value=0)
        self._client.will_set("spBv1.0/g/NDEATH/n1", death.SerializeToString(), qos=1)
        self._client.on_message = self._on_command
        self._client.connect("127.0.0.1", port)
        self._client.subscribe("spBv1.0/g/NCMD/n1", 1)
        self._client.loop_start()

    def _on_command(self, _client: Client, _data: object, message: MQTTMessage) -> None:
        (asked,) = parse(message.payload).metrics
        assert (asked.name, asked.datatype) == (b"Node Control/Rebirth", BOOLEAN)
        self.be_born()

    def be_born(self) -> None:
        with self._lock:
            self._seq, self._said = 0, dict(LEVELS)
            birth = self._payload()
            birth.metrics.add(name=b"bdSeq", datatype=INT64, long_value=0)
            self._client.publish("spBv1.0/g/NBIRTH/n1", birth.SerializeToString())
            device = self._payload()
            for alias, (name, value) in enumerate(LEVELS.items()):
                device.metrics.add(
                    name=name.encode(), alias=alias, datatype=DOUBLE, double_value=value
                )
            self._client.publish("spBv1.0/g/DBIRTH/n1/pump1", device.SerializeToString())
            self.births += 1

    def second(self, **values: float) -> None:
        """Let a second pass and say what changed in it; something always does, a little."""
        with self._lock:
            self._time_ms += 1000
            wobble = {"heat": 20.0 + self._time_ms // 1000 % 7 / 100}
            data = self._payload()
            for alias, name in enumerate(LEVELS):
                value = {**LEVELS, **wobble, **values}[name]
                if self._said.get(name) != value:
                    data.metrics.add(alias=alias, double_value=value)
                    self._said[name] = value
            self._client.publish("spBv1.0/g/DDATA/n1/pump1", data.SerializeToString())

    def _payload(self) -> object:
        payload = new_payload()
        payload.timestamp, payload.seq = self._time_ms, self._seq
        self._seq = (self._seq + 1) % 256
        return payload

    def close(self) -> None:
        self._client.loop_stop()
        self._client.disconnect()


def run_until_alert(node: EdgeNode, listener: Listener, known: int, births: int) -> None:
    """Let the pump run well for a while, and badly until it is heard.

    ``births`` are those before the daemon began: what was still on its way may have made it ask.
    """

    def reborn() -> bool:
        node.second()
        return node.births > births

    wait_for(reborn, "the request for a rebirth")
    for _ in range(30):
        node.second()

    def heard() -> bool:
        node.second(flow=30.0)
        return len({event["alert"] for event in listener.alerts.values()}) > known

    wait_for(heard, "an alert")
    for _ in range(30):
        node.second()


def test_births_unheard_are_asked_for_and_data_becomes_alerts_across_a_kill(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    site = Site(tmp_path, mosquitto.port)
    site.path.write_text(site.path.read_text().replace('topic = "plant/{asset}"',
                                                       'preset = "sparkplug"'))  # fmt: skip
    listener, node, daemon = Listener(mosquitto.port), EdgeNode(mosquitto.port), Daemon(site)
    with closing(listener, node, daemon, mosquitto):
        node.be_born()  # nobody listens yet
        for known in range(2):
            births = node.births
            daemon.start().ready()
            run_until_alert(node, listener, known, births)
            if not known:
                daemon.kill()
        anomalies = [e for e in listener.alerts.values() if e["kind"] == "anomaly"]
        assert {event["asset"] for event in anomalies} == {"n1.pump1"}
        assert anomalies[0]["contributions"][0]["sensor"] == "flow"
        assert daemon.stop() == 0


class Scada:
    """A host application: keeps what edge node ``scada`` says, and may ask it for births."""

    def __init__(self, port: int) -> None:
        self.heard: queue.Queue[tuple[str, dict[str, object]]] = queue.Queue()
        self._client = Client(CallbackAPIVersion.VERSION2)
        granted = threading.Event()
        self._client.on_subscribe = lambda *_: granted.set()
        self._client.on_message = self._on_message
        self._client.connect("127.0.0.1", port)
        self._client.subscribe("spBv1.0/offbeat/#", 1)
        self._client.loop_start()
        assert granted.wait(60)

    def _on_message(self, _client: Client, _data: object, message: MQTTMessage) -> None:
        found: dict[str, object] = {}
        for metric in parse(message.payload).metrics:
            fields = ("string_value", "long_value", "boolean_value", "double_value")
            name = next((field for field in fields if metric.HasField(field)), None)
            found[metric.name.decode()] = None if name is None else getattr(metric, name)
        self.heard.put((message.topic.removeprefix("spBv1.0/offbeat/"), found))

    def wait(self, topic: str, **wanted: object) -> dict[str, object]:
        """Return the first message of a topic, by its end, that says what is wanted."""
        while True:
            got, found = self.heard.get(timeout=60)
            if got.endswith(topic) and all(
                found.get(key) == value for key, value in wanted.items()
            ):
                return found

    def ask(self) -> None:
        self._client.publish("spBv1.0/offbeat/NCMD/scada", rebirth(0), qos=1)

    def close(self) -> None:
        self._client.loop_stop()
        self._client.disconnect()


class SparkplugSite(Site):
    """The bridge's folder."""

    def __init__(self, folder: Path, port: int) -> None:
        folder.mkdir()
        self.folder, self.path = folder, folder / "sparkplug.toml"
        self.path.write_text(
            '[sparkplug]\ngroup = "offbeat"\nnode = "scada"\ngateway = "gw1"\n[mqtt]\n'
            f'host = "127.0.0.1"\nport = {port}\nkeepalive_s = 5\n[log]\nformat = "json"\n'
        )


def test_scada_sees_assets_alerts_and_deaths(mosquitto: Mosquitto, tmp_path: Path) -> None:
    site = Site(tmp_path, mosquitto.port)
    scada, player, daemon = Scada(mosquitto.port), Player(mosquitto.port), Daemon(site).start()
    bridge = Daemon(SparkplugSite(tmp_path / "sparkplug", mosquitto.port), command="sparkplug")
    with closing(scada, player, daemon, bridge, mosquitto):
        daemon.ready()
        bridge.start()
        first = scada.wait("NBIRTH/scada")["bdSeq"]
        player.play(recording(seed=3, seconds=120, assets=1, faults=2))
        told = scada.wait("scada/p0", **{"Alert/Kind": b"anomaly"})
        assert told["Alert/Top Sensor"] == b"flow"
        scada.wait("DDATA/scada/p0", **{"Alert/Active": False})
        scada.ask()
        assert scada.wait("NBIRTH/scada")["bdSeq"] == first
        scada.wait("DBIRTH/scada/p0")
        bridge.kill()
        assert scada.wait("NDEATH/scada") == {"bdSeq": first}  # the broker says so for us
        bridge.start()
        second = scada.wait("NBIRTH/scada")["bdSeq"]
        assert second != first
        scada.wait("DBIRTH/scada/p0")
        assert bridge.stop() == 0
        assert scada.wait("NDEATH/scada") == {"bdSeq": second}
        assert daemon.stop() == 0
