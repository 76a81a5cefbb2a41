"""A Mosquitto of our own for the time of a measurement, or none when it is not installed."""

from __future__ import annotations

import contextlib
import getpass
import shutil
import socket
import subprocess
import time
from typing import TYPE_CHECKING, NamedTuple

from offbeat_edge.errors import LinkError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

START_S = 10.0  # for the broker to listen
# Nothing is dropped: what is measured is what subscribers take.
CONFIGURATION = """\
listener {port} 127.0.0.1
user {user}
allow_anonymous true
max_queued_messages 0
max_queued_bytes 0
persistence false
log_type error
"""
_PLACES = ("mosquitto", "/usr/sbin/mosquitto", "/usr/local/sbin/mosquitto")


class Address(NamedTuple):
    """Where a broker listens."""

    host: str
    port: int


def installed() -> str | None:
    """Return the program, or None."""
    return next((found for place in _PLACES if (found := shutil.which(place))), None)


@contextlib.contextmanager
def mosquitto(program: str, folder: Path) -> Iterator[Address]:
    """Run a broker on a free port of the loopback."""
    address = Address("127.0.0.1", _free_port())
    file = folder / "mosquitto.conf"
    file.write_text(CONFIGURATION.format(port=address.port, user=getpass.getuser()))
    with subprocess.Popen(  # noqa: S603 - the broker that was asked for
        [program, "-c", str(file)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            _wait(address, process)
            yield address
        finally:
            process.terminate()


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def _wait(address: Address, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(address, 1.0):
            return
        time.sleep(0.02)
    raise LinkError("bench: expected mosquitto to listen, it does not start here")
