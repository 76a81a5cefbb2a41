"""The simulated plant: reproducible, seamless, and coupled as its equations say."""

from __future__ import annotations

import numpy as np
import pytest

from offbeat_broker.plant import Plant
from offbeat_broker.signals import DAY_MS, HOUR_MS, lag

START = 20_000 * DAY_MS
PERIOD = 60_000


def column(plant: Plant, name: str) -> int:
    return plant.sensors.index(name)


def running(plant: Plant, days: int = 5) -> np.ndarray:
    """Return (N, sensors) readings of steady running, all pumps together."""
    values = plant.history(start_ms=START, duration_ms=days * DAY_MS, period_ms=PERIOD).values
    speed = values[:, :, 0]
    steady = (speed[:, 1:] > 800) & (np.abs(np.diff(speed, axis=1)) < 10)
    return values[:, 1:][steady]


def test_the_same_seed_gives_the_same_bits() -> None:
    first, second = (
        Plant(seed=3, pumps=2).history(start_ms=START, duration_ms=DAY_MS, period_ms=PERIOD)
        for _ in range(2)
    )
    assert np.array_equal(first.values, second.values)


def test_another_seed_gives_another_plant() -> None:
    first, second = (
        Plant(seed=seed).history(start_ms=START, duration_ms=HOUR_MS, period_ms=PERIOD)
        for seed in (3, 4)
    )
    assert not np.array_equal(first.values, second.values)


@pytest.mark.parametrize("period_ms", [10_000, 60_000, 70_000])
def test_a_history_cut_in_two_equals_the_whole(period_ms: int) -> None:
    plant = Plant(seed=5, pumps=2)
    whole = plant.history(
        start_ms=START - START % period_ms, duration_ms=1000 * period_ms, period_ms=period_ms
    )
    tail = plant.history(
        start_ms=int(whole.time_ms[421]), duration_ms=579 * period_ms, period_ms=period_ms
    )
    np.testing.assert_allclose(tail.values, whole.values[:, 421:], atol=0.101, rtol=0)
    assert np.mean(tail.values != whole.values[:, 421:]) < 1e-4


def test_one_pump_alone_reads_as_among_others() -> None:
    plant = Plant(seed=5, pumps=3)
    span = {"start_ms": START, "duration_ms": HOUR_MS, "period_ms": PERIOD}
    alone = plant.history(**span, assets=("pump2",))
    assert np.array_equal(alone.values[0], plant.history(**span).values[1])


def test_readings_are_plausible_in_their_units() -> None:
    plant = Plant(seed=1, pumps=4)
    rows = running(plant)
    low = {"speed": 800, "current": 5, "flow": 10, "pressure": 0.8, "bearing_temp": 15,
           "motor_temp": 12, "fluid_temp": 8, "vibration": 0.2}  # fmt: skip
    high = {"speed": 1550, "current": 45, "flow": 90, "pressure": 4.6, "bearing_temp": 75,
            "motor_temp": 110, "fluid_temp": 30, "vibration": 4.5}  # fmt: skip
    for i, sensor in enumerate(plant.sensors):
        assert low[sensor] < rows[:, i].min(), sensor
        assert rows[:, i].max() < high[sensor], sensor


def test_pumps_start_and_stop_and_mostly_run() -> None:
    plant = Plant(seed=2, pumps=3)
    values = plant.history(start_ms=START, duration_ms=10 * DAY_MS, period_ms=PERIOD).values
    on = values[:, :, 0] > 0
    assert 0.7 < on.mean() < 0.995
    assert (np.diff(on.astype(int), axis=1) == -1).sum() >= 10


def test_a_stopped_pump_moves_nothing() -> None:
    plant = Plant(seed=2, pumps=3)
    values = plant.history(start_ms=START, duration_ms=10 * DAY_MS, period_ms=PERIOD).values
    still = values[values[:, :, 0] == 0]
    assert len(still) > 100
    for name, most in (("flow", 2.0), ("vibration", 0.2), ("current", 1.0)):
        assert still[:, column(plant, name)].max() < most, name


def test_flow_and_pressure_follow_from_speed() -> None:
    """Pressure and flow together give the speed: the pump's own curve, to 2 %."""
    plant = Plant(seed=4, pumps=1)
    rows = running(plant)
    speed, flow, pressure = (rows[:, column(plant, name)] for name in ("speed", "flow", "pressure"))
    basis = np.stack([pressure, flow**2, np.ones_like(flow)], axis=1)
    fit, *_ = np.linalg.lstsq(basis, speed**2, rcond=None)
    assert np.std(basis @ fit - speed**2) < 0.02 * np.mean(speed**2)


def test_each_sensor_is_explained_by_the_others_and_not_by_the_hour() -> None:
    """What a model can learn: couplings hold far better than the daily rhythm."""
    plant = Plant(seed=4, pumps=1)
    rows = running(plant, days=10)
    for name in ("current", "flow", "pressure", "vibration"):
        i = column(plant, name)
        others = np.delete(rows, i, axis=1)
        basis = np.column_stack([others, others**2, np.ones(len(rows))])
        residual = rows[:, i] - basis @ np.linalg.lstsq(basis, rows[:, i], rcond=None)[0]
        assert residual.std() < 0.4 * rows[:, i].std(), name


def test_one_day_does_not_repeat_the_other() -> None:
    plant = Plant(seed=4, pumps=1)
    values = plant.history(start_ms=START, duration_ms=2 * DAY_MS, period_ms=PERIOD).values[0]
    days = values.reshape(2, -1, values.shape[1])[:, :, column(plant, "flow")]
    assert np.corrcoef(days)[0, 1] < 0.8


def test_lag_equals_the_recursion() -> None:
    x = np.random.default_rng(0).normal(size=500)
    a, y, expected = np.exp(-1 / 37.0), 0.0, []
    for value in x:
        y = a * y + (1 - a) * value
        expected.append(y)
    np.testing.assert_allclose(lag(x, steps=37.0), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("build", "says"),
    [
        (lambda: Plant(seed=-1), "seed: expected"),
        (lambda: Plant(seed=1, pumps=0), "pumps: expected 1 to"),
        (
            lambda: Plant(seed=1).history(start_ms=0, duration_ms=1000, period_ms=1),
            "period: expected",
        ),
        (
            lambda: Plant(seed=1).history(start_ms=0, duration_ms=10, period_ms=1000),
            "duration: expected",
        ),
    ],
)
def test_impossible_plants_are_refused_with_what_was_expected(build, says: str) -> None:  # noqa: ANN001
    with pytest.raises(ValueError, match=says):
        build()
