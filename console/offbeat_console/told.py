"""What pages say of gateways, models, maintenance and people: pure, beside ``views``.

>>> from offbeat_console.board import Gateway
>>> worries(Gateway(name="gw1", status="offline"))
['not connected to the broker']
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec

from offbeat_console import views

if TYPE_CHECKING:
    from collections.abc import Mapping

    from offbeat_console.alarm import AlarmState
    from offbeat_console.board import Alert, Board, Gateway
    from offbeat_console.store import Reader
    from offbeat_console.wire import Feedback, Maintenance

LIMIT_SHOWN = 8  # hours of spool left that is worth a word
MS = 1000
LAG_SHOWN_MS = 120_000  # beyond this, seconds say nothing


class Model(msgspec.Struct, frozen=True):
    """What a gateway's health says of a model; a gateway's word may be incomplete."""

    bundle: str = ""
    name: str = ""
    version: str = ""
    digest: str = ""
    degraded: str | None = None


class Spool(msgspec.Struct, frozen=True):
    """What waits on a gateway's disk."""

    events: int = 0
    bytes: int = 0
    limit_bytes: int = 0
    oldest_s: float = 0.0
    hours_left: float | None = None
    dropped: dict[str, int] = {}


class Health(msgspec.Struct, frozen=True):
    """The part of a gateway's health that is shown."""

    version: str = ""
    time_ms: int = 0
    uptime_s: float = 0.0
    lag_ms: int | None = None
    degraded: list[str] = []
    models: list[Model] = []
    spool: Spool = Spool()
    counters: dict[str, int] = {}
    runtime: dict[str, str] = {}


class Figures(msgspec.Struct, frozen=True):
    """What a gateway counted of one bundle."""

    bundle: str = ""
    version: str = ""
    windows: int = 0
    asset_days: float = 0.0
    over: int = 0
    alerts: int = 0
    mean: float = 0.0
    p99: float = 0.0
    latency_ms: float | None = None
    error: str | None = None


class Rollout(msgspec.Struct, frozen=True):
    """The part of a gateway's rollout report that is shown."""

    state: str = ""
    mode: str | None = None
    reason: str = ""
    running: Figures | None = None
    champion: Figures | None = None
    challenger: Figures | None = None
    compared: int = 0
    agreement: float | None = None


class Running(NamedTuple):
    """A bundle, and the gateways that have it."""

    name: str
    version: str
    digest: str
    gateways: list[str]
    trouble: str


def read(gateway: Gateway) -> Health:
    """Return a gateway's health as far as it can be read."""
    try:
        return msgspec.convert(gateway.health, Health, strict=False)
    except msgspec.ValidationError:
        return Health()


def rollout(body: Mapping[str, object]) -> Rollout:
    """Return a rollout report as far as it can be read."""
    try:
        return msgspec.convert(body, Rollout, strict=False)
    except msgspec.ValidationError:
        return Rollout()


def beside(report: Rollout) -> tuple[list[str], list[tuple[str, list[str]]]]:
    """Return columns and rows that show champion and challenger side by side.

    >>> columns, rows = beside(Rollout(champion=Figures(alerts=2), challenger=Figures(alerts=5)))
    >>> columns, rows[3]
    (['champion', 'shadow'], ('alerts', ['2', '5']))
    """
    if report.challenger is not None:
        names, parts = ["champion", "shadow"], [report.champion or Figures(), report.challenger]
    else:
        names, parts = ["running"], [report.running or Figures()]
    shown = [_figures(part) for part in parts]
    return names, [(name, [one[name] for one in shown]) for name in shown[0]]


def _figures(part: Figures) -> dict[str, str]:
    over = f"{part.over:,}"
    if part.windows:
        over += f" ({100 * part.over / part.windows:.2g} %)"
    return {
        "version": part.version,
        "bundle": part.bundle[:12],
        "asset days": f"{part.asset_days:.1f}",
        "alerts": f"{part.alerts:,}",
        "above 1.0": over,
        "mean score": views.number(part.mean),
        "99 % below": views.number(part.p99),
        "a window takes": f"{part.latency_ms:.2g} ms" if part.latency_ms is not None else "",
        "trouble": part.error or "",
    }


def gateway_place(gateway: Gateway) -> tuple[bool, bool, str]:
    """Return where a gateway stands: those in trouble first."""
    return (gateway.status == "online", not read(gateway).degraded, gateway.name)


def worries(gateway: Gateway) -> list[str]:
    """Return every reason to worry, ours first."""
    found = [] if gateway.status in ("online", "") else ["not connected to the broker"]
    said = read(gateway)
    if said.spool.hours_left is not None and said.spool.hours_left < LIMIT_SHOWN:
        found.append(f"spool full in {said.spool.hours_left:.1f} h")
    return found + said.degraded


def health(gateway: Gateway, board: Board) -> list[tuple[str, str]]:
    """Return a gateway's condition as names and texts."""
    said, spool = read(gateway), read(gateway).spool
    assets = sum(watched.gateway == gateway.name for watched in board.assets.values())
    limit = f" of {spool.limit_bytes / 1e6:.0f} MB" if spool.limit_bytes else ""
    waiting = f"{spool.events:,} events, {spool.bytes / 1e6:.1f}{limit}"
    hours = f", {spool.hours_left:.0f} h left" if spool.hours_left is not None else ""
    dropped = sum(spool.dropped.values())
    facts = [
        ("assets", f"{assets:,}"),
        ("said", f"{views.clock(said.time_ms)} UTC" if said.time_ms else "no health yet"),
        ("up for", views.ago(round(said.uptime_s * MS)) if said.uptime_s else ""),
        ("lag", _lag(said.lag_ms)),
        ("spool", waiting + hours if said.time_ms else ""),
        ("lost from spool", f"{dropped:,}" if dropped else ""),
        ("messages", f"{said.counters['messages']:,}" if "messages" in said.counters else ""),
        ("alerts", f"{said.counters['alerts']:,}" if "alerts" in said.counters else ""),
        ("version", said.version),
        ("runtime", " ".join(v for k, v in said.runtime.items() if k != "delegate")),
    ]
    return [(name, text) for name, text in facts if text]


def _lag(lag_ms: int | None) -> str:
    if lag_ms is None:
        return ""
    return f"{lag_ms / MS:.1f} s" if lag_ms < LAG_SHOWN_MS else views.ago(lag_ms)


def running(board: Board) -> list[Running]:
    """Return every bundle with its gateways, by name and version."""
    found: dict[tuple[str, str, str], tuple[list[str], list[str]]] = {}
    for gateway in sorted(board.gateways.values(), key=lambda g: g.name):
        for model in read(gateway).models:
            key = (model.name or model.bundle, model.version, model.digest)
            names, trouble = found.setdefault(key, ([], []))
            names.append(gateway.name)
            if model.degraded:
                trouble.append(f"{gateway.name}: {model.degraded}")
    return [
        Running(*key, names, "; ".join(trouble)) for key, (names, trouble) in sorted(found.items())
    ]


def windows(board: Board, now_ms: int) -> list[tuple[Maintenance, str]]:
    """Return announced work with where it is in time: now, later, over, cancelled."""
    order = {"now": 0, "later": 1, "over": 2, "cancelled": 3}
    found = [(window, _when(window, now_ms)) for window in list(board.maintenance.values())]
    return sorted(found, key=lambda pair: (order[pair[1]], -pair[0].start_ms))


def _when(window: Maintenance, now_ms: int) -> str:
    if window.cancelled:
        return "cancelled"
    if now_ms >= window.end_ms:
        return "over"
    return "now" if now_ms >= window.start_ms else "later"


def chosen(board: Board, reader: Reader, choice: str, now_ms: int, limit: int) -> list[Alert]:
    """Return the alerts of a choice, those that wait longest for somebody first."""
    if choice == "all":
        kept = {alert.event.alert: alert for alert in reader.alerts(limit=limit)}
        kept |= {name: board.alerts[name] for name in kept if name in board.alerts}
        return list(kept.values())
    states = {
        "waiting": ("unacknowledged", "returned"),
        "active": ("unacknowledged", "acknowledged", "shelved", "suppressed"),
        "shelved": ("shelved", "suppressed"),
    }[choice]
    found = [a for a in list(board.alerts.values()) if board.state_of(a, now_ms) in states]
    return sorted(found, key=lambda a: (not a.alarm.active, -a.event.start_ms))[:limit]


def people(alert: Alert, state: AlarmState, board: Board, now_ms: int) -> str:
    """Say what has been done about an alert."""
    if state == "shelved":
        shelf = board.shelves[alert.event.asset, alert.event.kind]
        left = views.ago(shelf.until_ms - now_ms)
        return f"Shelved by {shelf.by}, {left} left. {shelf.note}".strip()
    if state == "suppressed":
        return "It began in announced maintenance."
    alarm = alert.alarm
    if alarm.acknowledged_ms is not None:
        over = "" if alarm.active else " It is over."
        return f"Acknowledged by {alarm.acknowledged_by or 'somebody'}.{over}"
    return "Nobody has acknowledged it." if alarm.active else "Over; nobody has acknowledged it."


def judged(feedback: Feedback, way: str) -> str:
    """Say what became of a verdict on its way to the fleet."""
    word = views.VERDICT_WORDS[feedback.verdict].capitalize()
    by = f", said {feedback.by}" if feedback.by else ""
    if way == "waiting":
        return f"{word}{by}. Kept here until the broker is back."
    if way.startswith("refused"):
        return f"{word}{by}. The broker {way}: this console may not publish feedback."
    return f"{word}{by}. The fleet has been told."
