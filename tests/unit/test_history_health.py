"""What `examine` says of histories with one thing wrong each."""

from __future__ import annotations

import numpy as np
import pytest
from fit_parts import START_MS, beat, history

from offbeat_train.health import examine


def said(values: np.ndarray, **more: object) -> str:
    return "\n".join(examine(history(values, **more)).warnings)  # type: ignore[arg-type]


def test_good_data_raise_no_warning() -> None:
    health = examine(history(beat(2000)))
    assert health.warnings == ()
    assert health.sensors[0].cadence_ms == 1000
    assert health.assets[0].period_ms == 1000


def test_gaps_are_counted_and_measured() -> None:
    times = START_MS + np.arange(100) * 1000
    times[50:] += 60_000
    health = examine(history(beat(100), times_ms=times))
    asset = health.assets[0]
    assert (asset.gaps, asset.longest_gap_ms, asset.missing_ms) == (1, 61_000, 60_000)
    assert "1 gaps" in health.warnings[0]


def test_repeated_times_are_counted() -> None:
    times = START_MS + np.arange(100) * 1000
    times[10] = times[9]
    assert examine(history(beat(100), times_ms=times)).assets[0].duplicates == 1


def test_rows_out_of_order_are_counted() -> None:
    row = np.arange(100)
    row[[20, 21]] = row[[21, 20]]
    assert examine(history(beat(100), row=row)).assets[0].out_of_order == 1


def test_dead_and_constant_sensors_are_named() -> None:
    values = beat(200)
    values[:, 1] = np.nan
    values[:, 2] = 7.0
    health = examine(history(values))
    assert [s.dead for s in health.sensors] == [False, True, False]
    assert [s.constant for s in health.sensors] == [False, False, True]
    assert "'s1' never reports" in health.warnings
    assert any("'s2' is always 7" in warning for warning in health.warnings)


@pytest.mark.parametrize("sentinel", [-9999.0, 9999.0, 65535.0])
def test_sentinel_values_are_recognised_and_kept_out_of_the_range(sentinel: float) -> None:
    values = beat(500)
    values[::50, 0] = sentinel
    sensor = examine(history(values)).sensors[0]
    assert sensor.sentinels == (sentinel,)
    assert 10 < sensor.low < sensor.high < 30


def test_minus_one_is_no_sentinel_where_such_values_are_common() -> None:
    rng = np.random.default_rng(0)
    values = np.round(rng.normal(scale=3.0, size=(500, 1)))
    assert examine(history(values)).sensors[0].sentinels == ()


@pytest.mark.parametrize("factor", [10.0, 1000.0])
def test_a_change_of_unit_is_noticed(factor: float) -> None:
    values = 20.0 + np.random.default_rng(0).normal(scale=0.1, size=(4000, 1))
    values[2000:] *= factor
    assert f"a factor of {factor:g}" in said(values)


def test_a_load_that_doubles_is_no_change_of_unit() -> None:
    values = 20.0 + np.random.default_rng(0).normal(scale=0.1, size=(4000, 1))
    values[2000:] *= 2.0
    assert said(values) == ""


def test_missing_share_and_rests_are_measured() -> None:
    values = np.repeat(np.arange(100.0), 4)[:, None]
    values[::10] = np.nan
    sensor = examine(history(values)).sensors[0]
    assert sensor.missing_share == pytest.approx(0.1)
    assert sensor.longest_flat == 3
    assert sensor.flat_share > 0.5


def test_a_counter_is_recognised() -> None:
    steps = np.arange(200.0)[:, None]
    assert examine(history(steps)).sensors[0].counter
    assert not examine(history(steps % 150)).sensors[0].counter
    with_holes = np.where(steps % 50 == 7, -9999.0, steps)
    assert examine(history(with_holes)).sensors[0].counter
    thrown_once = (steps > 100).astype(np.float64)
    assert not examine(history(thrown_once)).sensors[0].counter
