"""An alert as an alarm that somebody must look at: the states of ISA-18.2.

Rules: pure.  An alert is raised unacknowledged; a rise in severity asks for
attention again; one that ended stays until it has been acknowledged, or
nobody would know that it was there.  Shelving hides an asset's alarms of one
kind for a limited time and never for good; maintenance that was announced
suppresses what begins in it.

======================  =======  ============  =================================
state                   active   acknowledged  ISA-18.2
======================  =======  ============  =================================
``unacknowledged``      yes      no            B, unacknowledged
``acknowledged``        yes      yes           C, acknowledged
``returned``            no       no            D, returned to normal, unacknowledged
``normal``              no       yes           A, normal
``shelved``                                    G, shelved
``suppressed``                                 H, suppressed by design
======================  =======  ============  =================================

>>> state(Alarm(alert="a", active=True, severity="warning"), shelved=False, suppressed=False)
'unacknowledged'
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec
from msgspec.structs import replace

from offbeat_edge.schema import Severity

if TYPE_CHECKING:
    from collections.abc import Iterable

    from offbeat_console.wire import Maintenance
    from offbeat_edge.schema import AlertEvent

AlarmState = Literal[
    "unacknowledged", "acknowledged", "returned", "normal", "shelved", "suppressed"
]
# Worst first: what a list of alarms is sorted by.
ORDER: dict[AlarmState, int] = {
    "unacknowledged": 0,
    "returned": 1,
    "acknowledged": 2,
    "shelved": 3,
    "suppressed": 4,
    "normal": 5,
}
MINUTE_MS = 60_000
# How long one may shelve; every shelf has an end.
SHELF_MS = {
    "30 minutes": 30 * MINUTE_MS,
    "2 hours": 120 * MINUTE_MS,
    "8 hours": 480 * MINUTE_MS,
    "1 day": 1440 * MINUTE_MS,
    "3 days": 3 * 1440 * MINUTE_MS,
}
MAX_SHELF_MS = max(SHELF_MS.values())
_RANK = {"warning": 0, "critical": 1}


class Alarm(msgspec.Struct, frozen=True, kw_only=True):
    """What people have done about one alert."""

    alert: str
    active: bool
    severity: Severity
    acknowledged_ms: int | None = None  # wall clock
    acknowledged_by: str = ""


class Shelf(msgspec.Struct, frozen=True, kw_only=True):
    """An asset's alarms of one kind, put aside until ``until_ms`` (wall clock)."""

    asset: str
    kind: str
    until_ms: int
    by: str
    note: str = ""

    def holds(self, now_ms: int) -> bool:
        """Whether it still is in force."""
        return now_ms < self.until_ms


def take(alarm: Alarm | None, event: AlertEvent) -> Alarm:
    """Return the alarm after an event of its alert; a rise in severity needs a new look."""
    if alarm is None:
        return Alarm(alert=event.alert, active=event.type != "end", severity=event.severity)
    worse = _RANK[event.severity] > _RANK[alarm.severity]
    alarm = replace(
        alarm,
        active=alarm.active and event.type != "end",
        severity=event.severity if worse else alarm.severity,
    )
    if worse and alarm.active:
        return replace(alarm, acknowledged_ms=None, acknowledged_by="")
    return alarm


def acknowledge(alarm: Alarm, *, by: str, now_ms: int) -> Alarm:
    """Return the alarm as somebody's; the first to acknowledge is remembered."""
    if alarm.acknowledged_ms is not None:
        return alarm
    return replace(alarm, acknowledged_ms=now_ms, acknowledged_by=by)


def state(alarm: Alarm, *, shelved: bool, suppressed: bool) -> AlarmState:
    """Return the one state it is in."""
    if alarm.active and shelved:
        return "shelved"
    if alarm.active and suppressed:
        return "suppressed"
    seen = alarm.acknowledged_ms is not None
    if alarm.active:
        return "acknowledged" if seen else "unacknowledged"
    return "normal" if seen or shelved or suppressed else "returned"


def suppressed(asset: str, start_ms: int, windows: Iterable[Maintenance]) -> bool:
    """Whether an alert that began at ``start_ms`` (event time) began in announced work."""
    return any(
        w.asset == asset and not w.cancelled and w.start_ms <= start_ms < w.end_ms for w in windows
    )
