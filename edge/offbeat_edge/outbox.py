"""Alert events from the state database to the broker, in order.

Rules: a row leaves the database only after its PUBACK; it is sent once a
connection, and again after the next one, marked ``resent``; never more than
the broker takes at once, nor more than ``DRAIN_PER_S``.  A row that the
broker refuses is kept, said loudly and tried again.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import msgspec

from offbeat_edge.durable import VOLATILE_ID

if TYPE_CHECKING:
    from collections.abc import Callable

    from offbeat_edge.durable import Durable
    from offbeat_edge.link import Link, Token
    from offbeat_edge.log import Log
    from offbeat_edge.store import Row

DRAIN_PER_S = 200.0  # events; a backlog must not drown the live ones elsewhere
REFUSED_RETRY_S = 30.0  # before a refused event is sent again


class Outbox:
    """What has been sent of the waiting rows, and what came back.

    Parameters
    ----------
    durable : where the rows are. link : where they go. log : where refusals are said.
    monotonic : seconds.
    """

    def __init__(
        self,
        *,
        durable: Durable,
        link: Link,
        log: Log,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.done: set[int] = set()  # delivered, still in the database
        self.sent = 0
        self.refused: str | None = None
        self._durable = durable
        self._link = link
        self._log = log
        self._now = monotonic
        self._generation = 0
        self._cursor = 0  # the last row sent on this connection
        self._resent_through = 0  # rows up to here have waited
        self._flying: dict[Token, int] = {}
        self._allowance = DRAIN_PER_S
        self._counted_at = monotonic()
        self._again_at: float | None = None

    def settle(self) -> None:
        """Take note of what the broker took, and of what it refused."""
        for token in self._link.delivered():
            row = self._flying.pop(token, None)
            if row is not None:
                self._delivered(row)
        for token, why in self._link.refused():
            self._log.error("publish_refused", why=why)
            if self._flying.pop(token, None) is not None:
                self.refused = why
                self._again_at = self._now() + REFUSED_RETRY_S

    def drain(self) -> None:
        """Send waiting rows as far as broker and rate allow."""
        if not self._link.connected:
            return
        self._turn_over()
        idle = self._durable.waiting <= len(self.done) + len(self._flying)
        limit = min(self._link.room, int(self._refill()))
        if idle or limit <= 0:
            return
        for row in self._durable.pending(after=self._cursor, limit=limit):
            self._cursor = row.id
            if row.id not in self.done and row.id not in self._flying.values():
                self._send(row)

    def committed(self, rows: set[int]) -> None:
        """These delivered rows have left the database."""
        self.done -= rows

    def _delivered(self, row: int) -> None:
        self.sent += 1
        if not self._flying:
            self.refused = None if self._again_at is None else self.refused
        if row >= VOLATILE_ID:
            self._durable.forget(row)
        else:
            self.done.add(row)

    def _turn_over(self) -> None:
        """Start from the oldest row on a new connection, or after a refusal."""
        if self._link.generation != self._generation:
            self._generation = self._link.generation
            self._resent_through = self._durable.newest()
            self._flying.clear()
            self._cursor = 0
        elif self._again_at is not None and self._now() >= self._again_at:
            self._cursor = 0
        elif self._cursor >= VOLATILE_ID and self._durable.problem is None:
            self._cursor = 0  # the disk is back, and its ids are
        else:
            return
        self._again_at = None

    def _refill(self) -> float:
        now = self._now()
        gained = (now - self._counted_at) * DRAIN_PER_S
        self._allowance = min(DRAIN_PER_S, self._allowance + gained)
        self._counted_at = now
        return self._allowance

    def _send(self, row: Row) -> None:
        payload = row.payload
        if row.id <= self._resent_through:
            payload = mark_resent(payload)
        token = self._link.publish(row.topic, payload, qos=1)
        if token is not None:
            self._allowance -= 1
            self._flying[token] = row.id


def mark_resent(payload: bytes) -> bytes:
    """Say in an event that it has waited.

    >>> mark_resent(b'{"id":"a/0","resent":false}')
    b'{"id":"a/0","resent":true}'
    """
    event = msgspec.json.decode(payload, type=dict[str, msgspec.Raw])
    event["resent"] = msgspec.Raw(b"true")
    return msgspec.json.encode(event)
