"""A fleet's past in memory, from the simulated plant: quick to learn, real enough to judge."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from offbeat_broker.plant import Plant
from offbeat_train.history import History
from offbeat_train.recordings import Recording
from offbeat_train.retrain.holdout import select
from offbeat_train.retrain.job import JobOptions
from offbeat_train.retrain.measure import Stretch
from offbeat_train.retrain.past import Said, Span

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from offbeat_broker.faults import Fault

BEGIN_MS = 1_736_121_600_000  # 2025-01-06T00:00Z, a Monday
PERIOD_MS = 60_000
DAY_MS = 86_400_000
SENSORS = ("current", "flow", "pressure")
# Five days can vouch for six false alarms a week: both models are asked for the same.
OPTIONS = JobOptions(window=16, units=(8,), epochs=3, seed=1, budget_per_week=6.0)


class Silent:
    """Hears of progress and says nothing."""

    def stage(self, text: str) -> None:
        pass

    def epoch(self, epoch: int, epochs: int, loss: float, validation: float) -> None:
        pass


class MemoryPast:
    """Rows in memory; incidents and words of people as they are set."""

    def __init__(self, rows: dict[str, tuple[np.ndarray, np.ndarray]]) -> None:
        self.rows = rows
        self.confirmed: list[Span] = []
        self.words = Said(0, 0)

    def assets(self) -> Sequence[str]:
        return sorted(self.rows)

    def normal(self, assets: Sequence[str], *, start_ms: int | None, end_ms: int | None) -> History:
        found = {}
        for name in assets:
            times, values = self.rows[name]
            kept = (times >= (start_ms or 0)) & (times < (end_ms or 2**62))
            for span in self.confirmed:
                kept &= (span.asset != name) | (times < span.start_ms) | (times >= span.end_ms)
            whole = Recording(times_ms=times, values=values, row=np.arange(len(times)))
            found[name] = select(whole, kept)
        rows = sum(len(one.times_ms) for one in found.values())
        return History(
            assets=found, sensors=SENSORS, paths=(Path("memory"),), rows=rows, excluded=0,
            duplicates=0, time_said="as told", has_time=True,
            row_asset=np.zeros(0, np.int64), row_record=np.zeros(0, np.int64), notes=(),
            warnings=(),
        )  # fmt: skip

    def raw(self, asset: str, names: Sequence[str], *, start_ms: int, end_ms: int) -> Stretch:
        times, values = self.rows[asset]
        kept = (times >= start_ms) & (times < end_ms)
        return Stretch(times[kept], values[kept][:, [SENSORS.index(name) for name in names]])

    def incidents(self, assets: Sequence[str], *, end_ms: int | None) -> list[Span]:
        until = end_ms or 2**62
        return [s for s in self.confirmed if s.asset in assets and s.start_ms < until]

    def said(self, assets: Sequence[str], *, start_ms: int) -> Said:
        return self.words if assets and start_ms >= 0 else Said(0, 0)


def plant_rows(
    *, pumps: int = 2, days: float = 4.0, first_day: float = 0.0, faults: Sequence[Fault] = ()
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Rows of each pump: (times (N,), values (N, 3))."""
    plant = Plant(seed=7, pumps=pumps)
    found = plant.history(
        start_ms=BEGIN_MS + round(first_day * DAY_MS), duration_ms=round(days * DAY_MS),
        period_ms=PERIOD_MS, schedule=faults,
    )  # fmt: skip
    columns = [found.sensors.index(name) for name in SENSORS]
    return {
        name: (found.time_ms, found.values[index][:, columns])
        for index, name in enumerate(found.assets)
    }


def drifted(
    rows: dict[str, tuple[np.ndarray, np.ndarray]], from_day: float
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """A new regime from a day on: less flow at more pressure, on every pump."""
    return _changed(rows, from_day, lambda _, v, sd: v + np.array([0.0, -1.0, 1.5]) * sd)


def poisoned(
    rows: dict[str, tuple[np.ndarray, np.ndarray]], from_day: float
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """A flow meter that comes loose and holds again, four times an hour, and nobody says so."""

    def loose(t: np.ndarray, v: np.ndarray, sd: np.ndarray) -> np.ndarray:
        off = 4.0 * sd[1] * np.sin(t / 3e5) ** 2
        return v + off[:, None] * np.array([0.0, 1.0, 0.0])

    return _changed(rows, from_day, loose)


def _changed(
    rows: dict[str, tuple[np.ndarray, np.ndarray]],
    from_day: float,
    change: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray],
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    out = {}
    for name, (times, values) in rows.items():
        late = (times >= BEGIN_MS + from_day * DAY_MS)[:, None]
        out[name] = (times, np.where(late, change(times, values, values.std(axis=0)), values))
    return out


def until(
    rows: dict[str, tuple[np.ndarray, np.ndarray]], day: float
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The rows before a day."""
    end = BEGIN_MS + day * DAY_MS
    return {name: (t[t < end], v[t < end]) for name, (t, v) in rows.items()}
