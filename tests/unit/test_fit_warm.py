"""A fit that goes on from a trained network."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from fit_parts import beat, history

from offbeat_train import fit

if TYPE_CHECKING:
    import numpy as np


class Silent:
    """Is told, says nothing."""

    def stage(self, _text: str) -> None:
        pass

    def epoch(self, _epoch: int, _epochs: int, _loss: float, _validation: float) -> None:
        pass


def run(values: np.ndarray, start: fit.Start | None = None) -> fit.Fitted:
    options = fit.FitOptions(name="beat", window=16, epochs=2, units=(8,), start=start)
    return fit.fit(history(values), options, on=Silent())


def start_of(fitted: fit.Fitted) -> fit.Start:
    return fit.Start(spec=fitted.spec, weights=fitted.trained.weights,
                     sensors=tuple(s.name for s in fitted.prepared.sensors))  # fmt: skip


@pytest.fixture(scope="module")
def first() -> fit.Fitted:
    return run(beat(700))


def test_it_starts_where_the_last_one_ended(first: fit.Fitted) -> None:
    again = run(beat(700), start_of(first))
    assert first.cold == "nothing to start from"
    assert again.cold is None
    assert again.spec == first.spec
    assert first.trained.losses.best >= 0
    assert again.trained.losses.start == pytest.approx(first.trained.losses.least, rel=1e-4)


def test_other_sensors_mean_a_cold_start_that_is_told(first: fit.Fitted) -> None:
    again = run(beat(700, seed=1, width=2), start_of(first))
    assert again.cold == "expected the sensors s0, s1, s2, got s0, s1"
