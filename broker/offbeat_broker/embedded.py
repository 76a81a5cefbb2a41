"""An MQTT broker inside this process, for one machine: a first minute, a demo, a test.

Rules: MQTT 3.1.1 only, about 3,000 messages a second, nothing kept on disk.
Without users it listens on the loopback interface and nowhere else, and lets
everybody in; a client that gives a user name keeps its session while it is
away.  With users, only they get in.

>>> with running() as port:  # doctest: +SKIP
...     publish_to("127.0.0.1", port)
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import logging
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from amqtt.adapters import StreamReaderAdapter, StreamWriterAdapter
from amqtt.broker import Broker
from amqtt.plugins.base import BaseAuthPlugin

from offbeat_edge.errors import ConfigError, LinkError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from amqtt.session import Session

LOOPBACK = "127.0.0.1"
START_SECONDS = 10.0  # to bind, or to say why not
STOP_SECONDS = 10.0  # to close every session
ACCEPT_TURNS = 4  # of the event loop, from an accepted socket to its ``connected``
CLOSE_TURNS = 2  # until a closed transport has let go of its socket
LISTENER = "default"


class Doorman(BaseAuthPlugin):  # type: ignore[misc]  # amqtt is not checked
    """Let in the users it knows; everybody when it knows none."""

    @dataclass
    class Config:
        """User names and passwords, in clear: it lives in this process only."""

        users: dict[str, str] = field(default_factory=dict)

    async def authenticate(self, *, session: Session) -> bool:
        """Say whether the session may begin."""
        users: dict[str, str] = self.config.users
        name = session.username or ""
        session.is_anonymous = not name
        if not users:
            return True
        expected = users.get(name, "")
        given = (session.password or "").encode()
        return hmac.compare_digest(expected.encode(), given) and name in users


def is_loopback(host: str) -> bool:
    """Say whether only this machine can reach ``host``."""
    if host == "localhost":
        return True
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return False


async def serve(
    stop: asyncio.Event,
    started: asyncio.Future[int],
    *,
    host: str,
    port: int,
    users: Mapping[str, str],
) -> None:
    """Run a broker until ``stop`` is set; ``started`` receives the port.

    Raises
    ------
    ConfigError
        When ``host`` is not loopback and no users are given.
    LinkError
        When the address cannot be bound.
    """
    if not is_loopback(host) and not users:
        raise ConfigError(
            [f"host: expected users, or a loopback address such as {LOOPBACK}, got {host}"]
        )
    quieten()
    broker = Broker(
        {
            "listeners": {LISTENER: {"type": "external"}},
            "plugins": {f"{__name__}.{Doorman.__name__}": {"users": dict(users)}},
        }
    )
    await broker.start()

    visits: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def attend(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.CancelledError):  # the client, or the whole broker, left
            await broker.external_connected(
                StreamReaderAdapter(reader), StreamWriterAdapter(writer), LISTENER
            )

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # No coroutine: one that is cancelled before its first step closes nothing.
        visit = asyncio.create_task(attend(reader, writer))
        visits[visit] = writer
        visit.add_done_callback(lambda done: visits.pop(done).close())

    try:
        server = await asyncio.start_server(connected, host, port)
    except (OSError, OverflowError) as error:  # a port beyond 65535 overflows
        await broker.shutdown()
        raise LinkError(f"broker: expected to bind {host}:{port}, got {error}") from error
    started.set_result(server.sockets[0].getsockname()[1])
    await stop.wait()
    for listening in server.sockets:  # a closed server drops what it is accepting, unclosed
        asyncio.get_running_loop().remove_reader(listening)
    await _turns(ACCEPT_TURNS)
    server.close()
    await broker.shutdown()
    if visits:  # the broker forgets those that were still at their CONNECT
        for visit in visits:
            visit.cancel()
        await asyncio.wait(visits)
    await _turns(CLOSE_TURNS)


async def _turns(number: int) -> None:
    """Let the event loop go round ``number`` times."""
    for _ in range(number):
        await asyncio.sleep(0)


@contextmanager
def running(
    *, host: str = LOOPBACK, port: int = 0, users: Mapping[str, str] | None = None
) -> Iterator[int]:
    """Run a broker in a thread of this process; yield its port (0 takes a free one)."""
    thread = _BrokerThread(host=host, port=port, users=users or {})
    thread.start()
    try:
        yield thread.wait_started()
    finally:
        thread.stop()


class _BrokerThread(threading.Thread):
    """The event loop of one broker."""

    def __init__(self, *, host: str, port: int, users: Mapping[str, str]) -> None:
        super().__init__(name="offbeat-broker", daemon=True)
        self._settings = (host, port, users)
        self._known = threading.Event()
        self._port = 0
        self._error: Exception | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._halt: asyncio.Event | None = None

    def run(self) -> None:
        """Serve; keep what went wrong for the thread that waits."""
        try:
            asyncio.run(self._main())
        except Exception as error:  # noqa: BLE001 - raised again where it is waited for
            self._error = error
        finally:
            self._known.set()

    async def _main(self) -> None:
        self._loop, self._halt = asyncio.get_running_loop(), asyncio.Event()
        host, port, users = self._settings
        started: asyncio.Future[int] = self._loop.create_future()
        started.add_done_callback(self._on_started)
        await serve(self._halt, started, host=host, port=port, users=users)

    def _on_started(self, started: asyncio.Future[int]) -> None:
        if not started.cancelled():
            self._port = started.result()
            self._known.set()

    def wait_started(self) -> int:
        """Return the port, or raise what kept the broker from starting."""
        if not self._known.wait(START_SECONDS):
            raise LinkError(f"broker: expected to listen within {START_SECONDS} s")
        if self._error is not None:
            raise self._error
        return self._port

    def stop(self) -> None:
        """End every session and wait for the thread."""
        if self._loop is not None and self._halt is not None and self.is_alive():
            with suppress(RuntimeError):  # the loop closed in between
                self._loop.call_soon_threadsafe(self._halt.set)
        self.join(STOP_SECONDS)


def quieten() -> None:
    """Let the broker's libraries report errors only, and no client's bad manners."""
    for name in ("amqtt", "transitions", "websockets"):
        logging.getLogger(name).setLevel(logging.ERROR)
    logging.getLogger("amqtt.broker").setLevel(logging.CRITICAL)
