"""A fit that goes on from a trained network."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from fit_parts import beat, history

from offbeat_train import fit

if TYPE_CHECKING:
    import numpy as np


class Told:
    """Keeps the losses."""

    def __init__(self) -> None:
        self.losses: list[float] = []

    def stage(self, _text: str) -> None:
        pass

    def epoch(self, _epoch: int, _epochs: int, loss: float, _validation: float) -> None:
        self.losses.append(loss)


def run(values: np.ndarray, start: fit.Start | None = None) -> tuple[fit.Fitted, Told]:
    told = Told()
    options = fit.FitOptions(name="beat", window=16, epochs=2, units=(8,), start=start)
    return fit.fit(history(values), options, on=told), told


def start_of(fitted: fit.Fitted) -> fit.Start:
    return fit.Start(spec=fitted.spec, weights=fitted.trained.weights,
                     sensors=tuple(s.name for s in fitted.prepared.sensors))  # fmt: skip


@pytest.fixture(scope="module")
def first() -> tuple[fit.Fitted, Told]:
    return run(beat(700))


def test_it_starts_where_the_last_one_ended(first: tuple[fit.Fitted, Told]) -> None:
    fitted, cold = first
    again, warm = run(beat(700, seed=1), start_of(fitted))
    assert fitted.cold == "nothing to start from"
    assert again.cold is None
    assert again.spec == fitted.spec
    assert warm.losses[0] < cold.losses[0]


def test_other_sensors_mean_a_cold_start_that_is_told(first: tuple[fit.Fitted, Told]) -> None:
    again, _ = run(beat(700, seed=1, width=2), start_of(first[0]))
    assert again.cold == "expected the sensors s0, s1, s2, got s0, s1"
