"""Shapes a sensor is known to draw, whatever its level and swing.

An autoencoder follows level and swing; a beat that comes out of step, or
bent, it often follows too.  So beside it stands a codebook for each scored
sensor: its window, less its mean, over its own spread and pooled to a few
numbers, is compared with every shape of the book; what counts is the mean
square distance to the nearest, over what is usual.

Rules: pooled numbers are rounded to whole steps and so are the codes, so
that every product and sum is an exact integer in float64: a matrix product
is then the same to the bit in any order.  Everything else is elementwise.

>>> import numpy as np
>>> flow = schema.SensorSpec(name="flow", center=0.0, scale=1.0, cadence_ms=1000)
>>> up, down = (-32, -32, 32, 32), (32, 32, -32, -32)
>>> spec = ShapeSpec(pool=1, usual=(1.0,), threshold=1.0, codes=((up, down),))
>>> rise, beat = [0.0, 0.0, 8.0, 8.0], [0.0, 8.0, 0.0, 8.0]
>>> Shapes(spec, (flow,)).score(np.array([rise, beat])[..., None]).score.tolist()
[0.0, 1.4142135623730951]
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np

from offbeat_edge import schema
from offbeat_edge.detector import Scores, fold, level_and_spread, scored_columns, shares_of
from offbeat_edge.errors import BundleError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

STEPS = 32  # whole steps in one spread
FLAT = 0.3  # scaled units; a spread below it is noise, not a shape to enlarge
CUT = 10.0  # scaled units; farther out is for the residual to tell


class ShapeSpec(msgspec.Struct, frozen=True, kw_only=True):
    """Codebooks of the S scored sensors; part of the bundle's manifest.

    ``codes`` is (S, K, D) in whole steps: K shapes of D pooled numbers.
    """

    schema: str = schema.SCHEMA
    pool: int  # steps of the window averaged into one number
    usual: tuple[float, ...]  # (S,) mean square distance of normal windows
    threshold: float  # the raw score that becomes 1.0
    codes: tuple[tuple[tuple[int, ...], ...], ...]


class Shapes:
    """Scores windows by the strangeness of their shapes.

    Raises
    ------
    BundleError : the spec does not fit the sensors, or itself.
    """

    def __init__(self, spec: ShapeSpec, sensors: tuple[schema.SensorSpec, ...]) -> None:
        self._scored = scored_columns(sensors)
        self._width = len(sensors)
        _check(spec, len(self._scored))
        self._pool = spec.pool
        self._usual = np.array(spec.usual, dtype=np.float64)
        self._threshold = spec.threshold
        self._book = Codebook(np.array(spec.codes, dtype=np.float64))

    def score(self, windows: Floats) -> Scores:
        """Score ``windows`` (N, T, F), scaled."""
        away = self._book.distance(drawn(windows[..., self._scored], self._pool))
        parts = away / self._usual
        raw = np.sqrt(fold(parts, axis=1) / len(self._scored))
        shares = shares_of(parts, self._scored, self._width)
        return Scores(score=raw / self._threshold, shares=shares, raw=raw)


class Codebook:
    """Known shapes of S sensors, (S, K, D) in whole steps."""

    def __init__(self, codes: Floats) -> None:
        self._turned = np.ascontiguousarray(codes.transpose(0, 2, 1))
        self._squares = (codes * codes).sum(axis=2)[:, None, :]

    def distance(self, shapes: Floats) -> Floats:
        """Mean square distance to the nearest code, in spreads: (S, N, D) → (N, S)."""
        cross = shapes @ self._turned
        nearest = (self._squares - 2.0 * cross).min(axis=2)
        total = (shapes * shapes).sum(axis=2) + nearest
        return np.asarray(total.T / (shapes.shape[2] * STEPS**2), dtype=np.float64)


def drawn(windows: Floats, pool: int) -> Floats:
    """Shapes of ``windows`` (N, T, S), scaled: (S, N, T / pool) whole numbers."""
    cut = np.minimum(np.maximum(windows, -CUT), CUT)
    level, spread = level_and_spread(cut)
    shape = (cut - level[:, None]) / np.maximum(spread, FLAT)[:, None]
    count, steps, width = shape.shape
    pooled = fold(shape.reshape(count, steps // pool, pool, width), axis=2) / pool
    return np.ascontiguousarray(np.rint(pooled * STEPS).transpose(2, 0, 1))


def _check(spec: ShapeSpec, scored: int) -> None:
    books, sizes = len(spec.codes), {len(code) for book in spec.codes for code in book}
    if spec.pool < 1 or len(sizes) != 1 or not all(spec.codes):
        raise BundleError(f"shape: expected codes of one length, got lengths {sorted(sizes)}")
    if len({len(book) for book in spec.codes}) != 1:
        raise BundleError("shape: expected as many codes for each sensor")
    if (books, len(spec.usual)) != (scored, scored):
        raise BundleError(f"shape: expected {scored} scored sensors, got {books}")
    if not all(0.0 < usual < np.inf for usual in (*spec.usual, spec.threshold)):
        raise BundleError("shape: expected finite usual distances and a threshold above 0")
