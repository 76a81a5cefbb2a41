"""From histories to rows, windows and splits; what is too little is said."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import pytest
from fit_parts import START_MS, beat, history
from hypothesis import given
from hypothesis import strategies as st

from offbeat_train.errors import DataError
from offbeat_train.health import examine
from offbeat_train.prepare import Prepared, prepare
from offbeat_train.split import FOLDS, Windows, _thinned, divide, everything, splits, window_ends

if TYPE_CHECKING:
    import numpy.typing as npt

    from offbeat_train.history import History


def prepared(made: History, **options: int) -> Prepared:
    return prepare(made, examine(made), **options)


def test_rows_are_scaled_with_the_recorded_numbers() -> None:
    values = beat(1000)
    result = prepared(history(values))
    center = np.array([sensor.center for sensor in result.sensors])
    scale = np.array([sensor.scale for sensor in result.sensors])
    np.testing.assert_allclose(result.rows * scale + center, values)
    assert np.abs(result.rows.std(axis=0) - 1.0).max() < 0.1


def counting(count: int = 1000) -> npt.NDArray[np.float64]:
    """Two sensors with a beat, what they add up to, and a switch; (N, F)."""
    values = beat(count, width=2)
    switch = np.arange(count) // 50 % 2.0
    return np.column_stack([values, values.sum(axis=1).cumsum(), switch])


def test_counters_are_left_out_and_named() -> None:
    made = prepared(history(counting()))
    assert [sensor.name for sensor in made.sensors] == ["s0", "s1", "s3"]
    (said,) = [text for text in made.warnings if "counter" in text]
    assert "not in the model, as they never fall, like counters" in said
    assert "'s2'" in said
    assert "--sensors" in said


def test_a_counter_that_was_asked_for_is_kept() -> None:
    made = prepared(dataclasses.replace(history(counting()), named=True))
    assert [sensor.name for sensor in made.sensors] == ["s0", "s1", "s2", "s3"]
    assert any("its values will leave what was learned: 's2'" in text for text in made.warnings)


def test_a_counter_with_nothing_that_is_measured_beside_it_is_kept() -> None:
    made = prepared(history(np.column_stack([counting()[:, 2:], np.full(1000, 3.5)])))
    assert [sensor.name for sensor in made.sensors] == ["s0", "s1", "s2"]


def test_a_spike_does_not_flatten_the_scale() -> None:
    values = beat(5000)
    usual = prepared(history(values.copy())).sensors[0].scale
    values[100, 0] = 1e6
    assert prepared(history(values)).sensors[0].scale == pytest.approx(usual, rel=0.1)


def test_jittered_times_get_a_nice_period() -> None:
    jitter = np.random.default_rng(0).integers(-20, 21, 1000)
    made = history(beat(1000), times_ms=START_MS + np.arange(1000) * 1000 + jitter)
    assert prepared(made).plan.period_ms == 1000


def test_a_slow_sensor_is_held_between_its_reports() -> None:
    values = beat(1000)
    values[np.arange(1000) % 10 != 0, 2] = np.nan
    result = prepared(history(values))
    assert result.plan.hold_ms == 30_000
    assert len(result.rows) == 1000
    assert [sensor.cadence_ms for sensor in result.sensors] == [1000, 1000, 10_000]


def irregular(mean_s: float, *, rows: int = 6000) -> History:
    """Reports 5 s apart and, more often than not, later: by ``mean_s`` on average."""
    late = np.random.default_rng(0).exponential(mean_s, rows)
    return history(beat(rows), times_ms=START_MS + np.cumsum((5.0 + late) * 1000).astype(int))


def test_a_reading_stands_for_as_long_as_reports_are_late_now_and_then() -> None:
    """At three median intervals, 60 s, a fifth of these rows would be all that is left."""
    result = prepared(irregular(20.0))
    assert 15_000 < result.plan.period_ms < 22_000
    assert 80_000 < result.plan.hold_ms < 110_000
    assert len(result.rows) > 5_000
    assert result.warnings == ()


def test_what_is_lost_to_holes_is_told() -> None:
    values = beat(6000)
    times_ms = START_MS + np.cumsum(np.where(np.isin(np.arange(6000) % 200, (0, 80)), 20_000, 1000))
    assert prepared(history(values)).warnings == ()
    (told,) = prepared(history(values, times_ms=times_ms), window=100).warnings
    assert "of the rows are in stretches of a window" in told


def test_two_rates_give_one_of_them_and_nothing_between() -> None:
    values = beat(1000, width=2)
    values[np.arange(1000) % 10 != 0, 1] = np.nan
    assert prepared(history(values)).plan.period_ms == 1000


def test_dead_sensors_and_flags_never_set_are_left_out_and_named() -> None:
    values = beat(1000)
    values[:, 1] = 0.0
    result = prepared(history(values))
    assert [sensor.name for sensor in result.sensors] == ["s0", "s2"]
    assert "'s1'" in result.warnings[0]


def test_a_sensor_at_rest_is_judged_against_its_magnitude_and_named() -> None:
    values = beat(1000)
    values[:, 1] = -20.0
    result = prepared(history(values))
    assert result.sensors[1].scored
    assert (result.sensors[1].center, result.sensors[1].scale) == (-20.0, 20.0)
    assert "never changed" in result.warnings[0]
    assert "'s1'" in result.warnings[0]


def test_flags_are_inputs_and_everything_else_is_judged() -> None:
    values = beat(1000, width=4)
    values[:, 1] = np.arange(1000) // 100 % 2  # a command
    values[:, 2] = np.where(np.arange(1000) % 90 < 45, -1.0, 1.0)  # two values, but no flag
    values[:, 3] = 1.0  # always on
    assert [s.scored for s in prepared(history(values)).sensors] == [True, False, True, True]


def test_a_command_is_no_louder_for_being_rare() -> None:
    values = beat(1000, width=4)
    values[:, 1] = np.arange(1000) % 200 == 0
    values[:, 2] = np.arange(1000) % 2
    values[:, 3] = np.arange(1000) % 200 != 0
    result = prepared(history(values))
    assert np.abs(result.rows[:, 1:]).max(axis=0) == pytest.approx([1.0, 1.0, 1.0])
    assert [s.scale for s in result.sensors[1:]] == pytest.approx([0.995, 0.5, 0.995], abs=0.006)


def test_flags_alone_are_judged_when_they_change() -> None:
    values = np.zeros((1000, 2))
    values[::7, 0] = 1.0
    assert [s.scored for s in prepared(history(values)).sensors] == [True]
    assert [s.scored for s in prepared(history(np.zeros((1000, 1)))).sensors] == [True]


def test_only_a_restless_sensor_can_be_stuck() -> None:
    values = beat(1000, width=2)
    values[:, 1] = np.round(values[:, 1] / 5)
    stuck = [sensor.stuck_steps for sensor in prepared(history(values)).sensors]
    assert stuck[0] is not None
    assert stuck[1] is None


def test_the_plausible_range_holds_what_was_seen_and_more() -> None:
    values = beat(1000)
    sensor = prepared(history(values)).sensors[0]
    assert sensor.low is not None
    assert sensor.high is not None
    assert sensor.low < values[:, 0].min() - 10
    assert sensor.high > values[:, 0].max() + 10


def test_sentinels_are_not_learned_from() -> None:
    values = beat(1000)
    values[500, 0] = -9999.0
    found = prepared(history(values))
    assert found.rows.min() > -5
    assert [-9999.0 in sensor.sentinels for sensor in found.sensors] == [True, True, True]


@pytest.mark.parametrize(("times", "absent"), [(9, ()), (10, (-9999.0,))])
def test_a_sentinel_that_comes_again_and_again_is_an_absence(
    times: int, absent: tuple[float, ...]
) -> None:
    values = beat(1000)
    for at in range(times):
        values[90 * at + 5 : 90 * at + 7, 0] = -9999.0
    assert [sensor.absent for sensor in prepared(history(values)).sensors] == [absent, (), ()]


def test_where_a_sensor_rests_says_nothing_of_when_it_is_stuck() -> None:
    values = beat(1000)
    values[:, 0] = np.where(np.arange(1000) % 200 < 90, 100.0, values[:, 0])
    values[400:460, 1] = values[400, 1]  # a rest, but not at an end of what it says
    full, still, free = prepared(history(values)).sensors
    assert (full.rests, still.rests, free.rests) == ((100.0,), (), ())
    assert full.stuck_steps is None or full.stuck_steps < 90
    assert still.stuck_steps == 3 * 59


def test_how_long_a_sensor_is_often_silent_is_learned() -> None:
    values = beat(1000)
    for at in range(12):
        values[80 * at + 5 : 80 * at + 11, 0] = np.nan
    for at in range(3):
        values[300 * at + 25 : 300 * at + 50, 1] = np.nan
    values[700:720] = np.nan  # a silence of all is nobody's
    assert [s.quiet_steps for s in prepared(history(values)).sensors] == [12, None, None]


def test_too_little_data_says_what_is_needed_and_what_there_was() -> None:
    with pytest.raises(DataError, match=r"at least 96 complete rows.*got 50 ") as caught:
        prepared(history(beat(50)))
    assert (caught.value.needed, caught.value.got) == (96, 50)


def test_rows_without_a_common_time_are_too_little_and_name_the_sensor() -> None:
    values = beat(1000)
    values[20:, 1] = np.nan
    with pytest.raises(DataError, match="'s1' is missing in 9"):
        prepared(history(values))


def test_only_dead_sensors_are_refused() -> None:
    with pytest.raises(DataError, match=r"sensor with readings, got 's0' \(no value\)"):
        prepared(history(np.full((500, 1), np.nan)))


def test_a_value_beyond_all_computing_is_refused_and_named() -> None:
    values = beat(1000)
    values[500, 1] = -1e300
    with pytest.raises(DataError, match=r"within 1e\+30, got -1e\+300 in 's1'"):
        prepared(history(values))


def test_windows_span_neither_gaps_nor_cuts_nor_assets() -> None:
    times = START_MS + np.arange(900) * 1000
    times[300:] += 3_600_000
    result = prepared(history(beat(900), times_ms=times, cuts=(600,), assets=2), window=16)
    assert int(result.run[-1]) == 5
    ends = everything(result).ends
    held = 3  # steps after the gap's edge, as on the device
    assert len(ends) == 2 * (3 * (300 - 15) + held)
    assert (result.run[ends] == result.run[ends - 15]).all()


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(1, 12)), min_size=1, max_size=8),
    st.integers(1, 6),
)
def test_a_window_lies_in_one_run_and_one_part(runs: list[tuple[int, int]], size: int) -> None:
    run = np.concatenate([np.full(length, n) for n, (_, length) in enumerate(runs)])
    part = np.concatenate([np.full(length, kind - 1) for kind, length in runs])
    made = prepared(history(beat(200)), window=8)
    plan = type(made.plan)(period_ms=1, hold_ms=1, window=size, stride=1)
    cut = Prepared(plan=plan, sensors=made.sensors, rows=made.rows[: len(run)], run=run,
                   place=made.place, times_ms=made.times_ms, warnings=())  # fmt: skip
    found = set(window_ends(cut, part).tolist())
    for end in range(len(run)):
        span = slice(end - size + 1, end + 1)
        whole = end >= size - 1 and len(set(run[span])) == 1 and part[end] >= 0
        assert (end in found) == whole


def test_a_long_history_is_split_once_and_in_time_order() -> None:
    result = prepared(history(beat(8000)), window=16)
    (split,) = splits(result)
    assert split.train.ends.max() < split.validation.ends.min() - 15
    assert split.validation.ends.max() < split.held_out.ends.min() - 15


def test_a_short_history_is_held_out_block_by_block() -> None:
    found = splits(prepared(history(beat(1200)), window=16))
    assert len(found) == FOLDS
    for split in found:
        held = {row for end in split.held_out.ends for row in range(end - 15, end + 1)}
        others = np.concatenate([split.train.ends, split.validation.ends])
        assert not held & {row for end in others for row in range(end - 15, end + 1)}
    together = np.concatenate([split.held_out.ends for split in found])
    assert len(np.unique(together)) == len(together) == 1200 - FOLDS * 15


def test_runs_of_held_out_windows_are_contiguous() -> None:
    times = START_MS + np.arange(8000) * 1000
    times[7500:] += 3_600_000
    (split,) = splits(prepared(history(beat(8000), times_ms=times), window=16))
    steps = np.diff(split.held_out.ends)
    assert (steps[np.diff(split.run) == 0] == split.stride).all()
    assert split.run[-1] == 1


def test_held_out_windows_of_a_huge_history_are_thinned_in_whole_stretches() -> None:
    ends = np.arange(0, 100_000, 4)
    kept = _thinned(ends, 2000, 100)
    steps = np.diff(kept)
    assert 1800 <= len(kept) <= 2000
    assert (steps == 4).sum() == len(kept) - 20
    assert kept[-1] > 99_000


def test_stretches_too_short_for_the_parts_are_refused() -> None:
    made = prepared(history(beat(400), cuts=tuple(range(20, 400, 20))), window=20)
    with pytest.raises(DataError, match="shorter --window"):
        splits(made)


def slow_beat(count: int) -> npt.NDArray[np.float64]:
    """Sensors with a beat of 150 steps, for which a window of 224 is chosen; (N, F)."""
    rng = np.random.default_rng(0)
    phase = np.arange(count)[:, None] * 2 * np.pi / 150 + np.arange(3)
    return 20.0 + 5.0 * np.sin(phase) + rng.normal(scale=0.3, size=(count, 3))


@pytest.mark.parametrize(
    "made",
    [
        pytest.param(history(slow_beat(2700), cuts=(200, 400, 1000)), id="gaps"),
        pytest.param(history(slow_beat(1500), assets=2), id="short assets"),
    ],
)
def test_a_window_that_finds_no_room_gives_way_to_a_shorter_one(made: History) -> None:
    health = examine(made)
    with pytest.raises(DataError):
        splits(prepare(made, health))
    found, parts = divide(made, health)
    assert found.plan.window in range(64, 200)
    assert all(split.lacks() is None for split in parts)


def test_a_window_that_was_asked_for_does_not_give_way() -> None:
    made = history(slow_beat(1500), assets=2)
    with pytest.raises(DataError, match="windows of 224 rows"):
        divide(made, examine(made), window=224)


def test_the_shortest_window_is_the_last_that_is_tried() -> None:
    made = history(beat(90))
    with pytest.raises(DataError, match="for a window of 8, got 90"):
        divide(made, examine(made))


def test_windows_are_views_until_asked_for() -> None:
    rows = np.arange(20.0).reshape(10, 2)
    windows = Windows(rows, np.array([3, 9]), 4)
    assert windows.shape == (2, 4, 2)
    np.testing.assert_array_equal(windows[np.array([1])][0], rows[6:10])
