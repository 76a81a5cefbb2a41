"""Is a sensor telling the truth?  Faults of sensors, not of machines.

Looks at closed rows in the sensors' own units, before any model:

``missing``  no value for longer than the hold allows, or than is the sensor's
             habit, while others report (the silence of a whole asset is no
             sensor's fault: it is ``stale``; nor is it one that a slow sensor
             is heard later than others at first);
``range``    outside the plausible range for `RANGE_STEPS` reports in a row;
``sentinel`` likewise, and a number that stands for "no reading";
``unit``     likewise, and it went there by a factor between units in one step;
``stuck``    the very same number for more steps than was ever normal, other than
             where the sensor rests, as a valve that is shut.

All but ``range`` explain a strange window by themselves, for as long as their
readings are in it; a value out of range may be the truth about a broken machine.

>>> SensorCheck.REASONS
('missing', 'range', 'sentinel', 'unit', 'stuck')
"""

from __future__ import annotations

import math
from operator import le
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

    Of one without a value, ``same`` is minus the steps in which others had one.

    ``tainted`` counts the rows for which a window still holds readings of a fault.
    """

    last: list[float]
    same: list[int]
    outside: list[int]
    wrong: list[str] = []
    tainted: list[int] = []


class SensorRules:
    """What is told of sensors beforehand: one for all assets of a model.

    Parameters
    ----------
    sensors : the model's inputs.
    window, hold : the model's, in steps.
    """

    def __init__(self, sensors: tuple[SensorSpec, ...], *, window: int, hold: int) -> None:
        self.names = tuple(s.name for s in sensors)
        self.low = [-math.inf if s.low is None else s.low for s in sensors]
        self.high = [math.inf if s.high is None else s.high for s in sensors]
        self.sentinels = [frozenset(s.sentinels) for s in sensors]
        self.patience = [math.inf if s.stuck_steps is None else s.stuck_steps for s in sensors]
        self.quiet = [max(0, (s.quiet_steps or 0) - hold) for s in sensors]  # beyond the hold
        self.rests = [frozenset(s.rests) for s in sensors]
        self.window = window
        self.hold = hold
        self._all_sentinels = frozenset().union(*self.sentinels)
        self._least_patience = min(self.patience)

    def plausible(self, values: list[float]) -> bool:
        """Tell whether no reading can be out of range or a sentinel; none is NaN."""
        if not (all(map(le, self.low, values)) and all(map(le, values, self.high))):
            return False
        return not self._all_sentinels or self._all_sentinels.isdisjoint(values)

    def patient(self, same: list[int]) -> bool:
        """Tell whether no sensor can be stuck after so many steps unchanged."""
        return max(same) <= self._least_patience


class SensorCheck:
    """The checks of one asset."""

    REASONS: ClassVar[tuple[str, ...]] = ("missing", "range", "sentinel", "unit", "stuck")
    EXPLAINS: ClassVar[tuple[str, ...]] = ("missing", "sentinel", "unit", "stuck")

    def __init__(self, rules: SensorRules) -> None:
        count = len(rules.names)
        self._rules = rules
        self._calm = True  # no sensor is, or was of late, out of range, and no window tainted
        self.state = SensorCheckState(
            [math.nan] * count, [0] * count, [0] * count, ["range"] * count, [0] * count
        )

    def restore(self, state: SensorCheckState) -> None:
        """Take back a state; one of an older version lacks its last fields."""
        if not state.wrong:
            state.wrong = ["range"] * len(self._rules.names)
        if not state.tainted:
            state.tainted = [0] * len(self._rules.names)
        self.state = state
        self._settle()

    def guilty(self) -> list[str]:
        """Return the sensors whose faults may explain a window that ends now."""
        if self._calm:
            return []
        tainted = self.state.tainted
        return [name for name, rows in zip(self._rules.names, tainted, strict=True) if rows]

    def advance(self, row: Row) -> dict[str, str]:
        """Take a closed row; return the faulty sensors and why."""
        if self._calm and row.valid and all(row.fresh) and self._rules.plausible(row.values):
            last = self.state.last
            same = [
                n + 1 if value == before else 0
                for n, value, before in zip(self.state.same, row.values, last, strict=True)
            ]
            if self._rules.patient(same):  # as nearly always: nothing to look into
                self.state.same, self.state.last = same, row.values.copy()
                return {}
        faults = self._examine(row)
        self._settle()
        return faults

    def _settle(self) -> None:
        state = self.state
        self._calm = not (any(state.outside) or any(state.tainted) or min(state.same) < 0)

    def _examine(self, row: Row) -> dict[str, str]:
        """Look at every sensor by itself."""
        state, rules, faults = self.state, self._rules, {}
        silent = not any(row.fresh)
        for i, value in enumerate(row.values):
            fault = None
            if value != value:  # noqa: PLR0124 - NaN: the hold ran out
                state.same[i] = min(state.same[i], 0) - (not silent)
                unheard = state.last[i] != state.last[i]
                allowed = rules.quiet[i] + (rules.hold if unheard else 0)
                fault = "missing" if -state.same[i] > allowed and not silent else None
            else:
                if row.fresh[i]:
                    self._take(i, value)
                if state.outside[i] >= RANGE_STEPS:
                    fault = state.wrong[i]
                elif state.same[i] > rules.patience[i] and value not in rules.rests[i]:
                    fault = "stuck"
            if fault is not None:
                faults[rules.names[i]] = fault
            if fault in self.EXPLAINS or (state.outside[i] and state.wrong[i] != "range"):
                state.tainted[i] = rules.window
            elif state.tainted[i]:
                state.tainted[i] -= 1
        return faults

    def _take(self, i: int, value: float) -> None:
        """Take a fresh reading of one sensor."""
        state, rules = self.state, self._rules
        state.same[i] = max(state.same[i], 0) + 1 if value == state.last[i] else 0
        if rules.low[i] <= value <= rules.high[i] and value not in rules.sentinels[i]:
            state.outside[i] = 0
        else:
            if value in rules.sentinels[i]:
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
