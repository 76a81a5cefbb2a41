"""Run a small MQTT broker for this machine (MQTT 3.1.1, nothing kept on disk).

It listens on 127.0.0.1 and lets every local program in.  Another address
needs --users.  For anything beyond a first try run Mosquitto: the
configurations in broker/mosquitto are a start.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from offbeat_broker.embedded import LOOPBACK, is_loopback, serve
from offbeat_edge.errors import ConfigError

if TYPE_CHECKING:
    import argparse

DEFAULT_PORT = 1883
WARNING = """\
offbeat broker: WARNING: listening on {host}, reachable from other machines, without TLS:
passwords and data cross the network in clear. Use Mosquitto with TLS (broker/mosquitto)."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--host", default=LOOPBACK, help="address to listen on (%(default)s)")
    parser.add_argument("--port", type=int, default=DEFAULT_PORT, help="0 takes a free one")
    parser.add_argument("--users", type=Path, metavar="FILE", help="one NAME:PASSWORD a line")


def run(args: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT."""
    users = read_users(args.users) if args.users else {}
    asyncio.run(_serve(args.host, args.port, users))
    return 0


def read_users(path: Path) -> dict[str, str]:
    """Read NAME:PASSWORD lines; blank lines and # comments are skipped."""
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([f"{path}: expected a readable text file, got {error}"]) from error
    users, problems = {}, []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        name, _, password = line.partition(":")
        if name and password:
            users[name] = password
        else:
            problems.append(f"{path}:{number}: expected NAME:PASSWORD")
    if problems or not users:
        raise ConfigError(problems or [f"{path}: expected at least one NAME:PASSWORD"])
    return users


async def _serve(host: str, port: int, users: dict[str, str]) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    started: asyncio.Future[int] = loop.create_future()
    started.add_done_callback(lambda done: _announce(host, done))
    await serve(stop, started, host=host, port=port, users=users)


def _announce(host: str, started: asyncio.Future[int]) -> None:
    if started.cancelled():
        return
    if not is_loopback(host):
        print(WARNING.format(host=host), file=sys.stderr, flush=True)
    print(f"listening on {host}:{started.result()} (MQTT 3.1.1)", flush=True)
