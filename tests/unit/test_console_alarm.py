"""An alert's life among people: the states of ISA-18.2."""

from __future__ import annotations

from typing import get_args

import pytest
from console_parts import START_MS, event
from hypothesis import given
from hypothesis import strategies as st

from offbeat_console import alarm
from offbeat_console.alarm import Alarm, AlarmState, Shelf
from offbeat_console.wire import Maintenance


def state(of: Alarm, *, shelved: bool = False, suppressed: bool = False) -> AlarmState:
    return alarm.state(of, shelved=shelved, suppressed=suppressed)


def window(**change: object) -> Maintenance:
    given = {"id": "w", "asset": "p1", "start_ms": START_MS, "end_ms": START_MS + 1000,
             "time_ms": START_MS, **change}  # fmt: skip
    return Maintenance(**given)  # type: ignore[arg-type]


def test_a_new_alert_waits_for_somebody() -> None:
    assert state(alarm.take(None, event())) == "unacknowledged"


def test_an_acknowledged_alert_is_over_when_it_ends() -> None:
    seen = alarm.acknowledge(alarm.take(None, event()), by="ann", now_ms=5)
    assert state(seen) == "acknowledged"
    assert state(alarm.take(seen, event(1, type_="end"))) == "normal"


def test_an_alert_that_nobody_saw_stays_when_it_ends() -> None:
    ended = alarm.take(alarm.take(None, event()), event(1, type_="end"))
    assert state(ended) == "returned"
    assert state(alarm.acknowledge(ended, by="ann", now_ms=5)) == "normal"


def test_a_rise_in_severity_needs_a_new_look() -> None:
    seen = alarm.acknowledge(alarm.take(None, event()), by="ann", now_ms=5)
    assert state(alarm.take(seen, event(1))) == "acknowledged"
    assert state(alarm.take(seen, event(1, severity="critical"))) == "unacknowledged"


def test_the_first_to_acknowledge_is_remembered() -> None:
    seen = alarm.acknowledge(alarm.take(None, event()), by="ann", now_ms=5)
    again = alarm.acknowledge(seen, by="bob", now_ms=9)
    assert (again.acknowledged_by, again.acknowledged_ms) == ("ann", 5)


def test_a_shelf_ends_by_itself() -> None:
    shelf = Shelf(asset="p1", kind="anomaly", until_ms=100, by="ann")
    assert shelf.holds(99)
    assert not shelf.holds(100)
    assert all(0 < length <= alarm.MAX_SHELF_MS for length in alarm.SHELF_MS.values())


def test_shelved_goes_before_maintenance_and_both_before_attention() -> None:
    new = alarm.take(None, event())
    assert state(new, shelved=True, suppressed=True) == "shelved"
    assert state(new, suppressed=True) == "suppressed"


@pytest.mark.parametrize(
    ("start_ms", "change", "covered"),
    [
        (START_MS, {}, True),
        (START_MS + 1000, {}, False),
        (START_MS - 1, {}, False),
        (START_MS, {"asset": "p2"}, False),
        (START_MS, {"cancelled": True}, False),
    ],
)
def test_maintenance_covers_what_begins_in_it(
    start_ms: int,
    change: dict[str, object],
    covered: bool,  # noqa: FBT001
) -> None:
    assert alarm.suppressed("p1", start_ms, [window(**change)]) is covered


MOVES = st.sampled_from(["update", "worse", "end", "acknowledge"])


@given(st.lists(MOVES, max_size=12))
def test_whatever_happens_an_alarm_that_nobody_saw_is_never_closed(moves: list[str]) -> None:
    """Closed needs an acknowledgement, after the last rise in severity while it was active."""
    now = alarm.take(None, event())
    seen = False
    for seq, move in enumerate(moves, 1):
        before = now
        if move == "acknowledge":
            now, seen = alarm.acknowledge(now, by="ann", now_ms=seq), True
        elif move == "end":
            now = alarm.take(now, event(seq, type_="end", severity=now.severity))
        else:
            now = alarm.take(now, event(seq, severity="critical" if move == "worse" else "warning"))
            if now.severity != before.severity and now.active:
                seen = False
        assert now.active <= before.active
        assert state(now) in get_args(AlarmState)
        assert (state(now) == "normal") == (not now.active and seen)
        assert (state(now) in ("unacknowledged", "returned")) == (not seen)
