"""Strip charts from points: which sensors, in which order, what beside what.

Rules: pure; a sensor's own signal is drawn where a source gives it, else what
came with the scores; the score is the first strip; the sensors that explain
the score most come next, so that the guilty one is at the top.

>>> from offbeat_console.trace import Points
>>> made = strips(Points([], {}), Points([1, 2], {"": [0.5, 1.5], "=flow": [1.0, 2.0]}))
>>> [(strip["name"], strip["expected"]) for strip in made]
[('score', []), ('flow', [[1, 1.0], [2, 2.0]])]
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, TypedDict

from offbeat_console.board import ACTUAL, EXPECTED
from offbeat_console.trace import Points, thin

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from offbeat_console.board import Alert
    from offbeat_edge.schema import Contribution

MAX_STRIPS = 12  # sensors drawn
MAX_POINTS = 1500  # of one line
GAP_RATIO = 8  # a step so many times the usual one is a hole
SCORE = "score"
Line = list[list[float | None]]


class Strip(TypedDict):
    """One sensor's chart: points are [ms, value], a null value breaks the line."""

    name: str
    title: str
    threshold: bool
    actual: Line
    expected: Line


def sensors(
    signals: Points, scores: Points, contributions: Sequence[Contribution] = ()
) -> list[str]:
    """Return the sensors to draw, those with the largest shares first."""
    known = set(signals.columns)
    known |= {name[1:] for name in scores.columns if name[:1] in (EXPECTED, ACTUAL)}
    first = [part.sensor for part in contributions if part.sensor in known]
    return [*first, *sorted(known.difference(first))][:MAX_STRIPS]


def strips(signals: Points, scores: Points, names: Sequence[str] | None = None) -> list[Strip]:
    """Return the score's strip, where there is one, and the sensors'."""
    names = sensors(signals, scores) if names is None else names
    made = [_strip(name, _signal(name, signals, scores), _line(scores, EXPECTED + name))
            for name in names]  # fmt: skip
    if "" in scores.columns:
        made.insert(0, _strip(SCORE, _line(scores, ""), [], threshold=True))
    return made


def spans(alerts: Iterable[Alert]) -> list[dict[str, object]]:
    """Return what alerts cover."""
    return [{"from": a.event.start_ms, "to": a.event.end_ms, "kind": a.event.kind} for a in alerts]


def _signal(name: str, signals: Points, scores: Points) -> Line:
    return _line(signals, name) if name in signals.columns else _line(scores, ACTUAL + name)


def _strip(name: str, actual: Line, expected: Line, *, threshold: bool = False) -> Strip:
    title = "Score" if threshold else name
    return {
        "name": name, "title": title, "threshold": threshold, "actual": actual,
        "expected": expected,
    }  # fmt: skip


def _line(points: Points, column: str) -> Line:
    values = points.columns.get(column)
    if values is None:
        return []
    if len(values) > MAX_POINTS:
        thinned = thin(Points(points.times, {column: values}), MAX_POINTS)
        return _pairs(thinned.times, thinned.columns[column])
    return _pairs(points.times, values)


def _pairs(times: Sequence[int], values: Sequence[float]) -> Line:
    """Return what is known as points; a null breaks the line where much time has passed."""
    known = [(t, v) for t, v in zip(times, values, strict=True) if not math.isnan(v)]
    steps = sorted(later[0] - earlier[0] for earlier, later in pairwise(known))
    gap = GAP_RATIO * steps[len(steps) // 2] if steps else 0
    line: Line = []
    for time_ms, value in known:
        if line and time_ms - (line[-1][0] or 0) > gap:
            line.append([time_ms - 1, None])
        line.append([time_ms, value])
    return line
