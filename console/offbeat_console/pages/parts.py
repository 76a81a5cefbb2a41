"""Small pieces that every page uses."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from nicegui import context, ui

from offbeat_console.gate import PERSON
from offbeat_console.palette import LOOKS

if TYPE_CHECKING:
    from collections.abc import Callable

    from offbeat_console.users import Person

REFRESH_S = 0.5  # between looks at the board; a page is sent changes at most so often

T = TypeVar("T")


def person() -> Person:
    """Return who asks for the page that is being built."""
    found: Person = context.client.request.scope[PERSON]
    return found


def element(tag: str, classes: str = "", text: str = "", **props: str) -> ui.element:
    """Return an HTML element with a text and attributes (``aria_label`` is ``aria-label``)."""
    made = ui.element(tag).classes(classes)
    for name, value in props.items():
        made.props[name.rstrip("_").replace("_", "-")] = value
    if text:
        made._text = text  # noqa: SLF001 - how the framework's own text elements do it
    return made


def live(see: Callable[[], T], draw: Callable[[T], None]) -> Callable[[], None]:
    """Draw what is seen, and anew whenever it has changed; return what looks at once."""
    drawn: list[T] = []
    area = element("div")

    def look() -> None:
        seen = see()
        if drawn == [seen]:
            return
        drawn[:] = [seen]
        area.clear()
        with area:
            draw(seen)

    look()
    ui.timer(2 * REFRESH_S, look)
    return look


def say(made: ui.element, text: str) -> None:
    """Change an element's text, if it is another one."""
    if made._text != text:  # noqa: SLF001
        made._text = text  # noqa: SLF001
        made.update()


def show(made: ui.element, *, visible: bool) -> None:
    """Show or hide an element, if that is a change."""
    if made.visible != visible:
        made.visible = visible


def link(text: str, target: str, classes: str = "") -> ui.element:
    """Return a link."""
    return element("a", classes, text, href=target)


def glyph(state: str) -> ui.element:
    """Return a state's shape."""
    look = LOOKS[state]
    style = (
        f"fill: var(--s-{state})"
        if look.filled
        else f"fill: none; stroke: var(--s-{state}); stroke-width: 2"
    )
    with element("svg", "glyph", viewBox="0 0 16 16", aria_hidden="true").style(style) as made:
        element("path", d=look.path)
    return made


def badge(state: str) -> None:
    """Show a state: shape and word."""
    with element("span", f"badge s-{state}"):
        glyph(state)
        element("span", "word", LOOKS[state].word)


def empty(title: str, *lines: str, code: str = "") -> ui.element:
    """Return what a page shows when it has nothing: why, and what to do."""
    with element("section", "empty") as made:
        element("h2", text=title)
        for line in lines:
            element("p", text=line)
        if code:
            element("pre", text=code)
    return made


def on_value(made: ui.element, event: str, take: Callable[[str], None]) -> ui.element:
    """Tell ``take`` the value of an input or a select at each ``event``."""
    handler = "(e) => emit(e.target.value)"
    return made.on(event, lambda e: take(str(e.args or "")), js_handler=handler)
