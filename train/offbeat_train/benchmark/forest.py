"""A fitted isolation forest of scikit-learn, asked for a few windows at a time.

Rules: its own trees and the score of Liu et al. (2008), to the bit what
``score_samples`` gives; that asks each tree through joblib, which for the
windows of one batch takes ten times as long as the trees.

>>> from sklearn.ensemble import IsolationForest
>>> rows = np.random.default_rng(0).normal(size=(300, 4)).astype(np.float32)
>>> forest = IsolationForest(random_state=0).fit(rows)
>>> bool((Forest(forest).scores(rows[:5]) == -forest.score_samples(rows[:5])).all())
True
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from sklearn.ensemble import IsolationForest

    Floats = NDArray[np.float64]


class Forest:
    """The trees of a fitted forest.

    Parameters
    ----------
    fitted : on all columns (``max_features`` of 1.0).
    """

    def __init__(self, fitted: IsolationForest) -> None:
        self._trees = [tree.tree_ for tree in fitted.estimators_]
        self._lengths = [
            tree.compute_node_depths() + _rest(tree.n_node_samples) - 1.0 for tree in self._trees
        ]
        usual = _rest(np.array([fitted.max_samples_]))
        self._most = len(self._trees) * usual

    def scores(self, rows: Floats) -> Floats:
        """How soon each of ``rows`` (N, D) is alone: (N,), about 0.3 to 1, above 0.5 is odd."""
        narrow = np.ascontiguousarray(rows, dtype=np.float32)
        depths = np.zeros(len(rows))
        for tree, lengths in zip(self._trees, self._lengths, strict=True):
            depths += lengths[tree.apply(narrow)]
        return np.asarray(2.0 ** -(depths / self._most), dtype=np.float64)


def _rest(counts: NDArray[np.int64]) -> Floats:
    """Length of the path that a leaf of so many rows was spared."""
    lengths = np.where(counts == 2, 1.0, 0.0)
    many = counts > 2
    several = counts[many]
    lengths[many] = 2.0 * (np.log(several - 1.0) + np.euler_gamma) - 2.0 * (several - 1.0) / several
    return lengths
