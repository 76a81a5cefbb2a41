"""What samples lead to: verdicts of windows, and what is said of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
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
    def of(cls, judged: Judged, n: int) -> Verdict:
        """Take window `n` out of a judged batch."""
        return cls(
            float(judged.score[n]),
            judged.shares[n].tolist(),
            None if judged.expected is None else judged.expected[n].tolist(),
            judged.actual[n].tolist(),
            None if judged.away is None else judged.away[n].tolist(),
        )


class Outputs(NamedTuple):
    """What samples led to; each list in the order it happened."""

    scores: list[ScoreRecord]
    events: list[AlertEvent]
    states: list[AssetState]
    drops: list[Reject]
