"""The time grid: streaming equals bulk, order does not matter, nothing blinds it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from chance import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from offbeat_edge.window import Aligner, Drop, Ring, Row, resample, step_of, window_ends

PERIOD = 1000
Stream = list[tuple[int, dict[int, float]]]


def aligner(*, lateness: int = 0, sensors: int = 2, hold: int = 2000) -> Aligner:
    return Aligner(period_ms=PERIOD, hold_ms=hold, lateness_ms=lateness, sensors=sensors)


def push(target: Aligner, time_ms: int, values: dict[int, float]) -> tuple[list[Row], list[Drop]]:
    return target.push(time_ms, [values.get(i, math.nan) for i in range(target.sensors)])


def run(target: Aligner, stream: Stream) -> list[Row]:
    return [row for time_ms, values in stream for row in push(target, time_ms, values)[0]]


def as_tuples(rows: list[Row]) -> list[tuple[int, list[float], list[bool], bool]]:
    return [(r.step, np.nan_to_num(r.values, nan=-9).tolist(), r.fresh, r.valid) for r in rows]


def complete(times: list[int]) -> Stream:
    return [(t, {0: float(t), 1: -float(t)}) for t in times]


def test_a_complete_sample_closes_its_step_at_once() -> None:
    assert [r.step for r in run(aligner(), complete([1000, 2000, 3000]))] == [1, 2, 3]


def test_a_partial_sample_waits_for_the_next_step() -> None:
    target = aligner()
    assert run(target, [(1000, {0: 1.0})]) == []
    rows = run(target, [(1000, {1: 2.0})])
    assert [(r.step, r.values) for r in rows] == [(1, [1.0, 2.0])]


def test_the_earliest_sample_of_a_step_counts_and_ties_take_the_larger() -> None:
    target = aligner(lateness=5000)
    stream: Stream = [(1200, {0: 9.0, 1: 9.0}), (900, {0: 1.0, 1: 1.0}), (900, {0: 3.0, 1: 0.0})]
    rows = run(target, [*stream, (20_000, {0: 0.0, 1: 0.0})])
    assert rows[0].values == [3.0, 1.0]


def test_what_stood_for_no_reading_is_absent_while_the_last_one_holds() -> None:
    target = Aligner(
        period_ms=PERIOD, hold_ms=2000, lateness_ms=0, sensors=2,
        absent=[frozenset({-1.0}), frozenset()],
    )  # fmt: skip
    readings = [5.0, -1.0, -1.0, -1.0, -1.0, 6.0, -1.0]
    rows = run(target, [(1000 * k, {0: v, 1: -1.0}) for k, v in enumerate(readings, 1)])
    rows += run(target, complete([8000]))
    assert [(r.values, r.fresh[0], r.valid) for r in rows[:-1]] == [
        ([5.0, -1.0], True, True),
        ([5.0, -1.0], False, True),
        ([5.0, -1.0], False, True),
        ([-1.0, -1.0], True, True),  # the hold ran out: as it came
        ([-1.0, -1.0], True, True),
        ([6.0, -1.0], True, True),
        ([6.0, -1.0], False, True),
    ]


def test_a_silent_sensor_is_held_and_then_invalid() -> None:
    rows = run(aligner(), [(1000, {0: 1.0, 1: 5.0}), *[(1000 * k, {0: 1.0}) for k in range(2, 7)]])
    assert [(r.step, r.valid) for r in rows] == [
        (1, True),
        (2, True),
        (3, True),
        (4, False),
        (5, False),
    ]


def test_a_sample_of_a_closed_step_is_dropped_and_named() -> None:
    target = aligner()
    run(target, complete([1000, 2000]))
    assert [d.reason for d in push(target, 1000, {0: 1.0})[1]] == ["late"]
    assert [d.reason for d in push(target, 2100, {0: 1.0})[1]] == ["surplus"]


def test_one_sample_from_2099_blinds_nobody() -> None:
    target = aligner()
    run(target, complete([1000, 2000]))
    assert push(target, 4_070_908_800_000, {0: 1.0, 1: 1.0}) == ([], [])
    rows, drops = push(target, 3000, {0: 3.0, 1: 3.0})
    assert [r.step for r in rows] == [3]
    assert [d.reason for d in drops] == ["time_jump"]


def test_a_weekend_off_loses_no_sample() -> None:
    target = aligner()
    monday = 200_000_000
    rows = run(target, complete([1000, 2000, *[monday + 1000 * k for k in range(5)]]))
    assert [r.step for r in rows] == [1, 2, *[200_000 + k for k in range(5)]]
    assert [r.restart for r in rows] == [True, False, True, False, False, False, False]


def test_a_clock_set_back_an_hour_is_believed_after_confirmation() -> None:
    target = aligner()
    run(target, complete([10_000_000, 10_001_000]))
    rows = run(target, complete([10_000_000 - 3_600_000 + 1000 * k for k in range(12)]))
    assert [r.step for r in rows] == [6400 + k for k in range(12)]


def test_a_redelivery_is_not_taken_for_a_clock_set_back() -> None:
    target = aligner()
    times = [1000 * k for k in range(1, 1500)]
    run(target, complete(times))
    assert run(target, complete(times[-1000:])) == []
    assert [r.step for r in run(target, complete([1_500_000]))] == [1500]


def test_resample_refuses_times_out_of_order() -> None:
    with pytest.raises(ValueError, match="in order"):
        resample(np.array([2, 1]), np.zeros((2, 1)), period_ms=1, hold_ms=1)


sample_times = st.lists(st.integers(0, 40), min_size=1, max_size=60).map(
    lambda gaps: np.cumsum(gaps).tolist()
)
readings = st.one_of(st.none(), st.floats(-100, 100, width=32))


@settings(max_examples=examples(200))
@given(data=st.data(), hold=st.integers(0, 50))
def test_streaming_equals_bulk(data: st.DataObject, hold: int) -> None:
    times = data.draw(sample_times)
    pairs = [data.draw(st.tuples(readings, readings)) for _ in times]
    target = Aligner(period_ms=10, hold_ms=hold, lateness_ms=0, sensors=2)
    stream = [
        (time, {i: v for i, v in enumerate(pair) if v is not None})
        for time, pair in zip(times, pairs, strict=True)
    ]
    rows = run(target, [item for item in stream if item[1]])
    matrix = np.array([[np.nan if v is None else v for v in p] for p in pairs])
    grid = resample(np.array(times), matrix, period_ms=10, hold_ms=hold)
    bulk = [
        (int(s), np.nan_to_num(v, nan=-9).tolist(), f.tolist(), bool(ok))
        for s, v, f, ok in zip(grid.steps, grid.values, grid.fresh, grid.valid, strict=True)
    ]
    streamed = as_tuples(rows)
    # The last step stays open in the stream when it is not complete.
    assert streamed == bulk[: len(streamed)]
    assert len(bulk) - len(streamed) <= 1 + (1 + hold // 10) * bool(len(bulk) - len(streamed))


@settings(max_examples=examples(200))
@given(
    pairs=st.lists(st.tuples(*[st.sampled_from([None, -1.0, 3.0, 4.0, 5.0])] * 2), max_size=40),
    hold=st.integers(0, 50),
)
def test_what_stood_for_no_reading_is_what_fit_took_it_for(
    pairs: list[tuple[float | None, float | None]], hold: int
) -> None:
    target = Aligner(
        period_ms=10, hold_ms=hold, lateness_ms=0, sensors=2, absent=[frozenset({-1.0})] * 2
    )
    read = [{i: v for i, v in enumerate(pair) if v is not None} for pair in pairs]
    rows = run(target, [(10 * k, values) for k, values in enumerate(read) if values])
    matrix = np.array([[np.nan if v in (None, -1.0) else v for v in p] for p in pairs])
    grid = resample(10 * np.arange(len(pairs)), matrix.reshape(-1, 2), period_ms=10, hold_ms=hold)
    held = zip(grid.values.tolist(), grid.valid.tolist(), strict=True)
    bulk = dict(zip(grid.steps.tolist(), held, strict=True))
    known = [row for row in rows if len(grid.steps) and row.step <= grid.steps[-1]]
    for row in known:  # what comes after the last reading is held, too, but fit has no row of it
        values, valid = bulk.get(row.step, ([], False))
        if valid:
            assert row.values == values
        else:
            assert not row.valid or -1.0 in row.values


@settings(max_examples=examples(200))
@given(seed=st.integers(0, 2**32 - 1), lateness=st.integers(1, 60))
def test_order_within_the_lateness_changes_nothing(seed: int, lateness: int) -> None:
    rng = np.random.default_rng(seed)
    times = np.cumsum(rng.integers(0, 12, 80)).tolist()
    stream = [(t, {int(rng.integers(2)): float(rng.integers(5))}) for t in times]
    arrival = sorted(range(80), key=lambda i: (times[i] + rng.uniform(0, lateness * 0.999), i))
    shuffled = [stream[i] for i in arrival]

    def rows_of(order: Stream) -> list[tuple[int, list[float], list[bool], bool]]:
        target = Aligner(period_ms=10, hold_ms=30, lateness_ms=lateness, sensors=2)
        return as_tuples(run(target, [*order, *complete([5000, 5010, 5020])]))

    assert rows_of(stream) == rows_of(shuffled)


def test_windows_end_on_the_stride_grid_and_never_span_a_gap() -> None:
    steps = np.array([0, 1, 2, 3, 10, 11, 12, 13, 14, 15])
    values = np.zeros((10, 1))
    grid = resample(steps * PERIOD, values, period_ms=PERIOD, hold_ms=0)
    ends = window_ends(grid, window=3, stride=2)
    assert grid.steps[ends].tolist() == [2, 12, 14]


@given(count=st.integers(0, 40), cut=st.integers(0, 40))
def test_the_ring_holds_the_last_rows_and_survives_a_dump(count: int, cut: int) -> None:
    ring = Ring(window=5, sensors=1)
    for k in range(count):
        if k == cut:
            again = Ring(window=5, sensors=1)
            again.load(ring.dump())
            ring = again
        full = ring.append(Row(k, [float(k)], [True], True, k == 0))
        assert full == (k >= 4)
        if full:
            assert ring.latest()[:, 0].tolist() == [k - 4.0, k - 3.0, k - 2.0, k - 1.0, float(k)]


def test_halves_round_up_to_the_next_step() -> None:
    assert [step_of(t, PERIOD) for t in (-500, 499, 500, 1499)] == [0, 0, 1, 1]
