"""Scores → the life of an alert: new, update, end.

A state machine over event time, one for each asset and kind; it knows no
clock and keeps nothing but `Lifecycle`, which is data.

* A score above 1.0 starts a candidate; after ``min_duration_ms`` above it
  the alert opens, dated from the first of them.
* While open, an update goes out when the severity rises or the score has
  grown by `UPDATE_GROWTH` since people last heard of it, or since it fell
  back (`fall_back`).
* It ends once the score has stayed below ``clear_ratio`` for ``clear_ms``.
* After an end, ``cooldown_ms`` must pass before the next candidate.
* Hushed (people said that it was nothing), none opens until the score has
  stayed below ``clear_ratio`` for ``clear_ms``, has grown to `HUSH_ESCAPE`
  times the peak they had seen, or `MAX_HUSH_MS` have passed.

>>> from offbeat_edge.schema import AlertRule
>>> life = Lifecycle()
>>> [advance(life, AlertRule(), t, s) for t, s in [(0, 0.5), (1, 1.2), (2, 0.8)]]
[None, 'new', 'end']
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from offbeat_edge.schema import EventMs

if TYPE_CHECKING:
    from offbeat_edge.control import Verdict
    from offbeat_edge.schema import AlertRule, EventType, Severity

UPDATE_GROWTH = 1.5  # a peak this many times the last one told is news
CRITICAL_SCORE = 3.0  # times the threshold
HUSH_ESCAPE = 2.0  # so many times the peak that was judged is another matter
MAX_HUSH_MS = 86_400_000  # of event time; what lasts longer is for the next training


class Lifecycle(msgspec.Struct, array_like=True):
    """Where one alert of one asset stands; times are event time in ms."""

    candidate_ms: EventMs | None = None  # above the threshold since
    start_ms: EventMs | None = None  # set while the alert is open
    below_ms: EventMs | None = None  # open, but calm since
    quiet_until_ms: EventMs | None = None  # cooldown
    seq: int = 0  # of the next event
    peak: float = 0.0
    told: float = 0.0  # the peak people last heard of; 1.0 once it fell back
    alert: str | None = None  # its identity while open, whatever model takes over
    verdict: str | None = None  # what people said of it: while open, and while hushed
    hushed_ms: EventMs | None = None  # hushed since
    hushed_peak: float = 0.0  # of the alert they judged


def severity_of(peak: float) -> Severity:
    """Return how bad a peak score is."""
    return "critical" if peak >= CRITICAL_SCORE else "warning"


def advance(life: Lifecycle, rule: AlertRule, time_ms: int, score: float) -> EventType | None:
    """Move `life` on by one score; return the event that this makes, if any."""
    if life.start_ms is None:
        return _while_closed(life, rule, time_ms, score)
    return _while_open(life, rule, time_ms, score)


def forget_candidate(life: Lifecycle) -> None:
    """Scores were interrupted: what was not yet an alert starts over."""
    life.candidate_ms = None


def fall_back(life: Lifecycle) -> None:
    """Let what rises from the threshold again be news, though the alert is still open.

    It may be another fault, which the first one's peak must not hide.
    """
    life.told = min(life.told, 1.0)


def close(life: Lifecycle, rule: AlertRule, time_ms: int) -> EventType | None:
    """End an open alert now, whatever the score."""
    life.candidate_ms = None
    if life.start_ms is None:
        return None
    life.quiet_until_ms = time_ms + rule.cooldown_ms if rule.cooldown_ms else None
    return "end"


def confirm(life: Lifecycle, verdict: Verdict) -> None:
    """Mark an open alert with what people said of it."""
    life.verdict = verdict


def hush(life: Lifecycle, verdict: Verdict, time_ms: int, peak: float) -> None:
    """Open no other for what people have just judged; see the rules above."""
    life.verdict, life.hushed_ms, life.hushed_peak = verdict, time_ms, peak


def rest(life: Lifecycle, rule: AlertRule, time_ms: int, score: float) -> None:
    """Let a score pass during which nothing may open."""
    life.candidate_ms = None
    _still_hushed(life, rule, time_ms, score)


def lift(life: Lifecycle) -> None:
    """Hush no longer."""
    life.verdict = life.hushed_ms = life.below_ms = None
    life.hushed_peak = 0.0


def _still_hushed(life: Lifecycle, rule: AlertRule, time_ms: int, score: float) -> bool:
    if life.hushed_ms is None:
        return False
    if score >= rule.clear_ratio:
        life.below_ms = None
    elif life.below_ms is None:
        life.below_ms = time_ms
    cleared = life.below_ms is not None and time_ms - life.below_ms >= rule.clear_ms
    escaped = score >= HUSH_ESCAPE * life.hushed_peak
    if cleared or escaped or time_ms - life.hushed_ms >= MAX_HUSH_MS:
        lift(life)
        return False
    return True


def _while_closed(life: Lifecycle, rule: AlertRule, time_ms: int, score: float) -> EventType | None:
    hushed = _still_hushed(life, rule, time_ms, score)
    quiet = life.quiet_until_ms is not None and time_ms < life.quiet_until_ms
    if score <= 1.0 or quiet or hushed:
        life.candidate_ms = None
        return None
    if life.candidate_ms is None:
        life.candidate_ms, life.peak = time_ms, score
    life.peak = max(life.peak, score)
    if time_ms - life.candidate_ms < rule.min_duration_ms:
        return None
    life.start_ms, life.candidate_ms = life.candidate_ms, None
    life.below_ms, life.seq, life.told = None, 0, life.peak
    return "new"


def _while_open(life: Lifecycle, rule: AlertRule, time_ms: int, score: float) -> EventType | None:
    if score < rule.clear_ratio:
        if life.below_ms is None:
            life.below_ms = time_ms
        if time_ms - life.below_ms >= rule.clear_ms:
            return close(life, rule, time_ms)
        return None
    life.below_ms = None
    life.peak = max(life.peak, score)
    graver = score > life.told and severity_of(score) != severity_of(life.told)
    if not graver and score < UPDATE_GROWTH * life.told:
        return None
    life.told = score
    return "update"


def ended(life: Lifecycle) -> None:
    """Forget an alert whose ``end`` has been written."""
    life.start_ms = life.below_ms = life.alert = life.verdict = None
    life.seq, life.peak, life.told = 0, 0.0, 0.0
