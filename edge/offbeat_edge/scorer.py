"""The score of a window: by reconstruction and by shape, whichever is louder.

Rules: each has a threshold of its own, at which it is 1.0; the louder one
also says which sensors it was.  A bundle without shapes has the first alone.

>>> scorer = Scorer(manifest, manifest.sensors)  # doctest: +SKIP
>>> scorer.score(windows, reconstructions).score  # doctest: +SKIP
array([0.4])
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from offbeat_edge import blame
from offbeat_edge.detector import Detector, DetectorSpec, Scores, scored_columns, shares_of
from offbeat_edge.shape import Shapes, ShapeSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from offbeat_edge.blame import Reconstruct
    from offbeat_edge.schema import SensorSpec

    Floats = NDArray[np.float64]


ALONE = 0.5  # of the squared score, at least, a sensor must account for to be named by itself


class Rules(Protocol):
    """What a manifest, or a calibration, says of scoring."""

    @property
    def detector(self) -> DetectorSpec:
        """Weights of the residuals."""

    @property
    def threshold(self) -> float:
        """The raw score that becomes 1.0."""

    @property
    def shape(self) -> ShapeSpec | None:
        """Known shapes, where there are any."""


class Blamed(NamedTuple):
    """Whom a score comes from."""

    shares: Floats  # (F,) >= 0, sum 1
    expected: Floats  # (T, F) scaled: of each sensor, as the others say


class Scorer:
    """Scores windows.

    Raises
    ------
    BundleError : the rules do not fit the sensors.
    """

    def __init__(self, rules: Rules, sensors: tuple[SensorSpec, ...]) -> None:
        self._detector = Detector(rules.detector, sensors, threshold=rules.threshold)
        self._shapes = None if rules.shape is None else Shapes(rules.shape, sensors)
        self._scored = scored_columns(sensors).tolist()

    def score(self, windows: Floats, recon: Floats) -> Scores:
        """Score ``windows`` (N, T, F) against ``recon`` (N, T, F), both scaled."""
        scores = self._detector.score(windows, recon)
        if self._shapes is None:
            return scores
        return louder(scores, self._shapes.score(windows))

    def blame(self, window: Floats, recon: Floats, reconstruct: Reconstruct) -> Blamed:
        """Say from which sensors one score comes, by what is left of it without each.

        Where a shape is louder, which each sensor draws by itself, or no sensor
        alone accounts for half of the square, as where two are faulty, that is
        what `score` and ``recon`` say.

        Parameters
        ----------
        window, recon : (T, F) scaled.
        reconstruct : the model that made ``recon``.
        """
        scores = self._detector.score(window[None], recon[None])
        loudest = self.score(window[None], recon[None])
        plain = Blamed(loudest.shares[0], recon)
        if loudest.score[0] > scores.score[0]:
            return plain
        order = sorted(self._scored, key=lambda column: (-plain.shares[column], column))
        suspects = np.array(order[: blame.SUSPECTS])
        windows, recons = blame.each_out(window, recon, suspects, reconstruct)
        left = self._detector.score(windows, recons).raw
        parts = blame.parts(scores.raw, left)
        if not parts.any() or left.min() ** 2 > ALONE * scores.raw[0] ** 2:
            return plain
        expected = recon.copy()
        expected[:, suspects] = recons[np.arange(len(suspects)), :, suspects].T
        return Blamed(shares_of(parts[None], suspects, window.shape[1])[0], expected)

    def without(self, window: Floats, columns: NDArray[np.intp], reconstruct: Reconstruct) -> float:
        """Score one ``window``, (T, F) scaled, as if its ``columns`` were as the others say."""
        left = float(self._detector.score(*blame.all_out(window, columns, reconstruct)).score[0])
        if self._shapes is None:
            return left
        return max(left, apart(self._shapes.score(window[None]), columns))


def apart(scores: Scores, columns: NDArray[np.intp]) -> float:
    """Score one window without ``columns``, where each sensor adds its own to the square."""
    return float(scores.score[0] * np.sqrt(max(0.0, 1.0 - scores.shares[0, columns].sum())))


def louder(a: Scores, b: Scores) -> Scores:
    """Take each window's higher score, with its shares."""
    first = a.score >= b.score
    return Scores(
        score=np.where(first, a.score, b.score),
        shares=np.where(first[:, None], a.shares, b.shares),
        raw=np.where(first, a.raw, b.raw),
    )
