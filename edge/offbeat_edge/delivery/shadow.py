"""A challenger beside the champion: it sees every sample and alerts nobody.

A whole engine of its own, so a challenger may differ in sensors, grid and
window; what it would have said is counted and thrown away.  Windows that
both judged at the same moment of the same asset are compared.  It keeps no
state on disk: after a restart it warms up and counts anew from where the
counters were saved.

>>> shadow.take(samples, durable.take(samples))  # doctest: +SKIP
>>> shadow.agreement  # doctest: +SKIP
0.9987
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from offbeat_edge.delivery.figures import Count
from offbeat_edge.engine import Engine

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from offbeat_edge.model import Model
    from offbeat_edge.outputs import Outputs
    from offbeat_edge.schema import Sample, ScoreRecord

MAX_WAITING = 10_000  # windows that only one of the two has judged yet


class Compared(msgspec.Struct):
    """What a comparison has counted; survives a restart."""

    champion: Count = msgspec.field(default_factory=Count)
    challenger: Count = msgspec.field(default_factory=Count)
    calm: int = 0  # common windows that the champion finds normal ...
    calm_agreed: int = 0  # ... and the challenger too
    loud: int = 0  # common windows that the champion finds anomalous ...
    loud_agreed: int = 0  # ... and the challenger too

    @property
    def both(self) -> int:
        """Windows judged by both."""
        return self.calm + self.loud

    @property
    def agreement(self) -> float | None:
        """Share of common windows on which both say the same; None before the first."""
        return (self.calm_agreed + self.loud_agreed) / self.both if self.both else None

    @property
    def calm_agreement(self) -> float | None:
        """The same of windows that the champion finds normal."""
        return self.calm_agreed / self.calm if self.calm else None

    @property
    def loud_agreement(self) -> float | None:
        """The same of windows that the champion finds anomalous."""
        return self.loud_agreed / self.loud if self.loud else None


class Shadow:
    """One challenger of one model.

    Parameters
    ----------
    challenger : judges every asset for which ``watches`` says yes.
    champion : the model that alerts; its grid gives the champion's times.
    watches : asset → whether the champion watches it.
    site, gateway : as the daemon's engine has them.
    compared : counters of an earlier life.
    """

    def __init__(
        self,
        *,
        challenger: Model,
        champion: Model,
        watches: Callable[[str], bool],
        site: str,
        gateway: str,
        max_assets: int,
        compared: Compared | None = None,
    ) -> None:
        self.challenger = challenger
        self.compared = compared or Compared()
        self._champion = champion
        self._watches = watches
        self._engine = Engine(
            site=site, gateway=gateway, route=self._route, contributions=0, max_assets=max_assets
        )
        self._waiting: dict[tuple[str, int], tuple[bool, bool]] = {}  # whose, above 1.0

    def take(self, samples: Sequence[Sample], said: Outputs) -> None:
        """Let the challenger see what the champion saw and ``said``."""
        mine = self._engine.feed([s for s in samples if self._watches(s.asset)])
        self._count(self.compared.challenger, mine, self.challenger)
        self._count(self.compared.champion, said, self._champion)
        for champions, scores in ((True, said.scores), (False, mine.scores)):
            for score in scores:
                self._meet(score, champions=champions)
        while len(self._waiting) > MAX_WAITING:
            del self._waiting[next(iter(self._waiting))]

    def _route(self, asset: str) -> Model | None:
        return self.challenger if self._watches(asset) else None

    def _count(self, count: Count, out: Outputs, model: Model) -> None:
        spec = model.manifest.model
        for score in out.scores:
            if self._watches(score.asset):
                count.score(score.unfollowed, spec.period_ms * spec.stride)
        count.alerts += sum(
            1
            for event in out.events
            if event.kind == "anomaly" and event.type == "new" and self._watches(event.asset)
        )

    def _meet(self, score: ScoreRecord, *, champions: bool) -> None:
        """Compare a window when the other has judged it too."""
        if not self._watches(score.asset):
            return
        key, over = (score.asset, score.time_ms), score.unfollowed > 1.0
        other = self._waiting.pop(key, None)
        if other is None or other[0] == champions:
            self._waiting[key] = (champions, over)
            return
        self._compare(champion=over if champions else other[1], same=other[1] == over)

    def _compare(self, *, champion: bool, same: bool) -> None:
        compared = self.compared
        if champion:
            compared.loud += 1
            compared.loud_agreed += same
        else:
            compared.calm += 1
            compared.calm_agreed += same
