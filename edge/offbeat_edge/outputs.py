"""What samples lead to: verdicts of windows, and what is said of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from offbeat_edge.model import Judged
    from offbeat_edge.schema import AlertEvent, AssetState, Reject, ScoreRecord


class Verdict(NamedTuple):
    """One window, judged."""

    score: float
    shares: list[float]
    expected: list[float] | None
    actual: list[float]
    away: list[float] | None  # (S,) see `model.Judged`

    @classmethod
    def each(cls, judged: Judged) -> Iterator[Verdict]:
        """Take the windows out of a judged batch, in order."""
        nothing = [None] * len(judged.score)
        return map(
            cls,
            judged.score.tolist(),
            judged.shares.tolist(),
            nothing if judged.expected is None else judged.expected.tolist(),
            judged.actual.tolist(),
            nothing if judged.away is None else judged.away.tolist(),
        )


class Outputs(NamedTuple):
    """What samples led to; each list in the order it happened."""

    scores: list[ScoreRecord]
    events: list[AlertEvent]
    states: list[AssetState]
    drops: list[Reject]
