"""Controls that wait for their place in a recording.

Rules: pure; of each asset in the order of the log.  The daemon has none of
these: there a control takes effect when it comes, and the log says where
that was.

>>> from offbeat_edge.control import Feedback, Logged
>>> said = Feedback(id="1", asset="p1", verdict="expected", time_ms=1_700_000_000_000)
>>> schedule = Schedule()
>>> schedule.add([Logged(received_ms=0, at={"p1": 5000}, control=said)])
>>> schedule.ripe("p1", 5000), schedule.ripe("p1", 6000) == [said]
([], True)
"""

from __future__ import annotations

from itertools import takewhile
from typing import TYPE_CHECKING

from offbeat_edge.control import Rename, Swap

if TYPE_CHECKING:
    from collections.abc import Iterable

    from offbeat_edge.control import Control, Logged


class Schedule:
    """Asset → what took effect after which of its steps."""

    def __init__(self) -> None:
        self._waiting: dict[str, list[tuple[int | None, Control]]] = {}

    def __contains__(self, asset: str) -> bool:
        """Whether anything waits for this asset."""
        return asset in self._waiting

    def __bool__(self) -> bool:
        """Whether anything waits at all."""
        return bool(self._waiting)

    def add(self, log: Iterable[Logged]) -> None:
        """Take in lines of a control log."""
        for logged in log:
            control, at = logged.control, logged.at
            for asset in (at or {}) if isinstance(control, Swap) else [control.asset]:
                when = control.time_ms if at is None else at.get(asset)
                self._waiting.setdefault(asset, []).append((when, control))

    def ripe(self, asset: str, time_ms: int) -> list[Control]:
        """Take out what took effect before a step of this time."""
        waiting = self._waiting.get(asset, [])
        ripe = list(takewhile(lambda item: item[0] is None or item[0] < time_ms, waiting))
        if len(ripe) == len(waiting):
            self._waiting.pop(asset, None)
        else:
            del waiting[: len(ripe)]
        return [control for _, control in ripe]

    def rest(self, asset: str) -> list[Control]:
        """Take out all that waits for an asset."""
        return [control for _, control in self._waiting.pop(asset, [])]

    def assets(self) -> list[str]:
        """Return those for which something waits."""
        return list(self._waiting)

    def becoming(self, name: str) -> list[str]:
        """Return the assets that wait to be called ``name``."""
        return [
            asset
            for asset, waiting in self._waiting.items()
            if any(isinstance(control, Rename) and control.to == name for _, control in waiting)
        ]
