"""What a new bundle would have told of the history that it was made from.

Rules: the device's own code, as ``offbeat replay`` runs it; for the person who
fits, nothing of it goes into the bundle.  A model knows what it learned from
better than what will come: more anomalies than the threshold stands for are
faults in the history, or what is normal but rare in it.

>>> from collections import Counter
>>> Hindsight(weeks=2.0, opened=Counter(anomaly=1), loudest=()).doubts(1.0)
[]
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from offbeat_edge import bundle as bundles
from offbeat_edge.alert import CRITICAL_SCORE
from offbeat_edge.engine import Engine
from offbeat_edge.model import open_model
from offbeat_train.preview.incidents import lives, peak_of
from offbeat_train.recordings import asset_weeks
from offbeat_train.replay_command import GATEWAY, SITE, opened, replay_history
from offbeat_train.words import often

if TYPE_CHECKING:
    from collections import Counter
    from pathlib import Path

    from offbeat_edge.schema import AlertEvent
    from offbeat_train.history import History

KEPT = 20  # anomalies that are shown
BEYOND = 2.0  # deviations of a Poisson count that are no chance


class Hindsight(NamedTuple):
    """What would have been told."""

    weeks: float  # of all assets together
    opened: Counter[str]  # alerts by kind
    loudest: tuple[AlertEvent, ...]  # of the anomalies, at most ``KEPT``, the loudest first

    def said(self, per_week: float) -> str:
        """Count it, beside the rate that the threshold stands for."""
        anomalies = f"{self.opened['anomaly']} anomaly"
        if self.weeks > 0.0:
            rate = often(self.opened["anomaly"] / self.weeks)
            anomalies += f", {rate} a week and asset (expected {often(per_week)})"
        others = (f"{n} {kind}" for kind, n in sorted(self.opened.items()) if kind != "anomaly")
        return "; ".join([anomalies, *others])

    def doubts(self, per_week: float) -> list[str]:
        """Say when it is more than the threshold stands for, and what to do."""
        expected = per_week * self.weeks
        count = self.opened["anomaly"]
        loudest = peak_of(self.loudest[0]) if self.loudest else 0.0
        if count <= expected + BEYOND * math.sqrt(expected) and loudest < CRITICAL_SCORE:
            return []
        said = (
            f"over its own history the model would have told {count} anomalies where "
            f"{often(expected)} were to be expected, the loudest at {often(loudest)} thresholds: "
            "if they are faults, leave them out with --exclude START/END and fit again; what is "
            "normal but rare (a start, a stop, a recipe) will be told whenever it comes, unless "
            "more history makes it less rare"
        )
        return [said]


def look_back(bundle: Path, history: History) -> Hindsight:
    """Replay the history, in order of time as it was learned from, through the bundle.

    Raises
    ------
    BundleError : the bundle cannot be read.
    """
    model = open_model(bundles.load(bundle), config_digest="")
    engine = Engine(site=SITE, gateway=GATEWAY, route=lambda _: model)
    in_time = {
        name: replace(recording, row=np.arange(len(recording.row)))
        for name, recording in history.assets.items()
    }
    events = replay_history(engine, replace(history, assets=in_time)).events
    told = [alert.loudest for alert in lives(0, events, {}) if alert.first.kind == "anomaly"]
    told.sort(key=peak_of, reverse=True)
    weeks = asset_weeks(history.assets.values())
    return Hindsight(weeks, opened(events), tuple(told[:KEPT]))
