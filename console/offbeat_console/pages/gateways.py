"""Every gateway: alive or not, and every reason to worry."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nicegui import ui

from offbeat_console import told
from offbeat_console.pages import tables
from offbeat_console.pages.frame import frame
from offbeat_console.pages.parts import element, empty, glyph, live

if TYPE_CHECKING:
    from offbeat_console.board import Gateway
    from offbeat_console.desk import Desk

STATUS = {
    "online": ("ok", "online"),
    "offline": ("lost", "offline: the connection was lost, its last will says so"),
    "stopped": ("lost", "stopped by somebody"),
    "": ("unknown", "not heard of yet"),
}


def register(desk: Desk) -> None:
    """Serve the page."""

    @ui.page("/gateways")
    def gateways() -> None:
        with frame(desk, "Gateways"):
            element("h1", "unseen", "Gateways")
            live(
                lambda: sorted(desk.board.gateways.values(), key=told.gateway_place),
                lambda found: _cards(desk, found),
            )


def _cards(desk: Desk, gateways: list[Gateway]) -> None:
    if not gateways:
        empty(
            "No gateways yet",
            "A gateway appears here when its daemon connects to this broker.",
            code="offbeat run --config offbeat.toml",
        )
    with element("div", "grid"):
        for gateway in gateways:
            _card(desk, gateway)


def _card(desk: Desk, gateway: Gateway) -> None:
    state, word = STATUS.get(gateway.status, ("unknown", gateway.status))
    with element("section", "panel", aria_label=gateway.name):
        with element("h2", "name"):
            glyph(state)
            element("span", text=gateway.name)
            element("span", "muted", word)
        for reason in told.worries(gateway):
            element("p", "worry", reason)
        tables.facts(told.health(gateway, desk.board))
