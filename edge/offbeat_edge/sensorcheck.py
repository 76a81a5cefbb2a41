"""Is a sensor telling the truth?  Faults of sensors, not of machines.

Looks at closed rows in the sensors' own units, before any model:

``missing``  no value for longer than the hold allows, while others report (the
             silence of a whole asset is no sensor's fault: it is ``stale``);
``range``    outside the plausible range for `RANGE_STEPS` reports in a row;
``sentinel`` likewise, and a number that stands for "no reading";
``unit``     likewise, and it went there by a factor between units in one step;
``stuck``    the very same number for more steps than was ever normal.

All but ``range`` explain a strange window by themselves, for as long as their
readings are in it; a value out of range may be the truth about a broken machine.

>>> SensorCheck.REASONS
('missing', 'range', 'sentinel', 'unit', 'stuck')
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

import msgspec

if TYPE_CHECKING:
    from offbeat_edge.schema import SensorSpec
    from offbeat_edge.window import Row

RANGE_STEPS = 3  # one wild value may be a glitch; this many are a fault
UNIT_FACTORS = (10.0, 100.0, 1000.0, 3.6, 60.0, 6.895, 14.504)  # that people mix up
UNIT_TOLERANCE = 0.03  # relative


class SensorCheckState(msgspec.Struct, array_like=True):
    """Per sensor: last fresh value, steps unchanged, steps out of range and in which way.

    ``tainted`` counts the rows for which a window still holds readings of a fault.
    """

    last: list[float]
    same: list[int]
    outside: list[int]
    wrong: list[str] = []
    tainted: list[int] = []


class SensorCheck:
    """The checks of one asset; ``window`` is the model's, in steps."""

    REASONS: ClassVar[tuple[str, ...]] = ("missing", "range", "sentinel", "unit", "stuck")
    EXPLAINS: ClassVar[tuple[str, ...]] = ("missing", "sentinel", "unit", "stuck")

    def __init__(self, sensors: tuple[SensorSpec, ...], *, window: int) -> None:
        count = len(sensors)
        self.names = tuple(s.name for s in sensors)
        self.low = [-math.inf if s.low is None else s.low for s in sensors]
        self.high = [math.inf if s.high is None else s.high for s in sensors]
        self.sentinels = [frozenset(s.sentinels) for s in sensors]
        self.patience = [math.inf if s.stuck_steps is None else s.stuck_steps for s in sensors]
        self.window = window
        self.state = SensorCheckState(
            [math.nan] * count, [0] * count, [0] * count, ["range"] * count, [0] * count
        )

    def restore(self, state: SensorCheckState) -> None:
        """Take back a state; one of an older version lacks its last fields."""
        if not state.wrong:
            state.wrong = ["range"] * len(self.names)
        if not state.tainted:
            state.tainted = [0] * len(self.names)
        self.state = state

    def guilty(self) -> list[str]:
        """Return the sensors whose faults may explain a window that ends now."""
        tainted = self.state.tainted
        return [name for name, rows in zip(self.names, tainted, strict=True) if rows]

    def advance(self, row: Row) -> dict[str, str]:
        """Take a closed row; return the faulty sensors and why."""
        state, faults = self.state, {}
        silent = not any(row.fresh)
        for i, value in enumerate(row.values):
            fault = None
            if value != value:  # noqa: PLR0124 - NaN: the hold ran out
                state.same[i] = 0
                fault = None if silent else "missing"
            else:
                if row.fresh[i]:
                    self._take(i, value)
                if state.outside[i] >= RANGE_STEPS:
                    fault = state.wrong[i]
                elif state.same[i] > self.patience[i]:
                    fault = "stuck"
            if fault is not None:
                faults[self.names[i]] = fault
            if fault in self.EXPLAINS or (state.outside[i] and state.wrong[i] != "range"):
                state.tainted[i] = self.window
            elif state.tainted[i]:
                state.tainted[i] -= 1
        return faults

    def _take(self, i: int, value: float) -> None:
        """Take a fresh reading of one sensor."""
        state = self.state
        state.same[i] = state.same[i] + 1 if value == state.last[i] else 0
        if self.low[i] <= value <= self.high[i] and value not in self.sentinels[i]:
            state.outside[i] = 0
        else:
            if value in self.sentinels[i]:
                state.wrong[i] = "sentinel"
            elif state.outside[i] == 0:
                state.wrong[i] = "unit" if _by_a_factor(state.last[i], value) else "range"
            state.outside[i] += 1
        state.last[i] = value


def _by_a_factor(before: float, after: float) -> bool:
    """Tell whether a reading jumped as if its unit had changed; NaN is no reading."""
    if not before * after > 0.0:
        return False
    ratio = max(before / after, after / before)
    return any(abs(ratio / factor - 1.0) < UNIT_TOLERANCE for factor in UNIT_FACTORS)
