"""Faults: where they are, what they break, and that nothing else changes."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, get_args

import numpy as np
import pytest

from offbeat_broker import schedule
from offbeat_broker.faults import KINDS, Fault, FaultKind, check, read_schedule
from offbeat_broker.plant import Plant
from offbeat_broker.signals import DAY_MS, HOUR_MS

if TYPE_CHECKING:
    from pathlib import Path

    from offbeat_broker.plant import History

PLANT = Plant(seed=6, pumps=2)
DAY = 20_000 * DAY_MS
PERIOD = 30_000
LENGTH = 2 * HOUR_MS


def _running_stretch() -> int:
    """Return the start of two hours in which pump1 never stops."""
    for start in range(DAY, DAY + 3 * DAY_MS, HOUR_MS):
        if PLANT.running("pump1", np.arange(start - HOUR_MS, start + LENGTH, PERIOD)).all():
            return start
    raise AssertionError("expected a running stretch within three days")


FROM = _running_stretch()


def fault(kind: FaultKind, **more: object) -> Fault:
    named = {"asset": "pump1", "start_ms": FROM, "end_ms": FROM + LENGTH} | more
    return Fault(kind=kind, **named)  # type: ignore[arg-type]


def history(*plan: Fault) -> History:
    return PLANT.history(
        start_ms=FROM - HOUR_MS, duration_ms=LENGTH + 2 * HOUR_MS, period_ms=PERIOD, schedule=plan
    )


HEALTHY = history()
INSIDE = (HEALTHY.time_ms >= FROM) & (HEALTHY.time_ms < FROM + LENGTH)


def change(plan: Fault, sensor: str) -> np.ndarray:
    """Return faulty minus healthy of pump1 during the fault, in sigmas."""
    i = PLANT.sensors.index(sensor)
    difference = history(plan).values[0, INSIDE, i] - HEALTHY.values[0, INSIDE, i]
    return difference / PLANT.sigma[sensor]


ALL = [
    fault("bearing_wear", magnitude=3.0),
    fault("leak", magnitude=1.5),
    fault("cavitation", magnitude=2.0),
    fault("clogging", magnitude=1.5),
    fault("sensor_stuck", sensor="flow"),
    fault("sensor_drift", sensor="pressure", magnitude=-2.0),
    fault("spike", sensor="current", magnitude=5.0),
    fault("dropout", sensor="flow"),
]


def test_every_kind_is_tried_here() -> None:
    assert {f.kind for f in ALL} == set(KINDS) == set(get_args(FaultKind))


@pytest.mark.parametrize("plan", ALL, ids=lambda f: f.kind)
def test_nothing_changes_before_a_fault_nor_on_another_pump(plan: Fault) -> None:
    faulty = history(plan)
    before = HEALTHY.time_ms < FROM
    assert np.array_equal(faulty.values[:, before], HEALTHY.values[:, before])
    assert np.array_equal(faulty.values[1], HEALTHY.values[1])
    assert not np.array_equal(faulty.values[0], HEALTHY.values[0])


@pytest.mark.parametrize("plan", ALL[4:], ids=lambda f: f.kind)
def test_a_faulty_instrument_leaves_the_others_alone(plan: Fault) -> None:
    others = [i for i, name in enumerate(PLANT.sensors) if name != plan.sensor]
    assert np.array_equal(history(plan).values[:, :, others], HEALTHY.values[:, :, others])


@pytest.mark.parametrize("plan", ALL[4:], ids=lambda f: f.kind)
def test_an_instrument_reads_right_again_afterwards(plan: Fault) -> None:
    after = HEALTHY.time_ms >= FROM + LENGTH
    assert np.array_equal(history(plan).values[:, after], HEALTHY.values[:, after])


def test_bearing_wear_shakes_and_warms_more_and_more() -> None:
    vibration = change(ALL[0], "vibration")
    warmth = change(ALL[0], "bearing_temp")
    thirds = [part.mean() for part in np.array_split(vibration, 3)]
    assert thirds[0] < thirds[1] < thirds[2]
    assert warmth[-20:].mean() > 0.5
    assert np.abs(change(ALL[0], "flow")).max() < 0.1


def test_a_leak_takes_flow_and_some_pressure_and_leaves_speed_alone() -> None:
    assert change(ALL[1], "flow")[40:].mean() < -0.7
    assert change(ALL[1], "pressure")[40:].mean() < -0.05
    assert np.abs(change(ALL[1], "speed")).max() == 0.0


def test_a_leak_is_small_beside_what_load_changes_do() -> None:
    i = PLANT.sensors.index("flow")
    leaking = history(ALL[1]).values[0, INSIDE, i]
    week = PLANT.history(start_ms=DAY, duration_ms=7 * DAY_MS, period_ms=600_000).values[0, :, i]
    assert leaking.min() > week[week > 10].min() * 0.8


def test_cavitation_is_rough_from_its_first_moment() -> None:
    vibration = change(ALL[2], "vibration")
    assert vibration.min() > 0.0
    assert vibration.std() > 0.2
    assert change(ALL[2], "flow").std() > 0.1


def test_clogging_takes_flow_pressure_and_current() -> None:
    for sensor in ("flow", "pressure", "current"):
        assert change(ALL[3], sensor)[40:].mean() < -0.2, sensor


def test_a_stuck_sensor_repeats_its_first_reading() -> None:
    i = PLANT.sensors.index("flow")
    assert len(set(history(ALL[4]).values[0, INSIDE, i].tolist())) == 1


def test_drift_grows_to_its_magnitude_and_keeps_its_sign() -> None:
    drift = change(ALL[5], "pressure")
    assert drift[0] == pytest.approx(0.0, abs=0.05)
    assert drift[-1] == pytest.approx(-2.0, abs=0.1)


def test_a_spike_has_its_magnitude_in_sigmas() -> None:
    np.testing.assert_allclose(change(ALL[6], "current"), 5.0, atol=0.05)


def test_a_dropout_without_a_sensor_silences_the_asset() -> None:
    values = history(fault("dropout")).values[0]
    assert np.isnan(values[INSIDE]).all()
    assert not np.isnan(values[~INSIDE]).any()


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_random_schedule_has_all_kinds_apart_and_on_running_pumps(seed: int) -> None:
    plant = Plant(seed=seed, pumps=4)
    plan = schedule.draw(plant, seed=seed, start_ms=DAY, duration_ms=36 * HOUR_MS, each=2)
    assert sorted(f.kind for f in plan) == sorted(2 * KINDS)
    for asset in plant.assets:
        own = [f for f in plan if f.asset == asset]
        for first, second in itertools.pairwise(own):
            assert second.start_ms - first.end_ms >= schedule.RECOVER_MS
    shares = [
        plant.running(f.asset, np.linspace(f.start_ms, f.end_ms, 60).astype(np.int64)).mean()
        for f in plan
    ]
    assert min(shares) > 0.6
    assert np.mean(shares) > 0.9


def test_too_many_faults_for_the_time_are_refused() -> None:
    with pytest.raises(ValueError, match="duration: expected at least"):
        schedule.draw(PLANT, seed=0, start_ms=DAY, duration_ms=DAY_MS, each=3)


def test_ground_truth_says_what_really_happened() -> None:
    leak = schedule.truth(PLANT, ALL[1], period_ms=PERIOD)
    assert leak.unit == "m3/h"
    assert leak.magnitude_units == pytest.approx(-1.5 * PLANT.sigma["flow"], rel=1e-3)
    assert leak.deviation is not None
    assert 0.7 < leak.deviation < 2.0
    silent = schedule.truth(PLANT, ALL[7], period_ms=PERIOD)
    assert silent.magnitude is None
    assert silent.deviation is None


def test_a_fault_at_half_the_magnitude_deviates_about_half() -> None:
    small, large = (
        schedule.truth(PLANT, fault("leak", magnitude=m), period_ms=PERIOD).deviation
        for m in (1.0, 2.0)
    )
    assert small is not None
    assert large is not None
    assert large / small == pytest.approx(2.0, rel=0.3)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ({"asset": "pump1", "kind": "leek", "start_ms": 0, "end_ms": 1}, "leek"),
        ({"asset": "pump1", "kind": "leak", "start_ms": 1, "end_ms": 1}, "end after start"),
        ({"asset": "pump1", "kind": "leak", "start_ms": 0, "end_ms": 1}, "magnitude above 0"),
        ({"asset": "pump1", "kind": "spike", "start_ms": 0, "end_ms": 1}, "a sensor, got none"),
        ({"asset": "p", "kind": "dropout", "start_ms": 0, "end_ms": 1, "x": 1}, "`x`"),
    ],
)
def test_a_wrong_schedule_line_is_refused_with_its_place(
    tmp_path: Path, line: dict[str, object], says: str
) -> None:
    path = tmp_path / "faults.jsonl"
    path.write_text("\n" + json.dumps(line))
    with pytest.raises(ValueError, match=says) as caught:
        read_schedule(path)
    assert f"{path}:2" in str(caught.value)


def test_a_schedule_for_another_plant_is_told_line_by_line() -> None:
    plan = [fault("leak", asset="pump9", magnitude=1.0), fault("dropout", sensor="smell")]
    problems = check(plan, PLANT.assets, PLANT.sensors)
    assert len(problems) == 2
    assert "pump9" in problems[0]
    assert "smell" in problems[1]
