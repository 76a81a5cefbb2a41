"""Did the loop do its job?  Injected faults beside the alerts that came.

Rules: pure.  A fault is caught when an alert of its asset begins between its
start and one window after its end; an anomaly is dated to within a stride, so
it may begin that much early.  An alert is false when it opens outside every
fault of its asset and an hour after it, in which a repaired machine cools
down.  What passes is fixed here, whatever the seed.

>>> judge([], [], window_ms=640_000, stride_ms=80_000, sent=10, taken=10).passed
False
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from offbeat_broker.faults import KINDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from offbeat_broker.faults import Truth
    from offbeat_edge.schema import AlertEvent

CAUGHT_SHARE = 0.9  # of all faults, at least
CAUGHT_EACH = 1  # of every kind, at least
FALSE_ALARMS = 4  # at most; the alert budget of one a week and asset expects 0.6
AFTERMATH_MS = 3_600_000  # an alert this soon after a fault is its echo, not a false alarm


class Outcome(NamedTuple):
    """One fault and the first alert that it raised."""

    fault: Truth
    alert: AlertEvent | None

    @property
    def delay_ms(self) -> int | None:
        """Event time from the fault's start until the alert was told."""
        return None if self.alert is None else self.alert.time_ms - self.fault.start_ms


class Rule(NamedTuple):
    """One condition of success, in words, and whether it was met."""

    text: str
    got: str
    met: bool


class Verdict(NamedTuple):
    """Everything the summary says."""

    outcomes: tuple[Outcome, ...]
    false_alarms: tuple[AlertEvent, ...]
    rules: tuple[Rule, ...]

    @property
    def passed(self) -> bool:
        """Whether every rule was met."""
        return all(rule.met for rule in self.rules)

    @property
    def caught(self) -> int:
        """How many faults raised an alert."""
        return sum(outcome.alert is not None for outcome in self.outcomes)


def judge(
    faults: Sequence[Truth],
    events: Sequence[AlertEvent],
    *,
    window_ms: int,
    stride_ms: int,
    sent: int,
    taken: int,
) -> Verdict:
    """Match alerts with faults and apply the rules.

    Parameters
    ----------
    events : every alert event received, in any order
    window_ms, stride_ms : length of the model's window, and from one to the next
    sent, taken : messages published, messages that the daemon took
    """
    opened = sorted((e for e in events if e.type == "new"), key=lambda e: e.time_ms)

    def raised(event: AlertEvent, fault: Truth, after_ms: int) -> bool:
        early_ms = stride_ms if event.kind == "anomaly" else 1
        return (
            event.asset == fault.asset
            and event.start_ms > fault.start_ms - early_ms
            and event.time_ms <= fault.end_ms + after_ms
        )

    outcomes = tuple(
        Outcome(fault, next((e for e in opened if raised(e, fault, window_ms)), None))
        for fault in faults
    )
    false = tuple(
        e for e in opened if not any(raised(e, f, window_ms + AFTERMATH_MS) for f in faults)
    )
    return Verdict(outcomes, false, _rules(outcomes, len(false), sent=sent, taken=taken))


def _rules(outcomes: Sequence[Outcome], false: int, *, sent: int, taken: int) -> tuple[Rule, ...]:
    caught = [outcome.fault.kind for outcome in outcomes if outcome.alert is not None]
    share = len(caught) / len(outcomes) if outcomes else 0.0
    missed = [kind for kind in KINDS if caught.count(kind) < CAUGHT_EACH]
    return (
        Rule(
            f"at least {CAUGHT_SHARE:.0%} of the faults are caught",
            f"{len(caught)} of {len(outcomes)}",
            share >= CAUGHT_SHARE,
        ),
        Rule(
            f"at least {CAUGHT_EACH} of every kind is caught",
            f"none of {', '.join(missed)}" if missed else f"all {len(KINDS)} kinds",
            not missed,
        ),
        Rule(f"at most {FALSE_ALARMS} false alarms", str(false), false <= FALSE_ALARMS),
        Rule("every message published is taken by the daemon", f"{taken} of {sent}", taken == sent),
    )
