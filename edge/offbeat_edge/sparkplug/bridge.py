"""The loop that lets an edge node speak: its own connection, births and last will.

Rules: off the daemon's path, as a client of its own, because a connection has
one will and the node's death is it.  Each connection is a session of the node
with a `bdSeq` of its own; nothing is queued for us while we are away, the
gateway's retained states say how things stand.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from offbeat_edge.link import Will
from offbeat_edge.sparkplug.host import SEQS

if TYPE_CHECKING:
    from collections.abc import Callable

    from offbeat_edge.link import Link
    from offbeat_edge.log import Log
    from offbeat_edge.sparkplug.node import EdgeNode

POLL_S = 0.5
FAREWELL_S = 2.0  # for the broker to take our death


class Session:
    """Counts the sessions of an edge node; makes the will of each."""

    def __init__(self, node: EdgeNode, *, first: int) -> None:
        self._node = node
        self.bd_seq = first % SEQS

    def will(self) -> Will:
        """Return the death of the session that is about to begin."""
        self.bd_seq = (self.bd_seq + 1) % SEQS
        return Will(*self._node.death(self.bd_seq), retain=False)


class Bridge:
    """One edge node at work.

    Parameters
    ----------
    wall_ms : the wall clock, ms.
    """

    def __init__(
        self,
        *,
        node: EdgeNode,
        session: Session,
        link: Link,
        log: Log,
        wall_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self.stopping = False
        self._node = node
        self._session = session
        self._link = link
        self._log = log
        self._wall_ms = wall_ms
        self._connections = 0

    def run(self) -> int:
        """Live until ``stop``; return the exit code."""
        while not self.stopping:
            messages = self._link.poll(POLL_S)
            if self._link.connected and self._link.connections != self._connections:
                self._connections = self._link.connections
                self._say(self._node.births(bd_seq=self._session.bd_seq, now_ms=self._wall_ms()))
                self._log.info("born", bd_seq=self._session.bd_seq)
            for message in messages:
                self._say(self._node.hear(message.topic, message.payload, now_ms=self._wall_ms()))
            self._link.ack(messages)
        self._die()
        return 0

    def stop(self) -> None:
        """Ask the loop to end after the present turn; safe in a signal handler."""
        self.stopping = True

    def _say(self, messages: list[tuple[str, bytes]]) -> None:
        for topic, payload in messages:
            self._link.publish(topic, payload, qos=0)

    def _die(self) -> None:
        """Publish our death: a clean goodbye makes the broker forget the will."""
        topic, payload = self._node.death(self._session.bd_seq)
        token = self._link.publish(topic, payload, qos=1)
        deadline = time.monotonic() + FAREWELL_S
        while token is not None and time.monotonic() < deadline:
            self._link.poll(0.05)
            if token in self._link.delivered():
                break
        self._link.close(b"")
