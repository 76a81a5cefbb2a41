"""Is it time to train again?  Reasons with figures, for people.

Rules: pure.  Any one reason suffices, but none does without enough new
normal rows to learn from and to judge by.  A reason says what was expected
and what was found; ``Due.said`` is what a log or a page shows.

>>> facts = Facts(age_ms=40 * DAY_MS, new_hours=200.0, weeks=1.0, alarms=1, false_alarms=0,
...               budget_per_week=1.0, shifts=(), high_scores=0.1)
>>> decide(facts, Policy()).said
('the champion has not seen the last 40 days (at most 28)',)
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import msgspec

from offbeat_train.retrain.drift import MARKED, Shift

if TYPE_CHECKING:
    from collections.abc import Iterator

DAY_MS = 86_400_000
CHANCE = 0.01  # an alarm rate this unlikely under the budget is off it
EXPECTED_HIGH = 0.1  # of scores lie above the calibration's ninth decile

Why = Literal["no_champion", "age", "inputs", "scores", "alarms", "feedback", "forced"]


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """When to retrain; each limit is one reason's."""

    most_age_ms: int = 28 * DAY_MS  # event time since the champion's data ended
    least_hours: float = 24.0  # of new normal rows over all assets; fewer teach little
    most_stability: float = MARKED
    most_high_scores: float = 0.25  # share above the calibration's ninth decile
    most_false_alarms: int = 3  # that people reported


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What is known since the champion's data ended."""

    age_ms: int
    new_hours: float  # of normal rows, over all assets
    weeks: float  # of watching, over all assets
    alarms: int  # anomaly alerts that nobody confirmed
    false_alarms: int  # alerts that people called false
    budget_per_week: float
    shifts: tuple[Shift, ...]
    high_scores: float | None  # share of normal windows above the calibration's ninth decile


class Reason(msgspec.Struct, frozen=True, kw_only=True):
    """One reason, with its figure and the limit it passed."""

    why: Why
    found: float
    limit: float
    said: str


class Due(msgspec.Struct, frozen=True, kw_only=True):
    """The answer; ``waits`` says what is still lacking."""

    due: bool
    reasons: tuple[Reason, ...]
    waits: str | None = None

    @property
    def said(self) -> tuple[str, ...]:
        """Every reason as a sentence."""
        return tuple(reason.said for reason in self.reasons)


def decide(facts: Facts | None, policy: Policy, *, force: bool = False) -> Due:
    """Say whether to retrain; ``facts`` of None means there is no champion."""
    if facts is None:
        said = "there is no champion yet"
        return Due(due=True, reasons=(Reason(why="no_champion", found=0, limit=1, said=said),))
    reasons = tuple(_reasons(facts, policy))
    if force:
        forced = Reason(why="forced", found=0, limit=0, said="someone asked for it")
        return Due(due=True, reasons=(*reasons, forced))
    waits = None
    if facts.new_hours < policy.least_hours:
        waits = (f"{facts.new_hours:.1f} hours of new normal rows, "
                 f"{policy.least_hours:g} are needed")  # fmt: skip
    return Due(due=bool(reasons) and waits is None, reasons=reasons, waits=waits)


def _reasons(facts: Facts, policy: Policy) -> Iterator[Reason]:
    if facts.age_ms > policy.most_age_ms:
        days, most = facts.age_ms / DAY_MS, policy.most_age_ms / DAY_MS
        yield Reason(why="age", found=days, limit=most,
                     said=f"the champion has not seen the last {days:.0f} days "
                          f"(at most {most:g})")  # fmt: skip
    yield from _inputs(facts, policy)
    if facts.high_scores is not None and facts.high_scores > policy.most_high_scores:
        yield Reason(why="scores", found=facts.high_scores, limit=policy.most_high_scores,
                     said=f"{facts.high_scores:.0%} of normal windows score above the "
                          f"calibration's ninth decile (expected {EXPECTED_HIGH:.0%}, "
                          f"at most {policy.most_high_scores:.0%})")  # fmt: skip
    expected = facts.budget_per_week * facts.weeks
    if at_least(facts.alarms, expected) < CHANCE:
        yield Reason(why="alarms", found=facts.alarms, limit=expected,
                     said=f"{facts.alarms} alerts that nobody confirmed in {facts.weeks:.2g} "
                          f"asset-weeks; the budget is {expected:.2g}")  # fmt: skip
    if facts.false_alarms >= policy.most_false_alarms:
        yield Reason(why="feedback", found=facts.false_alarms, limit=policy.most_false_alarms,
                     said=f"people called {facts.false_alarms} alerts false "
                          f"(fewer than {policy.most_false_alarms} are borne)")  # fmt: skip


def _inputs(facts: Facts, policy: Policy) -> Iterator[Reason]:
    moved = [s for s in facts.shifts if s.stability > policy.most_stability]
    if not moved:
        return
    worst = max(moved, key=lambda s: s.stability)
    named = ", ".join(f"{s.sensor} ({s.level:+.1f}, spread x {s.spread:.1f})" for s in moved[:5])
    yield Reason(
        why="inputs", found=worst.stability, limit=policy.most_stability,
        said=f"{len(moved)} of {len(facts.shifts)} sensors moved, in standard deviations: {named}; "
             f"stability index up to {worst.stability:.2f} (at most {policy.most_stability:g})",
    )  # fmt: skip


def at_least(count: int, expected: float) -> float:
    """Probability of ``count`` or more events where ``expected`` are (Poisson).

    >>> at_least(0, 3.0), round(at_least(1, 1.0), 3)
    (1.0, 0.632)
    """
    below = sum(math.exp(k * math.log(expected) - expected - math.lgamma(k + 1))
                for k in range(count)) if expected > 0.0 else float(count > 0)  # fmt: skip
    return max(0.0, 1.0 - below)
