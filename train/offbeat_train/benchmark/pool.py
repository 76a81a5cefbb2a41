"""Many series → the figures of a table: pooled by seed, then mean and spread over seeds.

Rules: counts are added over series, rankings are means over the series that
have one; F1, FAR and MAR are of rows in alarm (as leaderboards count),
everything about events is of alerts (what people would have received).

>>> figures([], "offbeat")["f1"]
0.0
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from offbeat_train.benchmark import contenders, metrics, numenta

if TYPE_CHECKING:
    from collections.abc import Sequence

    from offbeat_train.benchmark.measure import Measured

OF_ROWS = ("f1", "far", "mar")


class Spread(NamedTuple):
    """A figure over seeds; ``spread`` is the standard deviation, 0 for one seed."""

    mean: float
    spread: float


def summary(measured: Sequence[Measured]) -> dict[str, dict[str, Spread]]:
    """Give every contender's figures over all seeds."""
    seeds = sorted({one.seed for one in measured})
    parts = [[one for one in measured if one.seed == seed] for seed in seeds]
    found = {}
    for name in (*contenders.NAMES, *contenders.AFTERWARDS):
        if any(name not in one.contenders for one in measured):
            continue
        by_seed = [figures(part, name) for part in parts]
        found[name] = {
            figure: Spread(
                float(np.mean([one[figure] for one in by_seed])),
                float(np.std([one[figure] for one in by_seed])),
            )
            for figure in by_seed[0]
        }
    return found


def figures(measured: Sequence[Measured], contender: str) -> dict[str, float]:
    """Pool the series of one seed."""
    results = [one.contenders[contender] for one in measured]
    rows = metrics.pooled(one.rows for one in results).rates()
    alerts = metrics.pooled(one.alerts for one in results).rates()
    found = {name: rows[name] if name in OF_ROWS else value for name, value in alerts.items()}
    found["fc1_rows"], found["overlap_f1_rows"] = rows["fc1"], rows["overlap_f1"]
    for name, values in (
        ("auc_pr", [one.auc_pr for one in results]),
        ("vus_pr", [one.vus_pr for one in results]),
        ("ucr_accuracy", [one.ucr_hit for one in results]),
    ):
        known = [float(value) for value in values if value is not None]
        if known:
            found[name] = float(np.mean(known))
    rewards = [one.numenta for one in results if one.numenta is not None]
    if rewards:
        found["nab_score"] = numenta.score(rewards)
    found["sensor_fault_alerts"] = float(sum(one.sensor_faults for one in results))
    return found
