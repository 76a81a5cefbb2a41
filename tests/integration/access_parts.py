"""A provisioned plant: a real Mosquitto with the generated configuration, and its clients."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from offbeat_broker import provision, provision_init
from offbeat_edge import config as configs
from offbeat_edge.link import Broker, Link, tls_context
from offbeat_edge.log import Log

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

WAIT = 60.0  # seconds for anything to arrive; a hang, not a measurement
HOST = "127.0.0.1"
TAKEN = ("Success", "No matching subscribers")  # what the broker says to a publish it takes
needs_mosquitto = pytest.mark.skipif(
    shutil.which("mosquitto") is None or shutil.which("bash") is None,
    reason="mosquitto or bash is not installed",
)


def free_port() -> int:
    with socket.create_server((HOST, 0)) as server:
        return int(server.getsockname()[1])


class Site:
    """A provisioned folder and the broker that runs from it."""

    def __init__(self, folder: Path) -> None:
        self.now = datetime.now(UTC).replace(microsecond=0)
        self.folder = folder
        self.port = free_port()
        self.log = folder.parent / "log"
        self._broker: subprocess.Popen[bytes] | None = None
        provision_init.init(folder, hosts=[HOST, "broker.plant"], port=self.port, now=self.now)
        conf = folder / "broker" / "mosquitto.conf"
        if os.geteuid() == 0:  # or Mosquitto becomes a user who cannot read this folder
            conf.write_text(conf.read_text() + "user root\n")

    def admit(self, role: str, name: str, **given: Any) -> Path:  # noqa: ANN401
        provision.admit(self.folder, name, role=role, now=given.pop("now", self.now), **given)  # type: ignore[arg-type]
        return self.folder / role / name

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._broker = subprocess.Popen(
                [str(self.folder / "broker" / "start")], stdout=log, stderr=log
            )
        deadline = time.monotonic() + WAIT
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection((HOST, self.port), 1):
                return
            time.sleep(0.05)
        raise AssertionError(self.log.read_text())

    def stop(self) -> None:
        assert self._broker is not None
        self._broker.terminate()
        self._broker.wait(WAIT)

    def reload(self) -> None:
        assert self._broker is not None
        mark = self.mark()
        self._broker.send_signal(signal.SIGHUP)
        self.logged("Reloading config", since=mark)

    def logged(self, *words: str, since: int = 0) -> str:
        """Wait for a line of the log with all these words."""
        deadline = time.monotonic() + WAIT
        while time.monotonic() < deadline:
            for line in self.log.read_text(errors="replace")[since:].splitlines():
                if all(word in line for word in words):
                    return line
            time.sleep(0.02)
        raise AssertionError(f"no line with {words} in\n{self.log.read_text()[since:]}")

    def mark(self) -> int:
        return len(self.log.read_text(errors="replace"))


def tls(identity: Path | None, *, authority: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(authority))
    if identity is not None:
        context.load_cert_chain(identity / "cert.pem", identity / "key.pem")
    return context


class Peer:
    """A client, honest or not; MQTT 5, keeps what arrives."""

    def __init__(
        self,
        site: Site,
        identity: Path | None,
        *,
        client_id: str = "",
        will: str = "",
        version: int = paho.MQTTv5,
        username: str = "",
        lasting: bool = False,
    ) -> None:
        self.got: list[tuple[str, bytes]] = []
        self.code: str | None = None
        self.ended: str | None = None
        self.session_present = False
        self._acks: dict[int, str] = {}
        self._grants: dict[int, list[str]] = {}
        self._changed = threading.Condition()
        self.paho = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            protocol=version,
            reconnect_on_failure=False,
        )
        if username:
            self.paho.username_pw_set(username)
        if will:
            self.paho.will_set(will, b"stolen", qos=1, retain=True)
        self.paho.tls_set_context(tls(identity, authority=site.folder / "broker/authority.pem"))
        self._listen()
        options: dict[str, Any] = {}
        if version == paho.MQTTv5:
            options["clean_start"] = not lasting
            options["properties"] = Properties(PacketTypes.CONNECT)
            options["properties"].SessionExpiryInterval = 3600 if lasting else 0
        try:
            self.paho.connect(HOST, site.port, **options)
        except OSError as error:
            self.ended = str(error)
            return
        self.paho.loop_start()
        self.until(lambda: self.code is not None or self.ended is not None)

    @property
    def welcome(self) -> bool:
        return self.code == "Success" and self.ended is None

    def publish(
        self, topic: str, payload: bytes = b"x", *, retain: bool = False, qos: int = 1
    ) -> str:
        """Publish and return the broker's answer: 'Success' or a reason."""
        mid = self.paho.publish(topic, payload, qos=qos, retain=retain).mid
        self.until(lambda: mid in self._acks or self.ended is not None)
        return self._acks.get(mid, self.ended or "")

    def subscribe(self, topic: str) -> str:
        mid = self.paho.subscribe(topic, qos=1)[1]
        self.until(lambda: mid in self._grants or self.ended is not None)
        return self._grants[mid or 0][0]

    def until(self, met: Callable[[], bool]) -> None:
        with self._changed:
            assert self._changed.wait_for(met, WAIT), f"got {self.got}, {self.code}, {self.ended}"

    def arrived(self, topic: str) -> list[bytes]:
        return [payload for got, payload in self.got if got == topic]

    def close(self) -> None:
        self.paho.disconnect()
        self.paho.loop_stop()

    def vanish(self) -> None:
        """Go without a word, so that the broker publishes the will."""
        sock = self.paho.socket()
        assert sock is not None
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
        self.paho.loop_stop()

    def _listen(self) -> None:
        self.paho.on_connect = lambda _c, _u, flags, code, _p: self._note(
            lambda: (setattr(self, "session_present", flags.session_present),
                     setattr(self, "code", str(code)))
        )  # fmt: skip
        self.paho.on_disconnect = lambda _c, _u, _f, code, _p: self._note(
            lambda: setattr(self, "ended", str(code))
        )
        self.paho.on_message = lambda _c, _u, m: self._note(
            lambda: self.got.append((m.topic, m.payload))
        )
        self.paho.on_publish = lambda _c, _u, mid, code, _p: self._note(
            lambda: self._acks.setdefault(mid, str(code))
        )
        self.paho.on_subscribe = lambda _c, _u, mid, codes, _p: self._note(
            lambda: self._grants.setdefault(mid, [str(code) for code in codes])
        )

    def _note(self, act: Callable[[], object]) -> None:
        with self._changed:
            act()
            self._changed.notify_all()


@contextlib.contextmanager
def peer(site: Site, identity: Path | None, **given: Any) -> Iterator[Peer]:  # noqa: ANN401
    client = Peer(site, identity, **given)
    try:
        yield client
    finally:
        client.close()


class Honest:
    """gw1 as the daemon would be it: the generated [mqtt] table and the real link."""

    def __init__(self, site: Site) -> None:
        mqtt = configs.load(_offbeat_toml(site), {}).mqtt
        files = {"ca_file": mqtt.ca_file, "cert_file": mqtt.cert_file, "key_file": mqtt.key_file}
        self.link = Link(
            broker=Broker(
                host=mqtt.host, port=mqtt.port, client_id=mqtt.client_id, username=None,
                password=None, keepalive_s=30, receive_maximum=100, max_packet_bytes=1 << 20,
            ),
            protocol="5",
            filters=[("plant/#", 1), ("offbeat/gw1/cmd/#", 1), ("offbeat/fleet/#", 1)],
            status_topic="offbeat/gw1/status",
            log=Log(stream=io.StringIO()),
            tls=partial(tls_context, **files),
        )  # fmt: skip
        self.got: list[tuple[str, bytes]] = []
        deadline = time.monotonic() + WAIT
        while not self.link.ready and time.monotonic() < deadline:
            self.link.poll(0.1)
        assert self.link.ready, self.link.problems

    def until(self, topic: str, payload: bytes) -> None:
        deadline = time.monotonic() + WAIT
        while (topic, payload) not in self.got and time.monotonic() < deadline:
            messages = self.link.poll(0.1)
            self.got += [(m.topic, m.payload) for m in messages]
            self.link.ack(messages)
        assert (topic, payload) in self.got

    def unmoved(self, site: Site) -> None:
        """Check that it still is on its first connection, and receives."""
        with peer(site, site.folder / "source" / "plc1") as source:
            payload = os.urandom(8).hex().encode()
            assert source.publish("plant/pump1", payload) in TAKEN
            self.until("plant/pump1", payload)
        assert (self.link.connections, self.link.taken_over, self.link.problems) == (1, 0, {})
        assert b"poison" not in [got for _, got in self.got]


def _offbeat_toml(site: Site) -> Path:
    folder = site.folder / "gateway" / "gw1"
    path = folder / "offbeat.toml"
    path.write_text(
        (folder / "mqtt.toml").read_text()
        + '[gateway]\nid = "gw1"\n[[source]]\ntopic = "plant/{asset}"\n'
        + '[[model]]\nbundle = "pump.offbeat"\n'
    )
    return path
