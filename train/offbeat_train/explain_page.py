"""An explained alert as a picture, or as one page that holds everything.

Rules: drawn without a display; the first panel is the score (1.0 is the
threshold), the others are the sensors that contributed most, as they were
and as the model expected them; the alert's time is shaded.
"""

from __future__ import annotations

from datetime import UTC, datetime
from html import escape
from itertools import product
from typing import TYPE_CHECKING, Any

from matplotlib import rc_context
from matplotlib.dates import date2num
from matplotlib.figure import Figure

from offbeat_edge.schema import iso
from offbeat_train.report_figures import BLUE, INK, ORANGE, RED, STYLE, WIDTH, svg
from offbeat_train.report_page import PAGE

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

    from offbeat_edge.schema import Adaptation, Contribution, ScoreRecord
    from offbeat_train.explain import Compared, Explained

PANELS = 4  # sensors drawn at most
PANEL_HEIGHT = 1.7  # inches
DPI = 130
UNTOLD = ("1.0", "1.1", "1.2")  # schemas of events that know no adaptation


def write(path: Path, explained: Explained) -> None:
    """Write an ``.html`` page, or a picture by the name's ending (``.png``, ``.svg``)."""
    if path.suffix.lower() not in (".html", ".htm"):
        with rc_context({**STYLE, **_ink("black")}):
            draw(explained).savefig(path, dpi=DPI, format=path.suffix[1:].lower())
        return
    with rc_context(STYLE):
        body = svg(draw(explained), "alert") + table(explained)
    title = escape(f"Alert {explained.alert[:12]} of {explained.events[0].event.asset}")
    path.write_text(PAGE.substitute(title=title, body=f"{summary(explained)}{body}"))


def draw(explained: Explained) -> Figure:
    """Return the figure."""
    events = [item.event for item in explained.events]
    ends = [event.end_ms for event in events if event.end_ms is not None]
    during = events[0].start_ms, max([*ends, events[-1].time_ms])
    named = [contribution for event in events for contribution in event.contributions]
    return panels(explained.scores, loudest(named, PANELS), [during])


def panels(
    scores: Sequence[ScoreRecord], names: Sequence[str], during: Iterable[tuple[int, int]]
) -> Figure:
    """Draw the score and sensors over time, each of ``during`` (epoch ms) shaded.

    ``scores`` name every sensor in ``names``.
    """
    figure = Figure(figsize=(WIDTH, PANEL_HEIGHT * (1 + len(names))), layout="constrained")
    drawn = figure.subplots(1 + len(names), 1, sharex=True, squeeze=False)[:, 0]
    times = [_when(score.time_ms) for score in scores]
    drawn[0].plot(times, [score.score for score in scores], color=BLUE)
    drawn[0].axhline(1.0, color=RED, linewidth=0.8, linestyle="--")
    drawn[0].set_title("score (dashed: the threshold)")
    for panel, name in zip(drawn[1:], names, strict=True):
        _sensor(panel, [_of(score.contributions, name) for score in scores], name, times)
    for panel, (start, end) in product(drawn, during):
        panel.axvspan(_place(start), _place(end), color=RED, alpha=0.12, linewidth=0)
    return figure


def _sensor(panel: Axes, found: list[Contribution | None], name: str, times: list[Any]) -> None:
    actual = [None if c is None else c.actual for c in found]
    expected = [None if c is None else c.expected for c in found]
    panel.plot(times, _drawable(actual), color=BLUE, label="as it was")
    if any(value is not None for value in expected):
        panel.plot(times, _drawable(expected), color=ORANGE, ls="--", label="as expected")
    panel.set_title(name)
    panel.legend(loc="best", fontsize=7)


def _drawable(values: list[float | None]) -> list[float]:
    return [float("nan") if value is None else value for value in values]


def loudest(contributions: Iterable[Contribution], count: int) -> list[str]:
    """Return the sensors that are named, the largest share first."""
    shares: dict[str, float] = {}
    for contribution in contributions:
        known = shares.get(contribution.sensor, 0.0)
        shares[contribution.sensor] = max(known, contribution.share)
    return sorted(shares, key=lambda name: (-shares[name], name))[:count]


def _of(contributions: tuple[Contribution, ...], name: str) -> Contribution | None:
    return next((c for c in contributions if c.sensor == name), None)


def _when(time_ms: int) -> datetime:
    return datetime.fromtimestamp(time_ms / 1000, UTC)


def _place(time_ms: int) -> float:
    """Return where a time lies on matplotlib's axis of dates."""
    return float(date2num(_when(time_ms)))  # type: ignore[no-untyped-call]  # ships half its types


def _ink(colour: str) -> dict[Any, Any]:
    return {key: colour for key, value in STYLE.items() if value == INK}


# ---------------------------------------------------------------- words


def verdict(explained: Explained) -> str:
    """Say in a sentence whether the figures are the same."""
    if explained.equal:
        return "Every score and contribution came out the same, to the digit."
    count = sum(not item.equal for item in explained.events)
    return f"{count} of {len(explained.events)} events came out different here."


def doubts(explained: Explained) -> list[str]:
    """Say what may account for a difference."""
    found = []
    listed = [check.runtime for check in explained.manifest.runtimes]
    if explained.runtime is None:
        found.append("the model could not run here: the statistical fallback scored")
    elif not explained.equal:
        told = " ".join(_words(explained))
        known = "is" if explained.runtime in listed else "is not"
        found.append(f"equality is promised within one combination; {told} {known} in the bundle")
    if explained.same_config is False:
        found.append("the configuration given is not the one the alert was made under")
    if explained.same_config is None and not explained.equal:
        found.append("without --config the bundle's own lateness and alert rule were used")
    if not explained.equal and any(item.event.schema in UNTOLD for item in explained.events):
        found.append("events of that age do not say whether the asset was adapted to")
    judged = [item for item in explained.events if item.judged and item.event.kind == "anomaly"]
    if any(item.score is None for item in judged):
        found.append("a window the device judged is not in the lake whole: samples are missing")
    return found


def adapted(told: Adaptation | None) -> str:
    """Say what was in force of an asset's warm-up when an event was told."""
    if told is None:
        return "no"
    shifts = ", ".join(f"{name} {shift:+g}" for name, shift in told.shift.items())
    return f"{shifts}; scores divided by {told.factor:g}"


def _words(explained: Explained) -> list[str]:
    ran = explained.runtime
    return [] if ran is None else [ran.name, ran.version, ran.arch, ran.delegate]


def summary(explained: Explained) -> str:
    """Return the page's head."""
    first, spec = explained.events[0].event, explained.manifest.model
    rows = {
        "asset": first.asset,
        "alert": explained.alert,
        "started": iso(first.start_ms),
        "said": first.message,
        "model": f"{spec.name} {spec.version}, window {spec.window} x {spec.period_ms} ms",
        "bundle": first.model.bundle if first.model else "",
        "configuration": first.model.config if first.model else "",
        "adapted": adapted(first.adaptation),
        "run again on": " ".join(_words(explained)) or "the statistical fallback",
    }
    listed = "".join(f"<dt>{key}</dt><dd>{escape(value)}</dd>" for key, value in rows.items())
    warned = "".join(f"<li>{escape(text)}</li>" for text in doubts(explained))
    return (
        f"<p>{escape(verdict(explained))}</p>"
        + (f'<ul class="warning">{warned}</ul>' if warned else "")
        + f"<dl>{listed}</dl>"
    )


def table(explained: Explained) -> str:
    """Return every event's figures, as published and as they came out."""
    head = "<tr><th>event</th><th>time</th><th>what</th><th>published</th><th>again</th></tr>"
    rows = "".join(
        f"<tr><td>{item.event.seq} {item.event.type}</td><td>{item.event.time}</td>"
        f"<td>{escape(name)}</td><td>{escape(published)}</td><td>{escape(again)}</td></tr>"
        for item in explained.events
        for name, published, again in figures(item)
    )
    return f'<div class="wide"><table>{head}{rows}</table></div>'


def figures(item: Compared) -> list[tuple[str, str, str]]:
    """Return (what, as published, as it came out) of one event; every digit."""
    if item.event.reason is not None:
        return [("ended by", item.event.reason, item.event.reason)]
    lines = [("score", _digits(item.event.score), _digits(item.score))]
    again = {c.sensor: c for c in item.contributions or ()}
    for contribution in item.event.contributions:
        other = again.get(contribution.sensor)
        for what in ("share", "expected", "actual"):
            value = getattr(contribution, what)
            here = None if other is None else getattr(other, what)
            lines.append((f"{contribution.sensor} {what}", _digits(value), _digits(here)))
    return lines


def _digits(value: float | None) -> str:
    return "" if value is None else repr(value)
