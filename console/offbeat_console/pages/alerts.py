"""All alerts: those that wait for somebody first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nicegui import ui

from offbeat_console import told
from offbeat_console.pages import tables
from offbeat_console.pages.frame import frame
from offbeat_console.pages.parts import element, live

if TYPE_CHECKING:
    from offbeat_console.alarm import AlarmState
    from offbeat_console.board import Alert
    from offbeat_console.desk import Desk

SHOWN = 100
CHOICES = {
    "waiting": "Not acknowledged",
    "active": "Going on",
    "shelved": "Shelved",
    "all": "All",
}


def register(desk: Desk) -> None:
    """Serve the page."""

    @ui.page("/alerts")
    def alerts(show: str = "waiting") -> None:
        with frame(desk, "Alerts"):
            _Page(desk, show if show in CHOICES else "waiting")


class _Page:
    """One browser's list."""

    def __init__(self, desk: Desk, choice: str) -> None:
        self._desk, self._choice = desk, choice
        element("h1", "unseen", "Alerts")
        with element("div", "bar"), element("div", "chips", role="group", aria_label="Which"):
            self._buttons = {name: self._chip(name, word) for name, word in CHOICES.items()}
        self._look = live(self._see, self._draw)

    def _chip(self, name: str, word: str) -> ui.element:
        chip = element("button", "chip", word, type="button")
        return chip.on("click", lambda: self._choose(name))

    def _choose(self, name: str) -> None:
        self._choice = name
        self._look()

    def _see(self) -> tuple[str, list[Alert], list[AlarmState]]:
        desk, now_ms = self._desk, self._desk.now_ms()
        found = told.chosen(desk.board, desk.reader, self._choice, now_ms, SHOWN)
        return self._choice, found, [desk.board.state_of(alert, now_ms) for alert in found]

    def _draw(self, seen: tuple[str, list[Alert], list[AlarmState]]) -> None:
        choice, found, _ = seen
        for name, chip in self._buttons.items():
            chip.props["aria-pressed"] = "true" if name == choice else "false"
        tables.alerts(self._desk, found)
