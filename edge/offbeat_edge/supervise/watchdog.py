"""The watchdog is fed by work alone: a lap that came back from the disk, in time.

Rules: one lap every ``EVERY_S`` or as often as systemd asks; ``WATCHDOG=1``
follows a lap that walked the whole way (``proof``), was committed and read
back, and took no longer than ``LIMIT_S``.  A model that fails its lap is
reported and no reason to starve: its fallback walks next.  A disk that
*refuses* is no reason either: the daemon goes on in memory and says so, and
a restart would lose what is there; a disk that does not *answer* stops the
loop and with it the feeding.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from offbeat_edge.log import Log
    from offbeat_edge.model import Model
    from offbeat_edge.notify import Notifier
    from offbeat_edge.supervise.proof import Lap

EVERY_S = 20.0  # between laps, unless systemd wants to hear more often
LIMIT_S = 10.0  # a lap that takes longer is no proof


class Laps(Protocol):
    """What is needed of ``proof.Proof``."""

    def lap(self) -> Lap:
        """Send one golden window around."""
        ...


class Ledger(Protocol):
    """What is needed of ``durable.Durable``."""

    def prove(self, token: bytes) -> bool:
        """Commit a token and read it back."""
        ...


class Watchdog:
    """Runs laps and tells systemd of those that succeed.

    Parameters
    ----------
    proof : makes laps. ledger : takes them to the disk.
    notifier : the way to systemd. log : where trouble is said.
    faulty : called with a model that failed, and why.
    monotonic : seconds.
    """

    def __init__(
        self,
        *,
        proof: Laps,
        ledger: Ledger,
        notifier: Notifier,
        log: Log,
        faulty: Callable[[Model, str], None],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.laps = 0  # that succeeded
        self.problem: str | None = None  # why the last one did not
        self.lap_s = 0.0  # the last one took
        self._proof = proof
        self._ledger = ledger
        self._notifier = notifier
        self._log = log
        self._faulty = faulty
        self._now = monotonic
        self._every_s = min(EVERY_S, notifier.watchdog_s or EVERY_S)
        self._due_at = monotonic()

    def turn(self) -> None:
        """Run a lap when it is time: called by a loop that moves."""
        started = self._now()
        if started < self._due_at:
            return
        self._due_at = started + self._every_s
        self.problem = self._lap()
        self.lap_s = self._now() - started
        if self.problem is None and self.lap_s > LIMIT_S:
            self.problem = f"took {self.lap_s:.1f} s, expected at most {LIMIT_S:.0f}"
        if self.problem is not None:
            self._log.error("proof_failed", why=self.problem)
            return
        self.laps += 1
        self._notifier.send("WATCHDOG=1")

    def alive(self) -> None:
        """Feed while real samples are walked again after a start: that is work as well."""
        if self._now() >= self._due_at:
            self._due_at = self._now() + self._every_s
            self._notifier.send("WATCHDOG=1")

    def _lap(self) -> str | None:
        """Walk and commit; return why that is no proof."""
        lap = self._proof.lap()
        if lap.model is not None and lap.fault is not None:
            self._faulty(lap.model, lap.fault)
        if lap.broken is not None:
            return lap.broken
        return None if self._ledger.prove(lap.token) else "the disk gave back another token"
