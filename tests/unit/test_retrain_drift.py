"""Drift: what is equal is not told as moved, what has moved is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from offbeat_train.retrain.drift import MARKED, Reference, reference, shift, stability

RNG = np.random.default_rng(0)
NORMAL = RNG.normal(size=4000)


def test_two_samples_of_one_distribution_are_alike() -> None:
    assert stability(reference(NORMAL), RNG.normal(size=4000)) < 0.02


@pytest.mark.parametrize("moved", [NORMAL + 1.0, NORMAL * 3.0, np.abs(NORMAL), np.zeros(50)])
def test_a_moved_distribution_is_marked(moved: np.ndarray) -> None:
    assert stability(reference(NORMAL), moved) > MARKED


def test_a_sensor_that_mostly_rests_has_not_moved_while_it_rests_as_often() -> None:
    resting = np.where(RNG.random(5000) < 0.7, 0.0, 1.0)
    again = np.where(RNG.random(5000) < 0.7, 0.0, 1.0)
    assert stability(reference(resting), again) < 0.02
    assert stability(reference(resting), 1.0 - again) > MARKED


def test_a_sensor_that_never_moved_is_marked_when_it_does() -> None:
    still = np.full(100, 3.0)
    assert stability(reference(still), still) == 0.0
    assert stability(reference(still), still + 0.1) > MARKED


def test_the_index_is_the_formula_by_hand() -> None:
    known = Reference(cuts=(0.0,), shares=(0.5, 0.5), low=-1.0, middle=0.0, high=1.0)
    values = np.array([-1.0, 1.0, 1.0, 1.0])
    expected = (0.25 - 0.5) * np.log(0.25 / 0.5) + (0.75 - 0.5) * np.log(0.75 / 0.5)
    assert stability(known, values) == pytest.approx(expected)


def test_a_shift_says_where_to_and_how_wide() -> None:
    found = shift("flow", reference(NORMAL), 2.0 * NORMAL + 1.5)
    assert found.level == pytest.approx(1.5, abs=0.1)
    assert found.spread == pytest.approx(2.0, abs=0.01)


values = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60).map(np.array)


@given(values, values)
def test_the_index_is_finite_and_never_negative(one: np.ndarray, other: np.ndarray) -> None:
    known = reference(one)
    assert sum(known.shares) == pytest.approx(1.0)
    assert stability(known, one) == 0.0
    assert 0.0 <= stability(known, other) < 100.0
