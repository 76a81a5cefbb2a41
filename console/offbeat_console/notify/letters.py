"""From an alert's event to what people are told of it.

Rules: pure.  An alert begins for people when an event first reaches the least
severity they want, and ends only if they heard of its beginning; which of
both was told already, the ledger knows.

>>> Rule(assets=("pump*",), least="critical", ends=True).concerns("pump1")
True
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from offbeat_edge.schema import AlertEvent, Severity

Stage = Literal["begin", "end"]
GRADES: tuple[Severity, ...] = ("warning", "critical")
DIGEST_LINES = 50  # of a message about several alerts


class Rule(NamedTuple):
    """What people want to hear of."""

    assets: tuple[str, ...]
    least: Severity
    ends: bool

    def concerns(self, asset: str) -> bool:
        """Whether one of the patterns matches this asset's name."""
        return any(fnmatchcase(asset, pattern) for pattern in self.assets)


class Letter(NamedTuple):
    """What is to be said, once for each stage of an alert."""

    alert: str
    stage: Stage
    severity: Severity
    title: str
    body: str


def letter(event: AlertEvent, rule: Rule) -> Letter | None:
    """Return what an event is worth, None for nothing."""
    if not rule.concerns(event.asset):
        return None
    if event.type == "end":
        over = Letter(event.alert, "end", event.severity, _title(event), _body(event))
        return over if rule.ends else None
    if GRADES.index(event.severity) < GRADES.index(rule.least):
        return None
    return Letter(event.alert, "begin", event.severity, _title(event), _body(event))


def _title(event: AlertEvent) -> str:
    kind = event.kind.replace("_", " ")
    if event.type == "end":
        return f"{event.asset}: {kind} is over"
    return f"{event.asset}: {kind}, {event.severity}"


def _body(event: AlertEvent) -> str:
    lines = [event.message, f"since {event.start}"]
    if event.end is not None:
        lines[-1] += f", until {event.end}"
    if event.reason is not None:
        lines.append(f"ended by: {event.reason.replace('_', ' ')}")
    lines += [
        f"  {c.sensor}: {_number(c.actual)}, expected {_number(c.expected)} ({c.share:.0%})"
        for c in event.contributions
    ]
    return "\n".join([*lines, f"gateway {event.gateway}, site {event.site}, alert {event.alert}"])


def _number(value: float | None) -> str:
    return "nothing" if value is None else f"{value:.5g}"


def joined(titles: Sequence[str], bodies: Sequence[str]) -> tuple[str, str]:
    r"""Make one message of several; a single one stays what it is.

    >>> joined(["a: anomaly", "b: stale"], ["far off", "no data"])
    ('2 alerts', 'a: anomaly\nb: stale')
    """
    if len(titles) == 1:
        return titles[0], bodies[0]
    left = len(titles) - DIGEST_LINES
    more = [f"… and {left} more"] if left > 0 else []
    return f"{len(titles)} alerts", "\n".join([*titles[:DIGEST_LINES], *more])
