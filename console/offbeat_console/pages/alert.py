"""An alert: the window before and during, expected against actual, and what people say."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from nicegui import ui

from offbeat_console import strips, told, views
from offbeat_console.alarm import SHELF_MS
from offbeat_console.errors import RequestError
from offbeat_console.pages import tables
from offbeat_console.pages.frame import frame
from offbeat_console.pages.parts import (
    REFRESH_S,
    badge,
    element,
    empty,
    link,
    on_value,
    person,
    say,
    show,
)
from offbeat_console.pages.trend import Trend
from offbeat_console.trace import Points, join

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from offbeat_console.board import Alert
    from offbeat_console.desk import Desk
    from offbeat_console.wire import Verdict

BEFORE_RATIO = 1.0  # of the alert's length, shown before it ...
BEFORE_MIN_MS = 5 * 60_000  # ... at least this ...
BEFORE_MAX_MS = 12 * 3_600_000  # ... at most this
AFTER_RATIO = 0.25  # and after it
MAX_EVENTS = 100
VERDICTS: tuple[tuple[Verdict, str, str], ...] = (
    ("confirmed", "Confirm", "the machine was not as it should be"),
    ("false_alarm", "False alarm", "the machine was well; the model should learn this"),
    ("expected", "Expected", "it was meant to be so: a start, a change of product, work on it"),
)


def register(desk: Desk) -> None:
    """Serve the page."""

    @ui.page("/alert/{name}")
    def alert(name: str) -> None:
        found = desk.alert(name)
        title = f"{found.event.asset}: {views.KIND_WORDS[found.event.kind]}" if found else "Alert"
        with frame(desk, title):
            if found is None:
                empty("No such alert", "It is not in this console's store: it was never heard"
                      " here, or is so old that it was let go.")  # fmt: skip
                return
            _Page(desk, found)


class _Page:
    """One browser's view of one alert."""

    def __init__(self, desk: Desk, alert: Alert) -> None:
        self._desk, self._name, self._me = desk, alert.event.alert, person()
        self._alert = alert
        self._feedback = ""
        self._drawn_to = 0
        self._build()
        ui.timer(2 * REFRESH_S, self._look)

    def _build(self) -> None:
        event = self._alert.event
        with element("div", "title"):
            badge(event.kind)
            self._said = element("h1", text=views.said(self._alert))
        with element("p", "muted facts"):
            link(event.asset, f"/asset/{event.gateway}/{event.asset}")
            self._when = element("span")
        with element("div", "split"):
            with element("section", "panel wide", aria_label="Before and during"):
                with element("div", "bar"):
                    element("h2", text="Before and during")
                    tables.legend()
                self._trend = Trend(f"Signals of {event.asset} before and during the alert")
                self._hint = element("p", "muted hint")
            with element("aside", "first"):
                self._people()
                self._reasons = element("section", "panel", aria_label="Expected and actual")
                self._model()
        self._history = element("section", aria_label="Events")
        self._fill()

    # ------------------------------------------------------------- people

    def _people(self) -> None:
        may = self._me.role == "operator"
        with element("section", "panel", aria_label="People"):
            element("h2", text="People")
            self._state = element("p")
            with element("div", "actions"):
                self._seen = self._button("Acknowledge", self._acknowledge, "primary")
                self._note = element(
                    "input", "field", aria_label="Note", placeholder="Note", maxlength="200",
                    name="note",
                )  # fmt: skip
                self._words = ""
                on_value(self._note, "input", self._type)
            element("h3", text="What was it?")
            with element("div", "actions", role="group", aria_label="Verdict"):
                self._verdicts = {
                    verdict: self._button(word, partial(self._judge, verdict), title=why)
                    for verdict, word, why in VERDICTS
                }
            self._told = element("p", "told", role="status")
            self._aside = element("div")
            with self._aside, element("div", "actions", role="group", aria_label="Shelve"):
                self._length = element("select", "field", aria_label="For how long")
                with self._length:
                    for name in SHELF_MS:
                        element("option", text=name, value=name)
                self._for = next(iter(SHELF_MS))
                on_value(self._length, "change", self._choose)
                self._shelf = self._button("Shelve", self._shelve)
                self._unshelf = self._button("Take back", self._unshelve)
            if not may:
                element("p", "muted", f"{self._me.name} may look; this needs an operator.")

    def _button(
        self, text: str, act: Callable[[], Awaitable[None]], classes: str = "", **props: str
    ) -> ui.element:
        made = element("button", classes, text, type="button", **props)
        if self._me.role != "operator":
            made.props["disabled"] = True
        return made.on("click", lambda: self._do(act))

    async def _do(self, act: Callable[[], Awaitable[None]]) -> None:
        try:
            await act()
        except RequestError as error:
            say(self._told, str(error))
        self._look()

    def _type(self, text: str) -> None:
        self._words = text

    def _choose(self, name: str) -> None:
        self._for = name if name in SHELF_MS else self._for

    async def _acknowledge(self) -> None:
        await self._desk.acknowledge(self._name, self._me)

    async def _judge(self, verdict: Verdict) -> None:
        self._feedback = await self._desk.judge(
            self._name, self._me, verdict=verdict, note=self._words
        )

    async def _shelve(self) -> None:
        length = SHELF_MS[self._for]
        await self._desk.shelve(self._name, self._me, duration_ms=length, note=self._words)

    async def _unshelve(self) -> None:
        await self._desk.shelve(self._name, self._me, duration_ms=0, note="")

    # ------------------------------------------------------------- picture

    def _span(self) -> tuple[int, int]:
        event = self._alert.event
        end = event.end_ms or max(event.time_ms, self._newest())
        length = end - event.start_ms
        before = int(min(BEFORE_MAX_MS, max(BEFORE_MIN_MS, BEFORE_RATIO * length)))
        after = 0 if event.end_ms is None else int(max(60_000, AFTER_RATIO * length))
        return event.start_ms - before, end + after

    def _newest(self) -> int:
        return views.newest(self._desk.board, self._alert)

    def _points(self, what: str, from_ms: int, to_ms: int) -> Points:
        board, event = self._desk.board, self._alert.event
        kept = self._desk.reader.points(event.asset, what, from_ms, to_ms)
        watched = board.assets.get((event.gateway, event.asset))
        trace = board.signals.get(event.asset) if what == "signal" else (
            watched.scores if watched else None
        )  # fmt: skip
        if trace is None:
            return kept
        recent = trace.since(from_ms - 1)
        until = sum(time_ms <= to_ms for time_ms in recent.times)
        columns = {name: column[:until] for name, column in recent.columns.items()}
        return join([kept, Points(recent.times[:until], columns)])

    def _draw(self) -> None:
        event = self._alert.event
        from_ms, to_ms = self._span()
        signals = self._points("signal", from_ms, to_ms)
        scores = self._points(f"score {event.gateway}", from_ms, to_ms)
        names = strips.sensors(signals, scores, self._alert.telling.contributions)
        drawn = strips.strips(signals, scores, names)
        self._trend.show(drawn, strips.spans([self._alert]), from_ms=from_ms, to_ms=to_ms)
        self._drawn_to = to_ms
        show(self._hint, visible=not drawn)
        say(self._hint, "" if drawn else "No numbers are kept of this time: neither scores"
            " ([publish] score = true at the gateway) nor signals ([[source]] here).")  # fmt: skip

    # ------------------------------------------------------------- truth

    def _look(self) -> None:
        alert = self._desk.alert(self._name)
        if alert is None:
            return
        changed = alert != self._alert
        self._alert = alert
        if changed:
            self._fill()
        if self._span()[1] != self._drawn_to:
            self._draw()
        self._say_people()

    def _say_people(self) -> None:
        desk, alert = self._desk, self._alert
        state = desk.board.state_of(alert, desk.now_ms())
        say(self._state, told.people(alert, state, desk.board, desk.now_ms()))
        show(self._seen, visible=alert.alarm.acknowledged_ms is None)
        show(self._aside, visible=alert.alarm.active)
        show(self._shelf, visible=state != "shelved" and alert.alarm.active)
        show(self._length, visible=state != "shelved" and alert.alarm.active)
        show(self._unshelf, visible=state == "shelved")
        for verdict, button in self._verdicts.items():
            pressed = "true" if verdict == alert.verdict else "false"
            if button.props.get("aria-pressed") != pressed:
                button.props["aria-pressed"] = pressed
        said = desk.board.feedback.get(self._name)
        if said is not None:
            way = desk.reader.outgoing(said.id)
            say(self._told, told.judged(said, way))

    def _fill(self) -> None:
        alert, event = self._alert, self._alert.event
        peak = f", peak {views.number(event.peak)}" if event.peak is not None else ""
        lasted = views.lasted(alert, self._newest())
        say(self._when, f" on {event.gateway}, began {views.clock(event.start_ms)} UTC,"
            f" {lasted}{peak}, {event.severity}")  # fmt: skip
        say(self._said, views.said(alert))
        self._reasons.clear()
        show(self._reasons, visible=bool(alert.telling.contributions))
        with self._reasons:
            tables.contributions(alert.telling.contributions, "Expected and actual")
        self._say_people()
        self._history.clear()
        with self._history:
            self._events()

    def _events(self) -> None:
        element("h2", text="What happened")
        with element("table", "events"):
            tables.head("When (UTC)", "What", "Score", "Said")
            with element("tbody"):
                for one in self._desk.reader.events(self._name)[:MAX_EVENTS]:
                    with element("tr"):
                        element("td", "figure left", views.clock(one.time_ms))
                        element("td", text=f"{one.type}, {one.severity}")
                        element("td", text=views.number(one.score) if one.score else "")
                        element("td", text=one.message)
                for time_ms, who, what in self._desk.reader.actions(self._name):
                    with element("tr"):
                        element("td", "figure left", views.clock(time_ms))
                        element("td", text=what)
                        element("td")
                        element("td", text=who)

    def _model(self) -> None:
        model = self._alert.event.model
        if model is None:
            return
        with element("section", "panel", aria_label="Model"):
            element("h2", text="Model")
            tables.facts([("name", model.name), ("version", model.version)])
            tables.facts([("bundle", model.bundle), ("settings", model.config)], code=True)
