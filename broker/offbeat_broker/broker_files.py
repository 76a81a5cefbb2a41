"""The folder ``broker/`` of a provisioned site: what the broker's machine gets.

Rules: the configuration and the start script are written once; the ACL and
the revocation list always say what the registry says, and are replaced only
when they do not.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from offbeat_broker import access, registry
from offbeat_broker.authority import Authority, Pair, Revoked, revoked_serials

if TYPE_CHECKING:
    from pathlib import Path

    from offbeat_broker.registry import Registry

RELOAD = "copy broker/ to the broker's machine and reload Mosquitto there (SIGHUP)"


def make(site: Path, *, authority: Authority, pair: Pair, book: Registry, now: datetime) -> None:
    """Write the whole folder for the first time."""
    folder = site / "broker"
    files = {
        "authority.pem": authority.certificate,
        "mosquitto.conf": access.mosquitto_conf(port=book.port).encode(),
        "start": access.START.encode(),
    }
    registry.place(folder, files, aside=folder)
    (folder / "start").chmod(registry.FOLDER)
    (folder / "state").mkdir(mode=registry.FOLDER)
    place_server(site, pair, aside=folder / "server")
    update(site, book, authority, now)


def place_server(site: Path, pair: Pair, *, aside: Path) -> None:
    """Write the broker's certificate and key; older ones go to ``aside``."""
    files = {"cert.pem": pair.certificate, "key.pem": pair.key}
    registry.place(site / "broker" / "server", files, aside=aside)


def update(site: Path, book: Registry, authority: Authority, now: datetime) -> list[str]:
    """Bring the ACL and the revocation list up to date; say so when they were not."""
    broker = site / "broker"
    everyone = {
        name: who.access
        for name, who in book.identities.items()
        if who.admitted and who.role != "page"
    }
    told = registry.write_if_changed(broker / "acl", access.acl(everyone).encode())
    path, revoked = broker / "revoked.pem", book.revoked()
    if not path.exists() or revoked_serials(path.read_bytes()) != set(revoked):
        listed = [Revoked(serial, datetime.fromisoformat(at)) for serial, at in revoked.items()]
        crl = authority.revocations(listed, number=book.crl_number, now=now)
        registry.replace(path, crl)
        told = True
    return [RELOAD] if told else []
