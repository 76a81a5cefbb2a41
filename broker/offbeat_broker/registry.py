"""What has been provisioned, as a folder: the registry and how its files are written.

Rules: a private key is written once, mode 600, and never over another; other
files are replaced atomically, with fsync; one process at a time; the registry
holds no secret.  Only ``schema`` 1.x is read.

>>> Issued(serial="2a", not_after="2028-04-05T00:00:00Z").valid
True
"""

from __future__ import annotations

import fcntl
import os
import shutil
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec

from offbeat_broker.access import Access, Rights, Role
from offbeat_edge.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

SCHEMA = "1.0"
NAME = "registry.json"
SECRET = 0o600
FOLDER = 0o700


class Issued(msgspec.Struct, frozen=True, kw_only=True):
    """One certificate."""

    serial: str  # hex
    not_after: str  # ISO 8601, UTC
    revoked: str = ""  # since when; empty: it is not

    @property
    def valid(self) -> bool:
        """Whether it has not been revoked."""
        return not self.revoked


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """One client: what it is and the certificates it has had, newest last."""

    role: Role
    rights: Rights = ""
    topics: tuple[str, ...] = ()
    gateways: tuple[str, ...] = ()  # that a bridge brings
    hosts: tuple[str, ...] = ()  # of a page: names and addresses it is reached under
    certificates: tuple[Issued, ...]

    @property
    def admitted(self) -> bool:
        """Whether any of its certificates opens the door."""
        return any(issued.valid for issued in self.certificates)

    @property
    def access(self) -> Access:
        """What the broker is told of it."""
        return Access(self.role, self.rights, self.topics, self.gateways)


class Registry(msgspec.Struct, frozen=True, kw_only=True):
    """Everything but the keys."""

    schema: str = SCHEMA
    hosts: tuple[str, ...]
    port: int
    server: tuple[Issued, ...]
    crl_number: int = 1
    identities: dict[str, Identity] = {}

    def revoked(self) -> dict[int, str]:
        """Return the revoked certificates: serial number → since when."""
        everyone = (i for identity in self.identities.values() for i in identity.certificates)
        return {int(issued.serial, 16): issued.revoked for issued in everyone if issued.revoked}


def issued(serial: int, not_after: datetime) -> Issued:
    """Return the entry of a new certificate."""
    return Issued(serial=f"{serial:x}", not_after=stamp(not_after))


def stamp(at: datetime) -> str:
    """Write a time as the registry does.

    >>> stamp(datetime(2026, 1, 1, tzinfo=UTC))
    '2026-01-01T00:00:00Z'
    """
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def load(folder: Path) -> Registry:
    """Read the registry; ConfigError when there is none or it cannot be read."""
    path = folder / NAME
    try:
        raw = path.read_bytes()
    except FileNotFoundError as error:
        raise ConfigError(
            [f"{folder}: expected a provisioned folder, got none: offbeat provision init makes it"]
        ) from error
    except OSError as error:
        raise ConfigError([f"{path}: expected a readable file, got: {error.strerror}"]) from error
    try:
        registry = msgspec.json.decode(raw, type=Registry)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ConfigError([f"{path}: expected a registry, got: {error}"]) from error
    if registry.schema.partition(".")[0] != SCHEMA.partition(".")[0]:
        raise ConfigError([f"{path}: expected schema 1.x, got {registry.schema!r}"])
    return registry


def save(folder: Path, registry: Registry) -> None:
    """Replace the registry."""
    raw = msgspec.json.format(msgspec.json.encode(registry), indent=2)
    replace(folder / NAME, raw + b"\n")


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder; ConfigError when another process does."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise ConfigError([f"{folder}: another offbeat provision is at work there"]) from error
    finally:
        os.close(descriptor)


def write_new(path: Path, data: bytes, *, mode: int = SECRET) -> None:
    """Write a file that must not exist yet."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def replace(path: Path, data: bytes) -> None:
    """Replace a file whole, or not at all."""
    draft = path.with_name(f".{path.name}.new")
    draft.unlink(missing_ok=True)
    write_new(draft, data)
    draft.replace(path)
    sync_folder(path.parent)


def write_if_changed(path: Path, data: bytes) -> bool:
    """Replace a file unless it already says this; return whether it was written."""
    if path.is_file() and path.read_bytes() == data:
        return False
    replace(path, data)
    return True


def place(folder: Path, files: Mapping[str, bytes], *, aside: Path) -> None:
    """Make ``folder`` with these files; a folder in its place goes to ``aside``."""
    draft = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(draft, ignore_errors=True)  # of a run that was cut off; it went nowhere
    folder.parent.mkdir(mode=FOLDER, exist_ok=True)
    draft.mkdir(mode=FOLDER)
    for name, data in files.items():
        write_new(draft / name, data)
    sync_folder(draft)
    if folder.exists():
        aside.parent.mkdir(mode=FOLDER, exist_ok=True)
        folder.rename(aside)
    draft.rename(folder)
    sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder last."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
