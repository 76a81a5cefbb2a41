"""What follows from verified orders: which bundle runs, which is compared, what was sent back.

Rules: pure; `Conduct` is kept on disk by whoever holds it.  A bundle that
misbehaves within its probation is sent back to the one before it and never
tried again under that digest.  Orders that ask for what was sent back are
reported, not followed.

>>> from offbeat_edge.delivery.task import Order
>>> conduct = Conduct(runs="a" * 64)
>>> order = Order(model="pump", mode="canary", bundle="b" * 64, version=2, path="/b")
>>> conduct.follow([order]).activate.bundle[:1], conduct.last_good[:1]
('b', 'a')
>>> conduct.send_back("too slow"), conduct.state
('aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa', 'rolled_back')
>>> conduct.follow([order]).activate is None
True
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

import msgspec

from offbeat_edge.delivery import probation
from offbeat_edge.delivery.assignment import Mode, Probation
from offbeat_edge.delivery.figures import Count
from offbeat_edge.delivery.shadow import Compared

if TYPE_CHECKING:
    from offbeat_edge.delivery.task import Order

State = Literal["configured", "probation", "settled", "rolled_back", "refused"]
MAX_REJECTED = 100  # digests remembered, oldest forgotten


class Steps(NamedTuple):
    """What to do now."""

    activate: Order | None
    shadow: Order | None


class Conduct(msgspec.Struct, kw_only=True):
    """One model on this gateway."""

    runs: str  # digest
    state: State = "configured"
    mode: Mode | None = None  # of what runs; None: as configured
    version: int = 0  # of the document last followed
    last_good: str = ""  # digest
    reason: str = ""  # of the last rollback or refusal
    rejected: dict[str, str] = msgspec.field(default_factory=dict)  # digest → why
    terms: Probation = msgspec.field(default_factory=Probation)
    count: Count = msgspec.field(default_factory=Count)  # of what runs, since it does
    first_ms: int | None = None  # event time of its first and newest window
    newest_ms: int | None = None
    shadow: str = ""  # digest of the challenger
    compared: Compared = msgspec.field(default_factory=Compared)

    def follow(self, orders: list[Order]) -> Steps:
        """Take the orders of this model, as of a document."""
        run = next((order for order in orders if order.mode != "shadow"), None)
        shadow = next((order for order in orders if order.mode == "shadow"), None)
        self.version = max([self.version, *(order.version for order in orders)])
        return Steps(self._run(run), self._shadow(shadow))

    def activated(self, digest: str, mode: Mode | None) -> None:
        """Note that a bundle runs from now on."""
        self.runs, self.mode = digest, mode
        self.count, self.first_ms, self.newest_ms = Count(), None, None

    def window(self, score: float, time_ms: int, step_ms: int) -> None:
        """Count a window of what runs."""
        self.count.score(score, step_ms)
        self.first_ms = time_ms if self.first_ms is None else min(self.first_ms, time_ms)
        self.newest_ms = time_ms if self.newest_ms is None else max(self.newest_ms, time_ms)

    def judge(self, *, latency_ms: float | None, error: str | None) -> str | None:
        """Say why what runs must be sent back; None when it need not."""
        if self.state != "probation":
            return None
        why = probation.breach(self.terms, self.count, latency_ms=latency_ms, error=error)
        span_ms = (self.newest_ms or 0) - (self.first_ms or 0)
        if why is None and probation.over(self.terms, span_ms):
            self.state, self.last_good = "settled", self.runs
        return why

    def send_back(self, why: str) -> str:
        """Reject what runs; return the digest that shall run instead."""
        self.reject(self.runs, why)
        self.state = "rolled_back"
        self.activated(self.last_good, None)
        return self.last_good

    def reject(self, digest: str, why: str) -> None:
        """Remember not to try a bundle again."""
        self.reason = f"{digest[:16]}: {why}"
        self.rejected[digest] = why
        while len(self.rejected) > MAX_REJECTED:
            del self.rejected[next(iter(self.rejected))]

    def _run(self, order: Order | None) -> Order | None:
        if order is None:
            return None
        self.terms = order.probation
        if order.bundle in self.rejected:
            self.state = "rolled_back" if self.state == "rolled_back" else "refused"
            self.reason = f"{order.bundle[:16]}: {self.rejected[order.bundle]}"
            return None
        if order.bundle == self.runs:
            self.mode = order.mode
            return None
        if self.state != "probation":
            self.last_good = self.runs
        self.state = "probation"
        self.activated(order.bundle, order.mode)
        return order

    def _shadow(self, order: Order | None) -> Order | None:
        if order is None or order.bundle in self.rejected or order.bundle == self.runs:
            self.shadow = ""
            return None
        if order.bundle != self.shadow:
            self.shadow, self.compared = order.bundle, Compared()
        return order
