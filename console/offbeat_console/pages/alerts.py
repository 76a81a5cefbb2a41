"""All alerts: those that wait for somebody first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nicegui import ui

from offbeat_console import told
from offbeat_console.pages import tables
from offbeat_console.pages.frame import frame
from offbeat_console.pages.parts import REFRESH_S, element

if TYPE_CHECKING:
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
        self._shown: object = None
        element("h1", "unseen", "Alerts")
        with element("div", "bar"), element("div", "chips", role="group", aria_label="Which"):
            self._buttons = {name: self._chip(name, word) for name, word in CHOICES.items()}
        self._list = element("div")
        self._look()
        ui.timer(2 * REFRESH_S, self._look)

    def _chip(self, name: str, word: str) -> ui.element:
        chip = element("button", "chip", word, type="button")
        return chip.on("click", lambda: self._choose(name))

    def _choose(self, name: str) -> None:
        self._choice, self._shown = name, None
        self._look()

    def _look(self) -> None:
        desk = self._desk
        found = told.chosen(desk.board, desk.reader, self._choice, desk.now_ms(), SHOWN)
        states = [(a, desk.board.state_of(a, desk.now_ms())) for a in found]
        if states == self._shown:
            return
        self._shown = states
        for name, chip in self._buttons.items():
            chip.props["aria-pressed"] = "true" if name == self._choice else "false"
        self._list.clear()
        with self._list:
            tables.alerts(desk, found)
