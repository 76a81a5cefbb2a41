"""Our way through scikit-learn's trees, against its own."""

from __future__ import annotations

import numpy as np
import pytest

ensemble = pytest.importorskip("sklearn.ensemble", reason="the cloud half is not installed")

from offbeat_train.benchmark.forest import Forest  # noqa: E402 - after the skip


@pytest.mark.parametrize("rows", [60, 700])  # fewer and more than a tree is grown on
def test_a_forest_scores_as_scikit_learn_does_to_the_bit(rows: int) -> None:
    values = np.random.default_rng(0).normal(size=(rows, 5)).round(1).astype(np.float32)
    fitted = ensemble.IsolationForest(random_state=0).fit(values)
    asked = np.concatenate([values[:30], 9.0 * values[:3]])

    assert np.array_equal(Forest(fitted).scores(asked), -fitted.score_samples(asked))
    assert np.array_equal(Forest(fitted).scores(asked[:1]), -fitted.score_samples(asked[:1]))
