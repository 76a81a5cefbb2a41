"""Is a sensor telling the truth?  Faults of sensors, not of machines.

Looks at closed rows in the sensors' own units, before any model:

``missing``  no value for longer than the hold allows, while others report (the
             silence of a whole asset is no sensor's fault: it is ``stale``);
``range``    outside the plausible range for `RANGE_STEPS` reports in a row;
``stuck``    the very same number for more steps than was ever normal.

>>> SensorCheck.REASONS
('missing', 'range', 'stuck')
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

import msgspec

if TYPE_CHECKING:
    from offbeat_edge.schema import SensorSpec
    from offbeat_edge.window import Row

RANGE_STEPS = 3  # one wild value may be a glitch; this many are a fault


class SensorCheckState(msgspec.Struct, array_like=True):
    """Per sensor: last fresh value, steps unchanged, steps out of range."""

    last: list[float]
    same: list[int]
    outside: list[int]


class SensorCheck:
    """The checks of one asset."""

    REASONS: ClassVar[tuple[str, ...]] = ("missing", "range", "stuck")

    def __init__(
        self, sensors: tuple[SensorSpec, ...], *, state: SensorCheckState | None = None
    ) -> None:
        count = len(sensors)
        self.names = tuple(s.name for s in sensors)
        self.low = [-math.inf if s.low is None else s.low for s in sensors]
        self.high = [math.inf if s.high is None else s.high for s in sensors]
        self.patience = [math.inf if s.stuck_steps is None else s.stuck_steps for s in sensors]
        self.state = state or SensorCheckState([math.nan] * count, [0] * count, [0] * count)

    def advance(self, row: Row) -> dict[str, str]:
        """Take a closed row; return the faulty sensors and why."""
        state, faults = self.state, {}
        silent = not any(row.fresh)
        for i, value in enumerate(row.values):
            if value != value:  # noqa: PLR0124 - NaN: the hold ran out
                state.same[i] = 0
                if silent:
                    continue
                faults[self.names[i]] = "missing"
                continue
            if row.fresh[i]:
                state.same[i] = state.same[i] + 1 if value == state.last[i] else 0
                state.last[i] = value
                plausible = self.low[i] <= value <= self.high[i]
                state.outside[i] = 0 if plausible else state.outside[i] + 1
            if state.outside[i] >= RANGE_STEPS:
                faults[self.names[i]] = "range"
            elif state.same[i] > self.patience[i]:
                faults[self.names[i]] = "stuck"
        return faults
