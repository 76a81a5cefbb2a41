"""Which model runs where, and rollouts on their way."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nicegui import ui

from offbeat_console import told
from offbeat_console.pages import tables
from offbeat_console.pages.frame import frame
from offbeat_console.pages.parts import element, empty, live

if TYPE_CHECKING:
    from collections.abc import Mapping

    from offbeat_console.board import Key
    from offbeat_console.desk import Desk


def register(desk: Desk) -> None:
    """Serve the page."""

    @ui.page("/models")
    def models() -> None:
        with frame(desk, "Models"):
            element("h1", "unseen", "Models")
            live(lambda: (told.running(desk.board), sorted(desk.board.rollouts.items())), _draw)


def _draw(seen: tuple[list[told.Running], list[tuple[Key, Mapping[str, object]]]]) -> None:
    running, rollouts = seen
    if running:
        _table(running)
    else:
        empty("No models yet", "Gateways tell of their models in their health, once a"
              " minute and on connecting.")  # fmt: skip
    if rollouts:
        element("h2", text="Rollouts")
    with element("div", "grid"):
        for (gateway, model), body in rollouts:
            with element("section", "panel", aria_label=f"{model} on {gateway}"):
                tables.rollout(f"{model} on {gateway}", body)


def _table(running: list[told.Running]) -> None:
    with element("table", "plain"):
        tables.head("Model", "Version", "Bundle (SHA-256)", "Gateways", "Trouble")
        with element("tbody"):
            for one in running:
                with element("tr"):
                    element("th", text=one.name, scope="row")
                    element("td", text=one.version)
                    with element("td", "digest"):
                        element("code", text=one.digest[:16], title=one.digest)
                    element("td", text=", ".join(one.gateways))
                    element("td", "worry" if one.trouble else "", one.trouble)
