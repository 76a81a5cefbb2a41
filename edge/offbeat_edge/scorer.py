"""The score of a window: by reconstruction and by shape, whichever is louder.

Rules: each has a threshold of its own, at which it is 1.0; the louder one
also says which sensors it was.  A bundle without shapes has the first alone.

>>> scorer = Scorer(manifest, manifest.sensors)  # doctest: +SKIP
>>> scorer.score(windows, reconstructions).score  # doctest: +SKIP
array([0.4])
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from offbeat_edge.detector import Detector, DetectorSpec, Scores
from offbeat_edge.shape import Shapes, ShapeSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from offbeat_edge.schema import SensorSpec

    Floats = NDArray[np.float64]


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


class Scorer:
    """Scores windows.

    Raises
    ------
    BundleError : the rules do not fit the sensors.
    """

    def __init__(self, rules: Rules, sensors: tuple[SensorSpec, ...]) -> None:
        self._detector = Detector(rules.detector, sensors, threshold=rules.threshold)
        self._shapes = None if rules.shape is None else Shapes(rules.shape, sensors)

    def score(self, windows: Floats, recon: Floats) -> Scores:
        """Score ``windows`` (N, T, F) against ``recon`` (N, T, F), both scaled."""
        scores = self._detector.score(windows, recon)
        if self._shapes is None:
            return scores
        return louder(scores, self._shapes.score(windows))


def louder(a: Scores, b: Scores) -> Scores:
    """Take each window's higher score, with its shares."""
    first = a.score >= b.score
    return Scores(
        score=np.where(first, a.score, b.score),
        shares=np.where(first[:, None], a.shares, b.shares),
        raw=np.where(first, a.raw, b.raw),
    )
