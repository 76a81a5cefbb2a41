"""Around every page: navigation, our own connection, theme, who is there."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from nicegui import context, ui

from offbeat_console import views
from offbeat_console.pages.parts import REFRESH_S, element, link, person, say, show

if TYPE_CHECKING:
    from collections.abc import Iterator

    from offbeat_console.desk import Desk

NAVIGATION = (
    ("Fleet", "/", "g f"),
    ("Alerts", "/alerts", "g a"),
    ("Models", "/models", "g m"),
    ("Maintenance", "/maintenance", "g w"),
    ("Gateways", "/gateways", "g g"),
)
THEME_COOKIE = "offbeat_theme"
THEMES: dict[str, bool | None] = {"auto": None, "light": False, "dark": True}
SHORTCUTS = (
    ("/", "search"),
    ("j  k", "next and previous row"),
    ("Enter", "open"),
    *((keys, name.lower()) for name, _, keys in NAVIGATION),
    ("t", "theme: auto, light, dark"),
    ("?", "this list"),
)


@contextmanager
def frame(desk: Desk, title: str) -> Iterator[None]:
    """Put a page into its frame."""
    ui.page_title(f"{title} · {desk.title}")
    asked = context.client.request.cookies.get(THEME_COOKIE, "")
    theme = asked if asked in THEMES else "auto"
    ui.dark_mode(THEMES[theme])
    # The framework's page is the <main>; what stands above it belongs beside it.
    with context.client.layout:
        header = element("header", "top")
        banner = element("div", "banner", role="alert")
    header.move(target_index=0)
    banner.move(target_index=1)
    with header:
        link(desk.title, "/", "brand").props["aria-label"] = f"{desk.title}: fleet"
        with element("nav", aria_label="Main"):
            for name, target, keys in NAVIGATION:
                made = link(name, target)
                made.props["aria-keyshortcuts"] = keys
                if name == title:
                    made.props["aria-current"] = "page"
        with element("div", "corner"):
            wire = element("span", "wire", role="status")
            element(
                "button", "quiet", theme.capitalize(), id="theme", type="button",
                title="Theme: auto, light, dark (t)",
            )  # fmt: skip
            element("button", "quiet", "?", id="help", type="button", aria_label="Keyboard")
            _who()
    with element("div", "content", tabindex="-1") as content:
        yield
    ui.skip_link("Skip to content", target=content)
    news = element("div", "unseen", aria_live="polite")
    _shortcuts()
    _Watch(desk, title, wire, banner, news)


def _who() -> None:
    who = person()
    if not who.hash:
        return
    element("span", "who", f"{who.name} ({who.role})")
    with element("form", method="post", action="/logout"):
        element("button", "quiet", "Log out")


def _shortcuts() -> None:
    with element("dialog", id="keys", aria_label="Keyboard"):
        element("h2", text="Keyboard")
        with element("dl"):
            for keys, what in SHORTCUTS:
                element("dt", text=keys)
                element("dd", text=what)
        with element("form", method="dialog"):
            element("button", text="Close")


class _Watch:
    """Keeps the frame true: the connection, and how many alerts wait for somebody."""

    def __init__(
        self, desk: Desk, title: str, wire: ui.element, banner: ui.element, news: ui.element
    ) -> None:
        self._desk, self._title = desk, title
        self._wire, self._banner, self._news = wire, banner, news
        self._waiting = -1
        self._look()
        ui.timer(2 * REFRESH_S, self._look)

    def _look(self) -> None:
        wire = self._desk.board.wire
        where = f"{wire.host}:{wire.port}"
        say(self._wire, where if wire.connected else "no broker")
        self._wire.classes(add="up" if wire.connected else "down",
                           remove="down" if wire.connected else "up")  # fmt: skip
        trouble = self._trouble()
        show(self._banner, visible=bool(trouble))
        say(self._banner, trouble)
        self._count()

    def _trouble(self) -> str:
        wire = self._desk.board.wire
        if not wire.tried or (wire.connected and not wire.problem):
            return ""
        if wire.connected:
            return f"The broker refuses us something. {wire.problem}."
        since = views.clock(wire.since_ms)[11:] if wire.since_ms else ""
        return (
            f"No connection to the broker at {wire.host}:{wire.port}"
            f"{f' since {since} UTC' if since else ''}. {wire.problem or 'Connecting'}."
            " We keep trying; what is shown is the last that was heard."
        )

    def _count(self) -> None:
        desk = self._desk
        waiting = views.waiting(desk.board, desk.now_ms())
        if waiting == self._waiting:
            return
        if self._waiting >= 0 and waiting > self._waiting:
            say(self._news, f"{waiting} alerts are not acknowledged")
        self._waiting = waiting
        count = f"({waiting}) " if waiting else ""
        ui.page_title(f"{count}{self._title} · {desk.title}")
