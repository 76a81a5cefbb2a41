"""A web page of the fleet: states, signals, alerts, and what people say to them.

Connects to the broker like any client, keeps what it hears in a small store of
its own, and serves on this machine only until users are made (--add-user).
"""

from __future__ import annotations

import fcntl
import getpass
import os
import secrets
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import nicegui  # noqa: F401 - so that a missing extra is said at once

from offbeat_console import settings as configs
from offbeat_console import users, wire
from offbeat_console.board import Board
from offbeat_console.desk import Desk
from offbeat_console.errors import AccessError
from offbeat_console.ingest import Ingest, recover
from offbeat_console.store import Store
from offbeat_console.users import SALT_BYTES, Users
from offbeat_edge import dial
from offbeat_edge.errors import StateRefused
from offbeat_edge.payload.decoder import Decoder

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from offbeat_console.settings import Settings
    from offbeat_edge.log import Log

STORE_FILE = "console.db"
LOCK_FILE = "lock"
MAX_PAYLOAD_BYTES = 1 << 20
UNAVAILABLE = 69


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    add = parser.add_argument
    add("--config", type=Path, help="the console's TOML file")
    add("--host", help="address of the page (127.0.0.1)")
    add("--port", type=int, help=f"port of the page ({configs.DEFAULT_PORT})")
    add("--mqtt-host", help="the broker (localhost)")
    add("--mqtt-port", type=int, help="its port (1883, 8883 with TLS)")
    add("--state-dir", type=Path, help="what is kept goes there")
    add("--add-user", metavar="NAME", help="make a user, or change one's password, and end")
    add("--role", choices=["viewer", "operator"], default="operator",
        help="what the user may do (%(default)s)")  # fmt: skip
    add("--remove-user", metavar="NAME", help="remove a user and end")


def run(args: argparse.Namespace) -> int:
    """Serve until a signal; return an exit code."""
    settings = _settings(args)
    folder = Path(settings.console.state_dir)
    people = Users(folder)
    if args.add_user:
        return _add(people, args.add_user, args.role)
    if args.remove_user:
        people.remove(args.remove_user)
        return 0
    _check_exposure(settings, people)
    with _alone(folder):
        return _serve(settings, people)


def _settings(args: argparse.Namespace) -> Settings:
    """Lay the command line over the file."""
    environ = dict(os.environ)
    given = {
        "OFFBEAT_CONSOLE__HOST": args.host,
        "OFFBEAT_CONSOLE__PORT": args.port,
        "OFFBEAT_MQTT__HOST": args.mqtt_host,
        "OFFBEAT_MQTT__PORT": args.mqtt_port,
        "OFFBEAT_CONSOLE__STATE_DIR": args.state_dir and args.state_dir.absolute(),
    }
    environ |= {name: str(value) for name, value in given.items() if value is not None}
    return configs.load(args.config, environ)


def _add(people: Users, name: str, role: str) -> int:
    password = _password(name)
    people.put(users.made(name, role, password, salt=secrets.token_bytes(SALT_BYTES)))
    print(f"{name} may log in as {role}")
    return 0


def _password(name: str) -> str:
    """Ask twice without an echo, or take a line from a pipe."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\n")
    password = getpass.getpass(f"Password of {name}: ")
    if getpass.getpass("Once more: ") != password:
        raise AccessError("expected the same password twice")
    return password


def _check_exposure(settings: Settings, people: Users) -> None:
    """Refuse to be open to others without a login, or with one that can be read on the way."""
    if not settings.exposed:
        return
    host = settings.console.host
    if not people.all():
        raise AccessError(
            f"console.host: expected users before others may reach {host}:"
            " make one with --add-user NAME, or listen on 127.0.0.1"
        )
    if not settings.https:
        raise AccessError(
            f"console.host: expected TLS before passwords travel to {host}: set console.cert_file"
            " and key_file, or console.behind_tls = true when a reverse proxy ends TLS"
        )


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the state folder."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (folder / LOCK_FILE).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise StateRefused(f"{folder}: another console uses it") from error
        yield


def _serve(settings: Settings, people: Users) -> int:
    from offbeat_console import web  # noqa: PLC0415 - the framework takes a second

    log = dial.log(settings.log)
    board = Board()
    path = Path(settings.console.state_dir) / STORE_FILE
    store = Store(path, limit_bytes=int(settings.console.store_mb * 1e6))
    recover(board, store)
    ingest = _ingest(settings, store, board, log)
    reader = store.reader()
    desk = Desk(
        title=settings.console.title, board=board, store=store, ingest=ingest, reader=reader,
        sources=bool(settings.sources),
    )  # fmt: skip
    server = web.server(web.build(desk, settings, people), settings)
    ingest.start()
    scheme = "https" if settings.console.cert_file else "http"
    url = f"{scheme}://{settings.console.host}:{settings.console.port}/"
    log.info("console", url=url, users=len(people.all()), store=str(path))
    try:
        server.run()
    finally:
        ingest.stop()
        reader.close()
        store.close()
    return 0 if server.started and ingest.failed is None else UNAVAILABLE


def _ingest(settings: Settings, store: Store, board: Board, log: Log) -> Ingest:
    mqtt = settings.mqtt
    # Samples are for drawing: what comes while we are away is not kept for us.
    samples = [(name, 0) for name, _ in dial.filters(settings.sources)]
    link = dial.link(
        mqtt,
        filters=[*wire.FILTERS, *samples],
        status_topic=None,
        max_payload_bytes=MAX_PAYLOAD_BYTES,
        log=log,
    )
    decoder = Decoder(settings.sources, max_payload_bytes=MAX_PAYLOAD_BYTES)
    return Ingest(
        link=link, host=mqtt.host, port=mqtt.port, store=store, board=board,
        decoder=decoder if settings.sources else None, log=log,
    )  # fmt: skip
