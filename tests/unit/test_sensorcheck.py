"""Faults of sensors: told by their kind, and blamed only while their readings are about."""

from __future__ import annotations

import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from offbeat_edge.schema import SensorSpec
from offbeat_edge.sensorcheck import RANGE_STEPS, SensorCheck, SensorCheckState, SensorRules
from offbeat_edge.window import Row

WINDOW = 6
HOLD = 3
SENSORS = (
    SensorSpec(name="flow", center=50.0, scale=5.0, low=20.0, high=90.0, cadence_ms=1000,
               stuck_steps=8, sentinels=(0.0, -1.0, 9999.0)),
    SensorSpec(name="heat", center=20.0, scale=5.0, low=-50.0, high=90.0, cadence_ms=1000),
)  # fmt: skip


def check() -> SensorCheck:
    return SensorCheck(SensorRules(SENSORS, window=WINDOW, hold=HOLD))


def story(watched: SensorCheck, flow: list[float]) -> list[str | None]:
    """Feed readings of flow beside a healthy heat; NaN is none."""
    told = []
    for step, value in enumerate(flow):
        present = not math.isnan(value)
        row = Row(step, [value, 20.0 + step % 2], [present, True], present, False)
        told.append(watched.advance(row).get("flow"))
    return told


def wobble(count: int) -> list[float]:
    return [50.0 + 0.1 * (k % 3) for k in range(count)]


@pytest.mark.parametrize(
    ("reading", "kind"),
    [(9999.0, "sentinel"), (0.0, "sentinel"), (-1.0, "sentinel"), (180.4, "unit"),
     (5.01, "unit"), (300.0, "range"), (-30.0, "range")],
)  # fmt: skip
def test_a_wrong_reading_is_told_by_its_kind_once_it_lasts(reading: float, kind: str) -> None:
    told = story(check(), [*wobble(5), *[reading] * RANGE_STEPS, *wobble(2)])
    assert told == [None] * (4 + RANGE_STEPS) + [kind, None, None]


def test_a_single_wild_reading_is_no_fault() -> None:
    assert set(story(check(), [*wobble(5), 9999.0, *wobble(5)])) == {None}


def test_readings_explain_a_window_for_as_long_as_they_are_in_it() -> None:
    watched = check()
    story(watched, [*wobble(5), 9999.0])
    assert watched.guilty() == ["flow"]
    story(watched, wobble(WINDOW - 1))
    assert watched.guilty() == ["flow"]
    story(watched, wobble(1))
    assert watched.guilty() == []


def test_out_of_range_may_be_the_truth_about_a_machine() -> None:
    watched = check()
    assert story(watched, [*wobble(5), *[300.0] * 5])[-1] == "range"
    assert watched.guilty() == []


def test_a_number_that_is_possible_for_one_sensor_is_no_sentinel_there() -> None:
    watched = check()
    for step in range(5):
        row = Row(step, [50.0 + step, 0.0], [True, True], True, False)
        assert watched.advance(row) == {}


def test_missing_is_said_only_while_others_report() -> None:
    assert story(check(), [50.0, math.nan])[-1] == "missing"
    assert check().advance(Row(0, [math.nan] * 2, [False] * 2, False, False)) == {}


def test_a_sensor_that_was_never_heard_has_as_long_as_a_reading_stands() -> None:
    silent = [math.nan] * (HOLD + 2)
    assert story(check(), silent) == [None] * HOLD + ["missing"] * 2
    assert story(check(), [*silent[:HOLD], 50.0, math.nan]) == [None] * (HOLD + 1) + ["missing"]


def test_a_sensor_that_is_often_silent_is_missing_when_it_is_so_for_longer() -> None:
    often = msgspec.structs.replace(SENSORS[0], quiet_steps=HOLD + 4)
    watched = SensorCheck(SensorRules((often, SENSORS[1]), window=WINDOW, hold=HOLD))
    hole = [math.nan] * 5  # the hold itself is bridged before
    assert story(watched, [50.0, *hole]) == [None] * 5 + ["missing"]
    assert story(watched, [50.0, *hole[:4], 50.0, *hole[:4]]) == [None] * 10
    assert story(watched, [50.0] * 8)[-1] is None  # nor is it stuck for having been away
    assert story(watched, [50.0])[-1] == "stuck"


def test_where_a_sensor_rests_it_is_not_stuck() -> None:
    valve = msgspec.structs.replace(SENSORS[0], rests=(30.0,))
    watched = SensorCheck(SensorRules((valve, SENSORS[1]), window=WINDOW, hold=HOLD))
    assert set(story(watched, [*wobble(3), *[30.0] * 40, *wobble(3)])) == {None}
    assert story(watched, [31.0] * 40)[-1] == "stuck"


def test_silence_of_all_counts_for_nobody() -> None:
    watched = check()
    for step in range(2 * HOLD):
        assert watched.advance(Row(step, [math.nan] * 2, [False] * 2, False, False)) == {}
    assert story(watched, [math.nan] * HOLD) == [None] * HOLD


def test_a_state_of_before_sentinels_is_taken_back() -> None:
    old = msgspec.msgpack.encode([[50.0, 20.0], [0, 0], [2, 0]])
    watched = check()
    watched.restore(msgspec.msgpack.decode(old, type=SensorCheckState))
    assert story(watched, [300.0]) == ["range"]


@given(
    st.lists(
        st.tuples(
            st.sampled_from([50.0, 51.0, 60.0, 0.0, 300.0, 180.0, math.nan]),
            st.booleans(),
            st.integers(1, 12),
        ),
        max_size=12,
    )
)
def test_a_row_of_many_sensors_is_judged_as_each_sensor_alone(
    readings: list[tuple[float, bool, int]],
) -> None:
    """Beside a sensor that is always absent, no row is ever waved through as a whole."""
    absent = SensorSpec(name="ghost", center=0.0, scale=1.0, cadence_ms=1000)
    whole, each = check(), SensorCheck(SensorRules((*SENSORS, absent), window=WINDOW, hold=HOLD))
    rows = [(flow, fresh) for flow, fresh, times in readings for _ in range(times)]
    for step, (flow, fresh) in enumerate(rows):
        present = not math.isnan(flow)
        values, told = [flow, 20.0 + step % 2], [fresh and present, True]
        faults = each.advance(Row(step, [*values, math.nan], [*told, False], False, False))
        assert whole.advance(Row(step, values, told, present, False)) == {
            name: why for name, why in faults.items() if name != "ghost"
        }
        assert whole.guilty() == [name for name in each.guilty() if name != "ghost"]
