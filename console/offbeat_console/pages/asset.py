"""An asset: its signals with the model's expectation, its score, why, and its past."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nicegui import ui

from offbeat_console import strips, views
from offbeat_console.pages import tables
from offbeat_console.pages.frame import frame
from offbeat_console.pages.parts import REFRESH_S, badge, element, empty, link, say, show
from offbeat_console.pages.trend import Trend
from offbeat_console.trace import Points, join

if TYPE_CHECKING:
    from offbeat_console.board import Alert, Board, Watched
    from offbeat_console.desk import Desk

RANGES_MS = {"15 min": 900_000, "2 h": 7_200_000, "12 h": 43_200_000, "3 d": 259_200_000}
ENOUGH_POINTS = 200  # the shortest range with so many is shown first
HISTORY = 50  # alerts listed
NO_SCORES = (
    "The gateway does not publish scores, so there is no curve of them and no expectation."
    " Set [publish] score = true (and explain_top, how many sensors) in its configuration."
)
NO_SIGNALS = (
    "No source is configured, so signals are drawn only as far as scores and alerts carry them."
    " Name your sensor topics with [[source]] in the console's configuration."
)


def register(desk: Desk) -> None:
    """Serve the page."""

    @ui.page("/asset/{gateway}/{name}")
    def asset(gateway: str, name: str) -> None:
        watched = desk.board.assets.get((gateway, name))
        with frame(desk, name):
            if watched is None:
                empty(
                    "No such asset",
                    f"Nothing has been heard of {name} on {gateway}. It may have another name, or"
                    " its state was cleared at the broker and the store is new.",
                )
                return
            _Page(desk, watched)


class _Page:
    """One browser's view of one asset."""

    def __init__(self, desk: Desk, watched: Watched) -> None:
        self._desk, self._board, self._watched = desk, desk.board, watched
        self._names: list[str] = []
        self._seen_ms = (0, 0)  # newest signal and score that were sent
        self._revision = -1
        self._drawn = False
        self._range = self._first_range()
        self._build()
        ui.timer(2 * REFRESH_S, self._look)

    def _build(self) -> None:
        watched = self._watched
        with element("div", "title"):
            element("h1", text=watched.name)
            self._badge = element("span")
            self._since = element("span", "muted")
            element("span", "muted", "on")
            link(watched.gateway, "/gateways")
            link("Announce maintenance", f"/maintenance?asset={watched.name}", "button push")
        with element("div", "split"):
            with element("section", "panel wide", aria_label="Signals"):
                with element("div", "bar"):
                    element("h2", text="Signals")
                    tables.legend()
                    self._ranges()
                self._trend = Trend(f"Signals of {watched.name} over time")
                self._hint = element("p", "muted hint")
            with element("aside"):
                self._now = element("section", "panel", aria_label="Now")
                self._shadow = element("section", "panel", aria_label="Shadow model")
        with element("section", aria_label="Alerts"):
            element("h2", text="Alerts")
            self._past = element("div")
        self._fill()

    def _ranges(self) -> None:
        with element("div", "ranges", role="group", aria_label="Range"):
            self._buttons = {}
            for name in RANGES_MS:
                button = element("button", "quiet", name, type="button")
                button.on("click", lambda name=name: self._choose(name))
                self._buttons[name] = button

    def _choose(self, name: str) -> None:
        self._range = name
        self._redraw()

    def _first_range(self) -> str:
        newest = self._newest()
        for name, length in RANGES_MS.items():
            signals, scores = self._points(newest - length, newest)
            if max(len(signals.times), len(scores.times)) >= ENOUGH_POINTS:
                return name
        return next(iter(RANGES_MS))

    def _newest(self) -> int:
        trace = self._board.signals.get(self._watched.name)
        times = [*self._watched.scores.times[-1:], *(trace.times[-1:] if trace else ())]
        return max(times, default=self._watched.newest_ms)

    def _points(self, from_ms: int, to_ms: int) -> tuple[Points, Points]:
        """Return signals and scores, of the store and of memory."""
        watched, reader = self._watched, self._desk.reader
        trace = self._board.signals.get(watched.name)
        recent = trace.since(from_ms - 1) if trace else Points([], {})
        signals = reader.points(watched.name, "signal", from_ms, to_ms)
        scores = reader.points(watched.name, f"score {watched.gateway}", from_ms, to_ms)
        return join([signals, recent]), join([scores, watched.scores.since(from_ms - 1)])

    def _redraw(self) -> None:
        """Send the whole range."""
        self._drawn = True
        newest, length = self._newest(), RANGES_MS[self._range]
        signals, scores = self._points(newest - length, newest)
        self._names = strips.sensors(signals, scores, self._watched.contributions)
        drawn = strips.strips(signals, scores, self._names)
        self._trend.show(drawn, self._spans(), keep_ms=length)
        self._seen_ms = (_last(signals), _last(scores))
        for name, button in self._buttons.items():
            button.props["aria-pressed"] = "true" if name == self._range else "false"
        self._tell_missing(drawn=bool(drawn), scores=bool(scores.times))

    def _tell_missing(self, *, drawn: bool, scores: bool) -> None:
        lines = [] if drawn else ["Nothing to draw yet."]
        lines += [] if scores else [NO_SCORES]
        lines += [] if self._desk.sources else [NO_SIGNALS]
        say(self._hint, " ".join(lines))
        show(self._hint, visible=bool(lines))

    def _look(self) -> None:
        """Send what is new."""
        if self._watched.revision != self._revision:
            self._fill()
        if not self._drawn:
            self._redraw()
            return
        trace = self._board.signals.get(self._watched.name)
        signals = trace.since(self._seen_ms[0]) if trace else Points([], {})
        scores = self._watched.scores.since(self._seen_ms[1])
        if not signals.times and not scores.times:
            return
        if set(strips.sensors(signals, scores)) - set(self._names) and not self._full():
            self._redraw()
            return
        self._seen_ms = (_last(signals) or self._seen_ms[0], _last(scores) or self._seen_ms[1])
        self._trend.add(strips.strips(signals, scores, self._names), self._spans())

    def _full(self) -> bool:
        return len(self._names) >= strips.MAX_STRIPS

    def _spans(self) -> list[dict[str, object]]:
        return strips.spans(self._alerts())

    def _alerts(self) -> list[Alert]:
        watched = self._watched
        kept = self._desk.reader.alerts(asset=watched.name, limit=HISTORY)
        return views.merged(kept, self._board, watched)

    def _fill(self) -> None:
        """Show how it is now."""
        watched, board = self._watched, self._board
        self._revision = watched.revision
        state = views.shown_state(board, watched)
        self._badge.clear()
        with self._badge:
            badge(state)
        since = watched.state.since_ms if watched.state else 0
        say(self._since, f"since {views.clock(since)} UTC" if since else "")
        self._now.clear()
        with self._now:
            tables.score(watched.score if state != "lost" else None)
            tables.reasons(watched)
            tables.contributions(watched.contributions, "Why: parts of the score")
        self._fill_shadow(board)
        self._past.clear()
        with self._past:
            tables.alerts(self._desk, self._alerts(), with_asset=False)

    def _fill_shadow(self, board: Board) -> None:
        rollouts = [(m, b) for (gw, m), b in board.rollouts.items() if gw == self._watched.gateway]
        show(self._shadow, visible=bool(rollouts))
        self._shadow.clear()
        with self._shadow:
            for model, body in rollouts:
                tables.rollout(f"Rollout of {model}", body)


def _last(points: Points) -> int:
    return points.times[-1] if points.times else 0
