"""A threshold that follows, within bounds, what an asset has long been scoring.

A rig warms up, a bearing runs in, a season turns: scores creep up to the
threshold and stay there, and one alarm after the other says nothing new.
So a score is compared with the mean of the scores before it, too; only what
stands out from that is news.

Rules: pure, a function of the scores and of the grid steps of their windows.
The mean is over the last ``spec.windows`` whole stretches of one window
length each, laid out on the time grid, so that whoever begins early enough
has the same to the last digit; scores that are missing count as 0.  A score counts for no more
than what takes the threshold to its bound.  The threshold never falls below
the bundle's and never rises above ``spec.most`` times it: a fault beyond that
stays a fault, however long it lasts.

>>> follower = Follower(FollowSpec(windows=2, factor=1.5, most=2.0), window=4, stride=2)
>>> [round(follower.take(step, 0.9), 3) for step in range(0, 12, 2)]
[1.0, 1.0, 1.0, 1.0, 1.35, 1.35]
>>> [round(follower.take(step, 9.0), 3) for step in range(12, 24, 2)]
[1.35, 1.35, 1.675, 1.675, 2.0, 2.0]
"""

from __future__ import annotations

from math import fsum
from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec import Meta

if TYPE_CHECKING:
    from offbeat_edge.schema import ModelSpec

WINDOWS_MAX = 512  # stretches remembered; each is a number an asset
SUM_MAX = 1e6  # of the scores of one stretch
MOST_MAX = 10.0  # times the bundle's threshold; a rule that allows more watches nothing


class FollowSpec(msgspec.Struct, frozen=True, kw_only=True):
    """How a threshold follows; part of the bundle's manifest."""

    windows: Annotated[int, Meta(ge=1, le=WINDOWS_MAX)]  # window lengths remembered
    factor: Annotated[float, Meta(ge=1.0, le=MOST_MAX)]  # of the mean, that is no news
    most: Annotated[float, Meta(ge=1.0, le=MOST_MAX)]  # times the bundle's threshold


class Followed(msgspec.Struct, array_like=True):
    """A `Follower` in a snapshot."""

    stretch: int | None = None  # on the time grid, the one that goes on
    # of scores, by stretch, that one last
    sums: list[Annotated[float, Meta(ge=0.0, le=SUM_MAX)]] = []


class Follower:
    """The threshold of one asset, in units of its bundle's.

    Parameters
    ----------
    spec : the bundle's rule.
    window, stride : of the bundle's model, in steps of the time grid.
    """

    def __init__(self, spec: FollowSpec, *, window: int, stride: int) -> None:
        self._spec, self._window = spec, window
        self.threshold = 1.0  # in force since the last stretch began
        self._cap = spec.most / spec.factor
        self._full = spec.windows * window / stride  # scores in the memory
        self.restore(Followed())

    def take(self, step: int, score: float, *, learn: bool = True) -> float:
        """Return the threshold (1.0: the bundle's) for a score, then learn from that.

        ``step`` is that of the window's last row; ``learn`` says whether the
        score may be taken for the asset's own.
        """
        stretch = step // self._window
        if stretch != self.state.stretch:
            self._turn(stretch)
        if learn:
            self.state.sums[-1] += min(score, self._cap)
        return self.threshold

    def restore(self, state: Followed) -> None:
        """Take back a state; raises ValueError on one that this never leaves."""
        if len(state.sums) > self._spec.windows + 1 or (state.stretch is None) is bool(state.sums):
            raise ValueError(f"follow: expected up to {self._spec.windows + 1} sums, got {state}")
        self.state = state
        mean = fsum(state.sums[:-1]) / self._full
        self.threshold = min(max(1.0, self._spec.factor * mean), self._spec.most)

    def _turn(self, stretch: int) -> None:
        """Begin a stretch, and forget what is too old or, where time was set back, to come."""
        kept = self._spec.windows + 1
        passed = stretch - (self.state.stretch or 0)
        known = self.state.sums if 0 < passed < kept else []
        self.restore(Followed(stretch, [*known, *[0.0] * passed][-kept:] if known else [0.0]))


def follower_of(spec: FollowSpec | None, model: ModelSpec) -> Follower | None:
    """Return what follows an asset's scores by a bundle's rule; None without one."""
    return None if spec is None else Follower(spec, window=model.window, stride=model.stride)
