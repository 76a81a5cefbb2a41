"""How far recent numbers have moved from those a model was made of.

Rules: pure; a `Reference` of ten classes is kept in the bundle, so that no
training data is needed to ask.  The *population stability index* compares
the share p of recent values in each class with the share q it had:
``sum((p - q) * ln(p / q))``, the divergence J(1, 2) of Kullback and Leibler
(1951), which credit scoring made a habit of watching (Siddiqi, Credit Risk
Scorecards, 2006, who calls 0.1 a slight and 0.25 a marked change).  A value
that a sensor rests at is a class of its own.

>>> even = np.arange(1000) / 1000.0
>>> stability(reference(even), even), stability(reference(even), even + 0.2) > MARKED
(0.0, True)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

MARKED = 0.25  # stability index; above it a distribution has changed
LEAST_SHARE = 1e-3  # an empty class counts as this much, so that the sum stays finite
NARROWEST = 1e-3  # scaled units; a smaller spread is none
TENTHS = np.arange(1, 10) / 10.0


class Reference(msgspec.Struct, frozen=True, kw_only=True):
    """What values were like: class (cuts[i-1], cuts[i]] held shares[i] of them."""

    cuts: tuple[float, ...]
    shares: tuple[float, ...]  # one more than cuts; sum to 1
    low: float  # first decile
    middle: float  # median
    high: float  # ninth decile


class Shift(msgspec.Struct, frozen=True, kw_only=True):
    """One sensor's recent values against the bundle; scaled units."""

    sensor: str
    stability: float
    level: float  # recent median minus the reference's
    spread: float  # recent distance of 1st and 9th decile over the reference's


def reference(values: Floats) -> Reference:
    """Describe ``values`` (N,), N >= 1."""
    tenths = np.quantile(values, TENTHS)
    cuts, count = np.unique(tenths, return_counts=True)
    rests = cuts[count > 1]  # deciles coincide where many values are equal
    cuts = np.unique(np.concatenate([cuts, np.nextafter(rests, -np.inf)]))
    return Reference(
        cuts=tuple(cuts.tolist()), shares=tuple(_shares(cuts, values).tolist()),
        low=float(tenths[0]), middle=float(tenths[4]), high=float(tenths[8]),
    )  # fmt: skip


def stability(known: Reference, values: Floats) -> float:
    """Population stability index of ``values`` (N,), N >= 1; 0 is no change."""
    p = np.maximum(_shares(np.array(known.cuts), values), LEAST_SHARE)
    q = np.maximum(np.array(known.shares), LEAST_SHARE)
    return float(((p - q) * np.log(p / q)).sum())


def shift(sensor: str, known: Reference, values: Floats) -> Shift:
    """Compare one sensor's recent ``values`` (N,) with what they were."""
    low, middle, high = np.quantile(values, (0.1, 0.5, 0.9))
    return Shift(
        sensor=sensor,
        stability=stability(known, values),
        level=float(middle) - known.middle,
        spread=float(high - low) / max(known.high - known.low, NARROWEST),
    )


def _shares(cuts: Floats, values: Floats) -> Floats:
    classes = np.searchsorted(cuts, values, side="left")
    found = np.bincount(classes, minlength=len(cuts) + 1) / len(values)
    return np.asarray(found, dtype=np.float64)
