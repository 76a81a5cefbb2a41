"""The MQTT link: one session after another, birth, will, reconnect.

Rules: the caller's thread drives it with ``poll``; nothing here raises once
the link is built, a broker out of reach is a state and not an error.  The
broker's word decides: connected means CONNACK, ready means every
subscription granted; a refusal is logged and shown in ``problems``.  Full
jitter between attempts.  MQTT 5 first; 3.1.1 when the broker does not
understand it.

A life::

    link = Link(broker=Broker(...), filters=[("plant/#", 1)], status_topic="...", log=log)
    while running:
        messages = link.poll(0.1)
        ...                        # process, commit
        link.ack(messages)
    link.close(b"stopped")
"""

from __future__ import annotations

import random
import ssl
import time
from typing import TYPE_CHECKING, Literal, NamedTuple

from offbeat_edge.mqtt_intake import Message
from offbeat_edge.mqtt_session import TAKEN_OVER, UNSUPPORTED_VERSION, Broker, Session, Will
from offbeat_edge.subscriptions import Subscriptions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from offbeat_edge.log import Log

__all__ = ["Broker", "Link", "Message", "Token", "Will", "tls_context"]

RETRY_BASE_S = 1.0  # the first wait is between 0 and this
RETRY_CAP_S = 60.0  # no wait is longer
STEADY_S = 10.0  # a connection that lived this long starts the waits anew
CONNACK_TIMEOUT_S = 10.0
TRIAL_TIMEOUT_S = 3.0  # some brokers meet an unknown MQTT version with silence
RESUBSCRIBE_S = 60.0  # between attempts at a refused subscription
MISC_S = 1.0  # between looks at the keep-alive
MAX_READ = 256  # messages of one poll
FAREWELL_S = 2.0  # for the broker to take `stopped`

Protocol = Literal["auto", "5", "3.1.1"]


class Token(NamedTuple):
    """A QoS 1 publish on its way."""

    generation: int
    mid: int


class Link:
    """The connection to the broker, kept up for as long as the daemon lives.

    Parameters
    ----------
    broker : address, identity and limits.
    protocol : "auto" tries 5, then 3.1.1.
    tls : makes the TLS context anew for each attempt, or None for clear.
    filters : subscriptions as (filter, QoS).
    will : makes the last will anew for each attempt; None: `offline` on `status_topic`.
    lasting : whether the broker keeps our session, and queues, while we are away.
    held : filters that our session at the broker may hold from before.
    remember : keeps what the session may hold, for the next start's `held`.
    status_topic : where `online`, `offline` and `stopped` are retained; None for
        a client that only looks on.
    log : where trouble is said.
    monotonic : seconds. uniform : random float between two bounds.
    """

    def __init__(
        self,
        *,
        broker: Broker,
        protocol: Protocol,
        filters: Sequence[tuple[str, int]],
        status_topic: str | None,
        log: Log,
        tls: Callable[[], ssl.SSLContext] | None = None,
        will: Callable[[], Will] | None = None,
        lasting: bool = True,
        held: Iterable[str] = (),
        remember: Callable[[Iterable[str]], None] = lambda _: None,
        monotonic: Callable[[], float] = time.monotonic,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self.generation = 0
        self.connections = 0  # CONNACKs that said yes
        self.sessions_lost = 0  # reconnects on which the broker had forgotten us
        self.session_lost_at: float | None = None  # monotonic, the last time
        self.session_expected = False  # a broker has known us before, perhaps in another life
        self.taken_over = 0
        self.drained = False  # the last poll left nothing in the socket
        self.problems: dict[str, str] = {}  # what the broker refuses
        self._broker = broker
        self._subscriptions = Subscriptions(wanted=dict(filters), held=held)
        self._remember = remember
        self._status_topic = status_topic
        self._tls = tls
        self._will = will or self._offline
        self._lasting = lasting
        self._log = log
        self._now = monotonic
        self._uniform = uniform
        self._session: Session | None = None
        self._versions = {"auto": ["5", "3.1.1"]}.get(protocol, [protocol])
        self._preferred = self._versions[0]
        self._told = False  # a broker has said that it does not know a version
        self._proven = False  # a broker has accepted the preferred version
        self._failures = 0
        self._retry_at = 0.0
        self._started_at = 0.0
        self._misc_at = 0.0
        self._welcomed = False  # this connection's CONNACK was acted on
        self._resubscribe_at: float | None = None
        self._unacknowledged: set[int] = set()
        self._delivered: list[Token] = []
        self._refused: list[tuple[Token, str]] = []

    @property
    def connected(self) -> bool:
        """Whether the broker has accepted the present connection."""
        return self._session is not None and self._session.accepted

    @property
    def ready(self) -> bool:
        """Whether every subscription has been answered on this connection."""
        return self.connected and self._subscriptions.ready

    @property
    def subscribed(self) -> int:
        """How many filters the broker has granted; 0 until it has answered for all."""
        asked = self._subscriptions
        return len(asked.wanted) - len(asked.refused) if self.ready else 0

    def subscribe_to(self, filters: Iterable[tuple[str, int]]) -> None:
        """Change the subscriptions, at once or with the next connection."""
        self._subscriptions.want(dict(filters))
        if self._session is not None and self._session.accepted:
            self._subscribe(self._session)

    @property
    def version(self) -> str | None:
        """The MQTT version in use, None while not connected."""
        return self._session.version if self._session and self.connected else None

    @property
    def room(self) -> int:
        """How many more QoS 1 publishes the broker takes now."""
        if self._session is None or not self.connected:
            return 0
        return max(0, self._session.window - len(self._unacknowledged))

    def poll(self, timeout_s: float) -> list[Message]:
        """Move the link on for up to ``timeout_s``; return what arrived."""
        if self._session is None and not self._attempt(timeout_s):
            return []
        session = self._session
        if session is None:
            return []
        session.flush()
        session.wait(timeout_s)
        self.drained = session.read(MAX_READ)
        self._look_after(session)
        session.flush()
        messages, session.inbox = session.inbox, []
        if session.ended is not None:
            self._lost(session)
        return messages

    def ack(self, messages: Iterable[Message]) -> None:
        """Acknowledge, in order of arrival; messages of old connections are skipped."""
        session = self._session
        if session is None:
            return
        ours = session.generation
        session.acknowledge([m.mid for m in messages if m.qos and m.generation == ours])
        session.flush()

    def publish(
        self, topic: str, payload: bytes, *, qos: int, retain: bool = False
    ) -> Token | None:
        """Send; return a token that `delivered` will name (QoS 1), None when not connected."""
        session = self._session
        if session is None or not session.accepted or session.ended:
            return None
        mid = session.publish(topic, payload, qos=qos, retain=retain)
        if qos:
            self._unacknowledged.add(mid)
        return Token(session.generation, mid)

    def delivered(self) -> list[Token]:
        """Return, once, what the broker has taken responsibility for."""
        tokens, self._delivered = self._delivered, []
        return tokens

    def refused(self) -> list[tuple[Token, str]]:
        """Return, once, the publishes the broker refused, with its reason."""
        tokens, self._refused = self._refused, []
        return tokens

    def reconnect(self, why: str) -> None:
        """Give up a connection that only looks like one; the next is tried soon."""
        if self._session is not None:
            self._session.drop(why)
            self._lost(self._session)

    def close(self, farewell: bytes) -> None:
        """Retain ``farewell`` on the status topic, disconnect cleanly."""
        token = self._say_status(farewell)
        deadline = self._now() + FAREWELL_S
        waiting = token is not None
        while waiting and self._session is not None and self._now() < deadline:
            self.poll(0.05)
            waiting = token is not None and token.mid in self._unacknowledged
        if self._session is not None:
            self._session.close()
        self._session = None

    def _say_status(self, status: bytes) -> Token | None:
        if self._status_topic is None:
            return None
        return self.publish(self._status_topic, status, qos=1, retain=True)

    def _offline(self) -> Will | None:
        return Will(self._status_topic, b"offline") if self._status_topic else None

    def _attempt(self, timeout_s: float) -> bool:
        """Connect when it is time; otherwise sleep. True with a session."""
        wait = self._retry_at - self._now()
        if wait > 0:
            time.sleep(min(wait, timeout_s))
            return False
        self.generation += 1
        try:
            tls = self._tls() if self._tls else None
            session = Session(
                broker=self._broker,
                version=self._versions[0],
                tls=tls,
                will=self._will(),
                generation=self.generation,
                lasting=self._lasting,
            )
        except (OSError, ValueError) as error:  # unreadable or wrong TLS files
            self._retry_later(f"TLS: {error}")
            return False
        session.connect()
        self._session = session
        self._started_at = self._now()
        if session.ended is not None:
            self._lost(session)
        return self._session is not None

    def _look_after(self, session: Session) -> None:
        """Act on what the last read brought, and on the clock."""
        now = self._now()
        if session.accepted and not self._welcomed and session.ended is None:
            self._welcome(session)
        trying = len(self._versions) > 1 and not self._proven
        patience = TRIAL_TIMEOUT_S if trying else CONNACK_TIMEOUT_S
        if not session.accepted and now - self._started_at > patience:
            session.drop("no answer to CONNECT")
        if session.granted or session.released:
            self._subscribed(session)
        if self._resubscribe_at is not None and now >= self._resubscribe_at:
            self._resubscribe_at = None
            self._subscriptions.ask_again()
            self._subscribe(session)
        self._collect(session)
        if now >= self._misc_at:
            self._misc_at = now + MISC_S
            session.keep_alive()
        if self._failures and now - self._started_at > STEADY_S:
            self._failures = 0

    def _welcome(self, session: Session) -> None:
        """Take note of a CONNACK: subscribe and say that we are here."""
        self._welcomed = True
        self._proven = self._proven or session.version == self._preferred
        if self.session_expected and not session.session_present:
            self.sessions_lost += 1
            self.session_lost_at = self._now()
            self._log.warning("session_lost", why="the broker no longer knew this client")
        self.connections += 1
        self.session_expected = True
        self.problems.pop("connect", None)
        self._subscriptions.connected(session_present=session.session_present)
        self._subscribe(session)
        self._say_status(b"online")
        self._log.info(
            "connected",
            host=self._broker.host,
            port=self._broker.port,
            mqtt=session.version,
            session_present=session.session_present,
        )

    def _subscribe(self, session: Session) -> None:
        """Ask for what is missing and let go of what is too much."""
        subscriptions = self._subscriptions
        wanted = subscriptions.subscribe()
        if subscriptions.hold(name for batch in wanted for name, _ in batch):
            self._remember(sorted(subscriptions.held))
        for names in subscriptions.unsubscribe():
            subscriptions.asked(session.unsubscribe(names), names)
        for batch in wanted:
            subscriptions.asked(session.subscribe(batch), [name for name, _ in batch])

    def _subscribed(self, session: Session) -> None:
        """Take the broker's answers."""
        subscriptions = self._subscriptions
        refused: dict[str, str] = {}
        for mid, answers in session.granted.items():
            refused |= subscriptions.granted(mid, answers)
        for mid in session.released:
            subscriptions.released(mid)
        if session.released:
            self._remember(sorted(subscriptions.held))
        session.granted, session.released = {}, []
        self._say_refused(refused)
        self._subscribe(session)  # what was wanted otherwise while the answer was under way

    def _say_refused(self, refused: dict[str, str]) -> None:
        told = {f"subscribe {name}": why for name, why in self._subscriptions.refused.items()}
        others = {k: v for k, v in self.problems.items() if not k.startswith("subscribe ")}
        self.problems = others | told
        for name, why in refused.items():
            self._log.error("subscription_refused", filter=name, why=why)
        if refused:
            self._resubscribe_at = self._now() + RESUBSCRIBE_S

    def _collect(self, session: Session) -> None:
        """Sort the PUBACKs of our own publishes."""
        for mid, refusal in session.acknowledged:
            if mid not in self._unacknowledged:
                continue  # QoS 0
            self._unacknowledged.discard(mid)
            token = Token(session.generation, mid)
            if refusal is None:
                self._delivered.append(token)
            else:
                self._refused.append((token, refusal))
        session.acknowledged.clear()

    def _lost(self, session: Session) -> None:
        """The connection is over: plan the next one."""
        self._collect(session)
        session.drop("lost")
        self._session, self._welcomed, self.drained = None, False, False
        self._resubscribe_at = None
        self._unacknowledged.clear()
        why = session.ended or "lost"
        if session.reason_code == TAKEN_OVER:
            self.taken_over += 1
            why = "another client uses our client id"
        if session.accepted and not self._told:
            self._versions.sort(key=self._preferred.__ne__)  # perhaps it was only restarting
        if not session.accepted and self._fall_back(session):
            return
        self._retry_later(why)

    def _fall_back(self, session: Session) -> bool:
        """Go to the next MQTT version; true when it may be tried at once.

        A broker says that it does not know a version, hangs up or goes mute;
        one that ever took the version is merely down.
        """
        refused = session.reason_code == UNSUPPORTED_VERSION
        self._told = self._told or refused
        mute = session.sent and not session.reason_code and not self._proven
        if len(self._versions) == 1 or not (refused or mute):
            return False
        self._versions.append(self._versions.pop(0))
        self._log.warning(
            "mqtt_version_refused",
            refused=session.version,
            why=session.ended,
            next=self._versions[0],
        )
        return session.version == "5"

    def _retry_later(self, why: str) -> None:
        ceiling = min(RETRY_CAP_S, RETRY_BASE_S * 2.0 ** min(self._failures, 16))
        wait = self._uniform(0.0, ceiling)
        self._failures += 1
        self._retry_at = self._now() + wait
        self.problems["connect"] = why
        self._log.warning(
            "disconnected",
            host=self._broker.host,
            port=self._broker.port,
            why=why,
            retry_s=round(wait, 2),
        )


def tls_context(*, ca_file: str, cert_file: str, key_file: str) -> ssl.SSLContext:
    """Return a client context; empty ``ca_file`` means the system's authorities."""
    context = ssl.create_default_context(cafile=ca_file or None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if cert_file:
        context.load_cert_chain(cert_file, key_file)
    return context
