"""The demo's summary: a table for the terminal, a page and figures for later."""

from __future__ import annotations

from datetime import UTC, datetime
from html import escape
from typing import TYPE_CHECKING

import msgspec
from matplotlib import rc_context
from matplotlib.dates import DateFormatter
from matplotlib.figure import Figure
from rich.table import Table

from offbeat_broker.faults import UNSIZED
from offbeat_edge.schema import iso
from offbeat_train.report_figures import BLUE, ORANGE, RED, STYLE, WIDTH, svg
from offbeat_train.report_page import PAGE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from offbeat_broker.faults import Truth
    from offbeat_edge.schema import AlertEvent
    from offbeat_train.demo_judge import Outcome, Verdict

SCHEMA = "1.0"
TEXT = (1, 2, 6)  # columns of words, aligned left
HEAD = ("start", "asset", "fault", "magnitude", "caught", "after", "what the alert said")
MINUTE_MS = 60_000

Scores = dict[str, list[tuple[int, float]]]


def describe(fault: Truth) -> str:
    """Name a fault and its size."""
    name = fault.kind.replace("_", " ") + (f" of {fault.sensor}" if fault.sensor else "")
    return f"{name}, {magnitude(fault)}" if magnitude(fault) else name


def magnitude(fault: Truth) -> str:
    """Give a fault's size in sigmas and in its unit."""
    if fault.kind in UNSIZED or fault.magnitude is None or fault.magnitude_units is None:
        return ""
    return f"{fault.magnitude:.1f} sigma ({fault.magnitude_units:+.3g} {fault.unit})"


def rows(verdict: Verdict) -> list[tuple[str, ...]]:
    """Give the summary's lines, in the order of ``HEAD``."""
    return [_row(outcome) for outcome in verdict.outcomes]


def _row(outcome: Outcome) -> tuple[str, ...]:
    fault, alert, delay = outcome.fault, outcome.alert, outcome.delay_ms
    name = fault.kind.replace("_", " ") + (f" of {fault.sensor}" if fault.sensor else "")
    return (
        iso(fault.start_ms)[11:16],
        fault.asset,
        name,
        magnitude(fault),
        "no" if alert is None else "yes",
        "" if delay is None else f"{delay / MINUTE_MS:.0f} min",
        "" if alert is None else said(alert),
    )


def table(verdict: Verdict) -> Table:
    """Lay the summary out for a terminal."""
    out = Table(box=None, pad_edge=False)
    for name in HEAD:
        out.add_column(name, overflow="fold")
    for row in rows(verdict):
        out.add_row(*row, style=None if row[4] == "yes" else "red")
    for event in verdict.false_alarms:
        out.add_row(
            iso(event.time_ms)[11:16], event.asset, "none: a false alarm", "", "", "",
            said(event), style="yellow",
        )  # fmt: skip
    return out


def write(out: Path, verdict: Verdict, scores: Scores, *, seed: int, seconds: float) -> None:
    """Write ``demo.json`` and the self-contained ``demo.html``."""
    figures = {
        "schema": SCHEMA,
        "seed": seed,
        "seconds": seconds,
        "passed": verdict.passed,
        "rules": [rule._asdict() for rule in verdict.rules],
        "faults": [
            {"fault": o.fault, "alert": o.alert, "delay_ms": o.delay_ms} for o in verdict.outcomes
        ],
        "false_alarms": verdict.false_alarms,
    }
    (out / "demo.json").write_bytes(msgspec.json.format(msgspec.json.encode(figures)))
    body = [
        f"<p>Seed {seed}, {seconds:.0f} s in all. Times are of the simulated day, UTC.</p>",
        "<h2>Did the loop do its job?</h2>",
        _html_rules(verdict),
        "<h2>Faults and alerts</h2>",
        _html_table(HEAD, [*rows(verdict), *(_false(e) for e in verdict.false_alarms)]),
        "<h2>Scores</h2>",
        "<p>1.0 is the threshold. Shaded: a fault. Line: an alert opened; dotted: a false one.</p>",
        _timeline(verdict, scores),
    ]
    title = "The loop did its job" if verdict.passed else "The loop did not do its job"
    page = PAGE.substitute(title=f"offbeat demo: {title}", body="\n".join(body))
    (out / "demo.html").write_text(page, encoding="utf-8")


def said(event: AlertEvent) -> str:
    """Return what the alert says; the asset has a column of its own."""
    return event.message.removeprefix(f"{event.asset}: ")


def _false(event: AlertEvent) -> tuple[str, ...]:
    return (iso(event.time_ms)[11:16], event.asset, "false alarm", "", "", "", said(event))


def _html_rules(verdict: Verdict) -> str:
    items = [f"<li>{'✓' if r.met else '✗'} {escape(r.text)}: {escape(r.got)}</li>"
             for r in verdict.rules]  # fmt: skip
    return f"<ul>{''.join(items)}</ul>"


def _html_table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    body = "".join(f"<tr>{_cells('td', line)}</tr>" for line in lines)
    return f'<div class="wide"><table><tr>{_cells("th", head)}</tr>{body}</table></div>'


def _cells(tag: str, line: Sequence[str]) -> str:
    left = ' style="text-align: left; white-space: normal"'
    return "".join(
        f"<{tag}{left if i in TEXT else ''}>{escape(cell)}</{tag}>" for i, cell in enumerate(line)
    )


def _timeline(verdict: Verdict, scores: Mapping[str, list[tuple[int, float]]]) -> str:
    """Draw each asset's score with its faults and alerts."""
    assets = sorted(scores)
    if not assets:
        return "<p>No score came.</p>"
    with rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 0.4 + 1.5 * len(assets)))
        lines = figure.subplots(len(assets), 1, squeeze=False, sharex=True)[:, 0]
        for axes, asset in zip(lines, assets, strict=True):
            times = [_moment(time_ms) for time_ms, _ in scores[asset]]
            axes.plot(times, [score for _, score in scores[asset]], color=BLUE)
            axes.axhline(1.0, color=RED, linewidth=0.6)
            for outcome in verdict.outcomes:
                if outcome.fault.asset == asset:
                    _mark(axes, outcome)
            for event in verdict.false_alarms:
                if event.asset == asset:
                    axes.axvline(_moment(event.time_ms), color=RED, linewidth=0.8, linestyle=":")
            axes.set_title(asset)
            axes.xaxis.set_major_formatter(DateFormatter("%H:%M", tz=UTC))  # type: ignore[no-untyped-call]
        return svg(figure, "scores")


def _mark(axes: object, outcome: Outcome) -> None:
    fault = outcome.fault
    axes.axvspan(_moment(fault.start_ms), _moment(fault.end_ms), color=ORANGE, alpha=0.25)  # type: ignore[attr-defined]
    if outcome.alert is not None:
        axes.axvline(_moment(outcome.alert.time_ms), color=RED, linewidth=0.8)  # type: ignore[attr-defined]


def _moment(time_ms: int) -> datetime:
    return datetime.fromtimestamp(time_ms / 1000.0, UTC)
