"""Times in every spelling: one instant, one number of milliseconds."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offbeat_edge.refusal import Refused
from offbeat_edge.timestamps import MAX_MS, MIN_MS, to_ms

INSTANT = st.integers(MIN_MS, MAX_MS - 1)


@given(INSTANT)
def test_the_unit_of_an_integer_is_told_by_its_size(ms: int) -> None:
    assert to_ms(ms) == ms
    assert to_ms(ms * 1000 + 999) == ms
    assert to_ms(ms * 1_000_000 + 999_999) == ms
    assert to_ms(ms // 1000) == ms // 1000 * 1000


@given(INSTANT)
def test_seconds_with_a_fraction_are_the_milliseconds_meant(ms: int) -> None:
    assert to_ms(ms / 1000) == ms
    assert to_ms(f"{ms // 1000}.{ms % 1000:03d}") == ms
    assert to_ms(ms / 1000, "s") == ms
    assert to_ms(float(ms)) == ms
    assert to_ms(ms * 1000.0) == ms


@given(INSTANT)
def test_iso_and_numbers_agree(ms: int) -> None:
    stamp = datetime.fromtimestamp(ms // 1000, UTC).replace(microsecond=ms % 1000 * 1000 + 999)
    assert to_ms(stamp.isoformat()) == ms
    assert to_ms(stamp.replace(tzinfo=None).isoformat(" ")) == ms
    assert to_ms(str(ms)) == ms


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_a_configured_unit_is_believed(unit: str) -> None:
    per = {"s": 1, "ms": 1000, "us": 10**6, "ns": 10**9}[unit]
    assert to_ms(1_700_000_000 * per, unit) == 1_700_000_000_000


@pytest.mark.parametrize(
    "value",
    [
        "",
        "soon",
        "12:00",
        "1e9",
        "\u0661\u0667" + "\u0660" * 8,
        "9" * 65,
        "2023-02-30",
        True,
        None,
        [],
        {},
    ],
)
def test_what_is_no_time_is_refused(value: object) -> None:
    with pytest.raises(Refused, match="bad_time: expected a number or ISO 8601, got"):
        to_ms(value)


@pytest.mark.parametrize(
    "value",
    [0, -1, 1, 1e300, -1e300, 10**400, 946_684_799, 4_102_444_801, "1999-12-31", "2100-01-02",
     "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", float("inf"), float("nan")],
)  # fmt: skip
def test_a_time_outside_2000_to_2100_is_refused(value: object) -> None:
    with pytest.raises(Refused, match="time_out_of_range"):
        to_ms(value)


def test_a_unit_that_does_not_fit_is_refused_not_guessed() -> None:
    with pytest.raises(Refused, match="time_out_of_range"):
        to_ms(1_700_000_000_000, "s")
