"""What a plant asks of a pump: set speed, line resistance, ambient temperature.

Rules: a pure function of (seed, pump, moment).  Each day is drawn from its
own generator, so history and live data of one plant fit together wherever
the time axis is cut.  The day has a rhythm (morning and evening peaks, quiet
week-ends), load changes every 20 to 90 minutes, and stops, mostly at night.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from offbeat_broker.signals import DAY_MS, FIRST_DAY, HOUR_MS, wander

if TYPE_CHECKING:
    from offbeat_broker.signals import Floats, Ints

MIN_SPEED = 0.62  # of the rated speed: below, a pump is stopped instead
MAX_SPEED = 1.02
LOAD_MINUTES = (20.0, 90.0)  # between two load changes
NIGHT_STOP_CHANCE = 0.5
DAY_STOPS = 2.0  # mean number of short stops a day
WEEKEND_SPEED = -0.07  # of the rated speed
MINUTE_MS = 60_000
DAYS_KEPT = 4096  # plans of (pump, day) remembered


class Duty(NamedTuple):
    """One pump's boundary conditions, each (N,) float64."""

    speed: Floats  # set speed / rated speed; 0 is stopped
    resistance: Floats  # of the line, 1 is nominal
    ambient: Floats  # °C
    inlet: Floats  # fluid entering, °C


def duty(seed: int, pump: int, time_ms: Ints) -> Duty:
    """Return what the plant asks of ``pump`` at each moment."""
    rng = np.random.default_rng([seed, pump, 1])
    hour = time_ms % DAY_MS / HOUR_MS
    warmth = np.sin(2.0 * np.pi * (hour - 9.0) / 24.0)
    return Duty(
        speed=_set_speed(seed, pump, time_ms),
        resistance=np.exp(0.10 * wander(time_ms, rng=rng, hours=(1.5, 40.0))),
        ambient=19.0 + 3.0 * warmth + 1.5 * wander(time_ms, rng=rng, hours=(9.0, 150.0)),
        inlet=15.0 + 0.8 * warmth + 0.8 * wander(time_ms, rng=rng, hours=(12.0, 200.0)),
    )


def demand(time_ms: Ints) -> Floats:
    """Return the plant's mean load as a fraction of the rated speed."""
    hour = time_ms % DAY_MS / HOUR_MS
    morning = np.exp(-0.5 * ((hour - 8.0) / 2.0) ** 2)
    evening = np.exp(-0.5 * ((hour - 18.5) / 2.5) ** 2)
    weekend = (time_ms // DAY_MS + 3) % 7 >= 5  # the epoch was a Thursday
    return np.asarray(0.76 + 0.15 * morning + 0.12 * evening + WEEKEND_SPEED * weekend)


def _set_speed(seed: int, pump: int, time_ms: Ints) -> Floats:
    """Return the set speed, constant between changes, 0 while stopped."""
    starts: list[int] = []
    levels: list[float] = []
    for day in range(int(time_ms.min()) // DAY_MS, int(time_ms.max()) // DAY_MS + 1):
        for start, level in _day_plan(seed, pump, day):
            starts.append(start)
            levels.append(level)
    index = np.searchsorted(np.array(starts), time_ms, side="right") - 1
    return np.array(levels)[index]


@lru_cache(maxsize=DAYS_KEPT)
def _day_plan(seed: int, pump: int, day: int) -> list[tuple[int, float]]:
    """Return (start in epoch ms, set speed) of each stretch of one day."""
    rng = np.random.default_rng([seed, pump, 2, day + FIRST_DAY])
    midnight = day * DAY_MS
    plan: list[tuple[int, float]] = []
    at = 0
    while at < DAY_MS:
        mean = float(demand(np.array([midnight + at]))[0])
        plan.append((midnight + at, float(np.clip(rng.normal(mean, 0.07), MIN_SPEED, MAX_SPEED))))
        at += int(rng.uniform(*LOAD_MINUTES) * MINUTE_MS)
    for begin, end in _stops(rng):
        plan = _cut(plan, midnight + begin, midnight + end)
    return plan


def _stops(rng: np.random.Generator) -> list[tuple[int, int]]:
    """Return a day's stops as (begin, end) in ms since midnight, all before 23:00."""
    stops = []
    if rng.random() < NIGHT_STOP_CHANCE:
        begin = int(rng.uniform(0.2, 3.0) * HOUR_MS)
        stops.append((begin, begin + int(rng.uniform(0.7, 2.5) * HOUR_MS)))
    for _ in range(rng.poisson(DAY_STOPS)):
        begin = int(rng.uniform(6.0, 22.0) * HOUR_MS)
        stops.append((begin, begin + int(rng.uniform(8.0, 35.0) * MINUTE_MS)))
    return stops


def _cut(plan: list[tuple[int, float]], begin: int, end: int) -> list[tuple[int, float]]:
    """Stop the pump in [begin, end); afterwards it goes on as planned."""
    resume = next(level for start, level in reversed(plan) if start <= end)
    kept = [(start, level) for start, level in plan if not begin <= start <= end]
    return sorted([*kept, (begin, 0.0), (end, resume)])
