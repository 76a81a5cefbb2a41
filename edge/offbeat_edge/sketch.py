"""Quantiles of a stream of numbers, in little memory and in any order.

Rules: numbers are counted in steps of `STEP`, cut at ±`LIMIT`; the same
numbers give the same quantiles in whatever order they came, and a sketch is
data that a snapshot can hold.

>>> sketch = Sketch()
>>> for value in (0.1, 0.5, 0.2, 99.0):
...     sketch.add(value)
>>> sketch.total, sketch.quantile(0.5), sketch.quantile(1.0)
(4, 0.2, 8.0)
"""

from __future__ import annotations

import math
from typing import Annotated

import msgspec
from msgspec import Meta

STEP = 0.02  # resolution
LIMIT = 8.0  # what lies beyond counts as this
_MOST = round(LIMIT / STEP)


class Sketch(msgspec.Struct, array_like=True):
    """How many numbers fell into each step; key ``k`` stands for ``k * STEP``."""

    counts: dict[int, Annotated[int, Meta(ge=1)]] = {}

    def add(self, value: float) -> None:
        """Count one number."""
        step = round(min(max(value, -LIMIT), LIMIT) / STEP)
        self.counts[step] = self.counts.get(step, 0) + 1

    @property
    def total(self) -> int:
        """How many numbers there were."""
        return sum(self.counts.values())

    def quantile(self, share: float) -> float:
        """Return the smallest number that ``share`` of all do not exceed; needs one at least."""
        wanted = max(1, math.ceil(share * self.total))
        for step in sorted(self.counts):
            wanted -= self.counts[step]
            if wanted <= 0:
                break
        return round(step * STEP, 9)


def fits(sketch: Sketch) -> bool:
    """Tell whether a sketch that was read is one that `Sketch.add` makes."""
    return all(abs(step) <= _MOST for step in sketch.counts)
