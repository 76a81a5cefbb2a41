"""What a job sets out to do, and what it leaves behind, as JSON.

``Plan`` is kept while a job is unfinished, ``Judgement`` is ``verdict.json``.
"""

from __future__ import annotations

import msgspec

from offbeat_train.retrain.due import Due
from offbeat_train.retrain.gate import Verdict

SCHEMA = "1.0"


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that decides what comes out: the same plan on the same data gives the same."""

    schema: str = SCHEMA
    model: str
    version: str
    made_ms: int  # by the clock, when the plan was made
    assets: tuple[str, ...]
    since_ms: int | None  # of the lake's rows
    end_ms: int  # event time after the newest row
    data_sha256: str  # of those rows, see `past.digest`
    champion: str | None  # version
    parent: str | None  # the champion's bundle digest
    block_ms: int
    recent_ms: int
    seen_ms: int
    window: int
    period_ms: int
    stride: int
    units: tuple[int, ...] | None  # of a first model; None: chosen
    seed: int
    epochs: int | None
    budget_per_week: float
    due: Due


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """The verdict on one version and all it rests on."""

    schema: str = SCHEMA
    bundle: str  # digest of what was judged
    cold: str | None  # why the challenger did not go on from the champion's weights
    plan: Plan
    verdict: Verdict

    @property
    def promoted(self) -> bool:
        """Whether it became the champion."""
        return self.verdict.decision == "promote"
