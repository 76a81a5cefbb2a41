"""What the publishing commands have in common on the command line."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from offbeat_edge import dial
from offbeat_train.delivery.broker import connected
from offbeat_train.delivery.keyring import PASSPHRASE_MIN, KeyRing, passphrase
from offbeat_train.delivery.push import push
from offbeat_train.delivery.repository import Repository

if TYPE_CHECKING:
    import argparse

    from offbeat_edge.config import Mqtt

KEYS = "keys"  # below the repository's folder: private, never served


def add_arguments(parser: argparse.ArgumentParser, *, sends: bool = True) -> None:
    """Declare where the repository is, and how it reaches the fleet."""
    parser.add_argument(
        "--passphrase-file", required=True, type=Path, metavar="FILE", help="opens the keys; 0600"
    )
    if not sends:
        return
    parser.add_argument(
        "--repository", required=True, type=Path, metavar="DIR", help="as 'offbeat keys init' made"
    )
    parser.add_argument(
        "--mqtt", type=Path, metavar="FILE", help="also send it to the broker of this [mqtt] table"
    )


def repository(folder: Path, passphrase_file: Path) -> Repository:
    """Open the repository as of now."""
    return opened(folder, ring(folder, passphrase_file))


def ring(folder: Path, passphrase_file: Path) -> KeyRing:
    """Return the keys of a repository."""
    return KeyRing(folder / KEYS, passphrase=passphrase(passphrase_file))


def opened(folder: Path, keys: KeyRing) -> Repository:
    """Open a repository as of now with keys at hand."""
    return Repository(folder, keys=keys, now=datetime.now(UTC).replace(microsecond=0))


def ledger(folder: Path, mqtt: Mqtt) -> Path:
    """Return the file that says what was sent to a broker."""
    return folder / "sent" / f"{mqtt.host}-{mqtt.port}.json"


def public(folder: Path, *, now: datetime) -> Repository:
    """Open the repository to look at it: it can sign nothing."""
    keys = KeyRing(folder / "none", passphrase=bytes(PASSPHRASE_MIN))
    return Repository(folder, keys=keys, now=now)


def send(found: Repository, folder: Path, mqtt_file: Path | None) -> int:
    """Send the committed state to the broker, if there is one; return the messages."""
    if mqtt_file is None:
        return 0
    mqtt = dial.read_mqtt(mqtt_file)
    with connected(mqtt) as wire:
        return push(found, wire, ledger=ledger(folder, mqtt))


def now_ms(found: Repository) -> int:
    """Return the time under which documents are signed, epoch ms."""
    return int(found.now.timestamp() * 1000)
