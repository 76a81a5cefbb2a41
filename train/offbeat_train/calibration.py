"""From errors on held-out normal rows to the detector's weights and threshold.

Rules: no labels; only windows that lie wholly in rows the model was not
fitted on.  The user names an *alert budget*, false alarms a week and asset.
Scores of neighbouring windows overlap, so the held-out rows are cut into
blocks of one window length and the worst score of each block counts once.
A Gumbel tail through these maxima is read at the budget, but never further
out than ``REACH`` times the length of the held-out rows: data of ten minutes
cannot vouch for a week, and the result says so (``supported_per_week``).

>>> import numpy as np
>>> maxima = np.random.default_rng(0).gumbel(3.0, 0.5, size=500)
>>> level = return_level(maxima, every=1000.0)
>>> bool(6.0 < level < 7.0)
True
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec
import numpy as np

from offbeat_edge.detector import (
    Detector,
    DetectorSpec,
    Fallback,
    FallbackSpec,
    level_and_spread,
    scored_columns,
)
from offbeat_edge.shape import ShapeSpec
from offbeat_train.blocks import in_blocks
from offbeat_train.defaults import ALERT_BUDGET, judged_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from offbeat_edge.schema import SensorSpec
    from offbeat_train.shapes import Book

    Floats = NDArray[np.float64]

REACH = 1.0  # how many times the held-out length a tail may be read at
LEAST = 1.0  # raw score; lower only where residuals are below the noise floor
SINGLE = 0.1  # of the alert budget, that sensors alone may add to it
KNOWN_BLOCKS = 100  # held-out blocks at which half of a sensor's tail is its own
SHRINKAGE = 0.1  # of the residuals' covariance towards its diagonal
SHAPE_FLOOR = 0.05  # spreads; codes are rounded to steps of 1/32
NOISE_FLOOR = 0.05  # scaled units; int8 steps make smaller residuals meaningless
WEEK_MS = 7 * 24 * 3600 * 1000
EULER_GAMMA = 0.5772156649015329


class Holdout(NamedTuple):
    """Windows of held-out normal rows and what the model made of them.

    ``windows`` and ``recon`` are (N, T, F), scaled; windows of one run of
    rows are in order of time, ``stride`` steps apart; ``run`` (N,) numbers
    the runs, so that no block of maxima spans a gap.  ``strange`` (N, S) is
    how far the scored sensors' shapes are from those learned elsewhere.
    """

    windows: Floats
    recon: Floats
    run: NDArray[np.intp]
    stride: int
    period_ms: int
    strange: Floats | None = None


class Tail(msgspec.Struct, frozen=True):
    """How often the worst score of a block is how high: a Gumbel distribution.

    Fitted by moments: two numbers, which a dozen blocks can carry.
    """

    mode: float
    spread: float

    @classmethod
    def of(cls, maxima: Floats) -> Tail:
        """Fit to blocks' worst scores, (N,)."""
        spread = float(maxima.std() * np.sqrt(6.0) / np.pi)
        return cls(float(maxima.mean()) - EULER_GAMMA * spread, spread)

    def level(self, *, every: float) -> float:
        """Score that a block exceeds once in ``every`` blocks, at least ``LEAST``."""
        rare = 1.0 / max(every, 2.0)
        return max(float(self.mode - self.spread * np.log(-np.log1p(-rare))), LEAST)


class Curve(msgspec.Struct, frozen=True, kw_only=True):
    """From a rate of false alarms to the thresholds; a part of every bundle's calibration."""

    tails: tuple[Tail, ...]  # of the residuals and, where they are judged, of the shapes
    block_ms: int
    supported_per_week: float  # the rarest rate the held-out rows can speak of

    def thresholds(self, per_week: float) -> tuple[float, ...]:
        """Read each tail at its equal part of the rate, but no rarer than is supported.

        The louder of several scores makes the alert, so together they keep the rate.
        None of the thresholds depends on another: a heavy tail does not blunt the rest.
        """
        rate = max(per_week, self.supported_per_week)
        every = len(self.tails) * WEEK_MS / (rate * self.block_ms)
        return tuple(tail.level(every=every) for tail in self.tails)


class Calibration(msgspec.Struct, frozen=True, kw_only=True):
    """What calibration learned, and how far the data can support it."""

    detector: DetectorSpec
    threshold: float
    shape: ShapeSpec | None = None
    fallback: FallbackSpec
    budget_per_week: float  # what was asked for
    supported_per_week: float  # the rarest rate the held-out rows can speak of
    expected_per_week: float  # the rate the threshold was read at
    held_out_hours: float
    held_out_alarms: int  # blocks of the held-out rows above the threshold
    held_out_per_week: float  # the same as a rate
    alarm_share: float  # of held-out windows above the threshold
    tails: tuple[Tail, ...]  # with these, other budgets can be tried on the bundle: `Curve`
    block_ms: int


def calibrate(
    holdout: Holdout,
    sensors: tuple[SensorSpec, ...],
    *,
    budget_per_week: float = ALERT_BUDGET,
    rows: int | None = None,
    book: Book | None = None,
    floor: Floats | float = NOISE_FLOOR,
) -> Calibration:
    """Weigh residuals by what is normal and set the threshold for the budget.

    ``rows`` is how many of the window's last steps are judged; ``book``, with
    ``holdout.strange``, adds the shapes; ``floor``, for all judged sensors or
    each (S,), is the least that a residual counts as usual, scaled units.

    Raises
    ------
    ValueError : no held-out window, or a budget that is not above 0.
    """
    _check(holdout, budget_per_week)
    steps = holdout.windows.shape[1]
    block_ms = steps * holdout.period_ms
    spec = weigh(holdout, sensors, rows=rows or judged_rows(steps), floor=floor)
    raw = [_raw(spec, holdout, sensors)]
    if book is not None and holdout.strange is not None:
        raw.append(_odd(holdout.strange))
    maxima = [block_maxima(one, holdout) for one in raw]
    held_ms = len(maxima[0]) * block_ms
    curve = Curve(
        tails=tuple(map(Tail.of, maxima)),
        block_ms=block_ms,
        supported_per_week=WEEK_MS / (REACH * held_ms),
    )
    rate = max(budget_per_week, curve.supported_per_week)
    every = WEEK_MS / (rate * block_ms)
    levels = curve.thresholds(rate)
    if len(spec.center) > 1:
        alone = stand_alone(spec, holdout, sensors, level=levels[0], every=every / SINGLE)
        spec = msgspec.structs.replace(spec, alone=alone)
        raw[0] = _raw(spec, holdout, sensors)
    score = np.max([one / level for one, level in zip(raw, levels, strict=True)], axis=0)
    alarms = int((block_maxima(score, holdout) > 1.0).sum())
    return Calibration(
        detector=spec,
        threshold=levels[0],
        shape=None if book is None or len(raw) == 1 else _shapes(book, holdout, levels[1]),
        fallback=calibrate_fallback(holdout, sensors, every=every),
        budget_per_week=budget_per_week,
        supported_per_week=curve.supported_per_week,
        expected_per_week=rate,
        held_out_hours=held_ms / 3_600_000,
        held_out_alarms=alarms,
        held_out_per_week=alarms * WEEK_MS / held_ms,
        alarm_share=float((score > 1.0).mean()),
        tails=curve.tails,
        block_ms=block_ms,
    )


def _usual(strange: Floats) -> Floats:
    return np.asarray(np.maximum(strange.mean(axis=0), SHAPE_FLOOR**2), dtype=np.float64)


def _odd(strange: Floats) -> Floats:
    """How strange each held-out window's shapes are, (N, S) → (N,)."""
    return np.asarray(np.sqrt((strange / _usual(strange)).mean(axis=1)), dtype=np.float64)


def _shapes(book: Book, holdout: Holdout, threshold: float) -> ShapeSpec:
    usual = _usual(np.asarray(holdout.strange))
    return ShapeSpec(
        pool=book.pool, usual=_floats(usual), threshold=threshold,
        codes=tuple(tuple(tuple(map(int, code)) for code in codes) for codes in book.codes),
    )  # fmt: skip


def weigh(
    holdout: Holdout,
    sensors: tuple[SensorSpec, ...],
    *,
    rows: int,
    floor: Floats | float = NOISE_FLOOR,
) -> DetectorSpec:
    """Center and inverse covariance of the residuals of the last ``rows`` steps."""
    columns = scored_columns(sensors)
    judged = (..., slice(-rows, None), columns)
    residual = (holdout.windows[judged] - holdout.recon[judged]).reshape(-1, len(columns))
    center = residual.mean(axis=0)
    residual -= center
    covariance = residual.T @ residual / len(residual)
    variance = np.maximum(np.diagonal(covariance), np.square(floor))
    covariance = (1.0 - SHRINKAGE) * covariance
    np.fill_diagonal(covariance, variance)
    precision = np.linalg.inv(covariance)
    precision = (precision + precision.T) / 2
    return DetectorSpec(
        rows=rows,
        center=_floats(center),
        precision=tuple(_floats(row) for row in precision),
    )


def stand_alone(
    spec: DetectorSpec,
    holdout: Holdout,
    sensors: tuple[SensorSpec, ...],
    *,
    level: float,
    every: float,
) -> tuple[float, ...]:
    """Say what each sensor's own distance counts beside that of all, (S,).

    Each is measured against its own tail, as some sensors are calm and others
    spike, and has an equal part of what sensors alone may add to the budget:
    none blunts another.  That part is rarer than the held-out rows can vouch
    for; as they are read further out, sensors are heard later, not more often.
    How far a tail reaches beyond a sensor's usual distance takes many blocks
    to know; with few, it is mostly what the sensors have in common.

    Parameters
    ----------
    level : the raw score that becomes 1.0.
    every : blocks for one alarm of any sensor alone.
    """
    own = in_blocks(Detector(spec, sensors, threshold=1.0).own, holdout.windows, holdout.recon)
    usual = np.maximum(np.sqrt(np.square(own).mean(axis=0)), NOISE_FLOOR)
    maxima = [block_maxima(one, holdout) for one in own.T]
    levels = [Tail.of(one).level(every=every * len(maxima)) for one in maxima]
    reach = np.log(levels / usual)
    known = len(maxima[0]) / (len(maxima[0]) + KNOWN_BLOCKS)
    most = usual * np.exp(known * reach + (1.0 - known) * np.median(reach))
    return _floats(level / most)


def _raw(spec: DetectorSpec, holdout: Holdout, sensors: tuple[SensorSpec, ...]) -> Floats:
    detector = Detector(spec, sensors, threshold=1.0)
    return in_blocks(lambda *part: detector.score(*part).raw, holdout.windows, holdout.recon)


def calibrate_fallback(
    holdout: Holdout, sensors: tuple[SensorSpec, ...], *, every: float
) -> FallbackSpec:
    """Plain statistics of the held-out windows, for when the model cannot run."""
    columns = scored_columns(sensors)
    both = in_blocks(
        lambda part: np.stack(level_and_spread(part[..., columns]), axis=1), holdout.windows
    )
    # Sensor after sensor in memory, so that means are taken over whole columns.
    level, spread = (np.asfortranarray(one) for one in both.swapaxes(0, 1))
    spec = FallbackSpec(
        threshold=1.0,
        level_center=_floats(level.mean(axis=0)),
        level_scale=_floats(np.maximum(level.std(axis=0), NOISE_FLOOR)),
        spread_center=_floats(spread.mean(axis=0)),
        spread_scale=_floats(np.maximum(spread.std(axis=0), NOISE_FLOOR)),
    )
    fallback = Fallback(spec, sensors)
    raw = in_blocks(lambda part: fallback.score(part).raw, holdout.windows)
    level_of = return_level(block_maxima(raw, holdout), every=every)
    return msgspec.structs.replace(spec, threshold=level_of)


def block_maxima(raw: Floats, holdout: Holdout) -> Floats:
    """Worst ``raw`` (N,) of each stretch of one window length within a run."""
    size = max(1, holdout.windows.shape[1] // holdout.stride)
    maxima = []
    for run in np.unique(holdout.run):
        of_run = raw[holdout.run == run]
        maxima += [of_run[i : i + size].max() for i in range(0, len(of_run), size)]
    return np.array(maxima, dtype=np.float64)


def return_level(maxima: Floats, *, every: float) -> float:
    """Score that a block exceeds once in ``every`` blocks, at least ``LEAST``."""
    return Tail.of(maxima).level(every=every)


def _floats(values: Floats) -> tuple[float, ...]:
    return tuple(float(value) for value in values)


def _check(holdout: Holdout, budget_per_week: float) -> None:
    shape = holdout.windows.shape
    if len(shape) != 3 or shape[0] == 0:
        raise ValueError(f"calibration: expected held-out windows (N >= 1, T, F), got {shape}")
    if holdout.recon.shape != shape or holdout.run.shape != shape[:1]:
        got = (holdout.recon.shape, holdout.run.shape)
        raise ValueError(f"calibration: expected recon {shape} and run {shape[:1]}, got {got}")
    if not budget_per_week > 0.0:
        raise ValueError(f"calibration: expected an alert budget above 0, got {budget_per_week}")
