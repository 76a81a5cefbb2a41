"""What has been provisioned and how long it lasts.

Rules: reads only; a revoked certificate is not waited for; the newest valid
certificate of an identity counts.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from cryptography import x509

from offbeat_broker import registry
from offbeat_edge.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from offbeat_broker.registry import Issued, Registry

WARN = timedelta(days=60)  # before the end of a certificate


class Line(NamedTuple):
    """One certificate that opens a door, or a name that no longer has one."""

    name: str
    what: str
    not_after: datetime | None  # UTC; None: revoked

    def left(self, now: datetime) -> timedelta | None:
        """How long it still lasts."""
        return None if self.not_after is None else self.not_after - now


def lines(folder: Path) -> list[Line]:
    """Return the authority, the server and all identities, in that order."""
    book = registry.load(folder)
    return [_authority(folder), *_lines(book)]


def warning(line: Line, *, folder: Path, now: datetime) -> str | None:
    """Say that a certificate has expired or soon will, and what to do."""
    left = line.left(now)
    if left is None or line.not_after is None or left > WARN:
        return None
    day = line.not_after.date().isoformat()
    when = f"expires in {left.days} days, {day}" if left > timedelta() else f"expired on {day}"
    act = f"renew {folder} {line.name}" if line.name != "authority" else "init makes a new one"
    return f"{line.name}: {when}: offbeat provision {act}"


def _lines(book: Registry) -> Iterator[Line]:
    yield Line("server", ", ".join(book.hosts), _end(book.server))
    for name, identity in sorted(book.identities.items()):
        rights = f" ({identity.rights})" if identity.rights else ""
        names = ", ".join((*identity.gateways, *identity.topics, *identity.hosts))
        topics = f" {names}" if names else ""
        yield Line(name, f"{identity.role}{rights}{topics}", _end(identity.certificates))


def _authority(folder: Path) -> Line:
    path = folder / "broker" / "authority.pem"
    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigError([f"{path}: expected a certificate, got: {error}"]) from error
    return Line("authority", "signs all others", certificate.not_valid_after_utc)


def _end(certificates: tuple[Issued, ...]) -> datetime | None:
    ends = [datetime.fromisoformat(c.not_after) for c in certificates if c.valid]
    return ends[-1] if ends else None
