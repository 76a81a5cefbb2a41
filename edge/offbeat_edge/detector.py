"""Windows and reconstructions in, scores and contributions out.

A residual is what the model got wrong: ``e = window - reconstruction``.  The
detector weighs the residuals of the last ``rows`` steps by what is normal for
them (a Mahalanobis distance) and divides by the threshold, so that 1.0 is
the threshold for every model and asset.  One sensor among many is a small part
of that distance however wrong it is, so its own counts beside it: how far it
is from what the residuals of the others ask for.  The larger is the score.

Rules: elementwise float64 (+ - x / sqrt) and sums folded in an order that
depends on the axis alone.  A window's score is therefore the same to the bit
alone and in any batch; no matrix product, no exp, no log.

>>> import numpy as np
>>> pump = schema.SensorSpec(name="flow", center=0.0, scale=1.0, cadence_ms=1000)
>>> spec = DetectorSpec(rows=2, center=(0.0,), precision=((1.0,),))
>>> detector = Detector(spec, (pump,), threshold=2.0)
>>> window = np.array([[[9.0], [3.0], [3.0]]])
>>> detector.score(window, np.zeros((1, 3, 1))).score
array([1.5])
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec
import numpy as np

from offbeat_edge import schema
from offbeat_edge.errors import BundleError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

RESIDUAL_LIMIT = 1e6  # scaled units; keeps squares of absurd inputs finite


class DetectorSpec(msgspec.Struct, frozen=True, kw_only=True):
    """How residuals become one number; part of the bundle's manifest.

    S is the number of scored sensors, in the order of the sensors.
    """

    schema: str = schema.SCHEMA
    rows: int  # the last steps of the window that are judged
    center: tuple[float, ...]  # (S,) normal residual, scaled units
    precision: tuple[tuple[float, ...], ...]  # (S, S), symmetric, positive
    alone: tuple[float, ...] = ()  # (S,) what a sensor's own distance counts; none: it does not


class FallbackSpec(msgspec.Struct, frozen=True, kw_only=True):
    """Plain statistics of normal windows, for when the model cannot run.

    Two features a scored sensor: the mean and the standard deviation of its
    window.  Each is compared with its normal center in units of its scale.
    """

    schema: str = schema.SCHEMA
    threshold: float
    level_center: tuple[float, ...]  # (S,) scaled units
    level_scale: tuple[float, ...]
    spread_center: tuple[float, ...]
    spread_scale: tuple[float, ...]


class Scores(NamedTuple):
    """What a batch of N windows of F sensors scored."""

    score: Floats  # (N,) 1.0 is the threshold
    shares: Floats  # (N, F) >= 0, each row sums to 1; unscored sensors 0
    raw: Floats  # (N,) before the division by the threshold


class Detector:
    """Scores windows against their reconstructions.

    Parameters
    ----------
    spec : the weights learned on held-out normal rows.
    sensors : the model's inputs, in the order of the last axis.
    threshold : the raw score that becomes 1.0; finite, above 0.

    Raises
    ------
    BundleError : the spec does not fit the sensors.
    """

    def __init__(
        self,
        spec: DetectorSpec,
        sensors: tuple[schema.SensorSpec, ...],
        *,
        threshold: float,
    ) -> None:
        scored = scored_columns(sensors)
        _check_threshold(threshold)
        _check_length("center", len(spec.center), len(scored))
        _check_length("precision", len(spec.precision), len(scored))
        for row in spec.precision:
            _check_length("precision row", len(row), len(scored))
        if spec.alone:
            _check_length("alone", len(spec.alone), len(scored))
        if spec.rows < 1:
            raise BundleError(f"detector: expected rows >= 1, got {spec.rows}")
        self._rows = spec.rows
        self._scored = scored
        self._width = len(sensors)
        self._center = np.array(spec.center, dtype=np.float64)[:, None, None]
        precision = np.array(spec.precision, dtype=np.float64)
        self._precision = precision[..., None, None]
        self._diagonal = np.diagonal(precision)[:, None]
        self._alone = np.square(np.array(spec.alone, dtype=np.float64))[:, None]
        self._threshold = threshold

    def score(self, windows: Floats, recon: Floats) -> Scores:
        """Score ``windows`` (N, T, F) against ``recon`` (N, T, F), both scaled.

        The share of a sensor is the part of the distance that would vanish
        if that sensor alone were free to be anything, times one and its mean
        square distance from its center: a model spreads one sensor's fault
        over the residuals of all that go with it, but those are where they were.
        """
        actual = self._judged(windows)
        residual, pull = self._pulled(actual - self._judged(recon))
        distance = fold(fold(residual * pull, axis=0), axis=0)
        sensors, rows, _ = residual.shape
        square = np.maximum(distance, 0.0) / (rows * sensors)
        own = self._own(pull)
        if len(self._alone):
            square = np.maximum(square, (own * self._alone).max(axis=0) / rows)
        raw = np.sqrt(square)
        actual = _cut(actual)
        far = 1.0 + fold(actual * actual, axis=1) / rows
        shares = shares_of((own * far).T, self._scored, self._width)
        return Scores(score=raw / self._threshold, shares=shares, raw=raw)

    def own(self, windows: Floats, recon: Floats) -> Floats:
        """Give each scored sensor's own distance, (N, S).

        How far its residuals are from what those of the others ask for, root
        mean square over the judged rows, in deviations: row s of the precision
        times the residuals, over the root of its diagonal.
        """
        _, pull = self._pulled(self._judged(windows) - self._judged(recon))
        own: Floats = np.sqrt(self._own(pull) / pull.shape[1])
        return own.T

    def _own(self, pull: Floats) -> Floats:
        """Give the square of each sensor's own distance, summed over the judged rows, (S, N)."""
        squares: Floats = fold(pull * pull, axis=1) / self._diagonal
        return squares

    def _pulled(self, residual: Floats) -> tuple[Floats, Floats]:
        """Center residuals (S, rows, N), and multiply them with the precision."""
        residual = _cut(residual - self._center)
        pull = residual[0] * self._precision[0]
        for one, precision in zip(residual[1:], self._precision[1:], strict=True):
            pull += one * precision
        return residual, pull

    def _judged(self, windows: Floats) -> Floats:
        """Give what is judged, (S, rows, N): long axes last, which is faster, in the same order."""
        turned = windows[:, -self._rows :].transpose(2, 1, 0)
        return turned.take(self._scored, axis=0)


class Fallback:
    """Scores windows without a model, by level and spread of each sensor.

    Raises
    ------
    BundleError : the spec does not fit the sensors.
    """

    def __init__(self, spec: FallbackSpec, sensors: tuple[schema.SensorSpec, ...]) -> None:
        self._scored = scored_columns(sensors)
        self._width = len(sensors)
        _check_threshold(spec.threshold)
        fields = (spec.level_center, spec.level_scale, spec.spread_center, spec.spread_scale)
        for field in fields:
            _check_length("fallback", len(field), len(self._scored))
        self._threshold = spec.threshold
        self._level_center, self._level_scale, self._spread_center, self._spread_scale = (
            np.array(field, dtype=np.float64) for field in fields
        )

    def score(self, windows: Floats) -> Scores:
        """Score ``windows`` (N, T, F), scaled."""
        level, spread = level_and_spread(windows[..., self._scored])
        level = (level - self._level_center) / self._level_scale
        spread = (spread - self._spread_center) / self._spread_scale
        parts = level * level + spread * spread
        raw = np.sqrt(fold(parts, axis=1) / (2 * len(self._scored)))
        shares = shares_of(parts, self._scored, self._width)
        return Scores(score=raw / self._threshold, shares=shares, raw=raw)


def level_and_spread(windows: Floats) -> tuple[Floats, Floats]:
    """Mean and standard deviation over time of ``windows`` (N, T, S): two (N, S)."""
    steps = windows.shape[1]
    windows = _cut(windows)
    level = fold(windows, axis=1) / steps
    away = windows - level[:, None, :]
    return level, np.sqrt(fold(away * away, axis=1) / steps)


def _cut(values: Floats) -> Floats:
    """Cut to ±`RESIDUAL_LIMIT`."""
    return np.minimum(np.maximum(values, -RESIDUAL_LIMIT), RESIDUAL_LIMIT)


def scored_columns(sensors: tuple[schema.SensorSpec, ...]) -> NDArray[np.intp]:
    """Columns of the model's last axis whose reconstruction is judged."""
    columns = [i for i, sensor in enumerate(sensors) if sensor.scored]
    if not columns:
        raise BundleError("detector: expected at least one scored sensor, got none")
    return np.array(columns, dtype=np.intp)


def fold(values: Floats, *, axis: int) -> Floats:
    """Sum over ``axis`` by halving it, in an order that its length alone decides.

    ``numpy.sum`` picks its order from the memory layout, which a batch of one
    changes.
    """
    if axis:
        values = values.transpose(axis, *(i for i in range(values.ndim) if i != axis))
    while len(values) > 1:
        half = len(values) // 2
        rest = values[2 * half :]
        values = values[:half] + values[half : 2 * half]
        if len(rest):
            values = np.concatenate([values, rest])
    result: Floats = values[0]
    return result


def shares_of(parts: Floats, scored: NDArray[np.intp], width: int) -> Floats:
    """Turn ``parts`` >= 0 of the scored sensors, (N, S), into shares of all, (N, ``width``)."""
    total = fold(parts, axis=1)[:, None]
    even = 1.0 / len(scored)
    safe = np.where(total > 0.0, total, 1.0)
    shares = np.zeros((len(parts), width), dtype=np.float64)
    shares[:, scored] = np.where(total > 0.0, parts / safe, even)
    return shares


def _check_threshold(threshold: float) -> None:
    if not (np.isfinite(threshold) and threshold > 0.0):
        raise BundleError(f"detector: expected a finite threshold above 0, got {threshold}")


def _check_length(what: str, got: int, expected: int) -> None:
    if got != expected:
        raise BundleError(f"detector {what}: expected {expected} scored sensors, got {got}")
