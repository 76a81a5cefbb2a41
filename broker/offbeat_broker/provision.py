"""Provisioning: the acts on a folder that holds an authority and its identities.

Rules: offline; what exists stays unless the act's name says otherwise (renew,
revoke); every act can be repeated; each returns lines for people, in which no
key appears.  The registry is written before a certificate's files, so that
nothing can exist that cannot be revoked.

The folder::

    registry.json          what has been issued
    authority/             the authority's key: stays here
    broker/                for the broker's machine: configuration, ACL, list, server/
    gateway/gw1/           for gw1: ca.pem cert.pem key.pem mqtt.toml
    superseded/            what renew replaced
"""

from __future__ import annotations

import ipaddress
import re
import shutil
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from msgspec.structs import replace as changed

from offbeat_broker import access, registry
from offbeat_broker.authority import Authority, Pair, Revoked, revoked_serials
from offbeat_broker.registry import Identity, Issued, Registry
from offbeat_edge.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from offbeat_broker.access import Rights, Role

DEFAULT_PORT = 8883
LOCAL = ("localhost", "127.0.0.1", "::1")  # programs beside the broker
SERVER = "server"  # what renew calls the broker's own certificate
_RELOAD = "copy broker/ to the broker's machine and reload Mosquitto there (SIGHUP)"
_NOT_SERVER = (
    "server: clients read no revocation list; renew it, and if its key was stolen"
    " make a new authority"
)
_HOST = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\Z")


def init(folder: Path, *, hosts: Sequence[str], port: int, now: datetime) -> list[str]:
    """Make the authority, the broker's certificate and configuration."""
    if (folder / registry.NAME).exists():
        return _already(folder, registry.load(folder), hosts, port)
    _check_place(folder, hosts, port)
    draft = folder.absolute().with_name(f".{folder.absolute().name}.new")
    authority = Authority.new(now=now)
    names = tuple(dict.fromkeys((*hosts, *LOCAL)))
    pair = authority.server(names, now=now)
    shutil.rmtree(draft, ignore_errors=True)  # of a run that was cut off; nobody has its keys
    draft.mkdir(mode=registry.FOLDER)
    registry.place(
        draft / "authority",
        {"cert.pem": authority.certificate, "key.pem": authority.key},
        aside=draft,
    )
    book = Registry(hosts=names, port=port, server=(_issued(pair),))
    registry.save(draft, book)
    broker = {"authority.pem": authority.certificate, "start": access.START.encode()}
    broker["mosquitto.conf"] = access.mosquitto_conf(port=port).encode()
    registry.place(draft / "broker", broker, aside=draft)
    (draft / "broker" / "start").chmod(registry.FOLDER)
    (draft / "broker" / "state").mkdir(mode=registry.FOLDER)
    _place_server(draft, pair, aside=draft)
    _tell_broker(draft, book, authority, now)
    draft.rename(folder)
    return [
        f"{folder}: a new authority, good until {_day(authority.not_after)}",
        f"{folder}/authority: the key that lets everybody in; keep this folder off the network",
        f"{folder}/broker: for the broker's machine ({', '.join(names)}), port {port}",
    ]


def admit(
    folder: Path,
    name: str,
    *,
    role: Role,
    now: datetime,
    rights: Rights = "",
    topics: Sequence[str] = (),
) -> list[str]:
    """Issue an identity's first certificate, or change what an existing one may do.

    Empty ``rights`` and ``topics`` leave an existing identity as it is.
    """
    with registry.locked(_existing(folder)):
        book = registry.load(folder)
        problems = [p for p in (access.check_name(name), *map(access.check_filter, topics)) if p]
        known = book.identities.get(name)
        if known is not None and known.role != role:
            problems.append(f"{name}: expected a name not in use, it is a {known.role}")
        if known is None and role in access.TOPIC_ACCESS and not topics:
            problems.append(f"{name}: expected --topic, the sensor topics of this {role}")
        if problems:
            raise ConfigError(problems)
        if known is None:
            rights = rights or access.DEFAULT_RIGHTS.get(role, "")
            identity = Identity(role=role, rights=rights, topics=tuple(topics), certificates=())
            return _issue(folder, book, name, identity, now)
        wanted = changed(known, rights=rights or known.rights, topics=tuple(topics) or known.topics)
        if wanted != known:
            book = _with(book, name, wanted)
            registry.save(folder, book)
        lines = [_told(name, wanted), *_missing(folder, name, wanted)]
        lines[0] += ", already here" if wanted == known else ", changed"
        return lines + _tell_broker(folder, book, _authority(folder), now)


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
            changed(c, revoked=_stamp(now)) if c.valid and not (superseded and i == last) else c
            for i, c in enumerate(known.certificates)
        )
        count = sum(a != b for a, b in zip(certificates, known.certificates, strict=True))
        if count:
            identity = changed(known, certificates=certificates)
            book = _with(changed(book, crl_number=book.crl_number + 1), name, identity)
            registry.save(folder, book)
        lines = [f"{name}: {count} revoked now, {_valid(certificates)} still valid"]
        return lines + _tell_broker(folder, book, _authority(folder), now)


def _issue(folder: Path, book: Registry, name: str, identity: Identity, now: datetime) -> list[str]:
    authority = _authority(folder)
    pair = authority.device(name, now=now)
    before = identity.certificates
    identity = changed(identity, certificates=(*before, _issued(pair)))
    book = _with(book, name, identity)
    registry.save(folder, book)
    place = folder / identity.role / name
    files = {
        "ca.pem": authority.certificate,
        "cert.pem": pair.certificate,
        "key.pem": pair.key,
    }
    if identity.role == "gateway":
        text = access.mqtt_toml(gateway=name, host=book.hosts[0], port=book.port)
        files["mqtt.toml"] = text.encode()
    registry.place(place, files, aside=folder / "superseded" / f"{name}-{len(before)}")
    lines = [f"{_told(name, identity)}, until {_day(pair.not_after)}: {place}"]
    valid = _valid(before)
    if valid:
        lines.append(f"{name}: {valid} older valid, revoke --superseded ends that")
    return lines + _tell_broker(folder, book, authority, now)


def _renew_server(folder: Path, book: Registry, now: datetime) -> list[str]:
    pair = _authority(folder).server(book.hosts, now=now)
    count = len(book.server)
    registry.save(folder, changed(book, server=(*book.server, _issued(pair))))
    _place_server(folder, pair, aside=folder / "superseded" / f"server-{count}")
    return [f"server: until {_day(pair.not_after)}: {folder}/broker/server", _RELOAD]


def _place_server(folder: Path, pair: Pair, *, aside: Path) -> None:
    files = {"cert.pem": pair.certificate, "key.pem": pair.key}
    registry.place(folder / "broker" / "server", files, aside=aside)


def _tell_broker(folder: Path, book: Registry, authority: Authority, now: datetime) -> list[str]:
    """Bring the ACL and the revocation list up to date."""
    broker = folder / "broker"
    everyone = {name: who.access for name, who in book.identities.items() if who.admitted}
    told = registry.write_if_changed(broker / "acl", access.acl(everyone).encode())
    path, revoked = broker / "revoked.pem", book.revoked()
    if not path.exists() or revoked_serials(path.read_bytes()) != set(revoked):
        listed = [Revoked(serial, datetime.fromisoformat(at)) for serial, at in revoked.items()]
        crl = authority.revocations(listed, number=book.crl_number, now=now)
        registry.replace(path, crl)
        told = True
    return [_RELOAD] if told else []


def _already(folder: Path, book: Registry, hosts: Sequence[str], port: int) -> list[str]:
    if not set(hosts) <= set(book.hosts) or port != book.port:
        there, given = f"{', '.join(book.hosts)}, {book.port}", f"{', '.join(hosts)}, {port}"
        raise ConfigError([f"{folder}: expected the hosts and port there, {there}, got {given}"])
    return [f"{folder}: an authority is there already, nothing changed"]


def _check_place(folder: Path, hosts: Iterable[str], port: int) -> None:
    problems = [f"--host: expected a name or an address, got {h!r}" for h in hosts if not _ok(h)]
    if not 0 < port < 65536:
        problems.append(f"--port: expected 1 to 65535, got {port}")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        problems.append(f"{folder}: expected a new or an empty folder")
    if not folder.absolute().parent.is_dir():
        problems.append(f"{folder.absolute().parent}: expected a folder, got none")
    if problems:
        raise ConfigError(problems)


def _ok(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return bool(_HOST.match(host))
    return True


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


def _issued(pair: Pair) -> Issued:
    return Issued(serial=f"{pair.serial:x}", not_after=_stamp(pair.not_after))


def _told(name: str, identity: Identity) -> str:
    verb = {"read": "reads", "write": "writes"}.get(access.TOPIC_ACCESS.get(identity.role, ""))
    topics = f", {verb} {', '.join(identity.topics)}" if verb else ""
    rights = f", {identity.rights}" if identity.rights else ""
    revoked = "" if identity.admitted else ", revoked"
    return f"{name}: {identity.role}{rights}{topics}{revoked}"


def _valid(certificates: Iterable[Issued]) -> int:
    return sum(c.valid for c in certificates)


def _stamp(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _day(at: datetime) -> str:
    return at.date().isoformat()
