"""Attacks on a real Mosquitto with the generated configuration: refused, logged,
and an honest gateway on the real link does not notice.
"""

from __future__ import annotations

import os
import socket
import ssl
from contextlib import closing
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from access_parts import HOST, TAKEN, WAIT, Honest, Peer, Site, needs_mosquitto, peer, tls
from paho.mqtt import client as paho

from offbeat_broker import access, provision, provision_init

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = needs_mosquitto
REFUSED = "Not authorized"
VERSIONS = pytest.mark.parametrize("version", [paho.MQTTv5, paho.MQTTv311], ids=["5", "3.1.1"])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = Site(tmp_path_factory.mktemp("access") / "site")
    site.admit("gateway", "gw1", topics=["plant/#"])
    site.admit("gateway", "gw2", topics=["hall2/#"])
    site.admit("source", "plc1", topics=["plant/#"])
    site.admit("source", "plc2", topics=["hall2/#"])
    site.admit("trainer", "nightly")
    site.admit("person", "ana", rights="operator")
    site.admit("person", "ben")
    site.start()
    yield site
    site.stop()


@pytest.fixture(autouse=True)
def honest(site: Site) -> Iterator[Honest]:
    """Whatever a test does, gw1 must come out of it on its first connection."""
    gateway = Honest(site)
    yield gateway
    gateway.unmoved(site)
    gateway.link.close(b"stopped")


def gw2(site: Site) -> Path:
    return site.folder / "gateway" / "gw2"


def test_without_a_certificate_nobody_gets_in(site: Site) -> None:
    mark = site.mark()
    with peer(site, None) as client:
        assert not client.welcome
    site.logged("peer did not return a certificate", since=mark)


def test_a_certificate_of_another_authority_is_refused(site: Site, tmp_path: Path) -> None:
    provision_init.init(tmp_path / "other", hosts=["x"], port=1, now=site.now)
    provision.admit(tmp_path / "other", "gw1", role="gateway", topics=["a"], now=site.now)
    mark = site.mark()
    with peer(site, tmp_path / "other" / "gateway" / "gw1") as client:
        assert not client.welcome
    site.logged("certificate verify failed", since=mark)


def test_an_expired_certificate_is_refused(site: Site) -> None:
    old = site.admit("source", "old", topics=["plant/old"], now=site.now - timedelta(days=900))
    mark = site.mark()
    with peer(site, old) as client:
        assert not client.welcome
    site.logged("certificate verify failed", since=mark)


def test_the_brokers_own_certificate_is_no_clients(site: Site) -> None:
    mark = site.mark()
    with peer(site, site.folder / "broker" / "server") as client:
        assert not client.welcome
    site.logged("certificate verify failed", since=mark)


def test_clear_text_is_not_understood(site: Site) -> None:
    mark = site.mark()
    with closing(socket.create_connection((HOST, site.port), WAIT)) as clear:
        clear.sendall(b"\x10\x0f\x00\x04MQTT\x04\x02\x00\x3c\x00\x03gw1")
        assert not _all_of(clear).startswith(b"\x20")  # no CONNACK
    site.logged("SSL routines", since=mark)


def _all_of(sock: socket.socket) -> bytes:
    """What comes until the broker hangs up."""
    parts = []
    try:
        while part := sock.recv(4096):
            parts.append(part)
    except ConnectionError:
        pass
    return b"".join(parts)


@pytest.mark.parametrize("retain", [True, False])
@pytest.mark.parametrize(
    "topic",
    [
        "offbeat/gw1/status", "offbeat/gw1/asset/pump1/state", "offbeat/gw1/asset/pump1/alert",
        "offbeat/gw1/cmd/swap", "offbeat/gw2/cmd/swap", "offbeat/fleet/models/pump", "plant/pump1",
        "hall2/pump9", "$SYS/broker/uptime", "offbeat", "OFFBEAT/gw2/status",
    ],
)  # fmt: skip
def test_a_gateway_writes_under_its_own_name_only(site: Site, topic: str, retain: bool) -> None:  # noqa: FBT001
    mark = site.mark()
    with peer(site, gw2(site)) as thief, peer(site, site.folder / "person" / "ben") as watcher:
        watcher.subscribe(topic)
        before = watcher.arrived(topic)
        assert thief.publish(topic, b"poison", retain=retain) == REFUSED
        assert thief.publish("offbeat/gw2/errors", b"own") in TAKEN
        watcher.subscribe(topic)  # brings what is retained
        assert b"poison" not in before + watcher.arrived(topic)
    if not topic.startswith("$"):
        site.logged("Denied PUBLISH from gw2", topic, since=mark)


def test_a_refused_publish_does_not_end_the_connection(site: Site) -> None:
    with peer(site, gw2(site)) as client:
        answers = [client.publish("offbeat/gw1/status") for _ in range(3)]
        assert answers == [REFUSED] * 3
        assert client.publish("offbeat/gw2/status") in TAKEN


@VERSIONS
def test_another_gateways_client_id_takes_over_nothing(site: Site, version: int) -> None:
    mark = site.mark()
    with peer(site, gw2(site), client_id="gw1", username="gw1", version=version) as thief:
        assert thief.welcome
        assert not thief.session_present
        site.logged("as gw2", "u'gw2'", since=mark)  # whatever it said
        thief.publish("offbeat/gw1/status", b"poison")
        site.logged("Denied PUBLISH from gw2", since=mark)


def test_a_queue_waits_for_its_owner(site: Site) -> None:
    gateway = site.admit("gateway", "gw3", topics=["hall2/#"])
    site.reload()
    with peer(site, gateway, lasting=True) as owner:
        owner.subscribe("hall2/#")
    with peer(site, site.folder / "source" / "plc2") as source:
        assert source.publish("hall2/pump1", b"while away") == "Success"
    with peer(site, gw2(site), client_id="gw3", lasting=True) as thief:
        assert not thief.session_present
        thief.publish("offbeat/gw2/status")
        assert thief.got == []
    with peer(site, gateway, lasting=True) as owner:
        owner.until(lambda: owner.arrived("hall2/pump1") == [b"while away"])


@pytest.mark.parametrize(
    "wide",
    ["#", "+/#", "offbeat/#", "offbeat/gw1/#", "offbeat/+/cmd/#", "plant/#", "+/pump1",
     "$share/thieves/plant/#", "$SYS/#"],
)  # fmt: skip
def test_a_wide_subscription_is_granted_and_brings_nothing(
    site: Site, honest: Honest, wide: str
) -> None:
    mark = site.mark()
    folder = site.folder
    with (
        peer(site, folder / "gateway" / "gw2") as thief,
        peer(site, folder / "source" / "plc1") as source,
        peer(site, folder / "source" / "plc2") as own,
    ):
        thief.subscribe("hall2/#")
        thief.subscribe(wide)
        payload = os.urandom(8).hex().encode()
        source.publish("plant/pump1", payload)
        honest.until("plant/pump1", payload)
        own.publish("hall2/last", payload)
        thief.until(lambda: bool(thief.arrived("hall2/last")))
        assert {t for t, _ in thief.got if not t.startswith(("hall2/", "offbeat/gw2/"))} == set()
    site.logged("gw2 1 ", wide.removeprefix("$share/thieves/"), since=mark)


@pytest.mark.parametrize("identity", ["source/plc1", "person/ben", "trainer/nightly"])
def test_commands_come_from_operators_only(site: Site, identity: str) -> None:
    mark = site.mark()
    with peer(site, site.folder / identity) as client:
        assert client.publish("offbeat/gw1/cmd/swap", b"{}") == REFUSED
    site.logged("Denied PUBLISH", "offbeat/gw1/cmd/swap", since=mark)


def test_an_operators_command_and_a_trainers_model_arrive(site: Site) -> None:
    with (
        peer(site, gw2(site)) as gateway,
        peer(site, site.folder / "person" / "ana") as operator,
        peer(site, site.folder / "trainer" / "nightly") as trainer,
    ):
        gateway.subscribe("offbeat/gw2/cmd/#")
        gateway.subscribe("offbeat/fleet/#")
        assert operator.publish("offbeat/gw2/cmd/swap", b"{}") == "Success"
        assert operator.publish("offbeat/fleet/models/pump", b"x") == REFUSED
        assert trainer.publish("offbeat/fleet/models/pump", b"m") == "Success"
        gateway.until(lambda: len(gateway.got) == 2)
        assert gateway.got == [("offbeat/gw2/cmd/swap", b"{}"), ("offbeat/fleet/models/pump", b"m")]


def test_a_source_reads_nothing_and_writes_only_its_own(site: Site) -> None:
    with (
        peer(site, site.folder / "source" / "plc2") as source,
        peer(site, site.folder / "person" / "ana") as watcher,
    ):
        watcher.subscribe("hall2/#")
        source.subscribe("#")
        assert source.publish("plant/pump1") == REFUSED
        assert source.publish("offbeat/fleet/feedback/1") == REFUSED
        assert source.publish("hall2/pump1", b"7") == "Success"
        watcher.until(lambda: watcher.arrived("hall2/pump1") == [b"7"])
        assert source.got == []


@VERSIONS
def test_a_will_on_anothers_topic_is_never_published(site: Site, version: int) -> None:
    mark = site.mark()
    with peer(site, site.folder / "person" / "ben") as watcher:
        watcher.subscribe("offbeat/#")
        for topic in ("offbeat/gw1/status", "offbeat/gw2/status"):
            Peer(site, gw2(site), will=topic, version=version).vanish()
        watcher.until(lambda: b"stolen" in watcher.arrived("offbeat/gw2/status"))
        assert b"stolen" not in watcher.arrived("offbeat/gw1/status")
    site.logged("\toffbeat/gw1/status", since=mark)


@VERSIONS
def test_an_oversized_packet_ends_its_senders_connection(site: Site, version: int) -> None:
    mark = site.mark()
    with peer(site, gw2(site), version=version) as client:
        client.publish("offbeat/gw2/errors", bytes(access.MAX_PACKET_BYTES))
        client.until(lambda: client.ended is not None)
    site.logged("gw2", "oversize packet", since=mark)


def test_bytes_that_are_not_mqtt_end_their_senders_connection(site: Site) -> None:
    context = tls(gw2(site), authority=site.folder / "broker" / "authority.pem")
    raw = socket.create_connection((HOST, site.port), WAIT)
    with context.wrap_socket(raw, server_hostname=HOST) as client:
        client.sendall(b"GET / HTTP/1.1\r\n\r\n" * 100)
        assert _all_of(client) == b""


def test_a_flood_of_handshakes_without_a_certificate_gets_nowhere(site: Site) -> None:
    context = tls(None, authority=site.folder / "broker" / "authority.pem")
    for _ in range(100):
        raw = socket.create_connection((HOST, site.port), WAIT)
        try:
            with context.wrap_socket(raw, server_hostname=HOST) as client:
                assert _all_of(client) == b""
        except (ssl.SSLError, ConnectionError):
            pass
