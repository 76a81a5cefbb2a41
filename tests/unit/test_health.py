"""Health counts what passes and turns the spool into hours."""

from __future__ import annotations

from offbeat_edge.health import HOUR_MS, MAX_GAPS, MAX_LISTED, SpoolGauge, Tally
from offbeat_edge.link import Message
from offbeat_edge.schema import Sample
from offbeat_edge.store import OutboxSize


def message(qos: int = 1) -> Message:
    return Message("t", b"", qos, False, 1, 1)


def size(count: int) -> OutboxSize:
    return OutboxSize(1, count, None, {})


def heard(tally: Tally, *times_s: float, asset: str = "p1") -> None:
    for time_s in times_s:
        tally.message(message(), [Sample(asset, int(time_s * 1000), {"x": 1.0})])


def test_a_hole_in_event_time_is_named() -> None:
    tally = Tally()
    heard(tally, *range(10), 70, 71)
    (gap,) = tally.gaps
    assert (gap.asset, gap.from_ms, gap.to_ms) == ("p1", 9000, 70_000)
    assert tally.counters["gaps"] == 1


def test_a_slow_asset_has_no_holes() -> None:
    tally = Tally()
    heard(tally, *range(0, 6000, 600))
    assert not tally.gaps


def test_samples_out_of_order_make_no_holes() -> None:
    tally = Tally()
    heard(tally, 0, 1, 2, 60, 3, 4, 61, 62)
    assert tally.counters["gaps"] == 1


def test_only_the_last_holes_are_listed() -> None:
    tally = Tally()
    heard(tally, 0, 1, *(n * 1000 for n in range(1, MAX_GAPS + 9)))
    assert len(tally.gaps) == MAX_GAPS
    assert tally.counters["gaps"] > MAX_GAPS


def test_the_arriving_qos_is_the_last_ones() -> None:
    tally = Tally()
    tally.message(message(0), [Sample("a", 0, {}), Sample("b", 0, {})])
    tally.message(message(1), [Sample("b", 0, {})])
    assert tally.qos0().names == ["a"]


def test_long_lists_are_cut_and_the_cut_is_counted() -> None:
    tally = Tally()
    tally.message(message(), [Sample(f"a{n}", 0, {}, False) for n in range(MAX_LISTED + 5)])
    assert tally.stamped().total == MAX_LISTED + 5
    assert len(tally.stamped().names) == MAX_LISTED


def test_a_growing_spool_is_told_in_hours() -> None:
    gauge = SpoolGauge(limit_bytes=1000, now_ms=0)
    assert gauge.read(size(100), HOUR_MS // 2).hours_left == 4.5


def test_a_spool_that_does_not_grow_has_no_end() -> None:
    gauge = SpoolGauge(limit_bytes=1000, now_ms=0)
    assert gauge.read(size(0), HOUR_MS).hours_left is None


def test_the_rate_is_that_of_the_last_hour() -> None:
    gauge = SpoolGauge(limit_bytes=10_000, now_ms=0)
    gauge.read(size(5000), HOUR_MS)
    read = gauge.read(size(5500), 2 * HOUR_MS)
    assert read.hours_left == 9.0
