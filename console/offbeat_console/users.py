"""Who may log in: a file of names, roles and scrypt hashes.

Rules: the file is ours alone (mode 0600) and replaced atomically; a password
is never kept, logged or repeated; checking one takes as long for a name that
does not exist.  A session names the password's generation, so that a new
password or a removed user ends every session of theirs.

>>> person = made("ann", "operator", "correct horse", salt=bytes(16))
>>> matches(person, "correct horse"), matches(person, "wrong")
(True, False)
"""

from __future__ import annotations

import hashlib
import hmac
import re
from typing import TYPE_CHECKING, Literal, get_args

import msgspec

from offbeat_console.errors import AccessError
from offbeat_edge import files
from offbeat_edge.schema import SCHEMA

if TYPE_CHECKING:
    from pathlib import Path

Role = Literal["viewer", "operator"]

NAME = re.compile(r"[a-zA-Z0-9_.@-]{1,64}")
MIN_PASSWORD_CHARS = 8
MAX_PASSWORD_CHARS = 1024
SALT_BYTES = 16
COST, BLOCK, PARALLEL = 1 << 14, 8, 1  # scrypt: 16 MiB and about 50 ms a try
USERS_FILE = "users.json"


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """One user; ``hash`` is empty for the one who needs no login."""

    name: str
    role: Role
    salt: str = ""  # hex
    hash: str = ""  # hex

    @property
    def generation(self) -> str:
        """What changes with the password."""
        return hashlib.sha256(f"{self.role}:{self.hash}".encode()).hexdigest()[:16]


class UsersFile(msgspec.Struct, frozen=True, kw_only=True):
    """The file."""

    schema: str = SCHEMA
    users: tuple[Person, ...] = ()


# Without any user a page on the loopback is open to whoever sits there.
ANYBODY = Person(name="local", role="operator")
_NOBODY = Person(name="", role="viewer", salt="00" * SALT_BYTES, hash="00" * 64)


def made(name: str, role: str, password: str, *, salt: bytes) -> Person:
    """Return a user; AccessError says what is wrong with the name, role or password."""
    if not NAME.fullmatch(name):
        raise AccessError(f"expected a name of letters, digits and _ . @ - (64), got {name!r}")
    if role not in get_args(Role):
        raise AccessError(f"expected viewer or operator, got {role!r}")
    if not MIN_PASSWORD_CHARS <= len(password) <= MAX_PASSWORD_CHARS:
        raise AccessError(
            f"expected a password of {MIN_PASSWORD_CHARS} to {MAX_PASSWORD_CHARS} characters,"
            f" got {len(password)}"
        )
    return Person(
        name=name,
        role="operator" if role == "operator" else "viewer",
        salt=salt.hex(),
        hash=_hash(password, salt).hex(),
    )


def matches(person: Person | None, password: str) -> bool:
    """Whether the password is theirs; takes its time for nobody, too."""
    known = person or _NOBODY
    given = _hash(password[:MAX_PASSWORD_CHARS], bytes.fromhex(known.salt))
    same = hmac.compare_digest(given, bytes.fromhex(known.hash))
    return same and person is not None


def _hash(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=COST, r=BLOCK, p=PARALLEL)


class Users:
    """The users file of a state folder, read again when it changes.

    Parameters
    ----------
    folder : the state folder.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / USERS_FILE
        self._stamp: tuple[int, int] | None = None
        self._users: dict[str, Person] = {}

    def all(self) -> dict[str, Person]:
        """Return everybody by name."""
        try:
            stat = self._path.stat()
        except FileNotFoundError:
            self._stamp, self._users = None, {}
            return self._users
        stamp = (stat.st_mtime_ns, stat.st_ino)
        if stamp != self._stamp:
            self._users = self._read()
            self._stamp = stamp
        return self._users

    def put(self, person: Person) -> None:
        """Add a user, or replace the one of that name."""
        self._write({**self.all(), person.name: person})

    def remove(self, name: str) -> None:
        """Remove a user; AccessError when there is none of that name."""
        users = dict(self.all())
        if name not in users:
            known = ", ".join(sorted(users)) or "nobody"
            raise AccessError(f"{self._path}: expected a known user ({known}), got {name!r}")
        del users[name]
        self._write(users)

    def _read(self) -> dict[str, Person]:
        try:
            read = msgspec.json.decode(self._path.read_bytes(), type=UsersFile)
        except (OSError, msgspec.MsgspecError) as error:
            raise AccessError(f"{self._path}: expected a users file, got: {error}") from error
        return {person.name: person for person in read.users}

    def _write(self, users: dict[str, Person]) -> None:
        body = msgspec.json.encode(UsersFile(users=tuple(users[name] for name in sorted(users))))
        replace_private(self._path, msgspec.json.format(body, indent=2) + b"\n")


def replace_private(path: Path, body: bytes) -> None:
    """Write a file of mode 0600 in one stroke, and its folder where it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    files.replace(path, body, mode=files.PRIVATE_MODE)
