"""The overview: every asset, worst first; only rows that changed are sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nicegui import ui
from nicegui.element import Element

from offbeat_console import views
from offbeat_console.pages.frame import frame
from offbeat_console.pages.parts import REFRESH_S, element, empty, glyph, say, show
from offbeat_console.palette import LOOKS

if TYPE_CHECKING:
    from offbeat_console.desk import Desk
    from offbeat_console.views import Overview, Row

PAGE_ROWS = 50
MAX_SEARCH_CHARS = 100
HOW_TO_BEGIN = """\
offbeat check-config --config offbeat.toml   # says what is wrong, all at once
offbeat run --config offbeat.toml            # on the gateway"""


class FleetTable(Element, component="../static/fleet.js"):
    """The table; rows are patched by key."""

    def __init__(self) -> None:
        super().__init__()
        self.props["looks"] = {
            name: {"word": look.word, "path": look.path, "filled": look.filled}
            for name, look in LOOKS.items()
        }
        self.props["alarms"] = {
            name: word for name, word in views.ALARM_WORDS.items() if name != "normal"
        }


def register(desk: Desk) -> None:
    """Serve the page."""

    @ui.page("/")
    def fleet(state: str = "", q: str = "") -> None:
        with frame(desk, "Fleet"):
            _Page(desk, state if state in LOOKS else "", q[:MAX_SEARCH_CHARS])


class _Page:
    """One browser's overview."""

    def __init__(self, desk: Desk, state: str, search: str) -> None:
        self._desk = desk
        self._fleet = views.Fleet(desk.board)
        self._state, self._search, self._first = state, search, 0
        self._sent: dict[str, Row] = {}
        self._order: list[str] = []
        self._board_revision = -1
        self._chips: dict[str, tuple[ui.element, ui.element]] = {}
        self._build()
        ui.timer(REFRESH_S, self._look)

    def _build(self) -> None:
        element("h1", "unseen", "Fleet")
        with element("div", "bar"):
            with element("div", "chips", role="group", aria_label="Filter by state"):
                self._chip("", "All")
                for name, look in LOOKS.items():
                    self._chip(name, look.word)
            box = ui.input(placeholder="Search asset, gateway, reason  ( / )", value=self._search)
            box.props('dense outlined debounce=200 type=search aria-label="Search"')
            box.classes("search").on_value_change(lambda e: self._find(str(e.value or "")))
        self._empty = empty(
            "No assets yet",
            "An asset appears here as soon as a daemon says how it is. Start one on a gateway"
            " that speaks to this broker:",
            code=HOW_TO_BEGIN,
        )
        self._none = empty("Nothing matches", "No asset matches the search and the filter.")
        self._table = FleetTable()
        with element("div", "foot"):
            self._said = element("span", "muted")
            with element("nav", "pager", aria_label="Pages"):
                self._back = self._button("Previous", -PAGE_ROWS)
                self._next = self._button("Next", PAGE_ROWS)
        self._hint = element(
            "p", "muted hint",
            "Scores are not published here, so there are states and alerts but no curves. To see"
            " them set [publish] score = true in the daemon's configuration.",
        )  # fmt: skip

    def _chip(self, name: str, word: str) -> None:
        chip = element("button", "chip", type="button", aria_pressed="false")
        with chip:
            if name:
                glyph(name)
            element("span", text=word)
            count = element("b", text="0")
        chip.on("click", lambda: self._filter(name))
        self._chips[name] = (chip, count)

    def _button(self, text: str, step: int) -> ui.element:
        return element("button", "quiet", text, type="button").on("click", lambda: self._turn(step))

    def _filter(self, name: str) -> None:
        self._state, self._first = "" if name == self._state else name, 0
        self._look(force=True)

    def _find(self, text: str) -> None:
        self._search, self._first = text[:MAX_SEARCH_CHARS], 0
        self._look(force=True)

    def _turn(self, step: int) -> None:
        self._first = max(0, self._first + step)
        self._look(force=True)

    def _look(self, *, force: bool = False) -> None:
        """Send what changed since the last look."""
        board = self._desk.board
        if board.revision == self._board_revision and not force:
            return
        self._board_revision = board.revision
        seen = self._fleet.page(
            now_ms=self._desk.now_ms(), state=self._state, search=self._search, gateway="",
            first=self._first, size=PAGE_ROWS,
        )  # fmt: skip
        self._tell(seen)
        self._patch(seen)

    def _patch(self, seen: Overview) -> None:
        order = [row.key for row in seen.rows]
        changed = [row for row in seen.rows if self._sent.get(row.key) != row]
        if changed or order != self._order:
            self._table.run_method(
                "patch",
                {
                    "rows": [row._asdict() for row in changed],
                    "order": order if order != self._order else None,
                    "scored": self._desk.board.scored,
                },
            )
        self._sent = {row.key: row for row in seen.rows}
        self._order = order

    def _tell(self, seen: Overview) -> None:
        everything = sum(seen.counts.values())
        for name, (chip, count) in self._chips.items():
            number = everything if not name else seen.counts.get(name, 0)
            say(count, f"{number:,}")
            show(chip, visible=not name or number > 0 or name == self._state)
            pressed = "true" if name == self._state else "false"
            if chip.props["aria-pressed"] != pressed:
                chip.props["aria-pressed"] = pressed
        assets = len(self._desk.board.assets)
        show(self._empty, visible=not assets)
        show(self._none, visible=bool(assets) and not seen.total)
        show(self._table, visible=bool(seen.total))
        show(self._hint, visible=bool(assets) and not self._desk.board.scored)
        last = min(self._first + PAGE_ROWS, seen.total)
        many = seen.total > PAGE_ROWS
        say(self._said, f"{self._first + 1:,} to {last:,} of {seen.total:,}" if many else "")
        show(self._back, visible=many and self._first > 0)
        show(self._next, visible=many and last < seen.total)
