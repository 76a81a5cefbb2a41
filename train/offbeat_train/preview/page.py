"""What would have fired, on one page that needs nothing but a browser.

Rules: one file, no network, readable in light and dark, on paper and by the
colour-blind.  What cannot be known from this history stands first.  Every
incident is listed, the loudest are drawn: the windows before and during it,
scored again by the device's own engine under the bundle's own threshold, which
follows there as it did over the whole history.

>>> write(Path("before.html"), preview)  # doctest: +SKIP
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from html import escape
from typing import TYPE_CHECKING

import numpy as np
from matplotlib import rc_context

from offbeat_edge.replay import samples
from offbeat_edge.schema import iso
from offbeat_train.explain import lead_ms, run_again
from offbeat_train.explain_page import loudest, panels
from offbeat_train.health_view import interval
from offbeat_train.preview.incidents import Incident, fold
from offbeat_train.recordings import WEEK_MS, asset_weeks
from offbeat_train.report_figures import STYLE, svg, thin
from offbeat_train.report_page import PAGE, bullets, section, table, terms
from offbeat_train.words import often

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from offbeat_edge.manifest import Manifest
    from offbeat_edge.schema import AlertEvent, ScoreRecord
    from offbeat_train.history import Recording
    from offbeat_train.preview.levels import Level

DRAWN = 30  # incidents with a picture, the loudest
OVERVIEWS = 12  # assets whose score is drawn over the whole history
SENSORS = 3  # in a picture
BEFORE, DURING = 3, 12  # windows in a picture
STRANGE_SHARE = 0.2  # of the time in alert; a model that knows a machine stays far below
DAY_MS = 24 * 3_600_000


@dataclass(frozen=True, kw_only=True)
class Preview:
    """A history under several thresholds."""

    levels: Sequence[Level]  # the bundle's own first
    events: Sequence[Sequence[AlertEvent]]  # of each level
    scores: dict[str, list[ScoreRecord]]  # asset → under the bundle's own
    recordings: dict[str, Recording]  # asset → its rows
    sensors: tuple[str, ...]  # the rows' columns
    notes: Sequence[str]  # on how the history was read

    @property
    def manifest(self) -> Manifest:
        """The bundle's."""
        return self.levels[0].model.manifest

    @property
    def weeks(self) -> float:
        """Length of the history, in asset weeks."""
        return asset_weeks(self.recordings.values())

    def incidents(self) -> list[Incident]:
        """Everything that any level would have told."""
        until = {
            name: int(found.times_ms[-1])
            for name, found in self.recordings.items()
            if len(found.row)
        }
        return fold(self.events, until=until)


def write(path: Path, preview: Preview) -> None:
    """Write the page."""
    path.write_text(page(preview), encoding="utf-8")


def page(preview: Preview) -> str:
    """Build the page."""
    incidents = preview.incidents()
    sections = [
        _verdict(preview, incidents),
        _weeks(preview, incidents),
        _overviews(preview, incidents),
        _pictures(preview, incidents),
        _list(preview, incidents),
    ]
    title = escape(f"{preview.manifest.model.name}: what would have fired")
    return PAGE.substitute(title=title, body="\n".join(sections))


# ---------------------------------------------------------------- side by side


def _verdict(preview: Preview, incidents: Sequence[Incident]) -> str:
    spec = preview.manifest.model
    facts = [
        ("model", f"{spec.name} {spec.version}"),
        ("bundle", preview.levels[0].model.digest),
        ("window", f"{spec.window} steps of {interval(spec.period_ms)}"),
        ("history", f"{len(preview.recordings)} assets, {often(preview.weeks)} asset weeks"),
        ("windows scored", f"{sum(map(len, preview.scores.values()))}"),
    ]
    heads = ("threshold", "of the bundle's", "anomalies", "a week and asset", "critical",
             "in alert", "sensor faults")  # fmt: skip
    return section(
        "Verdict",
        bullets([*doubts(preview, incidents), *preview.notes], "warning"),
        table(heads, summary(preview, incidents)),
        terms(facts),
        "<p>Each line is the same model with another threshold, over the same rows. A budget is "
        "the false alarms a week and asset that were thought acceptable; what stands beside it is "
        "what this history gave, true alarms and false ones. <code>offbeat fit --budget</code> "
        "makes a bundle of the line you choose.</p>",
    )


def summary(preview: Preview, incidents: Sequence[Incident]) -> list[tuple[str, ...]]:
    """Return a line for each level: its name and its figures."""
    return [_line(preview, incidents, n) for n in range(len(preview.levels))]


def _line(preview: Preview, incidents: Sequence[Incident], level: int) -> tuple[str, ...]:
    said, times, _ = preview.levels[level]
    told = [a for i in incidents if i.kind == "anomaly" for a in i.alerts if a.level == level]
    faults = sum(i.kind == "sensor_fault" and level in i.levels for i in incidents)
    lasted = _time_in_alert(incidents, level)
    rate = often(len(told) / preview.weeks) if preview.weeks > 0 else ""
    return (
        said, " / ".join(f"{100 * one:.0f} %" for one in times), f"{len(told)}", rate,
        f"{sum(a.loudest.severity == 'critical' for a in told)}",
        interval(lasted) if lasted else "0 s", f"{faults}",
    )  # fmt: skip


def _time_in_alert(incidents: Sequence[Incident], level: int) -> int:
    """Return how long a level's anomalies lasted together, ms."""
    told = [a for i in incidents if i.kind == "anomaly" for a in i.alerts if a.level == level]
    return sum(alert.end_ms - alert.first.start_ms for alert in told)


def doubts(preview: Preview, incidents: Sequence[Incident]) -> list[str]:
    """Say what this history cannot tell, and whether the model knows it at all."""
    found = []
    share = _time_in_alert(incidents, 0) / max(1.0, preview.weeks * WEEK_MS)
    if share > STRANGE_SHARE:
        found.append(
            f"As it is, the model would have been in alert {share:.0%} of the time: this is not "
            "the machine, or not the operation, that it learned. Fit it on normal rows like these."
        )
    if preview.weeks < 1.0:
        found.append("Less than one asset week: rates are an extrapolation.")
    if _learned(preview):
        found.append(
            "The model was fitted on rows of this time: on rows it has never seen it says more."
        )
    return found


def _learned(preview: Preview) -> bool:
    config = preview.manifest.lineage.config
    start, end = config.get("from_ms"), config.get("to_ms")
    if not isinstance(start, int) or not isinstance(end, int):
        return False
    found = [r.times_ms for r in preview.recordings.values() if len(r.row)]
    return any(times[0] <= end and times[-1] >= start for times in found)


def _weeks(preview: Preview, incidents: Sequence[Incident]) -> str:
    counts: Counter[tuple[str, int]] = Counter()
    for incident in incidents:
        for alert in incident.alerts:
            if incident.kind == "anomaly":
                counts[monday(alert.first.start_ms), alert.level] += 1
    levels = range(len(preview.levels))
    rows = [
        (week, *(f"{counts[week, level]}" for level in levels))
        for week in _mondays(preview.recordings.values())
    ]
    heads = ("week of (UTC)", *(level.said for level in preview.levels))
    return section("Anomalies, week by week", table(heads, rows))


def monday(time_ms: int) -> str:
    """Return the day on which a time's week began.

    >>> monday(1_760_000_000_000)  # a Thursday
    '2025-10-06'
    """
    day = datetime.fromtimestamp(time_ms / 1000, UTC).date()
    return f"{day - timedelta(days=day.weekday())}"


def _mondays(recordings: Iterable[Recording]) -> list[str]:
    days = [np.unique(recording.times_ms // DAY_MS) for recording in recordings]
    return sorted({monday(day * DAY_MS) for day in np.concatenate(days).tolist()}) if days else []


# ---------------------------------------------------------------- pictures


def _overviews(preview: Preview, incidents: Sequence[Incident]) -> str:
    shown = [name for name, scores in preview.scores.items() if scores][:OVERVIEWS]
    drawn = [_overview(preview, incidents, n, name) for n, name in enumerate(shown)]
    left = len(preview.scores) - len(shown)
    more = f"<p>{left} more assets are not drawn.</p>" if left else ""
    said = "<p>Under the bundle's own threshold; its alerts are shaded.</p>"
    return section("Score over time", said, *drawn, more)


def _overview(preview: Preview, incidents: Sequence[Incident], n: int, name: str) -> str:
    scores = preview.scores[name]
    kept = thin(np.array([score.score for score in scores]))
    own = [alert for i in incidents if i.asset == name for alert in i.alerts if alert.level == 0]
    during = [(alert.first.start_ms, alert.end_ms) for alert in own]
    with rc_context(STYLE):
        picture = svg(panels([scores[i] for i in kept], (), during), f"all{n}")
    return f"<h3>{escape(name)}</h3>{picture}"


def _pictures(preview: Preview, incidents: Sequence[Incident]) -> str:
    chosen = sorted(incidents, key=lambda i: (-len(i.levels), -(i.told.peak or 0.0)))[:DRAWN]
    chosen.sort(key=lambda i: (i.start_ms, i.asset))
    left = len(incidents) - len(chosen)
    more = f"<p>The {DRAWN} loudest of {len(incidents)}; all are listed below.</p>" if left else ""
    none = "" if incidents else "<p>Nothing would have been told.</p>"
    drawn = [_picture(preview, n, incident) for n, incident in enumerate(chosen)]
    return section("Alerts", more, none, *drawn)


def _picture(preview: Preview, n: int, incident: Incident) -> str:
    scores, cut = around(preview, incident)
    named = incident.told.contributions
    facts = [
        ("told at", told_at(preview, incident)),
        ("lasted", interval(max(1, incident.end_ms - incident.start_ms))),
        ("said", incident.told.message),
    ]
    drawn = ""
    if scores:
        shaded = incident.start_ms, min(incident.end_ms, scores[-1].time_ms)
        with rc_context(STYLE):
            drawn = svg(panels(scores, loudest(named, SENSORS), [shaded]), f"i{n}")
    said = "<p>Only its beginning is drawn.</p>" if cut else ""
    return f"<article><h3>{escape(_title(incident))}</h3>{terms(facts)}{drawn}{said}</article>"


def around(preview: Preview, incident: Incident) -> tuple[list[ScoreRecord], bool]:
    """Score the rows around an incident again; tell whether its end was cut off.

    The scores name every sensor; 1.0 is the threshold of the bundle as it is.
    """
    model, recording = preview.levels[0].model, preview.recordings[incident.asset]
    window = preview.manifest.model.window * preview.manifest.model.period_ms
    start = incident.start_ms - BEFORE * window
    limit = incident.start_ms + DURING * window
    end = min(incident.end_ms + window, limit)
    settle = start - lead_ms(preview.manifest)
    rows = (recording.times_ms >= settle) & (recording.times_ms <= end)
    stream = samples(
        incident.asset, recording.times_ms[rows], recording.values[rows], preview.sensors
    )
    scores, _ = run_again(stream, model, site="", gateway="")
    return [score for score in scores if score.time_ms >= start], incident.end_ms > limit


def told_at(preview: Preview, incident: Incident) -> str:
    """Name the thresholds that raise an incident."""
    if len(incident.levels) == len(preview.levels):
        return "every threshold"
    return "; ".join(preview.levels[level].said for level in sorted(incident.levels))


def _title(incident: Incident) -> str:
    kind = incident.kind.replace("_", " ")
    return f"{iso(incident.start_ms)}, {incident.asset}: {kind}, {incident.told.severity}"


def _list(preview: Preview, incidents: Sequence[Incident]) -> str:
    rows = [
        (iso(i.start_ms), i.asset, i.kind.replace("_", " "),
         interval(max(1, i.end_ms - i.start_ms)),
         "" if i.told.peak is None else f"{i.told.peak:.2f}",
         ", ".join(loudest(i.told.contributions, SENSORS)), told_at(preview, i))
        for i in incidents
    ]  # fmt: skip
    heads = ("begins", "asset", "kind", "lasts", "peak", "most from", "told at")
    return section("All of them", table(heads, rows)) if rows else ""
