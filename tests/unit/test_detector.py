from __future__ import annotations

import msgspec
import numpy as np
import pytest
from chance import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from offbeat_edge.detector import Detector, DetectorSpec, Fallback, FallbackSpec, Scores, fold
from offbeat_edge.errors import BundleError
from offbeat_edge.schema import SensorSpec


def sensors(scored: list[bool]) -> tuple[SensorSpec, ...]:
    return tuple(
        SensorSpec(name=f"s{i}", center=0.0, scale=1.0, cadence_ms=1000, scored=flag)
        for i, flag in enumerate(scored)
    )


def identity(count: int, *, rows: int = 8) -> DetectorSpec:
    eye = tuple(tuple(float(i == j) for j in range(count)) for i in range(count))
    return DetectorSpec(rows=rows, center=(0.0,) * count, precision=eye)


def correlated(count: int, rows: int, rng: np.random.Generator) -> DetectorSpec:
    root = rng.normal(size=(count, count))
    matrix = root @ root.T + np.eye(count)
    rows_of = tuple(tuple(float(x) for x in row) for row in matrix)
    center = tuple(float(x) for x in rng.normal(size=count))
    alone = tuple(float(x) for x in rng.uniform(0.2, 2.0, size=count * int(rng.integers(2))))
    return DetectorSpec(rows=rows, center=center, precision=rows_of, alone=alone)


def same_bits(left: Scores, right: Scores) -> bool:
    return all(a.tobytes() == b.tobytes() for a, b in zip(left, right, strict=True))


@settings(max_examples=examples(60))
@given(
    shape=st.tuples(st.integers(1, 9), st.integers(1, 40), st.integers(1, 9)),
    rows=st.integers(1, 40),
    seed=st.integers(0, 2**32 - 1),
    order=st.sampled_from(["C", "F"]),
)
def test_a_window_scores_the_same_alone_and_in_any_batch(
    shape: tuple[int, int, int], rows: int, seed: int, order: str
) -> None:
    count, _, width = shape
    rng = np.random.default_rng(seed)
    spec = correlated(width, rows, rng)
    detector = Detector(spec, sensors([True] * width), threshold=0.7)
    windows = np.array(rng.normal(size=shape), order=order)  # type: ignore[call-overload]
    recon = rng.normal(size=shape)
    batch = detector.score(windows, recon)
    for i in range(count):
        alone = detector.score(windows[i : i + 1].copy(), recon[i : i + 1].copy())
        assert same_bits(alone, Scores(*(part[i : i + 1] for part in batch)))


@settings(max_examples=examples(40))
@given(st.integers(1, 9), st.integers(1, 40), st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_the_fallback_scores_the_same_alone_and_in_any_batch(
    count: int, steps: int, width: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    ones = (1.0,) * width
    spec = FallbackSpec(
        threshold=2.0, level_center=ones, level_scale=ones, spread_center=ones, spread_scale=ones
    )
    fallback = Fallback(spec, sensors([True] * width))
    windows = rng.normal(size=(count, steps, width))
    batch = fallback.score(windows)
    for i in range(count):
        alone = fallback.score(windows[i : i + 1].copy())
        assert same_bits(alone, Scores(*(part[i : i + 1] for part in batch)))


def test_the_score_is_the_distance_of_the_last_rows_over_the_threshold() -> None:
    rng = np.random.default_rng(0)
    spec = correlated(3, 5, rng)
    windows, recon = rng.normal(size=(2, 4, 12, 3))
    result = Detector(spec, sensors([True] * 3), threshold=4.0).score(windows, recon)
    residual = (windows - recon)[:, -5:] - np.array(spec.center)
    distance = np.einsum("nti,ij,ntj->n", residual, np.array(spec.precision), residual)
    np.testing.assert_allclose(result.raw, np.sqrt(distance / 15), rtol=1e-12)
    np.testing.assert_allclose(result.score, result.raw / 4.0, rtol=1e-12)


def test_an_unscored_sensor_moves_nothing_and_has_no_share() -> None:
    detector = Detector(identity(2), sensors([True, False, True]), threshold=1.0)
    windows = np.zeros((1, 8, 3))
    windows[..., 0] = 1.0
    windows[..., 1] = 1e9
    result = detector.score(windows, np.zeros_like(windows))
    assert result.raw[0] == pytest.approx(np.sqrt(0.5))
    assert result.shares[0].tolist() == [1.0, 0.0, 0.0]


@settings(max_examples=examples(40))
@given(st.integers(1, 8), st.integers(0, 2**32 - 1))
def test_shares_are_positive_and_sum_to_one(width: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    detector = Detector(correlated(width, 4, rng), sensors([True] * width), threshold=1.0)
    windows, recon = rng.normal(size=(2, 6, 9, width))
    shares = detector.score(windows, recon).shares
    assert (shares >= 0.0).all()
    np.testing.assert_allclose(shares.sum(axis=1), 1.0, rtol=1e-12)


def test_a_perfect_reconstruction_has_even_shares() -> None:
    spec = identity(2)
    zeros = np.zeros((1, 8, 2))
    result = Detector(spec, sensors([True, True]), threshold=1.0).score(zeros, zeros)
    assert result.raw[0] == 0.0
    assert result.shares[0].tolist() == [0.5, 0.5]


def test_the_faulty_sensor_has_the_top_share_though_its_neighbour_correlates() -> None:
    covariance = np.array([[1.0, 0.95, 0.0], [0.95, 1.0, 0.0], [0.0, 0.0, 1.0]])
    matrix = np.linalg.inv(covariance)
    spec = DetectorSpec(
        rows=8, center=(0.0,) * 3, precision=tuple(tuple(map(float, row)) for row in matrix)
    )
    windows = np.zeros((1, 8, 3))
    windows[..., 0] = 3.0
    result = Detector(spec, sensors([True] * 3), threshold=1.0).score(windows, np.zeros((1, 8, 3)))
    assert result.shares[0].argmax() == 0


def test_one_sensor_among_many_counts_by_itself() -> None:
    wrong = np.zeros((1, 8, 40))
    wrong[..., 7] = 3.0
    plain = identity(40)
    alone = msgspec.structs.replace(plain, alone=(0.5,) * 40)
    scores = [
        Detector(spec, sensors([True] * 40), threshold=1.0).score(wrong, np.zeros_like(wrong))
        for spec in (plain, alone)
    ]
    assert [s.score[0] for s in scores] == pytest.approx([3.0 / np.sqrt(40), 1.5])
    np.testing.assert_array_equal(scores[0].shares, scores[1].shares)


def test_a_sensors_own_distance_is_from_what_the_others_ask_for() -> None:
    covariance = np.array([[1.0, 0.9], [0.9, 1.0]])
    precision = tuple(tuple(map(float, row)) for row in np.linalg.inv(covariance))
    spec = DetectorSpec(rows=1, center=(0.0, 0.0), precision=precision)
    detector = Detector(spec, sensors([True, True]), threshold=1.0)
    residuals = np.array([[[1.0, 1.0]], [[1.0, -1.0]]])
    # One given the other: mean 0.9 times the other, variance 1 - 0.9 squared.
    expected = np.abs(residuals[:, 0] - 0.9 * residuals[:, 0, ::-1]) / np.sqrt(1 - 0.9**2)
    np.testing.assert_allclose(detector.own(residuals, np.zeros((2, 1, 2))), expected)


def test_absurd_values_score_high_and_finite() -> None:
    detector = Detector(identity(1), sensors([True]), threshold=1.0)
    result = detector.score(np.full((1, 8, 1), 1e300), np.zeros((1, 8, 1)))
    assert np.isfinite(result.score[0])
    assert result.score[0] > 1e5


def test_no_windows_give_no_scores() -> None:
    detector = Detector(identity(2), sensors([True, True]), threshold=1.0)
    result = detector.score(np.zeros((0, 8, 2)), np.zeros((0, 8, 2)))
    assert result.score.shape == (0,)
    assert result.shares.shape == (0, 2)


def test_the_fallback_sees_a_shift_and_names_its_sensor() -> None:
    spec = FallbackSpec(
        threshold=3.0,
        level_center=(0.0, 0.0),
        level_scale=(1.0, 1.0),
        spread_center=(0.0, 0.0),
        spread_scale=(1.0, 1.0),
    )
    windows = np.zeros((2, 8, 3))
    windows[1, :, 2] = 20.0
    result = Fallback(spec, sensors([True, False, True])).score(windows)
    assert result.score[0] == 0.0
    assert result.score[1] > 1.0
    assert result.shares[1].tolist() == [0.0, 0.0, 1.0]


@given(st.integers(1, 70), st.integers(0, 2**32 - 1))
def test_fold_is_a_sum(length: int, seed: int) -> None:
    values = np.random.default_rng(seed).normal(size=(3, length))
    np.testing.assert_allclose(fold(values, axis=1), values.sum(axis=1), atol=1e-12)


@pytest.mark.parametrize("threshold", [0.0, -1.0, float("nan"), float("inf")])
def test_a_useless_threshold_is_refused(threshold: float) -> None:
    with pytest.raises(BundleError, match="threshold"):
        Detector(identity(1), sensors([True]), threshold=threshold)


def test_what_sensors_count_alone_must_be_of_their_number() -> None:
    spec = msgspec.structs.replace(identity(3), alone=(1.0, 1.0))
    with pytest.raises(BundleError, match="alone: expected 3 scored sensors, got 2"):
        Detector(spec, sensors([True] * 3), threshold=1.0)


def test_a_spec_of_another_width_is_refused() -> None:
    with pytest.raises(BundleError, match="expected 2 scored sensors, got 1"):
        Detector(identity(1), sensors([True, True]), threshold=1.0)


def test_nothing_to_score_is_refused() -> None:
    with pytest.raises(BundleError, match="at least one scored sensor"):
        Detector(identity(1), sensors([False]), threshold=1.0)


def test_the_spec_survives_json() -> None:
    spec = correlated(3, 4, np.random.default_rng(1))
    assert msgspec.json.decode(msgspec.json.encode(spec), type=DetectorSpec) == spec


def test_a_sensor_far_from_its_center_is_blamed_before_those_it_misleads() -> None:
    windows = np.zeros((1, 8, 3))
    windows[0, :, 1] = 6.0
    recon = np.full((1, 8, 3), -1.0)  # the model took a part of it for the others'
    recon[0, :, 1] = 5.0
    shares = Detector(identity(3), sensors([True] * 3), threshold=1.0).score(windows, recon).shares
    assert shares[0].argmax() == 1
    assert shares[0, 1] > 0.9
