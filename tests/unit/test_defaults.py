from __future__ import annotations

import numpy as np
import pytest

from offbeat_train.defaults import (
    LONE,
    LONGEST,
    USUAL,
    WINDOW,
    Spectrum,
    choose_patch,
    choose_rank,
    choose_shares,
    choose_stride,
    choose_window,
    find_period,
    has_beat,
    judged_rows,
    linear_path,
    principal,
    without_spikes,
)


def beat(
    rows: int, period: float, *, noise: float = 0.1
) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    rng = np.random.default_rng(0)
    wave = np.sin(np.arange(rows) * 2 * np.pi / period) ** 3
    return np.stack([wave, -wave], axis=1) + noise * rng.normal(size=(rows, 2))


@pytest.mark.parametrize("period", [12, 40, 97, 250])
def test_a_beat_is_found_once_not_twice(period: int) -> None:
    found = find_period(beat(4000, period))
    assert found is not None
    assert abs(found - period) <= 2


def test_noise_has_no_beat() -> None:
    rows = np.random.default_rng(0).normal(size=(4000, 3))
    assert find_period(rows) is None
    assert choose_window(rows) == WINDOW


def test_a_drift_has_no_beat() -> None:
    assert find_period(np.linspace(0.0, 1.0, 3000)[:, None]) is None


def test_a_beat_of_which_a_window_holds_less_than_half_is_none() -> None:
    rows = beat(4000, 100)
    assert has_beat(rows, 56)
    assert not has_beat(rows, 48)
    assert not has_beat(np.random.default_rng(0).normal(size=(4000, 3)), 64)


def test_a_lone_sensor_without_a_beat_keeps_less_and_is_judged_whole() -> None:
    assert choose_shares(1, beat=False) == LONE
    assert choose_shares(1, beat=True) == choose_shares(2, beat=False) == USUAL
    walk = np.random.default_rng(0).normal(size=(4000, 1)).cumsum(axis=0) / 30.0
    windows = np.lib.stride_tricks.sliding_window_view(walk, 64, axis=0).swapaxes(1, 2)
    windows = windows - windows.mean(axis=1, keepdims=True)
    assert choose_rank(windows, LONE) < choose_rank(windows, USUAL)
    assert len(linear_path(Spectrum.of(windows), LONE).gains) == choose_rank(windows, LONE)
    assert (judged_rows(64, LONE), judged_rows(64, USUAL)) == (64, 32)


def test_a_command_column_does_not_set_the_beat() -> None:
    command = (np.arange(3000) % 50 == 0).astype(float)[:, None]
    assert find_period(command) is None


def test_a_window_holds_more_than_a_beat_and_is_bounded() -> None:
    assert 60 <= choose_window(beat(5000, 50)) <= 80
    assert choose_window(beat(50_000, 390)) == LONGEST


def test_a_short_history_gets_a_short_window() -> None:
    rows = np.random.default_rng(0).normal(size=(400, 8))
    assert choose_window(rows) == 32


def test_no_window_is_longer_than_half_the_longest_stretch() -> None:
    rows = np.random.default_rng(0).normal(size=(4000, 3))
    assert choose_window(rows, longest_run=60) <= 30


@pytest.mark.parametrize("window", [8, 12, 20, 36, 56, 64, 144, 240, 256])
def test_patch_stride_and_rows_fit_the_window(window: int) -> None:
    assert window % choose_patch(window) == 0
    assert window // choose_patch(window) <= 12
    assert 1 <= choose_stride(window) <= window / 4
    assert 1 <= judged_rows(window) <= window


def test_the_linear_path_leaves_a_residual_of_a_normal_shape_too_large() -> None:
    series = beat(2000, 40)
    windows = np.lib.stride_tricks.sliding_window_view(series, 40, axis=0).swapaxes(1, 2)
    path = linear_path(Spectrum.of(windows))
    flat = (10.0 * windows).reshape(len(windows), -1) - path.mean
    back = (flat @ path.components) * path.gains @ path.components.T
    plain = flat @ path.components @ path.components.T
    assert np.abs(flat - back).mean() > 1.05 * np.abs(flat - plain).mean()
    assert ((path.gains > 0) & (path.gains < 1)).all()


def test_spikes_of_one_sensor_leave_the_others_their_components() -> None:
    calm = np.column_stack([beat(2000, 40), np.random.default_rng(0).normal(size=2000)])
    spiked = calm.copy()
    spiked[::200, 2] = 300.0
    calm, spiked = (
        np.lib.stride_tricks.sliding_window_view(series, 40, axis=0).swapaxes(1, 2)
        for series in (calm, spiked)
    )
    errors = []
    for shown in (spiked, without_spikes(spiked)):
        path = linear_path(Spectrum.of(shown))
        flat = calm.reshape(len(calm), -1) - path.mean
        left = flat - (flat @ path.components) * path.gains @ path.components.T
        errors.append(np.square(left.reshape(calm.shape)[..., :2]).mean())
    assert errors[1] < 0.1 * errors[0]
    assert choose_rank(without_spikes(spiked)) > choose_rank(spiked)


@pytest.mark.parametrize("shape", [(200, 30), (30, 200)])
def test_principal_directions_are_the_same_by_either_product(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    away = rng.normal(size=shape) * np.linspace(1.0, 3.0, shape[1])
    away -= away.mean(axis=0)
    values, directions = principal(away)
    kept = min(shape) - 1
    np.testing.assert_allclose(
        directions[:, :kept].T @ directions[:, :kept], np.eye(kept), atol=1e-8
    )
    np.testing.assert_allclose(((away @ directions[:, :kept]) ** 2).mean(axis=0), values[:kept])
