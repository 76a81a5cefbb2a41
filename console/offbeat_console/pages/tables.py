"""Tables that several pages show."""

from __future__ import annotations

from typing import TYPE_CHECKING

from offbeat_console import told, views
from offbeat_console.pages.parts import badge, element, empty, link

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from offbeat_console.board import Alert, Watched
    from offbeat_console.desk import Desk
    from offbeat_edge.schema import Contribution


def head(*names: str) -> None:
    """Write a table's head."""
    with element("thead"), element("tr"):
        for name in names:
            element("th", text=name, scope="col")


def legend() -> None:
    """Say which line is which."""
    with element("span", "legend"):
        element("span", "key-actual", "what came")
        element("span", "key-expected", "what the model expected")
        element("span", "key-alert", "alert")


def score(value: float | None) -> None:
    """Show a score beside its threshold, as a number and a bar."""
    element("h2", text="Score")
    if value is None:
        element("p", "muted", "none yet")
        return
    with element("div", "score"):
        element("span", "big over" if value > 1 else "big", views.number(value))
        element(
            "span", "muted", "above the threshold, 1.0" if value > 1 else "of 1.0, the threshold"
        )
    fill = min(100.0, 50.0 * value)
    with element("div", "meter", role="img", aria_label=f"score {value:.2f}, threshold 1.0"):
        element("i", "over" if value > 1 else "").style(f"width: {fill:.1f}%")
        element("b")


def reasons(watched: Watched) -> None:
    """Show the reasons of a state."""
    for text in watched.state.reasons if watched.state else ():
        element("p", "reason", text)


def contributions(parts: Sequence[Contribution], title: str) -> None:
    """Show expected against actual, sensor by sensor."""
    if not parts:
        return
    element("h2", text=title)
    with element("table", "parts"):
        head("Sensor", "Part", "Actual", "Expected")
        with element("tbody"):
            for part in parts:
                with element("tr"):
                    element("th", text=part.sensor, scope="row")
                    with element("td", "share"):
                        element("i").style(f"width: {100 * part.share:.0f}%")
                        element("span", text=f"{100 * part.share:.0f} %")
                    element("td", "figure", views.value(part.actual))
                    element("td", "figure", views.value(part.expected))


def alerts(desk: Desk, found: Sequence[Alert], *, with_asset: bool = True) -> None:
    """Show alerts, each a link to its page."""
    if not found:
        empty("No alerts", "None has been heard of so far.")
        return
    now = desk.now_ms()
    with element("table", "alerts"):
        head(
            "What", *(["Asset"] if with_asset else []), "Began (UTC)", "Lasted", "People", "Verdict"
        )
        with element("tbody"):
            for alert in found:
                _alert(desk, alert, now, with_asset=with_asset)


def _alert(desk: Desk, alert: Alert, now_ms: int, *, with_asset: bool) -> None:
    event = alert.event
    state = desk.board.state_of(alert, now_ms)
    with element("tr", f"s-{event.kind}" if alert.alarm.active else "calm"):
        with element("td", "col-alert"):
            badge(event.kind)
            if event.severity == "critical":
                element("span", "tag tag-critical", "critical")
            link(views.said(alert), f"/alert/{event.alert}")
        if with_asset:
            with element("td"):
                link(event.asset, f"/asset/{event.gateway}/{event.asset}")
        element("td", "figure left", views.clock(event.start_ms))
        element("td", text=views.lasted(alert, views.newest(desk.board, alert)))
        with element("td"):
            element("span", f"tag tag-{state}", views.ALARM_WORDS[state])
        element("td", text=views.VERDICT_WORDS.get(alert.verdict or "", ""))


def rollout(title: str, body: Mapping[str, object]) -> None:
    """Show a rollout: where it is, and the model in the shadow beside the one that alerts."""
    report = told.rollout(body)
    element("h2", text=title)
    mode = f", {report.mode}" if report.mode else ""
    element("p", text=f"{report.state.replace('_', ' ')}{mode}")
    if report.reason:
        element("p", "worry", report.reason)
    columns, rows = told.beside(report)
    with element("table", "parts"):
        head("", *columns)
        with element("tbody"):
            for name, values in rows:
                if any(values):
                    with element("tr"):
                        element("th", text=name, scope="row")
                        for value in values:
                            element("td", "figure", value)
    if report.agreement is not None:
        element("p", "muted", f"Both judged {report.compared:,} windows and agreed on"
                f" {100 * report.agreement:.1f} % of them.")  # fmt: skip


def facts(pairs: Iterable[tuple[str, str]], *, code: bool = False) -> None:
    """Show names and values; ``code`` for digests and the like."""
    with element("dl", "code" if code else ""):
        for name, text in pairs:
            element("dt", text=name)
            element("dd", text=text)
