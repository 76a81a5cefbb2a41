"""What people said decides what a model may learn from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest
from lake_parts import MemoryStore

from offbeat_edge.control import Feedback, Maintenance
from offbeat_edge.schema import AlertEvent, iso
from offbeat_train.errors import DataError
from offbeat_train.lake import Lake, Writer
from offbeat_train.lake.events import ALERTS, FEEDBACK, MAINTENANCE
from offbeat_train.lake.normal import Normal, judge, normal_history

if TYPE_CHECKING:
    from collections.abc import Sequence

T0 = 1_760_000_000_000
A, B = "a" * 32, "b" * 32


def at(second: int) -> int:
    return T0 + second * 1000


def alert(name: str, start: int, end: int | None = None, kind: str = "anomaly") -> list[AlertEvent]:
    """An alert's events, from its start to its end in seconds."""

    def event(seq: int, time: int, of: str, end_ms: int | None) -> AlertEvent:
        fields = {
            "id": f"{name}/{seq}",
            "alert": name,
            "seq": seq,
            "type": of,
            "kind": kind,
            "severity": "warning",
            "site": "s",
            "gateway": "g",
            "asset": "p1",
            "start": iso(at(start)),
            "start_ms": at(start),
            "end_ms": end_ms,
            "time": iso(at(time)),
            "time_ms": at(time),
            "score": 2.0,
            "peak": 2.0,
            "message": "",
        }
        return msgspec.convert(fields, AlertEvent)

    opened = event(0, start, "new", None)
    return [opened] if end is None else [opened, event(1, end, "end", at(end))]


def said(verdict: str, *, said_at: int = 500, **more: str | int) -> Feedback:
    fields = {"id": f"f{said_at}", "asset": "p1", "verdict": verdict, "time_ms": at(said_at)}
    return msgspec.convert({"control": "feedback", **fields, **more}, Feedback)


def work(start: int, end: int, *, said_at: int = 0, cancelled: bool = False) -> Maintenance:
    return Maintenance(id="m", asset="p1", start_ms=at(start), end_ms=at(end),
                       time_ms=at(said_at), cancelled=cancelled)  # fmt: skip


def learned(
    alerts: Sequence[AlertEvent] = (),
    feedback: Sequence[Feedback] = (),
    maintenance: Sequence[Maintenance] = (),
    seconds: int = 100,
) -> Normal:
    store = MemoryStore()
    writer = Writer(store)
    writer.samples("1-r", {"p1": [(at(n), {"flow": float(n)}) for n in range(seconds)]})
    writer.events("1-r", ALERTS, alerts)
    writer.events("1-r", FEEDBACK, feedback)
    writer.events("1-r", MAINTENANCE, maintenance)
    return normal_history(Lake(store), ["p1", "unheard"])


def left_out(normal: Normal) -> list[int]:
    kept = {int(value) for value in normal.frames["p1"]["flow"]}
    return sorted(set(range(100)) - kept)


def test_without_alerts_everything_is_normal() -> None:
    normal = learned()
    assert left_out(normal) == []
    assert normal.edits == ()
    assert normal.frames.keys() == {"p1"}


@pytest.mark.parametrize("verdict", ["false_alarm", "expected"])
def test_what_was_no_fault_stays_in_and_the_audit_says_so(verdict: str) -> None:
    normal = learned(alert(A, 20, 30), [said(verdict, alert=A, by="ann")])
    assert left_out(normal) == []
    (edit,) = normal.edits
    assert (edit.why, edit.id, edit.by, edit.rows, edit.left_out) == (verdict, A, "ann", 10, False)


def test_a_confirmed_anomaly_and_one_nobody_reviewed_are_left_out() -> None:
    normal = learned([*alert(A, 20, 30), *alert(B, 50, 55)], [said("confirmed", alert=A)])
    assert left_out(normal) == [*range(20, 30), *range(50, 55)]
    assert [(e.why, e.rows) for e in normal.edits] == [("confirmed", 10), ("unreviewed", 5)]


def test_the_last_verdict_on_an_alert_counts_whatever_the_order_of_arrival() -> None:
    first, last = said("confirmed", said_at=10, alert=A), said("false_alarm", said_at=20, alert=A)
    assert left_out(learned(alert(A, 20, 30), [last, first])) == []
    assert left_out(learned(alert(A, 20, 30), [first])) == list(range(20, 30))


def test_feedback_may_name_a_range_of_its_own() -> None:
    normal = learned(alert(A, 20, 30), [said("confirmed", alert=A, start_ms=at(15), end_ms=at(40))])
    assert left_out(normal) == list(range(15, 40))
    normal = learned((), [said("confirmed", start_ms=at(15), end_ms=at(17))])
    assert left_out(normal) == [15, 16]


def test_feedback_without_alert_or_range_speaks_of_what_was_open_when_said() -> None:
    both = [*alert(A, 20, 30), *alert(B, 50, 55)]
    assert left_out(learned(both, [said("expected", said_at=25)])) == list(range(50, 55))


def test_an_alert_that_never_ended_lasts_until_the_next_of_its_kind_or_the_end() -> None:
    assert left_out(learned(alert(A, 90))) == list(range(90, 100))
    two = [*alert(A, 20), *alert(B, 60, 70)]
    assert left_out(learned(two, [said("false_alarm", alert=B)])) == list(range(20, 60))


def test_maintenance_is_left_out_even_where_an_alarm_was_false_unless_taken_back() -> None:
    false = [said("false_alarm", alert=A)]
    normal = learned(alert(A, 20, 30), false, [work(25, 35)])
    assert left_out(normal) == list(range(25, 35))
    assert [(e.why, e.rows) for e in normal.edits] == [("maintenance", 10), ("false_alarm", 5)]
    back = [work(25, 35), work(25, 35, said_at=1, cancelled=True)]
    assert left_out(learned(alert(A, 20, 30), false, back)) == []


def test_silence_is_no_reason_to_leave_anything_out_a_sensor_fault_is() -> None:
    assert left_out(learned(alert(A, 20, 30, kind="stale"))) == []
    assert left_out(learned(alert(A, 20, 30, kind="sensor_fault"))) == list(range(20, 30))


def test_an_alert_from_before_the_range_reaches_into_it() -> None:
    store = MemoryStore()
    Writer(store).samples("1-r", {"p1": [(at(n), {"flow": float(n)}) for n in range(100)]})
    Writer(store).events("1-r", ALERTS, alert(A, 20, 60))
    normal = normal_history(Lake(store), ["p1"], at(50), at(80))
    assert normal.frames["p1"]["flow"].tolist() == [float(n) for n in range(60, 80)]


def test_no_window_spans_what_was_left_out() -> None:
    history = learned(alert(A, 20, 30)).history()
    recording = history.assets["p1"]
    assert recording.cuts.tolist() == [20]
    assert [(s.start, s.stop) for s in recording.stretches()] == [(0, 20), (20, 90)]
    assert (history.rows, history.excluded, history.sensors) == (100, 10, ("flow",))
    np.testing.assert_array_equal(np.diff(recording.times_ms[18:22]), [1000, 11_000, 1000])
    assert "unreviewed" in history.notes[0]


def test_a_history_of_a_lake_knows_whether_its_sensors_were_asked_for() -> None:
    normal = learned(alert(A, 20, 30))
    assert not normal.history().named
    assert normal.history(("flow",)).named


def test_nothing_left_is_told() -> None:
    with pytest.raises(DataError, match="normal rows"):
        learned(alert(A, 0)).history()


def test_the_strongest_edit_comes_first() -> None:
    edits = judge([*alert(A, 1, 2), *alert(B, 3, 4)], [said("expected", alert=A)], [work(0, 9)],
                  end_ms=at(99))  # fmt: skip
    assert [edit.why for edit in edits] == ["maintenance", "expected", "unreviewed"]
