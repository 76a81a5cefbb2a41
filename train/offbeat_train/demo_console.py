"""The web console beside the demo, where somebody can look at it.

Rules: the command a user would type, as a process of its own; without the
extra, or where nobody sits at a terminal, the demo is what it was.

>>> wanted(None, terminal=False)
False
"""

from __future__ import annotations

import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

PORT = 8088  # of the page; another when it is taken
START_S = 30.0  # for the page to be there
LOOK_S = 0.2  # between looks
STOP_S = 15.0
CONFIG = """\
[console]
port = {port}
title = "offbeat demo"
state_dir = "console"

[mqtt]
port = {broker}
protocol = "3.1.1"  # the embedded broker's

[[source]]
topic = "plant/{{asset}}"
qos = 0
"""


def wanted(asked: bool | None, *, terminal: bool) -> bool:  # noqa: FBT001 - as argparse has it
    """Whether to start it: as asked, else where a person sits and the extra is installed."""
    return asked if asked is not None else terminal and find_spec("nicegui") is not None


def has_display(environ: Mapping[str, str]) -> bool:
    """Whether a window can be opened; a browser in the terminal would hide the demo.

    >>> has_display({"TERM": "xterm"}), has_display({"WAYLAND_DISPLAY": "wayland-0"})
    (False, True)
    """
    known = ("DISPLAY", "WAYLAND_DISPLAY")
    return sys.platform in ("darwin", "win32") or any(environ.get(name) for name in known)


@contextmanager
def running(out: Path, broker: int) -> Iterator[str | None]:
    """Run ``offbeat console``; yield the page's address, None when it did not start."""
    port = _port()
    (out / "console.toml").write_text(CONFIG.format(port=port, broker=broker))
    words = ["console", "--config", "console.toml"]
    with (
        (out / "console.log").open("wb") as log,
        subprocess.Popen(  # noqa: S603 - our own command
            [sys.executable, "-m", "offbeat_edge.cli", *words],
            cwd=out,
            stdout=log,
            stderr=subprocess.STDOUT,
        ) as process,
    ):
        url = f"http://127.0.0.1:{port}/"
        try:
            yield url if _serves(url, process) else None
        finally:
            process.terminate()
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()


def _port() -> int:
    """Return the usual port, or a free one."""
    for port in (PORT, 0):
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                sock.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(sock.getsockname()[1])
    return PORT


def _serves(url: str, process: subprocess.Popen[bytes]) -> bool:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}healthz", timeout=LOOK_S * 10):  # noqa: S310
                return True
        except (urllib.error.URLError, OSError):
            time.sleep(LOOK_S)
    return False
