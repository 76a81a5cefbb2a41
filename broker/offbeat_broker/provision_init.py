"""A new site: an authority, the broker's certificate and its configuration.

Rules: all of it or nothing, as the folder is made aside and then renamed; a
folder that holds anything is left alone.
"""

from __future__ import annotations

import ipaddress
import re
import shutil
from typing import TYPE_CHECKING

from offbeat_broker import broker_files, registry
from offbeat_broker.authority import Authority
from offbeat_broker.registry import Registry, issued
from offbeat_edge.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime
    from pathlib import Path

DEFAULT_PORT = 8883
LOCAL = ("localhost", "127.0.0.1", "::1")  # programs beside the broker
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
    book = Registry(hosts=names, port=port, server=(issued(pair.serial, pair.not_after),))
    registry.save(draft, book)
    broker_files.make(draft, authority=authority, pair=pair, book=book, now=now)
    draft.rename(folder)
    return [
        f"{folder}: a new authority, good until {authority.not_after.date()}",
        f"{folder}/authority: the key that lets everybody in; keep this folder off the network",
        f"{folder}/broker: for the broker's machine ({', '.join(names)}), port {port}",
    ]


def _already(folder: Path, book: Registry, hosts: Sequence[str], port: int) -> list[str]:
    if not set(hosts) <= set(book.hosts) or port != book.port:
        there, given = f"{', '.join(book.hosts)}, {book.port}", f"{', '.join(hosts)}, {port}"
        raise ConfigError([f"{folder}: expected the hosts and port there, {there}, got {given}"])
    return [f"{folder}: an authority is there already, nothing changed"]


def _check_place(folder: Path, hosts: Iterable[str], port: int) -> None:
    problems = wrong(hosts)
    if not 0 < port < 65536:
        problems.append(f"--port: expected 1 to 65535, got {port}")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        problems.append(f"{folder}: expected a new or an empty folder")
    if not folder.absolute().parent.is_dir():
        problems.append(f"{folder.absolute().parent}: expected a folder, got none")
    if problems:
        raise ConfigError(problems)


def wrong(hosts: Iterable[str]) -> list[str]:
    """Say which of the hosts cannot be one."""
    return [f"--host: expected a name or an address, got {h!r}" for h in hosts if not _ok(h)]


def _ok(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return bool(_HOST.match(host))
    return True
