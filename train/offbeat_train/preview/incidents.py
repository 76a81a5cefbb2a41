"""What several thresholds said of one history, folded into one list.

Rules: alerts of one asset and kind whose times overlap, whatever threshold
raised them, are one incident.  A stricter threshold may cut an incident of a
looser one into several alerts: each counts.

>>> fold([[of_the_bundle], [of_a_looser_threshold]], until={})  # doctest: +SKIP
[Incident(asset='p1', kind='anomaly', ...)]
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from offbeat_edge.schema import AlertEvent, Kind


class Alert(NamedTuple):
    """An alert from its first event to its last."""

    level: int  # which threshold raised it
    first: AlertEvent
    loudest: AlertEvent  # of its events
    end_ms: int  # where its calm began, or the history ended


@dataclass(frozen=True)
class Incident:
    """Something that at least one of the thresholds would have told."""

    asset: str
    kind: Kind
    start_ms: int
    end_ms: int
    alerts: tuple[Alert, ...]  # in the order of level and time

    @property
    def levels(self) -> set[int]:
        """Which thresholds raise it."""
        return {alert.level for alert in self.alerts}

    @property
    def told(self) -> AlertEvent:
        """The loudest event of the first threshold that raises it."""
        return max((a.loudest for a in self.alerts if a.level == self.alerts[0].level), key=peak_of)


def fold(levels: Sequence[Sequence[AlertEvent]], *, until: Mapping[str, int]) -> list[Incident]:
    """Fold each threshold's events into incidents, in order of time.

    Parameters
    ----------
    until : asset → the history's end, epoch ms, where an alert that is open still ends.
    """
    alerts = [a for n, events in enumerate(levels) for a in lives(n, events, until)]
    alerts.sort(key=lambda a: (a.first.asset, a.first.kind, a.first.start_ms))
    groups: list[list[Alert]] = []
    for alert in alerts:
        if groups and _meet(groups[-1], alert):
            groups[-1].append(alert)
        else:
            groups.append([alert])
    return sorted(map(_incident, groups), key=lambda found: (found.start_ms, found.asset))


def lives(level: int, events: Sequence[AlertEvent], until: Mapping[str, int]) -> list[Alert]:
    """Put together the alerts that events tell of."""
    told: dict[str, list[AlertEvent]] = {}
    for event in events:
        told.setdefault(event.alert, []).append(event)
    return [_alert(level, of_one, until) for of_one in told.values()]


def _alert(level: int, events: list[AlertEvent], until: Mapping[str, int]) -> Alert:
    end = events[-1].end_ms
    if end is None:
        end = max(events[-1].time_ms, until.get(events[0].asset, 0))
    told = [event for event in events if event.type != "end"] or events
    return Alert(level, events[0], max(told, key=peak_of), end)


def _meet(group: list[Alert], alert: Alert) -> bool:
    same = (group[0].first.asset, group[0].first.kind) == (alert.first.asset, alert.first.kind)
    return same and alert.first.start_ms <= max(one.end_ms for one in group)


def _incident(group: list[Alert]) -> Incident:
    return Incident(
        asset=group[0].first.asset,
        kind=group[0].first.kind,
        start_ms=group[0].first.start_ms,
        end_ms=max(alert.end_ms for alert in group),
        alerts=tuple(sorted(group, key=lambda a: (a.level, a.first.start_ms))),
    )


def peak_of(event: AlertEvent) -> float:
    """Return how loud an alert had been by this event, thresholds."""
    return event.peak or 0.0
