"""Samples of one asset → rows on the model's time grid → windows.

The rules, so that the same set of samples gives the same windows in any
order and any batching (displacements up to the allowed lateness):

* Step ``k`` holds the samples whose event time rounds to ``k * period_ms``.
* Of several samples of one sensor in one step the **earliest** counts; of
  two values for the same instant the first to arrive, or, where a lateness
  is allowed and order means nothing, the larger.
* A step closes when the newest event time, less the lateness, has left it,
  or when it is complete and no earlier sample can come any more.
* A sensor absent from a step keeps its last value for ``hold_ms``; beyond
  that the row is invalid and the next window starts after it.
* A number that often stood for "no reading" in the history is absent for as
  long as the last reading holds, as it was when the model was fitted; beyond
  that it goes through as it came, for `sensorcheck` to judge.
* Windows end at steps divisible by the stride: a grid that does not depend
  on when anything was started.
* An event time that jumps is held in quarantine until several consistent
  samples confirm it; nothing here looks at a clock.

`Aligner` takes samples as they come; `resample` does the same for a whole
recording at once, and a property test holds the two together.

>>> step_of(1499, 1000), step_of(1500, 1000)
(1, 2)
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from offbeat_edge.schema import EventMs

if TYPE_CHECKING:
    from collections.abc import Sequence

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

FORWARD_JUMP_MS = 60_000  # event time this far ahead needs confirmation ...
FORWARD_JUMP_STEPS = 10  # ... or this many steps, if that is longer
FORWARD_CONFIRM = 3  # distinct, increasing times that confirm it
BACKWARD_JUMP_MS = 3_000_000  # a source's clock set back this far is believed ...
BACKWARD_JUMP_STEPS = 2048  # ... or this many steps (more than a redelivery spans)
BACKWARD_CONFIRM = 10
QUARANTINE_LIMIT = 256  # samples kept while a jump is unconfirmed
RING_SLACK = 8  # rows beyond the window before all move to the front
SCALED_LIMIT = 1e6  # scaled values beyond this are cut: squares stay finite


def step_of(time_ms: int, period_ms: int) -> int:
    """Return the grid step nearest to an event time (halves round up)."""
    return (2 * time_ms + period_ms) // (2 * period_ms)


def scale(values: Floats, center: Floats, spread: Floats) -> Floats:
    """Return ``(values - center) / spread``, cut to ±`SCALED_LIMIT`; any shape (..., F)."""
    scaled = (values - center) / spread
    return np.minimum(np.maximum(scaled, -SCALED_LIMIT), SCALED_LIMIT)


class Grid(NamedTuple):
    """A recording on the time grid; long gaps are left out.

    steps : (S,) int64, increasing; ``steps * period_ms`` is the time.
    values : (S, F) float64, held values filled in; NaN where invalid.
    fresh : (S, F) bool, the sensor reported within the step.
    valid : (S,) bool, every sensor reported or is held.
    """

    steps: Ints
    values: Floats
    fresh: Bools
    valid: Bools


def resample(times_ms: Ints, values: Floats, *, period_ms: int, hold_ms: int) -> Grid:
    """Put a recording on the grid, as `Aligner` with no lateness would.

    Parameters
    ----------
    times_ms : (N,) int64, in non-decreasing order.
    values : (N, F) float64, NaN where a sensor is absent.

    Raises
    ------
    ValueError : when the times are out of order.
    """
    if len(times_ms) and bool((np.diff(times_ms) < 0).any()):
        raise ValueError("expected times in order, sort the recording first")
    at = (2 * times_ms + period_ms) // (2 * period_ms)
    present = np.isfinite(values)
    kept = present.any(axis=1)
    steps = np.unique(at[kept])
    steps = _with_short_gaps(steps, 1 + hold_ms // period_ms)
    row_of = np.searchsorted(steps, at)
    columns = [
        _one_sensor(times_ms[p], values[p, f], row_of[p], steps * period_ms, hold_ms)
        for f, p in enumerate(present.T)
    ]
    held = np.stack([c[0] for c in columns], axis=1)
    fresh = np.stack([c[1] for c in columns], axis=1)
    valid: Bools = np.asarray(np.isfinite(held).all(axis=1))
    return Grid(steps, held, fresh, valid)


def _with_short_gaps(steps: Ints, longest: int) -> Ints:
    """Insert up to `longest` steps after each step, where later ones follow."""
    if len(steps) == 0:
        return steps
    extra = np.minimum(np.diff(steps) - 1, longest)
    counts = np.append(extra, 0) + 1
    first = np.repeat(np.cumsum(counts) - counts, counts)
    filled: Ints = np.repeat(steps, counts) + (np.arange(counts.sum()) - first)
    return filled


def _one_sensor(
    times: Ints, values: Floats, rows: Ints, grid_ms: Ints, hold_ms: int
) -> tuple[Floats, Bools]:
    """Earliest sample a row, then held; (S,) values and (S,) fresh."""
    rows_hit, first = np.unique(rows, return_index=True)
    at: Ints = np.full(len(grid_ms), -1)
    at[rows_hit] = first
    fresh = at >= 0
    last: Ints = np.maximum.accumulate(at) if len(at) else at
    held: Floats = np.full(len(grid_ms), np.nan)
    known = last >= 0
    usable = known.copy()
    usable[known] = fresh[known] | (grid_ms[known] - times[last[known]] <= hold_ms)
    held[usable] = values[last[usable]]
    return held, fresh


def window_ends(grid: Grid, *, window: int, stride: int) -> Ints:
    """Return the row indices at which a window of `window` valid steps ends."""
    count = len(grid.steps)
    if count == 0:
        return np.zeros(0, np.int64)
    broken = ~grid.valid
    broken[1:] |= np.diff(grid.steps) != 1
    index = np.arange(count)
    # A row that is invalid starts nothing; one after a gap starts a run itself.
    start = np.maximum.accumulate(np.where(broken, index + ~grid.valid, 0))
    run = index - start + 1
    due = (run >= window) & (grid.steps % stride == 0) & grid.valid
    return np.flatnonzero(due)


class Row(NamedTuple):
    """A closed step.

    step : its index on the grid.
    values : F numbers in the sensors' units, NaN where unknown.
    fresh : F flags, reported within the step (not held).
    valid : every value is known.
    restart : steps before it are missing, nothing is contiguous.
    """

    step: int
    values: list[float]  # lists: for a handful of sensors, faster than arrays
    fresh: list[bool]
    valid: bool
    restart: bool  # steps before it are missing: nothing is contiguous


class Drop(NamedTuple):
    """A sample that was not used, and why: ``late``, ``surplus``, ``time_jump``."""

    reason: str
    time_ms: int


class Pending(msgspec.Struct, array_like=True):
    """An open step: of each sensor the time and value that count so far."""

    times: list[EventMs]
    values: list[float]


class AlignerState(msgspec.Struct, array_like=True):
    """All that an `Aligner` knows, ready for msgpack."""

    newest: EventMs | None = None
    closed: int | None = None
    pending: dict[int, Pending] = msgspec.field(default_factory=dict)
    last_times: list[EventMs | None] = msgspec.field(default_factory=list)
    last_values: list[float] = msgspec.field(default_factory=list)
    quarantine: list[tuple[EventMs, list[float]]] = msgspec.field(default_factory=list)


class Aligner:
    """The streaming half: one asset's samples in, closed rows out.

    Parameters
    ----------
    period_ms, hold_ms, lateness_ms : milliseconds of event time.
    sensors : how many sensors the model takes (F).
    absent : for each sensor the numbers that often stood for "no reading".
    """

    def __init__(
        self,
        *,
        period_ms: int,
        hold_ms: int,
        lateness_ms: int,
        sensors: int,
        absent: Sequence[frozenset[float]] | None = None,
        state: AlignerState | None = None,
    ) -> None:
        self.period_ms = period_ms
        self.hold_ms = hold_ms
        self.lateness_ms = lateness_ms
        self.sensors = sensors
        self.forward_ms = max(
            FORWARD_JUMP_MS, FORWARD_JUMP_STEPS * period_ms, 3 * hold_ms, lateness_ms
        )
        self.backward_ms = max(BACKWARD_JUMP_MS, BACKWARD_JUMP_STEPS * period_ms, lateness_ms)
        self._all_fresh = [True] * sensors
        self._absent = absent or [frozenset()] * sensors
        self._any_absent = frozenset().union(*self._absent)
        self.state = state or AlignerState(last_times=[None] * sensors, last_values=[0.0] * sensors)

    def push(self, time_ms: int, values: list[float]) -> tuple[list[Row], list[Drop]]:
        """Take one sample: F numbers, NaN for a sensor it does not hold."""
        state = self.state
        drops: list[Drop] = []
        if state.newest is not None:
            jump = time_ms - state.newest
            if jump > self.forward_ms or jump < -self.backward_ms:
                return self._suspect(time_ms, values)
            if jump > 0 and state.quarantine:
                drops = [Drop("time_jump", t) for t, _ in state.quarantine]
                state.quarantine = []
        return self._take(time_ms, values, drops), drops

    def _take(self, time_ms: int, values: list[float], drops: list[Drop]) -> list[Row]:
        state = self.state
        step = step_of(time_ms, self.period_ms)
        if state.closed is not None and step <= state.closed:
            drops.append(Drop("surplus" if step == state.closed else "late", time_ms))
            return []
        if state.newest is None or time_ms > state.newest:
            state.newest = time_ms
        read = not self._any_absent or self._any_absent.isdisjoint(values)
        if read and self.lateness_ms == 0 and not state.pending and _complete(values):
            return self._emit_whole(step, time_ms, values)
        self._place(step, time_ms, values)
        return self._close(state.newest)

    def _emit_whole(self, step: int, time_ms: int, values: list[float]) -> list[Row]:
        """Close a step that its first sample completes: the common case."""
        state = self.state
        rows: list[Row] = []
        restart = state.closed != step - 1
        if restart:
            rows = self._emit_gap(step)
            restart = state.closed != step - 1
        state.last_times = [time_ms] * self.sensors
        state.last_values = values.copy()
        state.closed = step
        rows.append(Row(step, values, self._all_fresh, True, restart))
        return rows

    def _suspect(self, time_ms: int, values: list[float]) -> tuple[list[Row], list[Drop]]:
        """Quarantine a jump; once confirmed, start afresh from it."""
        held = self.state.quarantine
        drops: list[Drop] = []
        if held and not self._consistent(held[-1][0], time_ms):
            drops = [Drop("time_jump", t) for t, _ in held]
            held.clear()
        if len(held) >= QUARANTINE_LIMIT:
            return [], [Drop("time_jump", time_ms)]
        held.append((time_ms, values))
        backward = time_ms < (self.state.newest or 0)
        needed = BACKWARD_CONFIRM if backward else FORWARD_CONFIRM
        if len({t for t, _ in held}) < needed:
            return [], drops
        return self._restart(sorted(held, key=lambda item: item[0]), drops), drops

    def _consistent(self, before_ms: int, time_ms: int) -> bool:
        reach = max(self.lateness_ms, 0)
        return before_ms - reach <= time_ms <= before_ms + self.forward_ms

    def _restart(self, samples: list[tuple[int, list[float]]], drops: list[Drop]) -> list[Row]:
        """Believe a jump: rows of the old time close, the new time begins."""
        rows = self._flush()
        state = self.state
        state.quarantine = []
        state.newest = state.closed = None
        state.last_times = [None] * self.sensors
        for time_ms, values in samples:
            rows += self._take(time_ms, values, drops)
        return rows

    def _flush(self) -> list[Row]:
        steps = sorted(self.state.pending)
        return self._emit_through(steps[-1]) if steps else []

    def _place(self, step: int, time_ms: int, values: list[float]) -> None:
        """Put a sample into its open step."""
        entry = self.state.pending.get(step)
        if entry is None:
            self.state.pending[step] = Pending([time_ms] * self.sensors, list(values))
            return
        for index, value in enumerate(values):
            if value == value and self._wins(entry, index, time_ms, value):  # noqa: PLR0124
                entry.times[index], entry.values[index] = time_ms, value

    def _wins(self, entry: Pending, index: int, time_ms: int, value: float) -> bool:
        known, known_ms = entry.values[index], entry.times[index]
        if known != known or time_ms < known_ms:  # noqa: PLR0124 - NaN: none yet
            return True
        return time_ms == known_ms and self.lateness_ms > 0 and value > known

    def _close(self, newest_ms: int) -> list[Row]:
        """Close every step that no sample within the lateness can change."""
        settled = newest_ms - self.lateness_ms
        through = step_of(settled, self.period_ms) - 1
        entry = self.state.pending.get(through + 1)
        if entry is not None and _complete(entry.values):
            latest = max(entry.times)
            if settled > latest or (settled == latest and self.lateness_ms == 0):
                through += 1
        return self._emit_through(through)

    def _emit_through(self, last: int) -> list[Row]:
        """Close pending steps up to `last`, in order, with holds between."""
        state = self.state
        rows: list[Row] = []
        for step in sorted(k for k in state.pending if k <= last):
            rows += self._emit_gap(step)
            rows.append(self._emit(step, state.pending.pop(step)))
        return rows

    def _emit_gap(self, step: int) -> list[Row]:
        """Rows between the last closed step and `step`, as far as holds reach."""
        if self.state.closed is None:
            return []
        reach = self.state.closed + 1 + self.hold_ms // self.period_ms
        return [self._emit(k, None) for k in range(self.state.closed + 1, min(step, reach + 1))]

    def _emit(self, step: int, entry: Pending | None) -> Row:
        state = self.state
        restart = state.closed is None or step != state.closed + 1
        now = step * self.period_ms
        values = [math.nan] * self.sensors if entry is None else entry.values
        fresh = [value == value for value in values]  # noqa: PLR0124 - NaN: absent
        for index, reported in enumerate(fresh):
            absent = values[index] in self._absent[index]
            if reported and not absent and entry is not None:
                state.last_times[index] = entry.times[index]
                state.last_values[index] = values[index]
                continue
            seen = state.last_times[index]
            if seen is not None and now - seen <= self.hold_ms:
                values[index] = state.last_values[index]
                fresh[index] = False
        state.closed = step
        return Row(step, values, fresh, _complete(values), restart)


def _complete(values: list[float]) -> bool:
    """Tell whether no value is NaN (a sum is NaN if any term is)."""
    total = sum(values)
    return total == total or not any(v != v for v in values)  # noqa: PLR0124


class Ring:
    """The last rows of one asset, contiguous, in the sensors' units.

    Rows are appended to a buffer a little longer than the window; when it is
    full the last ``window - 1`` rows move to the front, so a window is always
    one slice and costs no assembly.  A gateway has a ring for each asset, so
    the buffer is short.
    """

    def __init__(self, *, window: int, sensors: int) -> None:
        self.window = window
        self.rows: Floats = np.zeros((window + max(RING_SLACK, window // 8), sensors))
        self.end = 0
        self.run = 0  # consecutive valid rows

    def append(self, row: Row) -> bool:
        """Add a row; true when a full window of valid rows ends here."""
        if row.restart or not row.valid:
            self.run = 0
        if not row.valid:
            return False
        if self.end == len(self.rows):
            keep = self.window - 1
            self.rows[:keep] = self.rows[self.end - keep :]
            self.end = keep
        self.rows[self.end] = row.values
        self.end += 1
        self.run += 1
        return self.run >= self.window

    def latest(self) -> Floats:
        """Return the newest window, (T, F) float64: a view, the next append may move it."""
        return self.rows[self.end - self.window : self.end]

    def dump(self) -> tuple[int, bytes]:
        """Return what the next window needs: run length and the last rows."""
        keep = min(self.run, self.window)
        return keep, self.rows[self.end - keep : self.end].tobytes()

    def load(self, dumped: tuple[int, bytes]) -> None:
        """Take back what `dump` gave."""
        keep, raw = dumped
        self.rows[:keep] = np.frombuffer(raw).reshape(keep, self.rows.shape[1])
        self.end = self.run = keep
