"""Tell systemd how we are: READY=1, WATCHDOG=1, STOPPING=1 (sd_notify(3)).

Rules: without ``NOTIFY_SOCKET`` nothing happens; a supervisor that cannot be
told is no reason to stop.

>>> Notifier({}).send("READY=1")
False
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class Notifier:
    """Sends states to the service manager that started us, if one did.

    Parameters
    ----------
    environ : holds ``NOTIFY_SOCKET`` and ``WATCHDOG_USEC``.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "")
        usec = environ.get("WATCHDOG_USEC", "")
        # thrice as often as the manager asks for
        self.watchdog_s = int(usec) / 3e6 if usec.isdecimal() else None

    def send(self, state: str) -> bool:
        """Send one state; return whether the manager could be told."""
        if not self._address:
            return False
        # an abstract socket is written with @
        address = f"\0{self._address[1:]}" if self._address[0] == "@" else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
                sock.settimeout(1.0)
                sock.sendto(state.encode(), address)
        except OSError:
            return False
        return True
