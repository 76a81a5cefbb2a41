"""Orion's label-free threshold, for a row that is like for like with its figures.

Rules: it looks at the errors of the whole test signal, so no device could
do it, and nothing of ours does; after Hundman et al. (2018) with the steps and
settings of Orion's AER pipeline.  `errors_of`: errors become a mean around each
row, over a hundredth of the signal, whose first hundredth does not count, and are
laid between 1 and 2; AER multiplies two such errors, here it is one by itself.
`spans`: in stretches of a third of the signal, a tenth of a stretch apart, what
lies four standard deviations above the mean is an anomaly with fifty rows to
either side; of these, ordered by their peaks, those go that do not stand out by a
tenth from the next lower one; what meets is one.

>>> errors = np.ones(300)
>>> errors[100] = 50.0
>>> spans(errors).tolist()
[[50, 150]]
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from offbeat_train.benchmark.metrics import runs

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Bools = NDArray[np.bool_]

AROUND = 0.01  # of the signal that errors are averaged over ...
AROUND_MOST = 200  # ... rows
STRETCH = 0.33  # of the signal
STEP = 0.1  # of a stretch
DEVIATIONS = 4.0  # above the mean
PADDING = 50  # rows to either side
STANDS_OUT = 0.1  # of its peak


def errors_of(scores: Floats) -> Floats:
    """Give Orion's errors, (N,) in 1 to 4, of ``scores`` (N,)."""
    size = max(1, min(int(AROUND * len(scores)), AROUND_MOST))
    around = pd.Series(scores).rolling(size, center=True, min_periods=max(1, size // 2))
    errors = around.mean().to_numpy(dtype=np.float64, copy=True)
    errors[: int(AROUND * len(scores))] = errors.min()
    reach = float(np.ptp(errors)) or 1.0
    return np.asarray(np.square(1.0 + (errors - errors.min()) / reach), dtype=np.float64)


def spans(errors: Floats) -> Ints:
    """Give the first and last row of each anomaly, (A, 2), of ``errors`` (N,)."""
    flags = np.zeros(len(errors), dtype=bool)
    size = int(np.ceil(STRETCH * len(errors)))
    for start in range(0, len(errors), max(1, int(np.ceil(STEP * size)))):
        stretch = slice(start, start + size)
        flags[stretch] |= _flagged(errors[stretch])
        if start + size >= len(errors):
            break
    return runs(flags)


def _flagged(errors: Floats) -> Bools:
    """Judge one stretch."""
    flags = _widened(errors > errors.mean() + DEVIATIONS * errors.std())
    found = runs(flags)
    tops = np.array([errors[first : last + 1].max() for first, last in found.tolist()])
    calm = errors[~flags].max() if not flags.all() else 0.0
    order = np.argsort(-tops, kind="stable")
    for first, last in found[order[_kept(tops[order], calm) :]].tolist():
        flags[first : last + 1] = False
    return flags


def _kept(tops: Floats, calm: float) -> int:
    """Count those of falling ``tops`` down to the last that stands out from the next."""
    below = np.append(tops[1:], calm)[: len(tops)]
    apart = np.flatnonzero(tops - below >= STANDS_OUT * tops)
    return int(apart[-1]) + 1 if apart.size else 0


def _widened(flags: Bools) -> Bools:
    """Set the rows around those set."""
    out = np.zeros_like(flags)
    for row in np.flatnonzero(flags).tolist():
        out[max(0, row - PADDING) : row + PADDING + 1] = True
    return out
