"""NAB's standard score for alerts: early inside a window pays, outside costs.

Rules: each alert counts once, at the row at which it was told; the first in
a labelled window earns up to 1, more the earlier; a missed window costs 1;
each alert outside costs up to 0.11, less just behind a window.  NAB itself
chooses the best threshold on the labels; here the threshold is the device's.

>>> labels = np.arange(100) // 10 == 5
>>> score([reward(labels, np.array([50]), 15)])
100.0
>>> score([reward(labels, np.array([], dtype=np.int64), 15)])
0.0
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np

from offbeat_train.benchmark.metrics import runs

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Bools = NDArray[np.bool_]

FALSE_COST = 0.11  # of an alert far from any window, "standard" profile
STEEP = 5.0  # of the sigmoid
FAR = 3.0  # window lengths behind a window; beyond it the cost is full


class Reward(msgspec.Struct, frozen=True, kw_only=True):
    """One series: points won and lost, and how many windows there were."""

    points: float
    windows: int


def reward(labels: Bools, told: Ints, first: int) -> Reward:
    """Score one series; rows before ``first`` do not count.

    Parameters
    ----------
    labels : (N,) true inside the labelled windows.
    told : (A,) rows at which alerts were told.
    """
    spans = runs(labels)
    spans = spans[spans[:, 1] >= first]
    counted = told[told >= first]
    points = 0.0
    for begin, end in spans.tolist():
        inside = counted[(counted >= begin) & (counted <= end)]
        points += _early(int(inside.min()), begin, end) if inside.size else -1.0
    outside = counted[~labels[counted]]
    points -= FALSE_COST * float(sum(_cost(int(row), spans) for row in outside))
    return Reward(points=points, windows=len(spans))


def score(parts: Iterable[Reward]) -> float:
    """Give 100 for every window found at once, 0 for silence; False alarms reach below."""
    several = list(parts)
    windows = sum(part.windows for part in several)
    points = sum(part.points for part in several)
    return 100.0 * (points + windows) / (2 * windows) if windows else 0.0


def _early(row: int, begin: int, end: int) -> float:
    place = -(end - row + 1) / (end - begin + 1)  # -1 at the window's start
    return _sigmoid(place) / _sigmoid(-1.0)


def _cost(row: int, spans: Ints) -> float:
    """Give 0 right behind a window, up to 1 far from it or before the first."""
    before = spans[spans[:, 1] < row]
    if not len(before):
        return 1.0
    begin, end = before[-1].tolist()
    return -_sigmoid((row - end) / max(end - begin, 1))


def _sigmoid(place: float) -> float:
    if place > FAR:
        return -1.0
    return 2.0 / (1.0 + float(np.exp(STEEP * place))) - 1.0
