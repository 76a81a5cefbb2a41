"""What pages show, made from the board: pure, so that it can be tested.

Rules: worst first, then what nobody has looked at, then by name, so that
calm rows stand still; the clock is passed in; ages are of the wall clock,
times of the samples.

>>> ago(65_000), ago(3_700_000), ago(None)
('1 min', '1 h', '')
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from offbeat_console.alarm import ORDER
from offbeat_edge.schema import iso

if TYPE_CHECKING:
    from collections.abc import Iterable

    from offbeat_console.alarm import AlarmState
    from offbeat_console.board import Alert, Board, Watched

# Worst first.
RANK = {
    name: n
    for n, name in enumerate(
        ("anomaly", "sensor_fault", "stale", "lost", "degraded", "unknown", "warming", "ok")
    )
}
SPARK_STEPS = 63  # heights of the small curve; one character each
SPARK_FULL = 2.0  # the score at its top
SPARK_CHARS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz+/"
FRESH_MS = 10_000  # heard so long ago: alive
KIND_WORDS = {"anomaly": "Anomaly", "sensor_fault": "Sensor fault", "stale": "No data"}
ALARM_WORDS: dict[AlarmState, str] = {
    "unacknowledged": "new",
    "acknowledged": "acknowledged",
    "returned": "over, not acknowledged",
    "normal": "closed",
    "shelved": "shelved",
    "suppressed": "maintenance",
}
VERDICT_WORDS = {
    "confirmed": "confirmed",
    "false_alarm": "false alarm",
    "expected": "expected",
}


class Row(NamedTuple):
    """One asset in the overview."""

    key: str  # gateway/asset
    gateway: str
    asset: str
    state: str
    alarm: str  # of its worst alert, "" without one
    what: str  # why
    score: float | None
    spark: str
    since_ms: int
    alerts: int  # not over, or not acknowledged
    revision: int


class Overview(NamedTuple):
    """A page of the fleet: rows, and counts before the filter by state."""

    rows: list[Row]
    total: int  # that match
    counts: dict[str, int]


def shown_state(board: Board, watched: Watched) -> str:
    """Return what an asset is shown as: its state, unless nobody watches it any more."""
    gateway = board.gateways.get(watched.gateway)
    if gateway is not None and gateway.status not in ("online", ""):
        return "lost"
    return watched.state.state if watched.state else "unknown"


def row(board: Board, watched: Watched, now_ms: int) -> Row:
    """Return an asset's row."""
    worst = _worst(board, watched, now_ms)
    state = shown_state(board, watched)
    return Row(
        key=f"{watched.gateway}/{watched.name}",
        gateway=watched.gateway,
        asset=watched.name,
        state=state,
        alarm=board.state_of(worst, now_ms) if worst else "",
        what=_why(board, watched, worst, state),
        score=watched.score if state != "lost" else None,
        spark=spark(watched.spark),
        since_ms=watched.state.since_ms if watched.state else 0,
        alerts=len(watched.open),
        revision=watched.revision,
    )


def _worst(board: Board, watched: Watched, now_ms: int) -> Alert | None:
    """Return the open alert that most needs somebody."""
    found = [board.alerts[name] for name in watched.open if name in board.alerts]
    return min(found, key=lambda alert: ORDER[board.state_of(alert, now_ms)], default=None)


def _why(board: Board, watched: Watched, worst: Alert | None, state: str) -> str:
    if state == "lost":
        return f"{watched.gateway} is {board.gateways[watched.gateway].status}"
    if worst is not None:
        return said(worst)
    return "; ".join(watched.state.reasons) if watched.state else ""


def said(alert: Alert) -> str:
    """Return an alert's sentence without the asset's name, which stands beside it."""
    return alert.telling.message.removeprefix(f"{alert.event.asset}: ")


def spark(scores: Iterable[float]) -> str:
    """Return scores as a text of heights, one character each.

    >>> spark([0.0, 1.0, 9.0])
    '0V/'
    """
    top = SPARK_STEPS / SPARK_FULL
    return "".join(SPARK_CHARS[min(SPARK_STEPS, max(0, int(score * top)))] for score in scores)


def place(found: Row) -> tuple[int, int, str, str]:
    """Return where a row stands: worst first, unseen before seen, then by name."""
    return (RANK[found.state], _urgency(found.alarm), found.asset, found.gateway)


def _urgency(alarm: str) -> int:
    return ORDER.get(alarm, 9)  # type: ignore[call-overload,no-any-return]  # "" is no alarm


class Fleet:
    """The overview's rows, each made again only when its asset changed.

    Parameters
    ----------
    board : what is shown.
    """

    def __init__(self, board: Board) -> None:
        self._board = board
        self._rows: dict[str, Row] = {}
        self._gone: dict[tuple[str, str], int] = {}

    def page(
        self, *, now_ms: int, state: str, search: str, gateway: str, first: int, size: int
    ) -> Overview:
        """Return one page: ``state`` and ``search`` filter, ``first`` and ``size`` cut."""
        rows = self.rows(now_ms)
        wanted = search.casefold().split()
        rows = [
            r for r in rows
            if (not gateway or r.gateway == gateway) and all(w in _text(r) for w in wanted)
        ]  # fmt: skip
        counts = Counter(r.state for r in rows)
        matching = [r for r in rows if not state or r.state == state]
        matching.sort(key=place)
        return Overview(matching[first : first + size], len(matching), dict(counts))

    def rows(self, now_ms: int) -> list[Row]:
        """Return every row, in no order."""
        for watched in list(self._board.assets.values()):
            key = f"{watched.gateway}/{watched.name}"
            known = self._rows.get(key)
            if known is None or known.revision != watched.revision or known.alarm == "shelved":
                self._rows[key] = row(self._board, watched, now_ms)
        return list(self._rows.values())


def _text(found: Row) -> str:
    return f"{found.asset} {found.gateway} {found.state} {found.what}".casefold()


def ago(age_ms: int | None) -> str:
    """Return an age in one unit."""
    if age_ms is None:
        return ""
    seconds = max(0, age_ms) // 1000
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def clock(time_ms: int) -> str:
    """Return a moment as people read it, UTC, to the second."""
    return iso(time_ms)[:19].replace("T", " ")


def waiting(board: Board, now_ms: int) -> int:
    """Return how many alerts nobody has acknowledged."""
    states = (board.state_of(alert, now_ms) for alert in list(board.alerts.values()))
    return sum(state in ("unacknowledged", "returned") for state in states)


def merged(kept: Iterable[Alert], board: Board, watched: Watched) -> list[Alert]:
    """Return an asset's alerts, newest first: the store's, and memory's where it knows more."""
    found = {alert.event.alert: alert for alert in kept if alert.event.gateway == watched.gateway}
    for name in (*found, *watched.open):
        if name in board.alerts:
            found[name] = board.alerts[name]
    return sorted(found.values(), key=lambda alert: -alert.event.start_ms)


def number(score: float) -> str:
    """Return a score as people read it.

    >>> number(0.456), number(123.4)
    ('0.46', '123')
    """
    return f"{score:.0f}" if score >= 100 else f"{score:.2f}"


def value(given: float | None) -> str:
    """Return a sensor's value with four significant digits, or all before the point.

    >>> value(15.77219), value(12345.6), value(None)
    ('15.77', '12346', '')
    """
    if given is None:
        return ""
    return f"{given:.0f}" if 1000 <= abs(given) < 1e9 else f"{given:.4g}"


def lasted(alert: Alert, newest_ms: int) -> str:
    """Return how long an alert has been, in event time, ``newest_ms`` being the asset's."""
    event = alert.event
    if event.end_ms is not None:
        return ago(event.end_ms - event.start_ms)
    if not alert.alarm.active:
        return ""
    span_ms = max(event.time_ms, newest_ms) - event.start_ms
    return f"{ago(span_ms)} so far" if span_ms else "going on"  # silence has no event time


def newest(board: Board, alert: Alert) -> int:
    """Return the newest event time of an alert's asset."""
    watched = board.assets.get((alert.event.gateway, alert.event.asset))
    return watched.newest_ms if watched else alert.event.time_ms
