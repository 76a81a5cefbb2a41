"""A real Mosquitto, a real daemon process, a listener, and a recording to play.

What the integration and system tests stand on.  The bundle is a real one
around ``unit/data/tiny_4x2.tflite``: two sensors, four steps of a second.
"""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import queue
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import msgspec
import numpy as np
import pytest
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion

from offbeat_edge import bundle, config, control, fleet, golden, knownanswer
from offbeat_edge.detector import DetectorSpec, FallbackSpec
from offbeat_edge.engine import Engine
from offbeat_edge.follow import FollowSpec
from offbeat_edge.interpreter import Interpreter
from offbeat_edge.manifest import Manifest
from offbeat_edge.payload.decoder import Decoder
from offbeat_edge.schema import AlertEvent, AlertRule, Lineage, ModelSpec, Sample, SensorSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

TINY = Path(__file__).parent.parent / "unit" / "data" / "tiny_4x2.tflite"
START_MS = 1_760_000_000_000
WAIT_S = 60.0  # for anything that should happen soon; a hang, not a measurement

MOSQUITTO = """\
listener {port} 127.0.0.1
user {user}
allow_anonymous true
persistence true
persistence_location {folder}/
autosave_on_changes true
autosave_interval 1
max_queued_messages 0
max_queued_bytes 100000000
{extra}
"""


def make_bundle(
    path: Path, *, threshold: float = 1.0, version: str = "1", period_ms: int = 1000
) -> None:
    """Write a bundle that expects both sensors near their centers."""

    def sensor(name: str, center: float) -> SensorSpec:
        return SensorSpec(
            name=name, center=center, scale=1.0, cadence_ms=period_ms, low=-100.0, high=200.0
        )

    manifest = Manifest(
        model=ModelSpec(
            name="tiny", version=version, created="2026-01-01T00:00:00Z",
            period_ms=period_ms, window=4, stride=1, hold_ms=3 * period_ms,
        ),
        sensors=(sensor("flow", 10.0), sensor("heat", 20.0)),
        detector=DetectorSpec(rows=4, center=(0.0, 0.0), precision=((1.0, 0.0), (0.0, 1.0))),
        fallback=FallbackSpec(
            threshold=2.0, level_center=(0.0, 0.0), level_scale=(1.0, 1.0),
            spread_center=(0.0, 0.0), spread_scale=(1.0, 1.0),
        ),
        threshold=threshold,
        epsilon=0.01,
        calibration={},
        alert=AlertRule(clear_ratio=0.9),
        follow=FollowSpec(windows=8, factor=1.5, most=2.0),
        lineage=Lineage(data_sha256="0" * 64, code_version="0", config={}, metrics={}, seed=0),
        runtimes=(),
    )  # fmt: skip
    model = TINY.read_bytes()
    windows = np.random.default_rng(1).normal(size=(12, 4, 2)) * 2.0
    found = knownanswer.answer(manifest, windows, Interpreter(model))
    kept = golden.decisive(found.scores, epsilon=manifest.epsilon)
    answers = golden.Golden(*(part[kept] for part in found))
    bundle.write(path, manifest, {bundle.MODEL: model, bundle.GOLDEN: golden.encode(answers)})


class Reading(msgspec.Struct, frozen=True):
    """One message of the recording."""

    topic: str
    payload: bytes


def recording(
    *, seed: int, seconds: int, assets: int = 2, faults: int = 4, sensor_faults: int = 0
) -> list[Reading]:
    """Return readings at 1 Hz with ``faults`` bumps an asset, in the order of their times.

    Of ``sensor_faults`` an asset, half are values beyond all plausibility, half absences.
    """
    chance = random.Random(seed)
    names = [f"p{n}" for n in range(assets)]
    bumps = {name: _bumps(chance, seconds, faults) for name in names}
    broken = {name: _broken(random.Random(seed + n), seconds, sensor_faults)
              for n, name in enumerate(names, 1)}  # fmt: skip
    readings = []
    for second in range(seconds):
        for name in names:
            values = {
                "ts": START_MS + second * 1000,
                "flow": round(10.0 + chance.gauss(0, 0.1) + bumps[name].get(second, 0.0), 3),
                "heat": round(20.0 + chance.gauss(0, 0.1), 3),
            }
            _break(values, broken[name], second)
            readings.append(Reading(f"plant/{name}", json.dumps(values).encode()))
    return readings


def _broken(chance: random.Random, seconds: int, faults: int) -> dict[int, float | None]:
    """Return second → the wild value of ``heat`` then, None for its absence."""
    found: dict[int, float | None] = {}
    for n in range(faults):
        start = (n * seconds + chance.randint(0, seconds // 4)) // faults
        wild = None if n % 2 else 900.0 + n
        found |= dict.fromkeys(range(start, start + chance.randint(6, 9)), wild)
    return found


def _break(values: dict[str, float], broken: dict[int, float | None], second: int) -> None:
    if second in broken:
        wild = broken[second]
        if wild is None:
            del values["heat"]
        else:
            values["heat"] = wild


def _bumps(chance: random.Random, seconds: int, faults: int) -> dict[int, float]:
    """Return second → offset, one bump in each equal part of the time."""
    part = seconds // faults
    bumps = {}
    for n in range(faults):
        start = n * part + chance.randint(part // 4, part // 2)
        for second in range(start, start + chance.randint(2, max(2, part // 5))):
            bumps[second] = chance.choice([6.0, 9.0])
    return bumps


class Site:
    """A folder with a bundle and a configuration."""

    def __init__(
        self,
        folder: Path,
        port: int,
        *,
        protocol: str = "auto",
        lateness_s: float = 0.0,
        more: str = "",
        host: str = "127.0.0.1",
    ) -> None:
        self.folder = folder
        self.path = folder / "edge.toml"
        self.bundle = folder / "tiny.offbeat"
        self.state = folder / "state" / "state.db"
        if not self.bundle.exists():
            make_bundle(self.bundle)
        self.path.write_text(f"""
[gateway]
id = "gw1"
state_dir = "{folder}/state"
[mqtt]
host = "{host}"
port = {port}
protocol = "{protocol}"
keepalive_s = 5
[[source]]
topic = "plant/{{asset}}"
[[model]]
bundle = "tiny.offbeat"
lateness_s = {lateness_s}
[publish]
health_interval_s = 1
[log]
format = "json"
{more}
""")

    def replay(self, readings: Iterable[Reading], *, log: str = "") -> list[AlertEvent]:
        """Return the events of an undisturbed run: the engine, in process, at one go.

        ``log`` holds lines of a control log.
        """
        read = config.load(self.path, {})
        decoder = Decoder(read.sources, max_payload_bytes=read.limits.max_payload_bytes)
        samples = []
        for reading in readings:
            samples += decoder.decode(reading.topic, reading.payload, 0, retained=False)[0]
        return self.told(samples, log=log)

    def told(self, samples: list[Sample], *, log: str = "") -> list[AlertEvent]:
        """Return the events that samples, and the lines of a control log, lead to."""
        read = config.load(self.path, {})
        entry = read.models[0]
        model = fleet.open_entry(read, entry, fleet.load_entry(entry))
        engine = Engine(
            site=read.gateway.site, gateway=read.gateway.id, route=fleet.router([(entry, model)]),
            contributions=read.publish.explain_top,
        )  # fmt: skip
        engine.schedule(control.decode_log(log))
        return [*engine.feed(samples).events, *engine.flush().events]


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def wait_for(what: Callable[[], bool], why: str, *, timeout_s: float = WAIT_S) -> None:
    """Wait until ``what`` is true; AssertionError says ``why`` it was awaited."""
    deadline = time.monotonic() + timeout_s
    while not what():
        assert time.monotonic() < deadline, f"waited {timeout_s:.0f} s in vain for {why}"
        time.sleep(0.02)


class Mosquitto:
    """A broker on a free port of the loopback; its queue outlives it."""

    def __init__(self, folder: Path, *, extra: str = "") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self._folder = folder
        self._config = folder / "mosquitto.conf"
        self._config.write_text(
            MOSQUITTO.format(port=self.port, folder=folder, extra=extra, user=getpass.getuser())
        )
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        if shutil.which("mosquitto") is None:
            pytest.skip("mosquitto is not installed; .ci/run installs it")
        with (self._folder / "mosquitto.log").open("ab") as log:
            command = ["mosquitto", "-c", str(self._config), "-v"]
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        wait_for(self._listening, "mosquitto to listen")
        return self

    def stop(self) -> None:
        """End cleanly: the queue is saved."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def _end(self, number: int) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(WAIT_S)
            self._process = None

    def _listening(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1.0):
            return True
        return False


class Daemon:
    """``offbeat run`` as a process of its own; its log lines are kept."""

    def __init__(
        self,
        site: Site,
        *,
        environ: dict[str, str] | None = None,
        wrapper: tuple[str, ...] = (),
        prelude: str = "",
        words: tuple[str, ...] = (),
        command: str = "run",
    ) -> None:
        self._command = command
        self._words = words  # further arguments
        self._wrapper = wrapper
        self._prelude = prelude  # run before the program: how a mutant is made
        self.events: list[dict[str, Any]] = []
        self._site = site
        self._environ = {**os.environ, **(environ or {})}
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> Self:
        code = f"{self._prelude}\nimport sys\nfrom offbeat_edge.cli import main\nsys.exit(main())"
        command = [
            *self._wrapper,
            sys.executable,
            "-c",
            code,
            self._command,
            "--config",
            str(self._site.path),
            *self._words,
        ]
        with (self._site.folder / "daemon.err").open("ab") as errors:
            self._process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=errors, text=True, env=self._environ
            )
        self.events.clear()  # of an earlier life
        self._reader = threading.Thread(target=self._read, args=[self._process], daemon=True)
        self._reader.start()
        return self

    def ready(self) -> Self:
        """Wait until it has connected once more than when this was last true."""
        self.wait_event("connected")
        return self

    def wait_event(self, name: str) -> dict[str, Any]:
        """Wait for a log line; it and those before it are used up."""

        def seen() -> bool:
            assert self.alive or any(e["event"] == name for e in self.events), self.errors()
            return any(event["event"] == name for event in self.events)

        wait_for(seen, f"the daemon to log {name}; {self.events[-3:]} {self.errors()}")
        while (event := self.events.pop(0))["event"] != name:
            pass
        return event

    def errors(self) -> str:
        return (self._site.folder / "daemon.err").read_text()[-2000:]

    @property
    def alive(self) -> bool:
        return self._process is not None and self.code is None

    @property
    def code(self) -> int | None:
        return None if self._process is None else self._process.poll()  # below 0: by a signal

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        """End it without a chance to say goodbye."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """End it politely; return its exit code."""
        return self._end(signal.SIGTERM)

    def _end(self, number: int) -> int:
        assert self._process is not None
        if self._process.poll() is None:
            self._process.send_signal(number)
        code = self._process.wait(WAIT_S)
        assert self._reader is not None
        self._reader.join(WAIT_S)
        return code

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        with process.stdout as lines:
            for line in lines:
                self.events.append(json.loads(line))


class Listener:
    """Collects what is published below ``offbeat/``; keeps its session over broker restarts."""

    def __init__(
        self, port: int, *, name: str = "listener", protocol: int = 4, topic: str = "offbeat/#"
    ) -> None:
        self._filter = topic
        self.alerts: dict[str, dict[str, Any]] = {}  # by id, the first to come
        self.order: list[str] = []  # alert ids as they came, repeats included
        self.retained: dict[str, bytes] = {}  # topic → last payload
        self.stale: list[dict[str, Any]] = []
        self.errors: list[dict[str, Any]] = []
        self.scores: list[dict[str, Any]] = []
        self._granted: queue.Queue[None] = queue.Queue()
        self._client = Client(
            CallbackAPIVersion.VERSION2, client_id=name, protocol=protocol, clean_session=False
        )
        self._client.reconnect_delay_set(0.2, 1)  # type: ignore[arg-type]  # it takes fractions
        self._client.on_connect = self._connected
        self._client.on_subscribe = lambda *_: self._granted.put(None)
        self._client.on_message = self._message
        self._client.connect("127.0.0.1", port, keepalive=10)
        self._client.loop_start()
        self._granted.get(timeout=WAIT_S)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def topic(self, name: str) -> bytes | None:
        return self.retained.get(f"offbeat/gw1/{name}")

    def health(self) -> dict[str, Any]:
        return json.loads(self.topic("health") or b"{}")

    def wait_subscribed(self) -> None:
        """Wait until the daemon's subscriptions are granted: what comes before it does not get."""
        wait_for(lambda: self.health().get("mqtt", {}).get("subscribed", 0) > 0, "subscriptions")

    def wait_alerts(self, expected: Iterable[str], *, timeout_s: float = WAIT_S) -> None:
        """Wait until all of these alert events have come."""
        names = set(expected)
        why = f"{len(names)} alert events"
        wait_for(lambda: names <= self.alerts.keys(), why, timeout_s=timeout_s)

    def _connected(self, client: Client, *_: object) -> None:
        client.subscribe(self._filter, qos=1)

    def _message(self, _client: Client, _data: object, message: MQTTMessage) -> None:
        self.retained[message.topic] = message.payload
        kind = message.topic.rsplit("/", 1)[-1]
        if kind == "alert":
            event = json.loads(message.payload)
            if event["kind"] == "stale":  # counts real silence, which a test has plenty of
                self.stale.append(event)
                return
            self.alerts.setdefault(event["id"], event)
            self.order.append(event["id"])
        elif kind == "errors":
            self.errors.append(json.loads(message.payload))
        elif kind == "score":
            self.scores.append(json.loads(message.payload))


class Player:
    """Publishes readings at QoS 1 and waits until the broker has them."""

    def __init__(self, port: int, *, qos: int = 1) -> None:
        self._qos = qos
        self._client = Client(CallbackAPIVersion.VERSION2, client_id="player", clean_session=False)
        self._client.max_inflight_messages_set(200)
        self._client.reconnect_delay_set(0.2, 1)  # type: ignore[arg-type]  # it takes fractions
        self._client.connect("127.0.0.1", port, keepalive=10)
        self._client.loop_start()

    def play(self, readings: Iterable[Reading], *, retain: bool = False) -> None:
        wait_for(self._client.is_connected, "the player to be connected")
        infos = [self._client.publish(r.topic, r.payload, self._qos, retain) for r in readings]
        for info in infos:
            info.wait_for_publish(WAIT_S)
            assert info.is_published(), "the broker did not take a reading"

    def say(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Publish one message and wait until the broker has it."""
        info = self._client.publish(topic, payload, qos=1, retain=retain)
        info.wait_for_publish(WAIT_S)
        assert info.is_published(), f"the broker did not take {topic}"

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@contextlib.contextmanager
def closing(*things: Mosquitto | Daemon | Listener | Player) -> Iterator[None]:
    """End things in order, whatever happened."""
    try:
        yield
    finally:
        for thing in things:
            if isinstance(thing, Listener | Player):
                thing.close()
            elif (isinstance(thing, Daemon) and thing.alive) or isinstance(thing, Mosquitto):
                thing.kill()


def differences(got: Iterable[str], expected: Iterable[AlertEvent | str]) -> str:
    """Say in a line how two sets of event ids differ; empty when they do not."""
    have = set(got)
    want = {event if isinstance(event, str) else event.id for event in expected}
    if have == want:
        return ""
    return f"{len(want - have)} missing, {len(have - want)} unexpected of {len(want)}"
