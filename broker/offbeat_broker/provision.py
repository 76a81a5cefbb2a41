"""Provisioning: the acts on a folder that ``provision_init`` made.

Rules: offline; what exists stays unless the act's name says otherwise (renew,
revoke); every act can be repeated; each returns lines for people, in which no
key appears.  The registry is written before a certificate's files, so that
nothing can exist that cannot be revoked.

The folder::

    registry.json          what has been issued
    authority/             the authority's key: stays here
    broker/                for the broker's machine: configuration, ACL, list, server/
    gateway/gw1/           for gw1: ca.pem cert.pem key.pem mqtt.toml
    bridge/plant1/         for a plant's own broker: the three and bridge.conf
    superseded/            what renew replaced
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace as changed

from offbeat_broker import access, registry
from offbeat_broker.authority import Authority
from offbeat_broker.broker_files import RELOAD, place_server, update
from offbeat_broker.provision_init import wrong
from offbeat_broker.registry import Identity, Registry, issued, stamp
from offbeat_edge.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime
    from pathlib import Path

    from offbeat_broker.access import Rights, Role
    from offbeat_broker.registry import Issued

NEED_TOPICS = ("gateway", "source")
SERVER = "server"  # what renew calls the broker's own certificate
_NOT_SERVER = (
    "server: clients read no revocation list; renew it, and if its key was stolen"
    " make a new authority"
)


def admit(
    folder: Path,
    name: str,
    *,
    role: Role,
    now: datetime,
    rights: Rights = "",
    topics: Sequence[str] = (),
    gateways: Sequence[str] = (),
    hosts: Sequence[str] = (),
) -> list[str]:
    """Issue an identity's first certificate, or change what an existing one may do.

    Empty ``rights``, ``topics`` and ``gateways`` leave an existing identity as
    it is; ``hosts`` stand in the certificate, for which another name is
    another identity.
    """
    with registry.locked(_existing(folder)):
        book = registry.load(folder)
        names = map(access.check_name, (name, *gateways))
        problems = [p for p in (*names, *map(access.check_filter, topics)) if p]
        known = book.identities.get(name)
        if known is not None and known.role != role:
            problems.append(f"{name}: expected a name not in use, it is a {known.role}")
        if known is None and role in NEED_TOPICS and not topics:
            problems.append(f"{name}: expected --topic, the sensor topics of this {role}")
        if known is None and role == "bridge" and not gateways:
            problems.append(f"{name}: expected --gateway, each that it brings")
        problems += _wrong_hosts(name, known, role, hosts)
        if problems:
            raise ConfigError(problems)
        if known is None:
            rights = rights or access.DEFAULT_RIGHTS.get(role, "")
            identity = Identity(
                role=role, rights=rights, topics=tuple(topics), gateways=tuple(gateways),
                hosts=tuple(hosts), certificates=(),
            )  # fmt: skip
            return _issue(folder, book, name, identity, now)
        wanted = changed(
            known, rights=rights or known.rights, topics=tuple(topics) or known.topics,
            gateways=tuple(gateways) or known.gateways,
        )  # fmt: skip
        if wanted != known:
            book = _with(book, name, wanted)
            registry.save(folder, book)
            for file, text in _papers(book, name, wanted).items():
                registry.replace(folder / wanted.role / name / file, text)
        lines = [_told(name, wanted), *_missing(folder, name, wanted)]
        lines[0] += ", already here" if wanted == known else ", changed"
        return lines + update(folder, book, _authority(folder), now)


def renew(folder: Path, name: str, *, now: datetime) -> list[str]:
    """Issue a new key and certificate under the same name; the old one stays valid.

    An identity that was revoked is admitted again.
    """
    with registry.locked(_existing(folder)):
        book = registry.load(folder)
        if name == SERVER:
            return _renew_server(folder, book, now)
        return _issue(folder, book, name, _known(book, name), now)


def revoke(folder: Path, name: str, *, superseded: bool, now: datetime) -> list[str]:
    """Revoke an identity's certificates: all, or all but the newest."""
    with registry.locked(_existing(folder)):
        book = registry.load(folder)
        if name == SERVER:
            raise ConfigError([_NOT_SERVER])
        known = _known(book, name)
        last = len(known.certificates) - 1
        certificates = tuple(
            changed(c, revoked=stamp(now)) if c.valid and not (superseded and i == last) else c
            for i, c in enumerate(known.certificates)
        )
        count = sum(a != b for a, b in zip(certificates, known.certificates, strict=True))
        if count:
            identity = changed(known, certificates=certificates)
            book = _with(changed(book, crl_number=book.crl_number + 1), name, identity)
            registry.save(folder, book)
        lines = [f"{name}: {count} revoked now, {_valid(certificates)} still valid"]
        return lines + update(folder, book, _authority(folder), now)


def _issue(folder: Path, book: Registry, name: str, identity: Identity, now: datetime) -> list[str]:
    authority = _authority(folder)
    page = identity.role == "page"
    pair = (
        authority.server(identity.hosts, now=now, name=name)
        if page
        else authority.device(name, now=now)
    )
    before = identity.certificates
    identity = changed(identity, certificates=(*before, issued(pair.serial, pair.not_after)))
    book = _with(book, name, identity)
    registry.save(folder, book)
    place = folder / identity.role / name
    files = {
        "ca.pem": authority.certificate,
        "cert.pem": pair.certificate,
        "key.pem": pair.key,
    }
    files |= _papers(book, name, identity)
    registry.place(place, files, aside=folder / "superseded" / f"{name}-{len(before)}")
    lines = [f"{_told(name, identity)}, until {_day(pair.not_after)}: {place}"]
    valid = _valid(before)
    if valid:
        lines.append(f"{name}: {valid} older valid, revoke --superseded ends that")
    return lines + update(folder, book, authority, now)


def _papers(book: Registry, name: str, identity: Identity) -> dict[str, bytes]:
    """Return what goes with the certificate: how its owner is to be configured."""
    host = book.hosts[0]
    if identity.role == "gateway":
        return {"mqtt.toml": access.mqtt_toml(gateway=name, host=host, port=book.port).encode()}
    if identity.role == "bridge":
        text = access.bridge_conf(name=name, host=host, port=book.port, access=identity.access)
        return {"bridge.conf": text.encode()}
    return {}


def _renew_server(folder: Path, book: Registry, now: datetime) -> list[str]:
    pair = _authority(folder).server(book.hosts, now=now)
    count = len(book.server)
    registry.save(folder, changed(book, server=(*book.server, issued(pair.serial, pair.not_after))))
    place_server(folder, pair, aside=folder / "superseded" / f"server-{count}")
    return [f"server: until {_day(pair.not_after)}: {folder}/broker/server", RELOAD]


def _existing(folder: Path) -> Path:
    registry.load(folder)
    return folder


def _known(book: Registry, name: str) -> Identity:
    if name not in book.identities:
        raise ConfigError([f"{name}: expected an identity that exists, got none of that name"])
    return book.identities[name]


def _authority(folder: Path) -> Authority:
    place = folder / "authority"
    try:
        return Authority(
            certificate=(place / "cert.pem").read_bytes(), key=(place / "key.pem").read_bytes()
        )
    except (OSError, ValueError, TypeError) as error:
        raise ConfigError([f"{place}: expected the authority's files, got: {error}"]) from error


def _missing(folder: Path, name: str, identity: Identity) -> list[str]:
    if (folder / identity.role / name / "key.pem").exists() or not identity.admitted:
        return []
    return [f"{name}: its key is no longer here; renew issues another"]


def _with(book: Registry, name: str, identity: Identity) -> Registry:
    return changed(book, identities={**book.identities, name: identity})


def _wrong_hosts(name: str, known: Identity | None, role: Role, hosts: Sequence[str]) -> list[str]:
    """Say why these cannot be the names under which a page is reached."""
    if known is None:
        missing = role == "page" and not hosts
        return [f"{name}: expected --host, how browsers reach it"] if missing else wrong(hosts)
    if hosts and set(hosts) != set(known.hosts):
        there, given = ", ".join(known.hosts), ", ".join(hosts)
        return [f"{name}: expected the hosts in its certificate, {there}, got {given}"]
    return []


def _told(name: str, identity: Identity) -> str:
    verb = {"read": "reads", "write": "writes"}.get(access.TOPIC_ACCESS.get(identity.role, ""))
    topics = f", {verb} {', '.join(identity.topics)}" if verb and identity.topics else ""
    who = identity.rights or ", ".join((*identity.hosts, *identity.gateways))
    rights = f", {who}" if who else ""
    revoked = "" if identity.admitted else ", revoked"
    return f"{name}: {identity.role}{rights}{topics}{revoked}"


def _valid(certificates: Iterable[Issued]) -> int:
    return sum(c.valid for c in certificates)


def _day(at: datetime) -> str:
    return at.date().isoformat()
