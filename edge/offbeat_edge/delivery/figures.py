"""What a bundle did: counted from the engine's outputs, for people and for gates.

Rules: pure, bounded, and in event time, so that a backlog worked off in a
minute counts as the days it tells of.  Scores fall into bins of 2 %, which
is enough for a 99th percentile and no burden on a snapshot.

>>> count = Count()
>>> for score in (0.5, 0.5, 2.0): count.score(score, 60_000)
>>> count.windows, count.over, round(count.mean, 2), count.asset_ms
(3, 1, 1.0, 180000)
>>> 1.9 < count.quantile(0.99) < 2.1
True
"""

from __future__ import annotations

import math

import msgspec

BIN = math.log(1.02)
LOWEST, HIGHEST = -350, 350  # bins: scores from 0.001 to 1000


class Count(msgspec.Struct):
    """Counters of one bundle; they only rise."""

    windows: int = 0
    over: int = 0  # scores above 1.0
    alerts: int = 0  # anomalies that opened
    asset_ms: int = 0  # event time that the windows moved on, over all assets
    total: float = 0.0
    bins: dict[int, int] = msgspec.field(default_factory=dict)

    def score(self, score: float, step_ms: int) -> None:
        """Count one window; ``step_ms`` is its distance from the one before."""
        self.windows += 1
        self.over += score > 1.0
        self.asset_ms += step_ms
        self.total += score
        place = _bin(score)
        self.bins[place] = self.bins.get(place, 0) + 1

    @property
    def mean(self) -> float:
        """Mean score; 0.0 before the first."""
        return self.total / self.windows if self.windows else 0.0

    @property
    def asset_days(self) -> float:
        """How long assets were watched, added up."""
        return self.asset_ms / 86_400_000

    def quantile(self, share: float) -> float:
        """Return the score that ``share`` of the windows stay below, to 2 %."""
        left = share * self.windows
        for place in sorted(self.bins):
            left -= self.bins[place]
            if left <= 0:
                return math.exp((place + 0.5) * BIN)
        return 0.0


def _bin(score: float) -> int:
    if not score > 0.0:
        return LOWEST
    return max(LOWEST, min(HIGHEST, math.floor(math.log(score) / BIN)))


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """One bundle's part of a report."""

    bundle: str  # digest
    version: str  # the model's own
    windows: int
    asset_days: float
    over: int  # windows above 1.0
    alerts: int  # anomalies that opened, or would have
    mean: float
    p99: float
    latency_ms: float | None  # of one window, on average; None before the first
    error: str | None = None  # why the model does not run


def figures(
    count: Count, *, bundle: str, version: str, latency_ms: float | None, error: str | None
) -> Figures:
    """Round counters for a report."""
    return Figures(
        bundle=bundle,
        version=version,
        windows=count.windows,
        asset_days=round(count.asset_days, 4),
        over=count.over,
        alerts=count.alerts,
        mean=round(count.mean, 4),
        p99=round(count.quantile(0.99), 4),
        latency_ms=None if latency_ms is None else round(latency_ms, 3),
        error=error,
    )
