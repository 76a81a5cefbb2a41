"""History → scaled rows on the model's time grid, ready to be cut into windows.

Rules: the same resampling and scaling as on the device; windows never span
assets, gaps or rows left out; sensors from which nothing can be learned are
dropped and named; too little data is an error with the figures.

>>> Plan(period_ms=1000, hold_ms=3000, window=32, stride=4).hold_ms
3000
"""

from __future__ import annotations

import itertools
import statistics
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from offbeat_edge.window import resample, scale
from offbeat_train.defaults import BEAT_ROWS, SHORTEST, choose_stride, choose_window
from offbeat_train.errors import DataError
from offbeat_train.health import HABIT, Health, SensorHealth, sentinel_mask
from offbeat_train.learned import scaling, sensor_specs

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from offbeat_edge.schema import SensorSpec
    from offbeat_train.history import History, Recording

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

ROWS_PER_STEP = 12  # complete grid rows needed for each step of the window
HOLD_CADENCES = 3  # a sensor may miss two reports in a row ...
HOLD_MOST = 8  # ... and be as late as it is now and then, but not without end
NICE_MS = (1, 2, 5, 10, 20, 50, 100, 200, 250, 500, 1000, 2000, 5000, 10_000, 15_000, 20_000,
           30_000, 60_000, 120_000, 300_000, 600_000, 900_000, 1_200_000, 1_800_000, 3_600_000,
           7_200_000, 14_400_000, 21_600_000, 43_200_000, 86_400_000, 604_800_000)  # fmt: skip
NICE_TOLERANCE = 0.05  # relative; clocks jitter
QUIET_FACTOR = 2  # times as long as a sensor was silent `HABIT` times
PIECE = 500_000  # rows handled at a time; a longer stretch is cut there
LARGEST = 1e30  # of a sensor's values: its square, summed, must fit float64
USED_SHARE = 0.75  # of the grid; less is warned about
INCOMPLETE_SHARE = 0.5  # of grid rows; more is worth a warning


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The time grid and the windows on it; steps, except where it says ms."""

    period_ms: int
    hold_ms: int
    window: int
    stride: int


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """Complete rows of all assets, one after the other.

    ``rows`` (S, F) float64 scaled; ``run`` (S,) numbers the stretches of
    rows without a gap; ``place`` (S,) is a row's position within its asset's
    rows, 0 to 1; ``times_ms`` (S,) its time.
    """

    plan: Plan
    sensors: tuple[SensorSpec, ...]
    rows: Floats
    run: Ints
    place: Floats
    times_ms: Ints
    warnings: tuple[str, ...]

    @cached_property
    def rows32(self) -> NDArray[np.float32]:
        """The rows as the network trains on them."""
        return self.rows.astype(np.float32)


def prepare(
    history: History,
    health: Health,
    *,
    period_ms: int | None = None,
    window: int | None = None,
    stride: int | None = None,
) -> Prepared:
    """Choose the grid, put every recording on it, scale.

    Raises
    ------
    DataError : no sensor that changes, or not enough complete rows.
    """
    usable, warnings = _usable(health, named=history.named)
    columns = [history.sensors.index(sensor.name) for sensor in usable]
    period = period_ms or choose_period(usable)
    hold = choose_hold(usable, period)
    grids = _Grids(period=period, hold=hold, sensors=usable)
    for name, recording in history.assets.items():
        grids.add(name, recording, columns)
    chosen = window or grids.choose_window()
    complete = grids.complete(chosen)
    if complete < ROWS_PER_STEP * chosen:
        raise _too_little(grids, chosen, complete)
    warnings += grids.warnings(chosen, complete)
    rows = grids.rows(at_least=chosen)
    center, spread = scaling(rows.values, usable)
    plan = Plan(period_ms=period, hold_ms=hold, window=chosen,
                stride=stride or choose_stride(chosen))  # fmt: skip
    return Prepared(
        plan=plan, sensors=sensor_specs(
            usable, center, spread, period_ms=period, window=chosen, quiet=grids.quiet(),
        ),
        rows=_scaled(rows.values, center, spread), run=rows.run, place=rows.place,
        times_ms=rows.times_ms, warnings=tuple(warnings),
    )  # fmt: skip


def _scaled(values: Floats, center: Floats, spread: Floats) -> Floats:
    """Scale as the device does, in place."""
    for start in range(0, len(values), PIECE):
        part = slice(start, start + PIECE)
        values[part] = scale(values[part], center, spread)
    return values


def choose_period(sensors: tuple[SensorHealth, ...]) -> int:
    """Take the sensors' middle interval, rounded to a nice one that is near (ms).

    Of two in the middle the shorter: what lies between them is nobody's.
    """
    cadences = [sensor.cadence_ms for sensor in sensors if sensor.cadence_ms is not None]
    if not cadences:
        raise DataError("expected at least two readings of a sensor, got one", needed=2, got=1)
    middle = float(statistics.median_low(cadences))
    near = min(NICE_MS, key=lambda nice: abs(nice / middle - 1.0))
    return near if abs(near / middle - 1.0) <= NICE_TOLERANCE else max(1, round(middle))


def choose_hold(sensors: tuple[SensorHealth, ...], period_ms: int) -> int:
    """Choose for how long a reading stands (ms): as long as that sensor is late now and then.

    Where reports come at even intervals that is `HOLD_CADENCES` of them.
    """
    usual = max(period_ms, *(sensor.cadence_ms or period_ms for sensor in sensors))
    late = max(sensor.late_ms or period_ms for sensor in sensors)
    return min(max(HOLD_CADENCES * usual, late), HOLD_MOST * usual)


def _usable(health: Health, *, named: bool) -> tuple[tuple[SensorHealth, ...], list[str]]:
    """Leave out what says nothing: sensors without a reading, flags that were never set.

    And counters, unless they are ``named`` or there is no other measurement.
    """
    alive = tuple(sensor for sensor in health.sensors if not sensor.dead)
    if not alive:
        dead = _names(health.sensors)
        raise DataError(f"expected at least one sensor with readings, got {dead} (no value)",
                        needed=1, got=0)  # fmt: skip
    moving = tuple(s for s in alive if not (s.flag and s.constant)) or alive
    others = tuple(s for s in moving if not s.counter)
    measured = any(not (s.flag or s.constant) for s in others)
    usable = others if measured and not named else moving
    for sensor in usable:
        extreme = max(sensor.low, sensor.high, key=abs)
        if abs(extreme) > LARGEST:
            raise DataError(
                f"expected values within {LARGEST:g}, got {extreme:g} in {sensor.name!r} "
                "(leave it out with --sensors, or its rows with --exclude)",
                needed=LARGEST,
                got=extreme,
            )
    return usable, _said(health, usable)


def _names(sensors: Iterable[SensorHealth]) -> str:
    return ", ".join(repr(sensor.name) for sensor in sensors)


def _said(health: Health, usable: tuple[SensorHealth, ...]) -> list[str]:
    out = [s for s in health.sensors if s not in usable]
    dull = _names(s for s in out if not s.counter)
    left = _names(s for s in out if s.counter)
    kept = _names(s for s in usable if s.counter)
    still = _names(s for s in usable if s.constant)
    said = [f"not in the model, as nothing can be learned from them: {dull}"] if dull else []
    if left:
        said.append(
            "not in the model, as they never fall, like counters, whose next value they never "
            f"had: {left} (name all that you want in --sensors to keep them)"
        )
    if kept:
        said.append(f"never falls, like a counter: its values will leave what was learned: {kept}")
    if still:
        said.append(
            f"never changed, so that any change counts, against their magnitude: {still}; "
            "what is a normal change the model cannot know"
        )
    return said


@dataclass(frozen=True, kw_only=True)
class _Rows:
    values: Floats  # (S, F) in the sensors' units
    run: Ints
    place: Floats
    times_ms: Ints


class _Grids:
    """Recordings on the grid, as runs of complete rows."""

    def __init__(self, *, period: int, hold: int, sensors: tuple[SensorHealth, ...]) -> None:
        self.period, self.hold, self.sensors = period, hold, sensors
        self.runs: list[tuple[int, Ints, Floats]] = []  # (asset, steps, values)
        self.steps = 0  # grid rows, complete or not
        self.absent = np.zeros(len(sensors), dtype=np.int64)
        self.silences = [np.zeros(0, dtype=np.int64) for _ in sensors]  # the `HABIT` longest
        self.names: list[str] = []

    def add(self, name: str, recording: Recording, columns: list[int]) -> None:
        self.names.append(name)
        for stretch in recording.stretches():
            for start in range(stretch.start, stretch.stop, PIECE):
                piece = slice(start, min(start + PIECE, stretch.stop))
                values = self._clean(recording.values[piece], columns)
                self._add_piece(recording.times_ms[piece], values)

    def _add_piece(self, times_ms: Ints, values: Floats) -> None:
        grid = resample(times_ms, values, period_ms=self.period, hold_ms=self.hold)
        self.steps += len(grid.steps)
        self.absent += np.isnan(grid.values).sum(axis=0)
        heard = grid.fresh[grid.fresh.any(axis=1)]
        for index, fresh in enumerate(heard.T):
            silent = QUIET_FACTOR * (np.diff(np.flatnonzero(fresh)) - 1)
            beyond = silent[silent > self.hold // self.period]
            self.silences[index] = np.sort(np.append(self.silences[index], beyond))[-HABIT:]
        steps, kept = grid.steps[grid.valid], grid.values[grid.valid]
        edges = [0, *(np.flatnonzero(np.diff(steps) != 1) + 1).tolist(), len(steps)]
        asset = len(self.names) - 1
        for first, end in itertools.pairwise(edges):
            if end > first:
                self.runs.append((asset, steps[first:end], kept[first:end]))

    def _clean(self, values: Floats, columns: list[int]) -> Floats:
        whole = columns == list(range(values.shape[1]))
        if whole and not any(sensor.sentinels for sensor in self.sensors):
            return values
        out = values[:, columns]
        for index, sensor in enumerate(self.sensors):
            out[sentinel_mask(out[:, index], sensor.sentinels), index] = np.nan
        return out

    def quiet(self) -> list[int | None]:
        """Give the steps for which each sensor is silent while others report, where it often is."""
        return [int(most[0]) if len(most) == HABIT else None for most in self.silences]

    def complete(self, at_least: int) -> int:
        """Count the rows in runs of at least so many."""
        return sum(len(steps) for _, steps, _ in self.runs if len(steps) >= at_least)

    def choose_window(self) -> int:
        """Choose from the first rows; a beat shows there or nowhere."""
        parts = [values for _, _, values in self.runs if len(values) >= SHORTEST]
        count = self.complete(SHORTEST)
        if count < ROWS_PER_STEP * SHORTEST:
            raise _too_little(self, SHORTEST, count)
        rows = np.concatenate(parts) if count <= BEAT_ROWS else _head(parts, BEAT_ROWS)
        return choose_window(rows, max(len(values) for values in parts))

    def rows(self, *, at_least: int) -> _Rows:
        kept = [run for run in self.runs if len(run[1]) >= at_least]
        asset = np.concatenate([np.full(len(steps), code) for code, steps, _ in kept])
        rank = np.concatenate([np.arange(n) for n in np.bincount(asset) if n])
        size = np.bincount(asset)[asset]
        rows = _Rows(
            values=kept[0][2] if len(kept) == 1 else np.concatenate([part for _, _, part in kept]),
            run=np.concatenate([np.full(len(run[1]), i) for i, run in enumerate(kept)]),
            place=rank / size,
            times_ms=np.concatenate([steps for _, steps, _ in kept]) * self.period,
        )
        self.runs = []  # the rows live once
        return rows

    def warnings(self, window: int, used: int) -> list[str]:
        """Say what is lost of the grid, where ``used`` rows are in stretches of a ``window``."""
        found = []
        complete = 1.0 - float(self.absent.max()) / max(1, self.steps)
        if complete < INCOMPLETE_SHARE:
            worst = self.sensors[int(self.absent.argmax())].name
            found.append(
                f"only {complete:.0%} of the grid has a value of {worst!r}; other rows are not "
                "used (leave the sensor out with --sensors to use them)"
            )
        if used < USED_SHARE * self.steps:
            found.append(
                f"only {used / self.steps:.0%} of the rows are in stretches of a window "
                f"({window} rows) without a missing value; a device has no score for the others "
                "(a longer --period bridges more)"
            )
        return found


def _head(parts: list[Floats], count: int) -> Floats:
    """Give the first ``count`` rows of several stretches."""
    taken: list[Floats] = []
    for part in parts:
        taken.append(part[: count - sum(map(len, taken))])
        if sum(map(len, taken)) >= count:
            break
    return np.concatenate(taken)


def _too_little(grids: _Grids, window: int, got: int) -> DataError:
    needed = ROWS_PER_STEP * window
    whole = sum(len(steps) for _, steps, _ in grids.runs)
    why = f"{whole} complete rows of {grids.steps} on a grid of {grids.period} ms"
    worst = int(grids.absent.argmax())
    if grids.absent[worst]:
        share = grids.absent[worst] / grids.steps
        why += f"; {grids.sensors[worst].name!r} is missing in {share:.0%}"
    if whole > got:
        why += f"; {got} in stretches of {window} or more"
    return DataError(
        f"expected at least {needed} complete rows for a window of {window}, got {got} ({why})",
        needed=needed,
        got=got,
        window=window,
    )
