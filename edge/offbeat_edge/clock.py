"""The gateway's stamp for samples that carry no time of their own.

Rules: stamps never run backwards, whatever happens to the wall clock.  A
clock set forward is followed; after one set back the stamps go on at the
pace of monotonic time, and ``ahead_ms`` says by how much they lead.

>>> wall, mono = iter([5000, 5000, 1000]), iter([0.0, 0.0, 2.0])
>>> clock = StampClock(wall_ms=lambda: next(wall), monotonic=lambda: next(mono))
>>> clock.stamp_ms(), clock.stamp_ms(), clock.ahead_ms
(5000, 7000, 6000)
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

NOTICE_MS = 2000  # a smaller difference is the ordinary discipline of a clock


class StampClock:
    """Wall-clock milliseconds that never run backwards.

    Parameters
    ----------
    wall_ms : the wall clock, ms.
    monotonic : seconds that never run backwards.
    """

    def __init__(
        self,
        *,
        wall_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.ahead_ms = 0  # how far stamps lead the wall clock
        self.steps = 0  # times somebody set the clock
        self._wall_ms = wall_ms
        self._monotonic = monotonic
        self._base_ms = wall_ms()
        self._base_s = monotonic()

    def not_before(self, time_ms: int) -> None:
        """Never stamp before ``time_ms``: somebody has already used it."""
        self._base_ms = max(self._base_ms, time_ms)

    def stamp_ms(self) -> int:
        """Return the stamp of what arrives now."""
        wall, mono = self._wall_ms(), self._monotonic()
        expected = self._base_ms + int((mono - self._base_s) * 1000)
        # so far the stamps led by ahead_ms; another lead means a set clock
        if abs(expected - wall - self.ahead_ms) > NOTICE_MS:
            self.steps += 1
        stamp = max(wall, expected)
        if wall > expected:
            self._base_ms, self._base_s = wall, mono
        self.ahead_ms = stamp - wall
        return stamp
