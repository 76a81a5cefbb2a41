"""More connections than the broker takes: the surplus is cut off, nobody inside notices."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from access_parts import HOST, WAIT, Honest, Site, needs_mosquitto, peer

from offbeat_broker import access

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = needs_mosquitto
FEW = 40  # connections, so that the flood costs a test little


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path / "site")
    conf = site.folder / "broker" / "mosquitto.conf"
    limit = f"max_connections {access.MAX_CONNECTIONS}\n"
    assert limit in conf.read_text()
    conf.write_text(conf.read_text().replace(limit, f"max_connections {FEW}\n"))
    site.admit("gateway", "gw1", topics=["plant/#"])
    site.admit("source", "plc1", topics=["plant/#"])
    site.start()
    yield site
    site.stop()


def test_a_flood_of_connections_is_cut_off(site: Site) -> None:
    gateway = Honest(site)
    with peer(site, site.folder / "source" / "plc1") as source:
        mark = site.mark()
        with ExitStack() as flood:
            for _ in range(3 * FEW):
                flood.enter_context(socket.create_connection((HOST, site.port), WAIT))
            site.logged("max_connections exceeded", since=mark)
            source.publish("plant/pump1", b"through the flood")
            gateway.until("plant/pump1", b"through the flood")
    assert gateway.link.connections == 1
    gateway.link.close(b"stopped")
