"""Revoking and renewing under a running Mosquitto: a reload is enough."""

from __future__ import annotations

import socket
import ssl
from typing import TYPE_CHECKING

import pytest
from access_parts import HOST, WAIT, Site, needs_mosquitto, peer, tls

from offbeat_broker import provision

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = needs_mosquitto


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path / "site")
    site.admit("gateway", "gw1", topics=["plant/#"])
    site.admit("gateway", "gw2", topics=["plant/#"])
    site.start()
    yield site
    site.stop()


def gateway(site: Site, name: str) -> Path:
    return site.folder / "gateway" / name


def test_a_revoked_gateway_loses_its_rights_at_once_and_cannot_return(site: Site) -> None:
    with peer(site, gateway(site, "gw1")) as other, peer(site, gateway(site, "gw2")) as stolen:
        other.subscribe("offbeat/gw1/#")
        assert stolen.publish("offbeat/gw2/status") == "No matching subscribers"
        provision.revoke(site.folder, "gw2", superseded=False, now=site.now)
        site.reload()
        other.publish("offbeat/gw1/status", b"still here")
        other.until(lambda: other.arrived("offbeat/gw1/status") == [b"still here"])
        assert stolen.publish("offbeat/gw2/status") == "Not authorized"
        mark = site.mark()
        with peer(site, gateway(site, "gw2")) as again:
            assert not again.welcome
        site.logged("certificate verify failed", since=mark)
        assert other.welcome


def test_a_remembered_tls_session_does_not_outlive_revocation(site: Site) -> None:
    context = tls(gateway(site, "gw2"), authority=site.folder / "broker" / "authority.pem")
    with _handshake(site, context, None) as first:
        first.sendall(_CONNECT)
        assert first.recv(4096).startswith(b"\x20")  # CONNACK; the tickets came before it
        session = first.session
    assert session is not None
    assert _answered(site, context, session)
    provision.revoke(site.folder, "gw2", superseded=False, now=site.now)
    site.reload()
    mark = site.mark()
    assert not _answered(site, context, session)
    site.logged("SSL routines", since=mark)


def _answered(site: Site, context: ssl.SSLContext, session: ssl.SSLSession | None) -> bool:
    """Whether an MQTT client that resumes this session is let in."""
    try:
        with _handshake(site, context, session) as client:
            client.sendall(_CONNECT)
            return client.recv(4096).startswith(b"\x20")
    except (ssl.SSLError, ConnectionError):
        return False


_CONNECT = b"\x10\x0f\x00\x04MQTT\x04\x02\x00\x3c\x00\x03gw2"


def _handshake(
    site: Site, context: ssl.SSLContext, session: ssl.SSLSession | None
) -> ssl.SSLSocket:
    raw = socket.create_connection((HOST, site.port), WAIT)
    return context.wrap_socket(raw, server_hostname=HOST, session=session)


def test_old_and_new_certificate_work_until_the_old_is_revoked(site: Site) -> None:
    provision.renew(site.folder, "gw2", now=site.now)
    old, new = site.folder / "superseded" / "gw2-1", gateway(site, "gw2")
    site.reload()
    for identity in (old, new):
        with peer(site, identity) as client:
            assert client.publish("offbeat/gw2/status") == "No matching subscribers"
    provision.revoke(site.folder, "gw2", superseded=True, now=site.now)
    site.reload()
    with peer(site, old) as client:
        assert not client.welcome
    with peer(site, new) as client:
        assert client.publish("offbeat/gw2/status") == "No matching subscribers"


def test_a_replaced_gateway_finds_its_predecessors_queue(site: Site) -> None:
    site.admit("source", "plc", topics=["plant/#"])
    site.reload()
    with peer(site, gateway(site, "gw2"), lasting=True) as dead:
        dead.subscribe("plant/#")
    with peer(site, site.folder / "source" / "plc") as source:
        source.publish("plant/pump1", b"while dead")
    provision.revoke(site.folder, "gw2", superseded=False, now=site.now)
    provision.renew(site.folder, "gw2", now=site.now)
    site.reload()
    with peer(site, gateway(site, "gw2"), lasting=True) as heir:
        assert heir.session_present
        heir.until(lambda: heir.arrived("plant/pump1") == [b"while dead"])


def test_a_renewed_server_certificate_is_served_after_a_reload(site: Site) -> None:
    before = ssl.get_server_certificate((HOST, site.port))
    provision.renew(site.folder, "server", now=site.now)
    site.reload()
    after = ssl.get_server_certificate((HOST, site.port))
    assert after != before
    assert after.split() == (site.folder / "broker/server/cert.pem").read_text().split()
    with peer(site, gateway(site, "gw1")) as client:
        assert client.welcome


def test_queues_survive_a_clean_restart(site: Site) -> None:
    site.admit("source", "plc", topics=["plant/#"])
    site.reload()
    with peer(site, gateway(site, "gw1"), lasting=True) as away:
        away.subscribe("plant/#")
    with peer(site, site.folder / "source" / "plc") as source:
        for number in range(2000):  # more than Mosquitto's default keeps
            source.paho.publish("plant/pump1", str(number).encode(), qos=1)
        source.publish("plant/pump1", b"last")
    site.stop()
    site.start()
    with peer(site, gateway(site, "gw1"), lasting=True) as back:
        back.until(lambda: len(back.got) == 2001)
