"""How long an asset is usually silent between two words: its cadence, as it arrives here.

A bundle knows how often sensors were read in the history it was trained on.  A
logger that sends a minute's readings at once, or a radio that wakes every
quarter of an hour, is silent for longer than that and well.

Rules: silence is counted by the caller (connected, nothing waiting).  What
nine of ten of the last `KEPT` silences did not exceed is usual; but only if
silences make up most of the time, for the rare outages of a stream that never
pauses are no cadence.

>>> pace = Pace()
>>> for minute in range(1, 9):
...     pace.heard(minute * 60_000, 59_000 if minute != 5 else 3_600_000)
>>> pace.usual_ms
59000
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from offbeat_edge.schema import MAX_EVENT_MS, EventMs

KEPT = 32  # silences remembered
LEAST = 3  # silences from which a cadence is learned
MOST_OF_TIME = 0.5

Silence = tuple[EventMs, Annotated[int, Meta(ge=0, le=MAX_EVENT_MS)]]


class Pace(msgspec.Struct, array_like=True):
    """The last silences of one asset: event time at which each ended, and its length in ms."""

    ended: Annotated[list[Silence], Meta(max_length=KEPT)] = []

    def heard(self, time_ms: int, silent_ms: int) -> None:
        """Note that a silence of this length is over; ``time_ms`` is the newest event time."""
        self.ended = [*self.ended[1 - KEPT :], (time_ms, silent_ms)]

    @property
    def usual_ms(self) -> int:
        """Return how long the asset usually is silent; 0 where that is no habit."""
        lengths = sorted(silent_ms for _, silent_ms in self.ended)
        if len(lengths) < LEAST:
            return 0
        first_ms, last_ms = self.ended[0][0], self.ended[-1][0]
        habit = sum(silent_ms for _, silent_ms in self.ended[1:])
        if habit < MOST_OF_TIME * (last_ms - first_ms):
            return 0
        return lengths[9 * (len(lengths) - 1) // 10]
