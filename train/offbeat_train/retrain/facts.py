"""What has happened since the champion's data ended: the figures that `due` decides by.

Rules: inputs are compared on scaled values and scores on the champion's own,
both against the references its bundle carries; a bundle without them (made
by an older release) has no drift to tell.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np

from offbeat_train.calibration import WEEK_MS
from offbeat_train.defaults import ALERT_BUDGET
from offbeat_train.retrain.drift import Reference, Shift, shift
from offbeat_train.retrain.due import Facts
from offbeat_train.retrain.measure import Stretch, hear, spread
from offbeat_train.retrain.past import covered_ms

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from offbeat_edge.manifest import Manifest
    from offbeat_edge.model import Model
    from offbeat_train.history import History
    from offbeat_train.retrain.holdout import Block
    from offbeat_train.retrain.past import Said

SCORED_BLOCKS = 64  # played to the champion
ROWS = 200_000  # of one sensor looked at


def seen_ms(manifest: Manifest) -> int | None:
    """Where a bundle's data ended; None when it does not say."""
    told = manifest.lineage.config.get("to_ms")
    return told if isinstance(told, int) else None


def budget(manifest: Manifest) -> float:
    """False alarms a week and asset that a bundle was calibrated for."""
    told = manifest.calibration.get("budget_per_week", ALERT_BUDGET)
    return float(told) if isinstance(told, (int, float)) and told > 0 else ALERT_BUDGET


def promised(manifest: Manifest) -> float:
    """False alarms a week and asset that a bundle's calibration could vouch for."""
    told = manifest.calibration.get("expected_per_week", 0.0)
    return max(budget(manifest), float(told) if isinstance(told, (int, float)) else 0.0)


def gather(champion: Model, history: History, recent: Sequence[Block], said: Said) -> Facts:
    """Look at what the champion has not seen.

    Parameters
    ----------
    history : normal rows, old and new.
    recent : blocks of the new ones.
    """
    manifest = champion.manifest
    seen = seen_ms(manifest)
    newest = max(int(recording.times_ms[-1]) for recording in history.assets.values())
    fresh = covered_ms(history, since_ms=seen, most_gap_ms=manifest.model.hold_ms)
    return Facts(
        age_ms=0 if seen is None else max(0, newest - seen),
        new_hours=fresh / 3_600_000,
        weeks=fresh / WEEK_MS,
        alarms=said.alarms,
        false_alarms=said.false_alarms,
        budget_per_week=budget(manifest),
        shifts=tuple(_shifts(manifest, history, seen)),
        high_scores=_high_scores(champion, recent, history.sensors),
    )


def _shifts(manifest: Manifest, history: History, seen: int | None) -> Iterator[Shift]:
    known = manifest.calibration.get("inputs")
    for sensor in manifest.sensors:
        if not isinstance(known, dict) or sensor.name not in known:
            continue
        if sensor.name not in history.sensors:
            continue
        values = _fresh(history, history.sensors.index(sensor.name), seen)
        if values.size:
            scaled = (values - sensor.center) / sensor.scale
            yield shift(sensor.name, msgspec.convert(known[sensor.name], Reference), scaled)


def _fresh(
    history: History, column: int, seen: int | None
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    parts = [
        recording.values[recording.times_ms > (-1 if seen is None else seen), column]
        for recording in history.assets.values()
    ]
    values = np.concatenate(parts)
    values = values[np.isfinite(values)]
    return np.asarray(values[:: max(1, len(values) // ROWS)], dtype=np.float64)


def _high_scores(champion: Model, recent: Sequence[Block], names: tuple[str, ...]) -> float | None:
    known = champion.manifest.calibration.get("scores")
    if not isinstance(known, dict) or not recent:
        return None
    usual = msgspec.convert(known, Reference)
    stretches = [Stretch(b.times_ms, b.values) for b in spread(recent, SCORED_BLOCKS)]
    scores = np.concatenate([heard.scores for heard in hear(champion, stretches, names)])
    return float((scores > usual.high).mean()) if scores.size else None
