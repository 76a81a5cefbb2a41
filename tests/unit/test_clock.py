"""Stamps never run backwards, and a set clock is noticed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from offbeat_edge.clock import StampClock

steps = st.lists(st.tuples(st.integers(-4_000_000, 4_000_000), st.floats(0, 100)), max_size=20)


@given(steps)
def test_stamps_never_run_backwards(moves: list[tuple[int, float]]) -> None:
    wall, mono = [10_000_000], [0.0]
    clock = StampClock(wall_ms=lambda: wall[0], monotonic=lambda: mono[0])
    last = 0
    for shift_ms, elapsed_s in moves:
        wall[0] += shift_ms
        mono[0] += elapsed_s
        stamp = clock.stamp_ms()
        assert stamp >= last
        assert stamp >= wall[0]
        last = stamp


def test_an_hour_back_is_bridged_at_the_pace_of_time() -> None:
    wall, mono = [10_000_000], [0.0]
    clock = StampClock(wall_ms=lambda: wall[0], monotonic=lambda: mono[0])
    before = clock.stamp_ms()
    wall[0] -= 3_600_000 - 1000
    mono[0] += 1.0
    assert clock.stamp_ms() == before + 1000
    assert clock.ahead_ms == 3_600_000
    assert clock.steps == 1
    wall[0] += 1000
    mono[0] += 1.0
    assert clock.stamp_ms() == before + 2000
    assert clock.steps == 1


def test_a_recovered_stamp_is_never_undercut() -> None:
    clock = StampClock(wall_ms=lambda: 0, monotonic=lambda: 0.0)
    clock.not_before(5000)
    assert clock.stamp_ms() == 5000
