"""Work on assets: announced with an end, listed, taken back."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from nicegui import ui

from offbeat_console import told, views
from offbeat_console.errors import RequestError
from offbeat_console.pages import tables
from offbeat_console.pages.frame import frame
from offbeat_console.pages.parts import element, empty, live, on_value, person, say

if TYPE_CHECKING:
    from offbeat_console.desk import Desk
    from offbeat_console.wire import Maintenance

HOUR_MS = 3_600_000
LENGTHS = {"1 hour": 1, "2 hours": 2, "4 hours": 4, "8 hours": 8, "1 day": 24, "3 days": 72}
SHOWN = 100


def register(desk: Desk) -> None:
    """Serve the page."""

    @ui.page("/maintenance")
    def maintenance(asset: str = "") -> None:
        with frame(desk, "Maintenance"):
            element("h1", "unseen", "Maintenance")
            _Page(desk, asset)


class _Page:
    """One browser's form and list."""

    def __init__(self, desk: Desk, asset: str) -> None:
        self._desk, self._me = desk, person()
        self._form = {"asset": asset, "start": "", "length": "2 hours", "note": ""}
        if self._me.role == "operator":
            self._build()
        self._look = live(self._see, self._draw)

    def _build(self) -> None:
        with element("section", "panel", aria_label="Announce maintenance"):
            element("h2", text="Announce maintenance")
            element(
                "p", "muted",
                "What begins in the window is told as maintenance and not learned from. Every"
                " window ends by itself.",
            )  # fmt: skip
            with element("div", "actions"):
                self._field("asset", "Asset", list="assets", required="")
                with element("datalist", id="assets"):
                    for name in sorted({w.name for w in self._desk.board.assets.values()}):
                        element("option", value=name)
                self._field("start", "From (UTC; empty: now)", type="datetime-local")
                self._lengths()
                self._field("note", "Note", maxlength="200")
                element("button", "primary", "Announce", type="button").on("click", self._announce)
            self._told = element("p", "told", role="status")

    def _field(self, name: str, label: str, **props: str) -> None:
        with element("label", "stack", label):
            made = element("input", "field", name=name, value=self._form[name], **props)
            on_value(made, "input", lambda text: self._set(name, text))

    def _lengths(self) -> None:
        with element("label", "stack", "For"):
            made = element("select", "field", name="length")
            with made:
                for name in LENGTHS:
                    chosen = {"selected": ""} if name == self._form["length"] else {}
                    element("option", text=name, value=name, **chosen)
            on_value(made, "change", lambda text: self._set("length", text))

    def _set(self, name: str, text: str) -> None:
        self._form[name] = text

    async def _announce(self) -> None:
        try:
            said = await self._told_fleet()
        except RequestError as error:
            said = str(error)
        say(self._told, said)
        self._look()

    async def _told_fleet(self) -> str:
        form, known = self._form, {w.name for w in self._desk.board.assets.values()}
        start, asset = _time(form["start"]) or self._desk.now_ms(), form["asset"].strip()
        if asset not in known:
            raise RequestError(f"expected a known asset, got {asset!r}")
        end = start + LENGTHS.get(form["length"], 2) * HOUR_MS
        await self._desk.maintain(asset, self._me, start_ms=start, end_ms=end, note=form["note"])
        return f"Announced for {asset} until {views.clock(end)} UTC"

    async def _cancel(self, window: Maintenance) -> None:
        await self._desk.cancel(window.id, self._me)
        self._look()

    def _see(self) -> list[tuple[Maintenance, str]]:
        return told.windows(self._desk.board, self._desk.now_ms())[:SHOWN]

    def _draw(self, windows: list[tuple[Maintenance, str]]) -> None:
        if not windows:
            empty("No maintenance announced", "Announced work, by whomever, is listed here.")
            return
        with element("table", "plain"):
            tables.head("Asset", "When", "From (UTC)", "Until (UTC)", "By", "Note", "")
            with element("tbody"):
                for window, when in windows:
                    self._row(window, when)

    def _row(self, window: Maintenance, when: str) -> None:
        with element("tr", "calm" if when in ("over", "cancelled") else ""):
            element("th", text=window.asset, scope="row")
            element("td", text=when)
            element("td", "figure left", views.clock(window.start_ms))
            element("td", "figure left", views.clock(window.end_ms))
            element("td", text=window.by)
            element("td", text=window.note)
            with element("td"):
                if when in ("now", "later") and self._me.role == "operator":
                    element(
                        "button", "quiet", "Cancel", type="button",
                        aria_label=f"Cancel maintenance of {window.asset}",
                    ).on("click", lambda: self._cancel(window))  # fmt: skip


def _time(text: str) -> int | None:
    """Return epoch ms of a form's ``YYYY-MM-DDTHH:MM``, UTC; None when empty."""
    if not text:
        return None
    try:
        return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)
    except ValueError as error:
        raise RequestError(f"expected a date and time, got {text!r}") from error
