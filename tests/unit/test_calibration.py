from __future__ import annotations

import msgspec
import numpy as np
import pytest

from offbeat_edge.detector import Detector, Fallback
from offbeat_edge.schema import SensorSpec
from offbeat_train.baseline import WindowedPca
from offbeat_train.calibration import WEEK_MS, Calibration, Holdout, calibrate, return_level

SENSORS = tuple(SensorSpec(name=n, center=0.0, scale=1.0, cadence_ms=1000) for n in "abc")


def normal(rows: int, *, seed: int, steps: int = 16, stride: int = 4) -> Holdout:
    rng = np.random.default_rng(seed)
    series = rng.normal(size=(rows, 3)) * [1.0, 0.2, 3.0]
    view = np.lib.stride_tricks.sliding_window_view(series, steps, axis=0)
    windows = np.ascontiguousarray(view[::stride].swapaxes(1, 2))
    return Holdout(
        windows=windows,
        recon=np.zeros_like(windows),
        run=np.zeros(len(windows), dtype=np.intp),
        stride=stride,
        period_ms=60_000,
    )


def alarms_per_week(result: Calibration, holdout: Holdout) -> float:
    detector = Detector(result.detector, SENSORS, threshold=result.threshold)
    above = detector.score(holdout.windows, holdout.recon).score > 1.0
    runs = int((np.diff(np.r_[0, above.astype(int)]) == 1).sum())
    return runs * WEEK_MS / (len(above) * holdout.stride * holdout.period_ms)


@pytest.mark.parametrize("budget", [5.0, 50.0])
def test_the_budget_is_kept_on_fresh_normal_rows(budget: float) -> None:
    result = calibrate(normal(10_000, seed=1), SENSORS, budget_per_week=budget)
    achieved = alarms_per_week(result, normal(200_000, seed=2))
    assert budget / 5 < achieved < budget * 3


def many(rows: int, *, seed: int, width: int = 30) -> Holdout:
    """Sensors that are calm, but for every third, which spikes."""
    rng = np.random.default_rng(seed)
    series = rng.normal(size=(rows, width))
    series[:, ::3] += (rng.random((rows, len(range(0, width, 3)))) < 0.003) * 20.0
    view = np.lib.stride_tricks.sliding_window_view(series, 16, axis=0)[::4]
    windows = np.ascontiguousarray(view.swapaxes(1, 2))
    return normal(100, seed=0)._replace(
        windows=windows, recon=np.zeros_like(windows), run=np.zeros(len(windows), dtype=np.intp)
    )


def test_one_of_many_sensors_is_heard_and_one_that_always_spikes_is_not() -> None:
    names = tuple(
        SensorSpec(name=f"s{i}", center=0.0, scale=1.0, cadence_ms=1000) for i in range(30)
    )
    found = calibrate(many(20_000, seed=1), names, budget_per_week=20.0)
    detector = Detector(found.detector, names, threshold=found.threshold)
    fresh = many(4_000, seed=2)
    usual = detector.score(fresh.windows, fresh.recon).score
    assert (usual > 1.0).mean() < 0.02
    fresh.windows[..., 1] += 3.5
    plain = msgspec.structs.replace(found.detector, alone=())
    assert (detector.score(fresh.windows, fresh.recon).score > 1.0).mean() > 0.99
    deaf = Detector(plain, names, threshold=found.threshold)
    assert (deaf.score(fresh.windows, fresh.recon).score > 1.0).mean() < 0.5
    calm, spiking = found.detector.alone[1::3], found.detector.alone[::3]
    assert min(calm) > 1.5 * max(spiking)


def test_a_model_of_one_sensor_has_nobody_to_be_heard_beside() -> None:
    holdout = normal(2_000, seed=1)
    one = holdout._replace(windows=holdout.windows[..., :1], recon=holdout.recon[..., :1])
    assert calibrate(one, SENSORS[:1]).detector.alone == ()


def test_a_smaller_budget_means_a_higher_threshold() -> None:
    holdout = normal(10_000, seed=1)
    strict = calibrate(holdout, SENSORS, budget_per_week=1.0)
    loose = calibrate(holdout, SENSORS, budget_per_week=100.0)
    assert strict.threshold > loose.threshold


def test_little_data_says_which_rate_it_can_speak_of() -> None:
    result = calibrate(normal(300, seed=1), SENSORS, budget_per_week=0.01)
    assert result.supported_per_week > 1.0
    assert result.expected_per_week == result.supported_per_week


def test_the_rate_on_held_out_rows_is_told() -> None:
    holdout = normal(10_000, seed=1)
    result = calibrate(holdout, SENSORS, budget_per_week=100.0)
    weeks = result.held_out_hours / (7 * 24)
    assert result.held_out_alarms > 0
    assert result.held_out_per_week == pytest.approx(result.held_out_alarms / weeks)


def test_each_sensor_counts_alike_whatever_its_residuals_scale() -> None:
    holdout = normal(10_000, seed=1)
    # Sensors of one spread whose residuals are not.
    even = holdout.windows / np.array([1.0, 0.2, 3.0])
    holdout = holdout._replace(windows=even, recon=even - holdout.windows)
    result = calibrate(holdout, SENSORS)
    shares = Detector(result.detector, SENSORS, threshold=1.0).score(*holdout[:2]).shares
    np.testing.assert_allclose(shares.mean(axis=0), 1 / 3, atol=0.01)


def test_a_dead_sensor_does_not_break_the_inverse() -> None:
    holdout = normal(2_000, seed=1)
    holdout.windows[..., 1] = 0.0
    result = calibrate(holdout, SENSORS)
    assert np.isfinite(result.threshold)
    assert np.isfinite(result.detector.precision).all()


def test_the_fallback_stays_quiet_on_normal_rows_and_sees_a_shift() -> None:
    result = calibrate(normal(10_000, seed=1), SENSORS)
    fallback = Fallback(result.fallback, SENSORS)
    fresh = normal(2_000, seed=3).windows
    assert (fallback.score(fresh).score > 1.0).mean() < 0.01
    assert (fallback.score(fresh + np.array([0.0, 2.0, 0.0])).score > 1.0).all()


def test_no_block_of_maxima_spans_a_gap() -> None:
    holdout = normal(400, seed=1)
    cut = holdout._replace(run=np.arange(len(holdout.run)))
    assert calibrate(cut, SENSORS).held_out_hours > calibrate(holdout, SENSORS).held_out_hours


def test_a_return_level_grows_with_the_return_period() -> None:
    maxima = np.random.default_rng(0).gumbel(3.0, 0.5, size=400)
    levels = [return_level(maxima, every=every) for every in (10.0, 100.0, 1000.0)]
    assert levels == sorted(levels)
    assert np.mean(maxima > levels[0]) == pytest.approx(0.1, abs=0.03)


def test_a_perfect_model_does_not_alarm_at_rounding() -> None:
    holdout = normal(2_000, seed=1)
    holdout = holdout._replace(recon=holdout.windows.copy())
    result = calibrate(holdout, SENSORS)
    detector = Detector(result.detector, SENSORS, threshold=result.threshold)
    off = holdout.windows + 0.04 * np.sign(np.sin(np.arange(16)))[:, None]
    assert (detector.score(off, holdout.recon).score < 1.0).all()


def test_nothing_held_out_is_refused() -> None:
    empty = normal(400, seed=1)
    empty = empty._replace(windows=empty.windows[:0], recon=empty.recon[:0], run=empty.run[:0])
    with pytest.raises(ValueError, match="expected held-out windows"):
        calibrate(empty, SENSORS)


def test_a_budget_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="budget above 0"):
        calibrate(normal(400, seed=1), SENSORS, budget_per_week=0.0)


def test_the_baseline_sees_a_broken_coupling() -> None:
    rng = np.random.default_rng(0)
    drive = np.sin(np.arange(3000) / 9.0)
    series = np.stack([drive, 2 * drive], axis=1) + 0.01 * rng.normal(size=(3000, 2))
    windows = np.lib.stride_tricks.sliding_window_view(series, 32, axis=0).swapaxes(1, 2)
    pca = WindowedPca.fit(windows[:2000])
    broken = windows[2000:].copy()
    broken[..., 1] *= -1.0
    error = [np.abs(pca.reconstruct(w) - w).mean() for w in (windows[2000:], broken)]
    assert error[1] > 10 * error[0]
