"""What a new bundle would have told of its own history, and when that is a doubt."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest

from offbeat_train.hindsight import Hindsight


def past(anomalies: int, weeks: float, *, peak: float = 1.2, **others: int) -> Hindsight:
    loudest: Any = SimpleNamespace(peak=peak)
    return Hindsight(weeks, Counter(anomaly=anomalies, **others), (loudest,) * bool(anomalies))


@pytest.mark.parametrize(
    ("anomalies", "weeks", "per_week", "doubted"),
    [
        (0, 0.0, 1.0, False),
        (1, 1.0, 1.0, False),
        (3, 1.0, 1.0, False),
        (4, 1.0, 1.0, True),
        (9, 7.0, 1.0, False),
        (12, 1.43, 3.5, True),
    ],
)
def test_it_is_a_doubt_where_chance_does_not_explain_it(
    anomalies: int, weeks: float, per_week: float, *, doubted: bool
) -> None:
    doubts = past(anomalies, weeks).doubts(per_week)
    assert len(doubts) == doubted
    if doubted:
        assert f"told {anomalies} anomalies where" in doubts[0]
        assert "--exclude START/END" in doubts[0]


def test_one_that_is_critical_is_a_doubt_alone() -> None:
    (doubt,) = past(1, 5.0, peak=7.5).doubts(1.0)
    assert "the loudest at 7.5 thresholds" in doubt


def test_it_is_counted_beside_the_rate_that_was_expected() -> None:
    told = past(3, 2.0, stale=4, missing=60)
    assert told.said(1.0) == ("3 anomaly, 1.5 a week and asset (expected 1); 60 missing; 4 stale")
    assert past(0, 0.0).said(1.0) == "0 anomaly"
