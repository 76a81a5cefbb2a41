"""What is learned about each sensor beside the network: scaling, range, habit.

Rules: scaling ignores the outermost thousandth of the values, so that a
spike does not flatten everything else; a sensor that always held one value
is measured against that value; flags explain others, not the louder for being
rare, and are not judged themselves; a plausible range is generous, as a short
history knows little; only a sensor that never rests can be stuck.

>>> center_and_spread(np.array([[0.0], [2.0]] * 50))
(array([1.]), array([1.]))
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from offbeat_edge.schema import SensorSpec
from offbeat_train.health import SENTINELS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from offbeat_train.health import SensorHealth

    Floats = NDArray[np.float64]

TRIM = 0.001  # of the values at either end are cut before scaling
TRIM_ROWS = 500_000  # looked at for the trimming
TINY = 1e-9  # of the magnitude; a smaller spread is rounding noise
RANGE_SPANS = 3.0  # plausible beyond what was seen, in spans of what was seen ...
RANGE_MAGNITUDE = 0.5  # ... or in magnitudes, whichever is more
STUCK_FACTOR = 3  # times the longest rest seen
STUCK_WINDOWS = 2  # and at least this many windows
REST_SHARE = 0.3  # of readings equal to the one before: resting is normal
REST_DISTINCT = 20  # different values; with fewer, resting is normal


def center_and_spread(values: Floats) -> tuple[Floats, Floats]:
    """Give center and scale (F,) each of rows (S, F); S >= 1."""
    sample = values[:: max(1, len(values) // TRIM_ROWS)]
    low, high = np.quantile(sample, (TRIM, 1.0 - TRIM), axis=0)
    cut = np.clip(sample, low, high)
    center = cut.mean(axis=0)
    spread = cut.std(axis=0)
    # By column: a million rows need no copy of themselves.
    whole = np.array([column.std() for column in values.T])
    largest = np.array([max(-column.min(), column.max(), 1.0) for column in values.T])
    floor = TINY * largest
    resting = np.where(center == 0.0, 1.0, np.abs(center))
    spread = np.where(spread > floor, spread, np.where(whole > floor, whole, resting))
    return center, spread


def scaling(values: Floats, sensors: tuple[SensorHealth, ...]) -> tuple[Floats, Floats]:
    """Give center and scale (F,) of rows (S, F) for a model of ``sensors``.

    A flag that is not judged is 1 from its mean at its rarer value: in its own
    deviations a rare command would be louder than everything it explains.
    """
    center, spread = center_and_spread(values)
    inputs = ~np.array(judged(sensors))
    spread[inputs] = np.maximum(center, 1.0 - center)[inputs]
    return center, spread


def sensor_specs(
    sensors: tuple[SensorHealth, ...],
    center: Floats,
    spread: Floats,
    *,
    period_ms: int,
    window: int,
    quiet: list[int | None],
) -> tuple[SensorSpec, ...]:
    """Describe the model's inputs; ``quiet`` is for how many steps each is usually silent."""
    return tuple(
        _spec(sensor, float(c), float(s), period_ms, window, scored=scored, quiet=steps)
        for sensor, c, s, scored, steps in zip(
            sensors, center, spread, judged(sensors), quiet, strict=True
        )
    )


def judged(sensors: tuple[SensorHealth, ...]) -> tuple[bool, ...]:
    """Say for each sensor whether its residual is scored.

    A flag is an input that explains the others, itself decided elsewhere.
    Everything else is judged, a sensor at rest above all: when it moves,
    something happened.  Where all are flags, those that change are judged.
    """
    for rule in (
        [not sensor.flag for sensor in sensors],
        [not sensor.constant for sensor in sensors],
    ):
        if any(rule):
            return tuple(rule)
    return (True,) * len(sensors)


def _spec(
    sensor: SensorHealth,
    center: float,
    spread: float,
    period_ms: int,
    window: int,
    *,
    scored: bool,
    quiet: int | None,
) -> SensorSpec:
    low, high = plausible(sensor)
    return SensorSpec(
        name=sensor.name,
        center=center,
        scale=spread,
        low=low,
        high=high,
        cadence_ms=sensor.cadence_ms or period_ms,
        scored=scored,
        stuck_steps=stuck_after(sensor, window),
        quiet_steps=quiet,
        rests=sensor.rests,
        sentinels=sentinels(sensor, low, high),
        absent=sensor.habitual,
    )


def plausible(sensor: SensorHealth) -> tuple[float, float]:
    """Give a range that holds all that was seen and much more, in the unit."""
    span = sensor.high - sensor.low
    margin = max(RANGE_SPANS * span, RANGE_MAGNITUDE * max(abs(sensor.low), abs(sensor.high)))
    return sensor.low - margin, sensor.high + margin


def sentinels(sensor: SensorHealth, low: float, high: float) -> tuple[float, ...]:
    """Give the numbers that can only stand for "no reading": seen as such, or implausible.

    0 is one where the sensor never came near it.  A sensor at rest tells
    nothing of what is impossible.
    """
    known = () if sensor.constant else (0.0, *SENTINELS)
    impossible = {value for value in known if not low <= value <= high}
    return tuple(sorted(impossible | set(sensor.sentinels)))


def stuck_after(sensor: SensorHealth, window: int) -> int | None:
    """Give the reports without a change after which a sensor is stuck, or None."""
    rests = sensor.flat_share > REST_SHARE or sensor.distinct < REST_DISTINCT
    if rests:
        return None
    return max(STUCK_FACTOR * sensor.longest_flat, STUCK_WINDOWS * window)
