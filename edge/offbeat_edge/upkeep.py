"""The maintenance windows of one asset.

Rules: pure; windows are half open, [start, end), in the asset's event time;
the one announced last under an id counts; expired ones are forgotten a day
later, and `MAX_WINDOWS` are kept.

>>> plan = Upkeep()
>>> plan.announce(Window("a", 100, 200))
>>> plan.covering(150), plan.covering(200)
(Window(id='a', start_ms=100, end_ms=200), None)
>>> plan.over_since(now_ms=250, since_ms=120)
200
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from offbeat_edge.schema import EventMs

if TYPE_CHECKING:
    from offbeat_edge.control import Maintenance

MAX_WINDOWS = 32  # of one asset; the one that ends first makes room
MAX_MAINTENANCE_MS = 366 * 86_400_000  # a longer window is a mistake
KEPT_MS = 86_400_000  # after its end: a source's clock may be set back a little


class Window(msgspec.Struct, array_like=True, frozen=True):
    """One announcement."""

    id: str
    start_ms: EventMs
    end_ms: EventMs


class Upkeep(msgspec.Struct, array_like=True):
    """Windows announced and not yet forgotten, the one that ends first in front."""

    windows: list[Window] = []

    def take(self, control: Maintenance) -> None:
        """Take in an announcement, or its cancellation."""
        if control.cancelled:
            self.cancel(control.id)
        else:
            self.announce(Window(control.id, control.start_ms, control.end_ms))

    @property
    def ends_ms(self) -> int:
        """When the last window ends; 0 for none."""
        return self.windows[-1].end_ms if self.windows else 0

    def announce(self, window: Window) -> None:
        """Add a window, or put it in the place of the one with its id."""
        self.cancel(window.id)
        ordered = sorted([*self.windows, window], key=lambda w: (w.end_ms, w.id))
        self.windows = ordered[-MAX_WINDOWS:]

    def cancel(self, name: str) -> None:
        """Take a window back."""
        self.windows = [w for w in self.windows if w.id != name]

    def forget(self, time_ms: int) -> None:
        """Drop what ended long before ``time_ms``."""
        if self.windows and self.windows[0].end_ms < time_ms - KEPT_MS:
            self.windows = [w for w in self.windows if w.end_ms >= time_ms - KEPT_MS]

    def covering(self, time_ms: int) -> Window | None:
        """Return the window of this moment; of several the one that ends last."""
        held = [w for w in self.windows if w.start_ms <= time_ms < w.end_ms]
        return held[-1] if held else None

    def touches(self, *, first_ms: int, last_ms: int) -> bool:
        """Whether any moment of a stretch lies in a window."""
        return any(w.start_ms <= last_ms and first_ms < w.end_ms for w in self.windows)

    def over_since(self, *, now_ms: int, since_ms: int) -> int:
        """Return when the last window between ended, ``since_ms`` if there was none."""
        return max([since_ms, *(w.end_ms for w in self.windows if w.end_ms <= now_ms)])
