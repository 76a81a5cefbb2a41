"""One message to the broker, and certainty that it took it; or a look at what it has.

For commands a person types: connect, publish at QoS 1, wait for the
broker's word, leave.  Nothing is queued for later.

Rules: a refusal is an error.  MQTT 5 first, because only there does a broker
say that its access rules forbid a topic; after a refusal of that version
3.1.1, where such a message vanishes unseen.
"""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING

from offbeat_edge.errors import LinkError
from offbeat_edge.mqtt_session import UNSUPPORTED_VERSION, Session

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator, Sequence

    from offbeat_edge.mqtt_intake import Message
    from offbeat_edge.mqtt_session import Broker

PATIENCE_S = 10.0  # for CONNACK and PUBACK together
LOOK_S = 3.0  # for retained messages to come
FLUSH_S = 0.05  # one look at the socket
MAX_READ = 500  # messages of one look
MAX_HEARD = 50_000  # messages kept of a longer one
VERSIONS: dict[str, tuple[str, ...]] = {"auto": ("5", "3.1.1")}


class Courier:
    """Goes to one broker, each time anew.

    Parameters
    ----------
    broker : where, and who we are; the client id is one of its own.
    protocol : "auto" tries 5, then 3.1.1.
    tls : makes the TLS context, None for a clear connection.
    monotonic : seconds.
    wall_ms : the wall clock, ms.
    """

    def __init__(
        self,
        *,
        broker: Broker,
        protocol: str = "auto",
        tls: Callable[[], ssl.SSLContext] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        wall_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._wall_ms = wall_ms
        self._broker = broker
        self._versions = VERSIONS.get(protocol, (protocol,))
        self._tls = tls
        self._now = monotonic

    def deliver(self, topic: str, payload: bytes) -> str:
        """Publish one message; return the MQTT version by which it went.

        Raises
        ------
        LinkError : the broker was not reached, or refused us or the message.
        """
        return self._go(lambda session: self._publish(session, topic, payload), topic)

    def find(self, name: str, wanted: Callable[[bytes], bool]) -> bytes | None:
        """Return the first retained message under a filter that is ``wanted``, None for none."""
        found: list[bytes] = []

        def take(messages: list[Message]) -> bool:
            found.extend(m.payload for m in messages if m.retain and wanted(m.payload))
            return bool(found)

        self._go(lambda session: self._listen(session, [name], LOOK_S, take), name)
        return found[0] if found else None

    def hear(self, filters: Sequence[str], *, seconds: float) -> list[tuple[Message, int]]:
        """Return what comes under filters meanwhile, the first `MAX_HEARD`, each with its time.

        The time is that of the wall clock, ms.

        Raises
        ------
        LinkError : the broker was not reached, or refused us or all filters.
        """
        heard: list[tuple[Message, int]] = []

        def take(messages: list[Message]) -> bool:
            heard.extend((message, self._wall_ms()) for message in messages)
            return len(heard) >= MAX_HEARD

        self._go(lambda session: self._listen(session, filters, seconds, take), filters[0])
        return heard[:MAX_HEARD]

    def _go(self, errand: Callable[[Session], str | None], what: str) -> str:
        """Do an errand in a session of the first version that the broker speaks."""
        for version in self._versions:
            session = self._open(version)
            try:
                why = errand(session)
            finally:
                session.close()
            if why is None:
                return version
            said_no = session.reason_code not in (0, UNSUPPORTED_VERSION)
            if session.accepted or said_no or not session.sent:
                break
        raise LinkError(f"{self._where}: {what}: {why}")

    def _publish(self, session: Session, topic: str, payload: bytes) -> str | None:
        """Return why the message was not taken, None when it was."""
        sent: int | None = None
        for _ in self._moves(session, PATIENCE_S):
            if session.accepted and sent is None:
                sent = session.publish(topic, payload, qos=1, retain=False)
            for mid, refusal in session.acknowledged:
                if mid == sent:
                    return refusal
        return session.ended or f"no answer within {PATIENCE_S:.0f} s"

    def _listen(
        self,
        session: Session,
        filters: Sequence[str],
        seconds: float,
        take: Callable[[list[Message]], bool],
    ) -> str | None:
        """Give what comes to ``take`` until that has enough; return what went wrong."""
        asked = False
        for _ in self._moves(session, seconds):
            if session.accepted and not asked:
                session.subscribe([(name, 0) for name in filters])
                asked = True
            enough = take(session.inbox)
            session.inbox.clear()
            if enough:
                return None
        return session.ended or (None if asked else f"no answer within {seconds:.0f} s")

    def _moves(self, session: Session, seconds: float) -> Iterator[None]:
        """Move a session on until it ends or its time is over."""
        deadline = self._now() + seconds
        while session.ended is None and self._now() < deadline:
            session.flush()
            session.wait(FLUSH_S)
            session.read(MAX_READ)
            yield

    @property
    def _where(self) -> str:
        return f"{self._broker.host}:{self._broker.port}"

    def _open(self, version: str) -> Session:
        try:
            context = self._tls() if self._tls is not None else None
        except (OSError, ValueError) as error:
            why = f"{self._where}: expected readable TLS files, got: {error}"
            raise LinkError(why) from error
        # a name of its own: under the daemon's it would take over the daemon's session
        named = self._broker._replace(client_id=f"offbeat-{uuid.uuid4().hex[:12]}")
        session = Session(
            broker=named, version=version, tls=context, will=None, generation=1, lasting=False
        )
        session.connect()
        return session
