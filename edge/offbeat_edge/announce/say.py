"""From what a person typed to an announcement that every gateway understands.

Rules: checked here against the very schema the daemon holds it against, so
that nobody learns of a mistake from a log elsewhere.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec

from offbeat_edge.commands import ANNOUNCEMENTS, FLEET
from offbeat_edge.control import SCHEMA, Maintenance
from offbeat_edge.errors import ConfigError
from offbeat_edge.upkeep import MAX_MAINTENANCE_MS

if TYPE_CHECKING:
    from offbeat_edge.announce.courier import Courier


def announce(courier: Courier, kind: str, said: dict[str, object]) -> None:
    """Check and publish; raises ConfigError for what is said, LinkError for the way.

    A word on standard error where the broker could not have refused aloud.
    """
    said = {"schema": SCHEMA, **said}
    try:
        read = msgspec.convert(said, ANNOUNCEMENTS[kind])
    except msgspec.ValidationError as error:
        raise ConfigError([f"{kind}: {error}"]) from error
    if isinstance(read, Maintenance) and read.end_ms - read.start_ms > MAX_MAINTENANCE_MS:
        raise ConfigError([f"{kind}: expected a year at most, got {said['end_ms']}"])
    version = courier.deliver(f"{FLEET}/{kind}/{read.asset}", msgspec.json.encode(said))
    if version != "5":
        sys.stderr.write(f"sent by MQTT {version}, in which brokers refuse without a word\n")


def moment(text: str, option: str) -> int:
    """Read a time that a person typed, as epoch ms.

    >>> moment("2026-01-01T00:00:00+01:00", "--start")
    1767222000000
    """
    try:
        read = datetime.fromisoformat(text)
    except ValueError:
        read = None
    if read is None or read.tzinfo is None:
        raise ConfigError([f"{option}: expected ISO 8601 with a zone, got {text!r}"])
    return int(read.astimezone(UTC).timestamp() * 1000)
