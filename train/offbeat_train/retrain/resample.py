"""Shares, thresholds and rates of a ground, with their uncertainty.

Rules: pure; blocks are drawn again with replacement (a bootstrap over
blocks, as scores within one are not independent), both models always on the
same blocks, thresholds read again from each draw.  Row 0 of every result is
the ground as it is, rows 1 … ``DRAWS`` are draws.

>>> draws = Draws(ground, budget_per_week=1.0, seed=0)  # doctest: +SKIP
>>> draws.caught(ground.challenger, at=draws.level(ground.challenger))[0]  # doctest: +SKIP
0.83
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from offbeat_train.calibration import EULER_GAMMA, REACH, WEEK_MS

if TYPE_CHECKING:
    from offbeat_train.retrain.evidence import Bools, Floats, Ground, Side

DRAWS = 400
SHIPPED = np.ones(DRAWS + 1)  # the threshold a bundle is shipped with


class Draws:
    """One ground, as it is and drawn again ``DRAWS`` times."""

    def __init__(self, ground: Ground, *, budget_per_week: float, seed: int) -> None:
        blocks = len(ground.challenger.normal)
        rng = np.random.default_rng(seed)
        drawn = rng.multinomial(blocks, np.full(blocks, 1.0 / blocks), size=DRAWS)
        self.ground = ground
        self.weights = np.concatenate([np.ones((1, blocks)), drawn])
        self._blocks = blocks
        self._block = ground.cases.block
        wanted = WEEK_MS / (budget_per_week * ground.block_ms)
        self._every = max(2.0, min(wanted, REACH * blocks))

    def level(self, side: Side) -> Floats:
        """Threshold (DRAWS + 1,) at which ``side`` alarms as rarely as the budget asks.

        A Gumbel tail by moments, as in `calibration.return_level`, but with no
        least level: here it is a yardstick, not a shipped threshold.
        """
        mean = self.weights @ side.normal / self._blocks
        square = self.weights @ side.normal**2 / self._blocks
        spread = np.sqrt(np.maximum(square - mean**2, 0.0)) * np.sqrt(6.0) / np.pi
        rare = -np.log(-np.log1p(-1.0 / self._every))
        return np.asarray(mean - EULER_GAMMA * spread + spread * rare, dtype=np.float64)

    def alarms(self, side: Side) -> Floats:
        """Blocks (DRAWS + 1,) in which an alert opened as shipped."""
        return np.asarray(self.weights @ alarming(side), dtype=np.float64)

    def caught(self, side: Side, *, at: Floats, which: Bools | None = None) -> Floats:
        """Share (DRAWS + 1,) of faults caught at thresholds ``at`` (DRAWS + 1,).

        A fault counts only where the same block without it stays silent:
        who always shouts has caught nothing.  NaN where a draw holds no fault.
        """
        chosen = np.ones(len(self._block), dtype=bool) if which is None else which
        block = self._block[chosen]
        silent = (side.normal[block] <= at[:, None]) & ~side.sick[block]
        hit = (side.faulty[chosen] > at[:, None]) & silent
        weight = self.weights[:, block]
        total = weight.sum(axis=1)
        with np.errstate(invalid="ignore"):
            return np.asarray((weight * hit).sum(axis=1) / total, dtype=np.float64)


def alarming(side: Side) -> Bools:
    """Blocks (B,) in which an alert opens as shipped."""
    return np.asarray((side.normal > 1.0) | side.sick, dtype=np.bool_)


def interval(differences: Floats) -> tuple[float, float]:
    """Return the 5th and 95th percentile of the draws' differences (DRAWS + 1,)."""
    drawn = differences[1:]
    drawn = drawn[np.isfinite(drawn)]
    if not drawn.size:
        return -np.inf, np.inf
    low, high = np.quantile(drawn, (0.05, 0.95))
    return float(low), float(high)
