"""The life of an alert: it opens once, says what is news, and ends."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from offbeat_edge.alert import (
    Lifecycle,
    advance,
    close,
    ended,
    fall_back,
    forget_candidate,
    severity_of,
)
from offbeat_edge.schema import AlertRule

Scores = list[tuple[int, float]]


def story(rule: AlertRule, scores: Scores) -> list[tuple[int, str]]:
    life, told = Lifecycle(), []
    for time_ms, score in scores:
        event = advance(life, rule, time_ms, score)
        if event is not None:
            told.append((time_ms, event))
        if event == "end":
            ended(life)
    return told


def test_it_opens_after_its_minimum_duration_dated_from_the_first_score() -> None:
    life, rule = Lifecycle(), AlertRule(min_duration_ms=20)
    assert [advance(life, rule, t, 2.0) for t in (100, 110, 120)] == [None, None, "new"]
    assert life.start_ms == 100


def test_a_short_excursion_opens_nothing() -> None:
    rule = AlertRule(min_duration_ms=20)
    assert story(rule, [(0, 2.0), (10, 0.5), (20, 2.0), (30, 2.0)]) == []


def test_between_the_clear_ratio_and_the_threshold_it_stays_open() -> None:
    rule = AlertRule(clear_ratio=0.8)
    assert story(rule, [(0, 1.5), (1, 0.9), (2, 0.79)]) == [(0, "new"), (2, "end")]


def test_it_ends_only_after_staying_calm() -> None:
    rule = AlertRule(clear_ms=20)
    scores = [(0, 1.5), (10, 0.1), (20, 1.2), (30, 0.1), (40, 0.1), (50, 0.1)]
    assert story(rule, scores) == [(0, "new"), (50, "end")]


def test_after_an_end_it_stays_quiet_for_the_cooldown() -> None:
    rule = AlertRule(cooldown_ms=30)
    scores = [(0, 2.0), (10, 0.0), (20, 2.0), (39, 2.0), (40, 2.0)]
    assert story(rule, scores) == [(0, "new"), (10, "end"), (40, "new")]


def test_an_update_comes_when_it_gets_much_worse_or_critical() -> None:
    scores = [(0, 1.2), (1, 1.3), (2, 1.9), (3, 2.0), (4, 3.0), (5, 3.1)]
    assert story(AlertRule(), scores) == [(0, "new"), (2, "update"), (4, "update")]


def test_what_rises_after_it_fell_back_is_news_again() -> None:
    life, rule = Lifecycle(), AlertRule(clear_ms=100)
    assert [advance(life, rule, t, s) for t, s in [(0, 5.0), (1, 0.95), (2, 2.0)]] == [
        "new", None, None,
    ]  # fmt: skip
    fall_back(life)
    scores = [1.4, 1.6, 2.3, 2.5, 3.2]
    told = [advance(life, rule, 3 + k, score) for k, score in enumerate(scores)]
    assert told == [None, "update", None, "update", "update"]
    assert life.peak == 5.0


def test_an_interruption_makes_a_candidate_start_over() -> None:
    life, rule = Lifecycle(), AlertRule(min_duration_ms=10)
    advance(life, rule, 0, 2.0)
    forget_candidate(life)
    assert advance(life, rule, 10, 2.0) is None
    assert close(life, rule, 11) is None


def test_three_times_the_threshold_is_critical() -> None:
    assert [severity_of(s) for s in (1.0, 2.99, 3.0)] == ["warning", "warning", "critical"]


rules = st.builds(
    AlertRule,
    min_duration_ms=st.integers(0, 50),
    clear_ratio=st.floats(0.1, 1.0),
    clear_ms=st.integers(0, 50),
    cooldown_ms=st.integers(0, 50),
)


@given(rule=rules, scores=st.lists(st.floats(0, 10), max_size=80))
def test_every_story_is_new_updates_end_in_this_order(rule: AlertRule, scores: list[float]) -> None:
    told = [event for _, event in story(rule, [(10 * i, s) for i, s in enumerate(scores)])]
    opened = False
    for event in told:
        assert (event == "new") is not opened
        opened = event != "end"
