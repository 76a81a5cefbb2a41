"""A word to the broker that must come back: the only proof that it delivers.

Rules: every ``EVERY_S`` a probe goes out on our own topic, which we
subscribe; one that does not return within ``PATIENCE_S`` is *overdue* and
health says so.  While other messages arrive it only waits its turn behind
them and nothing is wrong; when nothing at all arrived for ``LOST`` probes in
a row, the connection is half open, or the broker takes and does not deliver:
then connect anew.  A probe that has never come back may be an access rule:
the patience doubles with each reconnection that did not help.  A broker out
of reach is never a reason to exit.

>>> probe = Probe(topic="offbeat/gw1/probe", link=link, log=log)  # doctest: +SKIP
>>> probe.turn()  # in every turn of the loop  # doctest: +SKIP
>>> messages = probe.sift(link.poll(0.25))  # doctest: +SKIP
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from offbeat_edge.link import Message, Token
    from offbeat_edge.log import Log

EVERY_S = 15.0  # between probes
PATIENCE_S = 10.0  # then it is overdue
LOST = 3  # overdue in a row, with nothing else heard: connect anew
MAX_DOUBLINGS = 6  # of LOST: at most 48 minutes between reconnections


class Wire(Protocol):
    """What is needed of ``link.Link``."""

    generation: int

    @property
    def ready(self) -> bool:
        """Whether the broker has accepted us and answered every subscription."""
        ...

    def publish(self, topic: str, payload: bytes, *, qos: int) -> Token | None:
        """Send."""
        ...

    def reconnect(self, why: str) -> None:
        """Drop the connection and plan the next."""
        ...


class Probe:
    """Sends probes and waits for them.

    Parameters
    ----------
    topic : where they go and come from.
    link : the connection. log : where losses are said.
    monotonic : seconds.
    """

    def __init__(
        self,
        *,
        topic: str,
        link: Wire,
        log: Log,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.topic = topic
        self.last_ms: float | None = None  # the last one's way there and back
        self.lost = 0  # overdue in a row on this connection, with nothing else heard
        self._link = link
        self._log = log
        self._now = monotonic
        self._number = 0
        self._sent_at: float | None = None  # of the one on its way
        self._due_at = monotonic()
        self._generation = 0
        self._heard = False  # anything since it was sent
        self._in_vain = 0  # reconnections since one last came back

    @property
    def problem(self) -> str | None:
        """Why the broker cannot be believed to deliver."""
        if not self.lost:
            return None
        return f"{self.lost} probes did not come back within {PATIENCE_S:.0f} s"

    def sift(self, messages: list[Message]) -> Sequence[Message]:
        """Take our own probes out of what arrived."""
        if not messages:
            return messages
        others = [message for message in messages if message.topic != self.topic]
        self._heard = self._heard or bool(others)
        if len(others) < len(messages):
            self._back({m.payload for m in messages if m.topic == self.topic})
        return others

    def turn(self) -> None:
        """Send the next probe, or give up on the last, when it is time."""
        if not self._link.ready:
            return
        now = self._now()
        if self._link.generation != self._generation:
            self._generation, self._sent_at, self.lost = self._link.generation, None, 0
        if self._sent_at is not None and now - self._sent_at >= PATIENCE_S:
            self._overdue()
        elif self._sent_at is None and now >= self._due_at:
            self._send(now)

    def _send(self, now: float) -> None:
        self._number += 1
        self._due_at = now + EVERY_S
        self._heard = False
        if self._link.publish(self.topic, self._payload(), qos=0) is not None:
            self._sent_at = now

    def _back(self, payloads: set[bytes]) -> None:
        if not any(payload.startswith(b"%d." % self._generation) for payload in payloads):
            return  # somebody else's, or of an old connection
        self.lost = self._in_vain = 0
        if self._sent_at is not None and self._payload() in payloads:
            self.last_ms = round((self._now() - self._sent_at) * 1000, 1)
            self._sent_at = None

    def _overdue(self) -> None:
        if self._heard:
            self._sent_at, self.lost = None, 0
            return
        self._sent_at, self.last_ms = None, None
        self.lost += 1
        self._log.warning("probe_lost", in_a_row=self.lost)
        if self.lost >= LOST << min(self._in_vain, MAX_DOUBLINGS):
            self._in_vain += 1
            self._link.reconnect(f"{self.lost} probes did not come back")

    def _payload(self) -> bytes:
        return b"%d.%d" % (self._generation, self._number)
