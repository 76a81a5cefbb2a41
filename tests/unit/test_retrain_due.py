"""When retraining is due, and what is said about it."""

from __future__ import annotations

import msgspec
import pytest

from offbeat_train.retrain.drift import Shift
from offbeat_train.retrain.due import DAY_MS, Facts, Policy, at_least, decide

CALM = Facts(
    age_ms=3 * DAY_MS, new_hours=100.0, weeks=2.0, alarms=2, false_alarms=0, budget_per_week=1.0,
    shifts=(Shift(sensor="flow", stability=0.1, level=0.1, spread=1.0),), high_scores=0.12,
)  # fmt: skip


def but(**changes: object) -> Facts:
    return msgspec.structs.replace(CALM, **changes)


def test_a_calm_fleet_is_left_alone() -> None:
    assert decide(CALM, Policy()).reasons == ()
    assert not decide(CALM, Policy()).due


def test_without_a_champion_it_is_due() -> None:
    assert decide(None, Policy()).due


@pytest.mark.parametrize(
    ("change", "why", "told"),
    [
        ({"age_ms": 29 * DAY_MS}, "age", "29 days"),
        ({"shifts": (Shift(sensor="flow", stability=0.4, level=1.2, spread=1.1),)}, "inputs",
         "flow (+1.2"),
        ({"high_scores": 0.4}, "scores", "40%"),
        ({"alarms": 9}, "alarms", "9 alerts"),
        ({"false_alarms": 3}, "feedback", "3 alerts false"),
    ],
)  # fmt: skip
def test_each_reason_alone_suffices_and_tells_its_figure(
    change: dict[str, object], why: str, told: str
) -> None:
    answer = decide(but(**change), Policy())
    assert answer.due
    assert [reason.why for reason in answer.reasons] == [why]
    assert told in answer.said[0]


def test_alarms_within_chance_of_the_budget_are_no_reason() -> None:
    assert not decide(but(alarms=5, weeks=2.0), Policy()).due


def test_too_little_new_data_waits_and_says_so() -> None:
    answer = decide(but(false_alarms=9, new_hours=1.5), Policy())
    assert not answer.due
    assert answer.reasons
    assert answer.waits == "1.5 hours of new normal rows, 24 are needed"


def test_force_needs_no_other_reason_and_does_not_wait() -> None:
    assert decide(but(new_hours=0.0), Policy(), force=True).due


def test_the_tail_of_the_poisson_distribution() -> None:
    assert at_least(3, 1.0) == pytest.approx(0.0803, abs=1e-4)
    assert at_least(1, 0.0) == 0.0
    assert at_least(0, 0.0) == 1.0
