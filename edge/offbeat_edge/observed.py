"""How many anomalies an asset, or all assets of a model, had in the time they were watched.

Rules: event time alone counts, and of it what was judged while an anomaly
could open: neither holes, nor maintenance, nor time before the bundle came.
So the figure is a function of the stream, and comparable with the budget
that the bundle's threshold was set for.

>>> week = Observed(watched_ms=WEEK_MS, anomalies=2)
>>> total = sum([week, Observed(watched_ms=WEEK_MS, assets=1)], Observed(assets=0))
>>> total.assets, total.days, total.per_week
(2, 14.0, 1.0)
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

WEEK_MS = 604_800_000
DAY_MS = 86_400_000


class Observed(msgspec.Struct, array_like=True, frozen=True):
    """Time watched, and the anomalies that opened in it."""

    watched_ms: Annotated[int, Meta(ge=0)] = 0
    anomalies: Annotated[int, Meta(ge=0)] = 0
    assets: int = 1

    def __add__(self, other: Observed) -> Observed:
        """Add up over assets."""
        return Observed(
            self.watched_ms + other.watched_ms,
            self.anomalies + other.anomalies,
            self.assets + other.assets,
        )

    @property
    def days(self) -> float:
        """Asset days watched."""
        return round(self.watched_ms / DAY_MS, 3)

    @property
    def per_week(self) -> float | None:
        """Anomalies a week and asset; None before anything was watched."""
        if not self.watched_ms:
            return None
        return round(self.anomalies * WEEK_MS / self.watched_ms, 3)
