"""When an alert began and was over, by the windows that told of it."""

from __future__ import annotations

import pytest

from offbeat_edge.alertbook import Windows

WINDOWS = Windows(period_ms=1000, stride=4, rows=16)


def heated(first: int, last: int) -> list[int]:
    """Give the last steps of the windows that judge any of the steps from first to last."""
    ends = range(0, 200, WINDOWS.stride)
    return [end for end in ends if end - WINDOWS.rows < last and first <= end]


@pytest.mark.parametrize("first", [40, 41, 42, 43])
@pytest.mark.parametrize("length", [1, 3, 10, 40])
def test_an_alert_is_dated_to_within_a_stride_of_what_made_it(first: int, length: int) -> None:
    hot = heated(first, first + length - 1)
    begun_ms = WINDOWS.begun_ms(hot[0] * 1000)
    over_ms = WINDOWS.over_ms(begun_ms, (hot[-1] + WINDOWS.stride) * 1000)
    assert 0 <= first * 1000 - begun_ms < WINDOWS.stride * 1000
    assert 0 <= over_ms - (first + length) * 1000 < WINDOWS.stride * 1000


def test_what_heats_fewer_windows_than_judge_it_ends_behind_its_first() -> None:
    """A weak spike scores above 1.0 in its first window and is calm in the next."""
    begun_ms = WINDOWS.begun_ms(40_000)
    assert WINDOWS.over_ms(begun_ms, 44_000) == 41_000
