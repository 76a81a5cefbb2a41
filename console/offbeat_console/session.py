"""Sessions and the pace of login attempts.

Rules: pure but for the secret's file; a session is a signed cookie that names
user, password generation and end, nothing else; attempts are counted for a
name and for an address, and a wait grows with each failure.

>>> sign(b"k", "ann", "g1", 100).split(".")[:3]
['ann', 'g1', '100']
>>> opened(b"k", sign(b"k", "ann", "g1", 100), now_s=99)
('ann', 'g1')
>>> opened(b"k", sign(b"k", "ann", "g1", 100), now_s=101) is None
True
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from typing import TYPE_CHECKING

from offbeat_console.users import replace_private

if TYPE_CHECKING:
    from pathlib import Path

COOKIE = "offbeat_session"
SESSION_S = 12 * 3600  # a shift and a half
SECRET_FILE = "session.key"  # noqa: S105 - a file's name
SECRET_BYTES = 32
FREE_TRIES = 5  # failures before the first wait
WAIT_S = 2.0  # doubled by each further failure ...
WAIT_CAP_S = 300.0  # ... up to this
FORGET_S = 900.0  # without a failure, the count begins anew
MAX_TRACKED = 10_000  # names and addresses


def secret(folder: Path) -> bytes:
    """Return the signing key of a state folder, made when there is none."""
    path = folder / SECRET_FILE
    try:
        key = path.read_bytes()
    except FileNotFoundError:
        key = b""
    if len(key) != SECRET_BYTES:
        key = secrets.token_bytes(SECRET_BYTES)
        replace_private(path, key)
    return key


def sign(key: bytes, name: str, generation: str, until_s: int) -> str:
    """Return a cookie's value; dots in the name are escaped."""
    body = f"{name.replace('.', '%2E')}.{generation}.{until_s}"
    return f"{body}.{_mac(key, body)}"


def opened(key: bytes, cookie: str, *, now_s: float) -> tuple[str, str] | None:
    """Return name and generation of a cookie that is ours and not over."""
    body, _, mac = cookie.rpartition(".")
    parts = body.split(".")
    if len(parts) != 3 or not mac.isascii() or not hmac.compare_digest(mac, _mac(key, body)):
        return None
    name, generation, until = parts
    if not until.isdecimal() or int(until) < now_s:
        return None
    return name.replace("%2E", "."), generation


def _mac(key: bytes, body: str) -> str:
    digest = hmac.new(key, body.encode("utf-8", "surrogateescape"), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


class Attempts:
    """Failed logins by name and by address."""

    def __init__(self) -> None:
        self._failed: dict[str, tuple[int, float]] = {}  # who → failures, the last's time

    def wait_s(self, who: str, now_s: float) -> float:
        """Return how long ``who`` must wait before the next attempt."""
        count, last = self._failed.get(who, (0, 0.0))
        if count < FREE_TRIES or now_s - last > FORGET_S:
            return 0.0
        wait = min(WAIT_CAP_S, WAIT_S * 2.0 ** min(count - FREE_TRIES, 16))
        return max(0.0, last + wait - now_s)

    def failed(self, who: str, now_s: float) -> None:
        """Count a failure."""
        count, last = self._failed.get(who, (0, now_s))
        count = 0 if now_s - last > FORGET_S else count
        self._failed[who] = (count + 1, now_s)
        if len(self._failed) > MAX_TRACKED:
            self._forget()

    def passed(self, who: str) -> None:
        """Forget failures after a success."""
        self._failed.pop(who, None)

    def _forget(self) -> None:
        oldest = sorted(self._failed, key=lambda who: self._failed[who][1])
        for who in oldest[: MAX_TRACKED // 2]:
            del self._failed[who]
