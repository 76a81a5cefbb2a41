"""A daemon behind the generated broker configuration, attacked while it works: same alerts."""

from __future__ import annotations

import contextlib
import json
import random
import socket
import time
from typing import TYPE_CHECKING

import access_parts
import pytest
import rig
from access_parts import HOST, TAKEN, WAIT, Peer, needs_mosquitto, peer, tls

from offbeat_broker import access

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = needs_mosquitto
POISON = b'{"schema": "1.0", "id": "x", "asset": "p0", "start_ms": 0, "end_ms": 9000000000000}'
STOLEN = ("status", "health", "asset/p0/state", "asset/p0/alert", "cmd/swap", "cmd/explain")


class Plant(rig.Site):
    """The rig's site, its daemon being gw1 of a provisioned broker."""

    def __init__(self, folder: Path, broker: access_parts.Site) -> None:
        super().__init__(folder, broker.port)
        own = broker.folder / "gateway" / "gw1"
        text = self.path.read_text()
        start, end = text.index("[mqtt]"), text.index("[[source]]")
        mqtt = (own / "mqtt.toml").read_text()
        self.path.write_text(f"{text[:start]}{text[end:]}\n{mqtt}")
        for name in ("ca.pem", "cert.pem", "key.pem"):
            (folder / name).write_bytes((own / name).read_bytes())
        (folder / "key.pem").chmod(0o600)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[access_parts.Site]:
    site = access_parts.Site(tmp_path / "site")
    site.admit("gateway", "gw1", topics=["plant/#"])
    site.admit("gateway", "gw2", topics=["hall2/#"])
    site.admit("source", "plc1", topics=["plant/#"])
    site.admit("source", "plc2", topics=["hall2/#"])
    site.admit("person", "ana", rights="operator")
    site.admit("person", "ben")
    site.start()
    yield site
    site.stop()


def _as_gw2(site: access_parts.Site, **given: str) -> Peer:
    return Peer(site, site.folder / "gateway" / "gw2", **given)  # type: ignore[arg-type]


def _retained_poison(site: access_parts.Site) -> None:
    """Another gateway's certificate, and our topics."""
    thief = _as_gw2(site)
    for tail in STOLEN:
        assert thief.publish(f"offbeat/gw1/{tail}", POISON, retain=True) not in TAKEN
    for topic in ("plant/p0", "offbeat/fleet/maintenance/p0", "offbeat/fleet/tuf/meta/root.json"):
        assert thief.publish(topic, POISON, retain=True) not in TAKEN
    thief.close()


def _takeover(site: access_parts.Site) -> None:
    _as_gw2(site, client_id="gw1", username="gw1").close()
    _as_gw2(site, client_id="offbeat-gw1").close()


def _will(site: access_parts.Site) -> None:
    _as_gw2(site, will="offbeat/gw1/status").vanish()


def _wildcards(site: access_parts.Site) -> None:
    thief = _as_gw2(site)
    for wide in ("#", "plant/#", "offbeat/gw1/#", "$share/thieves/plant/#"):
        thief.subscribe(wide)
    thief.close()


def _oversized(site: access_parts.Site) -> None:
    thief = _as_gw2(site)
    thief.publish("offbeat/gw2/errors", bytes(access.MAX_PACKET_BYTES))
    thief.close()


def _commands_of_a_sensor(site: access_parts.Site) -> None:
    with peer(site, site.folder / "source" / "plc2") as sensor:
        for tail in ("cmd/swap", "cmd/stop", "cmd/rename"):
            assert sensor.publish(f"offbeat/gw1/{tail}", POISON) not in TAKEN


def _commands_of_no_sense(site: access_parts.Site) -> None:
    """Who may command, but says nothing that can be done."""
    with peer(site, site.folder / "person" / "ana") as operator:
        for verb in ("swap", "explain", "replay", "rename", "no-such-verb", "a/b", "\u00e4"):
            for payload in (b"", b"{", b"\xff\xfe", b"[]", b'{"id": 5}', b"x" * 60_000):
                operator.publish(f"offbeat/gw1/cmd/{verb}", payload, retain=len(payload) % 2 == 0)
        for topic in ("feedback/p0", "maintenance/p0", "feedback/nobody", "maintenance/\u00e4"):
            operator.publish(f"offbeat/fleet/{topic}", b'{"schema": "9.0", "\xff": 1}')


def _flood_of_connections(site: access_parts.Site) -> None:
    with contextlib.ExitStack() as flood:
        for _ in range(150):
            flood.enter_context(socket.create_connection((HOST, site.port), WAIT))


def _bytes_that_are_not_mqtt(site: access_parts.Site) -> None:
    authority = site.folder / "broker" / "authority.pem"
    context = tls(site.folder / "gateway" / "gw2", authority=authority)
    raw = socket.create_connection((HOST, site.port), WAIT)
    with contextlib.suppress(OSError), context.wrap_socket(raw, server_hostname=HOST) as client:
        client.sendall(random.Random(1).randbytes(4000))
        client.recv(100)


ATTACKS: tuple[Callable[[access_parts.Site], None], ...] = (
    _retained_poison, _takeover, _will, _wildcards, _oversized, _commands_of_a_sensor,
    _commands_of_no_sense, _flood_of_connections, _bytes_that_are_not_mqtt,
)  # fmt: skip


def test_an_attacked_daemon_tells_what_an_undisturbed_one_does(
    tmp_path: Path, broker: access_parts.Site
) -> None:
    plant = Plant(tmp_path, broker)
    readings = rig.recording(seed=5, seconds=180, faults=9, sensor_faults=4)
    expected = {event.id for event in plant.replay(readings)}
    assert len(expected) >= 50
    daemon = rig.Daemon(plant)
    with (
        peer(broker, broker.folder / "person" / "ben") as watcher,
        peer(broker, broker.folder / "source" / "plc1") as source,
        rig.closing(daemon),
    ):
        watcher.subscribe("offbeat/gw1/#")
        daemon.start().ready()
        watcher.until(lambda: _health(watcher)["mqtt"]["subscribed"] > 0)
        pid, size = daemon.pid, len(readings) // len(ATTACKS)
        for n, attack in enumerate(ATTACKS):
            attack(broker)
            for reading in readings[n * size : (n + 1) * size]:
                assert source.publish(reading.topic, reading.payload) in TAKEN
        watcher.until(lambda: expected <= _told(watcher))
        assert _told(watcher) == expected
        watcher.until(lambda: _health(watcher)["counters"]["messages"] >= len(readings))
        health = _health(watcher)
        assert (health["mqtt"]["connections"], health["mqtt"]["taken_over"]) == (1, 0)
        assert health["degraded"] == []
        assert daemon.alive
        assert daemon.pid == pid
        assert b"stolen" not in watcher.arrived("offbeat/gw1/status")


def _told(watcher: Peer) -> set[str]:
    events = [json.loads(payload) for topic, payload in watcher.got if topic.endswith("/alert")]
    return {event["id"] for event in events if event["kind"] != "stale"}


def _health(watcher: Peer) -> dict[str, dict[str, int]]:
    said = watcher.arrived("offbeat/gw1/health")
    return (
        json.loads(said[-1]) if said else {"counters": {"messages": 0}, "mqtt": {"subscribed": 0}}
    )


def test_a_burst_over_tls_arrives_whole_and_in_order(broker: access_parts.Site) -> None:
    sent = [b"%d " % n + bytes(n * 7 % 20_000) for n in range(1500)]  # records of TLS hold 16 KiB
    daemon = access_parts.Honest(broker)
    got: list[bytes] = []
    with peer(broker, broker.folder / "source" / "plc1") as sensor:
        for payload in sent:
            sensor.paho.publish("plant/p0", payload, qos=1)
        deadline = time.monotonic() + WAIT
        while len(got) < len(sent) and time.monotonic() < deadline:
            messages = daemon.link.poll(0.1)
            daemon.link.ack(messages)
            got += [message.payload for message in messages if message.topic == "plant/p0"]
    daemon.link.close(b"stopped")
    assert got == sent
