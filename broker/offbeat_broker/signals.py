"""Building blocks of the simulated plant: lags, wander and reproducible noise.

Rules: pure functions of their arguments; everything is float64 and runs over
the last axis at once, no loop over samples.

>>> lag(np.ones(4), steps=1.0).round(3).tolist()
[0.632, 0.865, 0.95, 0.982]
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

DAY_MS = 86_400_000
HOUR_MS = 3_600_000
NEGLIGIBLE = 1e-15  # a lag's memory below this is rounding
FIRST_DAY = 1_000_000  # added to the day number: seeds may not be negative


def lag(x: Floats, *, steps: float) -> Floats:
    """First-order lag ``y[n] = a y[n-1] + (1-a) x[n]`` with ``a = exp(-1/steps)``.

    A scan by doubling: log2(memory) passes over the whole array.

    Parameters
    ----------
    x : (N,) float64; the state before the first sample is 0.
    steps : time constant in samples; 0 returns ``x``.
    """
    if steps <= 0.0:
        return x.copy()
    a = math.exp(-1.0 / steps)
    y = (1.0 - a) * x
    span, weight = 1, a
    while span < len(x) and weight > NEGLIGIBLE:
        y[span:] = y[span:] + weight * y[:-span]
        span, weight = 2 * span, weight * weight
    return y


def wander(time_ms: Ints, *, rng: np.random.Generator, hours: tuple[float, float]) -> Floats:
    """Return a smooth aperiodic signal of unit variance: sines of unrelated periods.

    Parameters
    ----------
    time_ms : (N,) int64 epoch milliseconds
    rng : draws the seven periods and phases
    hours : shortest and longest period
    """
    low, high = np.log(hours[0]), np.log(hours[1])
    edges = np.linspace(low, high, 8)
    total = np.zeros(len(time_ms))
    for k in range(7):
        period = math.exp(rng.uniform(edges[k], edges[k + 1])) * HOUR_MS
        phase = rng.uniform(0.0, 2.0 * np.pi)
        total += np.sin(2.0 * np.pi * np.asarray(time_ms / period) + phase)
    return np.asarray(total * math.sqrt(2.0 / 7.0))


def daily_noise(time_ms: Ints, period_ms: int, *, key: tuple[int, ...], channels: int) -> Floats:
    """Return white noise that depends on the key and the moment only.

    Drawn day by day, so that any cut of the time axis sees the same values.

    Returns
    -------
    (channels, N) float64, standard normal
    """
    days = time_ms // DAY_MS
    rows = (time_ms % DAY_MS) // period_ms
    out = np.empty((channels, len(time_ms)))
    for day in np.unique(days).tolist():
        where = days == day
        rng = np.random.default_rng([*key, day + FIRST_DAY])
        out[:, where] = rng.standard_normal((-(-DAY_MS // period_ms), channels))[rows[where]].T
    return out
