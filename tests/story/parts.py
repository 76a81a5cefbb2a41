"""What the story is played with: a broker, a recorder, gateways, and what is heard of them."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent / "integration"), str(HERE.parent / "unit")]

from paho.mqtt.client import Client  # noqa: E402 - the paths come first
from paho.mqtt.enums import CallbackAPIVersion  # noqa: E402
from retrain_parts import BEGIN_MS, DAY_MS, SENSORS  # noqa: E402
from rig import Daemon, Mosquitto, wait_for  # noqa: E402

if TYPE_CHECKING:
    import numpy as np
    from paho.mqtt.client import MQTTMessage

    Rows = dict[str, tuple[np.ndarray, np.ndarray]]

LONG_S = 300.0  # for anything that needs a processor
GATEWAYS = {"gw1": "pump1", "gw2": "pump2", "gw3": "pump3"}
MAX_IN_FLIGHT = 400

# Nobody kills the broker here, so it need not write its whole queue at every change.
BROKER_EXTRA = """
max_packet_size 1048576
max_queued_messages 10000000
autosave_on_changes false
autosave_interval 5
"""
BROKER = """
[mqtt]
host = "127.0.0.1"
port = {port}
"""
SOURCE = """
[[source]]
topic = "{hall}/{{asset}}"
"""
GATEWAY = """
[gateway]
id = "{name}"
state_dir = "{folder}/state"
[[model]]
bundle = "first.offbeat"
[delivery]
root = "root.json"
[publish]
health_interval_s = 1
[log]
format = "json"
"""
RECORDER = """
[gateway]
id = "recorder"
state_dir = "{folder}/state"
[publish]
health_interval_s = 1
[log]
format = "json"
"""


class Home:
    """A folder with a configuration, as `rig.Daemon` wants it."""

    def __init__(self, folder: Path, text: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.path = folder / "offbeat.toml"
        self.path.write_text(text)


class Ear:
    """Hears all that the fleet says, and publishes."""

    def __init__(self, port: int) -> None:
        self.alerts: dict[str, dict[str, Any]] = {}  # by event id
        self.last: dict[str, dict[str, Any]] = {}  # retained topic → object
        self._client = Client(CallbackAPIVersion.VERSION2, client_id="ear", clean_session=False)
        self._client.max_inflight_messages_set(MAX_IN_FLIGHT)
        self._client.on_connect = lambda client, *_: client.subscribe("offbeat/#", qos=1)
        self._client.on_message = self._message
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        wait_for(self._client.is_connected, "the broker")

    def say(self, topic: str, body: dict[str, Any]) -> None:
        self._client.publish(topic, json.dumps(body), qos=1).wait_for_publish(30)

    def play(self, rows: Rows) -> int:
        """Publish rows in the order of their times; return how many messages."""
        merged = sorted(
            (int(t), hall, asset, v)
            for hall, asset in GATEWAYS.items()
            for t, v in zip(rows[asset][0], rows[asset][1].tolist(), strict=True)
        )
        for n, (time_ms, hall, asset, values) in enumerate(merged):
            known = {s: round(x, 4) for s, x in zip(SENSORS, values, strict=True) if x == x}  # noqa: PLR0124
            body = json.dumps({"ts": time_ms, **known})
            info = self._client.publish(f"{hall}/{asset}", body, qos=1)
            if n % MAX_IN_FLIGHT == 0:
                info.wait_for_publish(60)
        info.wait_for_publish(60)
        return len(merged)

    def new(self, kind: str, since_ms: int, until_ms: int) -> list[dict[str, Any]]:
        """Return alerts that were told in a stretch of event time."""
        return [
            e
            for e in list(self.alerts.values())
            if e["type"] == "new" and e["kind"] == kind and since_ms <= e["time_ms"] < until_ms
        ]

    def report(self, gateway: str) -> dict[str, Any]:
        return self.last.get(f"offbeat/{gateway}/rollout/pump", {})

    def running(self, gateway: str) -> str:
        models = self.last.get(f"offbeat/{gateway}/health", {}).get("models", [{}])
        return str(models[0].get("digest", ""))

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _message(self, _client: Client, _data: object, message: MQTTMessage) -> None:
        try:
            body = json.loads(message.payload)
        except ValueError:
            return
        if isinstance(body, dict):
            self.last[message.topic] = body
            if message.topic.endswith("/alert"):
                self.alerts.setdefault(body["id"], body)


class Butcher(threading.Thread):
    """Kills one process or another at random moments, and starts it again."""

    def __init__(self, seed: int, victims: dict[str, Daemon]) -> None:
        super().__init__(daemon=True)
        self.killed: list[str] = []
        self._chance = random.Random(seed)
        self._victims = victims
        self._over = threading.Event()

    def run(self) -> None:
        while not self._over.wait(self._chance.uniform(10.0, 40.0)):
            name = self._chance.choice(sorted(self._victims))
            self._victims[name].kill()
            self.killed.append(name)
            time.sleep(self._chance.uniform(0.0, 1.0))
            self._victims[name].start().ready()  # a busy machine takes its time over this

    def rest(self) -> None:
        self._over.set()
        self.join()


class Fleet:
    """Everything, in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.broker = Mosquitto(folder / "broker", extra=BROKER_EXTRA).start()
        self.ear = Ear(self.broker.port)
        self.lake = folder / "lake"
        self.registry = folder / "registry"
        self.repository = folder / "fleet"
        self.mqtt = folder / "mqtt.toml"
        self.mqtt.write_text(BROKER.format(port=self.broker.port))
        self.passphrase = folder / "pass"
        self.passphrase.write_text("correct horse battery\n")
        self.passphrase.chmod(0o600)
        self.played = 0  # messages to each gateway
        self.gateways: dict[str, Daemon] = {}
        home = folder / "recorder"
        text = RECORDER.format(folder=home) + BROKER.format(port=self.broker.port)
        text += "".join(SOURCE.format(hall=hall) for hall in GATEWAYS)
        words = ("--lake", str(self.lake), "--flush", "2s")
        site: Any = Home(home, text)
        self.recorder = Daemon(site, command="record", words=words).start().ready()

    def open(self, bundle: Path) -> Self:
        """Start the gateways, with a bundle that was copied by hand."""
        for name in GATEWAYS:
            home = self.folder / name
            text = GATEWAY.format(name=name, folder=home) + BROKER.format(port=self.broker.port)
            site: Any = Home(home, text + SOURCE.format(hall=name))
            (home / "first.offbeat").write_bytes(bundle.read_bytes())
            (home / "root.json").write_bytes((self.repository / "root.json").read_bytes())
            self.gateways[name] = Daemon(site).start().ready()
        return self

    def victims(self) -> dict[str, Daemon]:
        return {**self.gateways, "recorder": self.recorder}

    def play(self, rows: Rows) -> None:
        """Publish; wait until recorder and gateways have it, by their own time."""
        self.ear.play(rows)
        newest_ms = max(int(times[-1]) for times, _ in rows.values())
        last = {name: (times[-1:], values[-1:]) for name, (times, values) in rows.items()}
        deadline = time.monotonic() + LONG_S
        while behind := [name for name in self.listeners() if self.reached(name) < newest_ms]:
            assert time.monotonic() < deadline, f"{behind} did not take all"
            time.sleep(1.0)
            # One killed after it took all knows of no sample's time: the last comes once more.
            if any(self.reached(name) == 0 for name in behind):
                self.ear.play(last)
        time.sleep(3.0)  # the recorder's flush

    def check(self) -> None:
        """Fail where a process has ended by itself."""
        gone = [name for name, daemon in self.victims().items() if not daemon.alive]
        assert not gone, f"{gone} ended by themselves"

    def autopsy(self) -> None:
        """Print how each process fares, what it logged last and its errors."""
        for name, daemon in self.victims().items():
            print(f"--- {name}: exit code {daemon.code}", *daemon.events[-20:], daemon.errors(),
                  self.ear.report(name), sep="\n    ", flush=True)  # fmt: skip

    def listeners(self) -> list[str]:
        return [*self.gateways, "record-recorder"]

    def reached(self, name: str) -> int:
        """Return the time of the sample that came last to a process in its present life."""
        health = self.ear.last.get(f"offbeat/{name}/health", {})
        lag = health.get("lag_ms")
        return 0 if lag is None else int(health["time_ms"] - lag)

    def command(self, *words: str, ok: tuple[int, ...] = (0,)) -> str:
        """Run ``offbeat``; return what it printed."""
        done = subprocess.run(
            [sys.executable, "-m", "offbeat_edge.cli", *words],
            capture_output=True, text=True, check=False, env=os.environ, timeout=900,
        )  # fmt: skip
        assert done.returncode in ok, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def start(self, *words: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "offbeat_edge.cli", *words]
        return subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    @property
    def signing(self) -> tuple[str, ...]:
        return (
            "--repository", str(self.repository), "--passphrase-file", str(self.passphrase),
            "--mqtt", str(self.mqtt),
        )  # fmt: skip

    def close(self) -> None:
        for daemon in self.victims().values():
            daemon.stop()
        self.ear.close()
        self.broker.kill()


def day(number: float) -> int:
    """Return a day of the story as epoch ms."""
    return BEGIN_MS + round(number * DAY_MS)


def between(rows: Rows, first: float, last: float) -> Rows:
    """Return the rows of some days."""
    cut = {}
    for name, (times, values) in rows.items():
        kept = (times >= day(first)) & (times < day(last))
        cut[name] = (times[kept], values[kept])
    return cut
