"""What retraining reads from a lake."""

from __future__ import annotations

import numpy as np
import pytest
from lake_parts import MemoryStore
from test_lake_normal import A, B, alert, at, said

from offbeat_train.lake import Lake, Writer
from offbeat_train.lake.events import ALERTS, FEEDBACK
from offbeat_train.retrain.past import LakePast, Said, Span, covered_ms, digest

C = "c" * 32


@pytest.fixture
def past() -> LakePast:
    """A hundred seconds of one sensor; one alert confirmed, one called false, one unreviewed."""
    store = MemoryStore()
    writer = Writer(store)
    writer.samples("1-r", {"p1": [(at(n), {"flow": float(n)}) for n in range(100)]})
    writer.events("1-r", ALERTS, [*alert(A, 10, 20), *alert(B, 40, 50), *alert(C, 70, 80)])
    words = [said("confirmed", alert=A), said("false_alarm", alert=B, said_at=501)]
    writer.events("1-r", FEEDBACK, words)
    return LakePast(Lake(store))


def test_normal_rows_hold_false_alarms_and_no_others(past: LakePast) -> None:
    history = past.normal(past.assets(), start_ms=None, end_ms=None)
    assert len(history.assets["p1"].times_ms) == 80
    assert covered_ms(history, since_ms=None, most_gap_ms=1000) == 77_000
    assert covered_ms(history, since_ms=at(79), most_gap_ms=1000) == 19_000


def test_what_people_confirmed_is_an_incident(past: LakePast) -> None:
    assert past.incidents(("p1",), end_ms=None) == [Span("p1", at(10), at(20))]
    assert past.incidents(("p2",), end_ms=None) == []


def test_alarms_are_alerts_that_nobody_confirmed(past: LakePast) -> None:
    assert past.said(("p1",), start_ms=0) == Said(alarms=2, false_alarms=1)
    assert past.said(("p1",), start_ms=at(60)) == Said(alarms=1, false_alarms=0)


def test_raw_rows_leave_nothing_out_and_lack_what_was_never_sent(past: LakePast) -> None:
    rows = past.raw("p1", ("heat", "flow"), start_ms=at(8), end_ms=at(22))
    assert rows.values[:, 1].tolist() == list(range(8, 22))
    assert np.isnan(rows.values[:, 0]).all()
    assert rows.times_ms[0] == at(8)


def test_the_digest_depends_on_every_row(past: LakePast) -> None:
    whole, most = (past.normal(("p1",), start_ms=None, end_ms=end) for end in (None, at(99)))
    assert digest(whole) == digest(past.normal(("p1",), start_ms=0, end_ms=at(200)))
    assert digest(whole) != digest(most)
