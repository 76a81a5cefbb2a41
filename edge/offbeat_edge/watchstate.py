"""A watch as data: what a snapshot holds of one asset.

Rules: fields are added at the end, with a default, so that the state of an
earlier release can be read; ``restored`` checks what types cannot say.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from offbeat_edge.adaptation import AdapterState
from offbeat_edge.alert import Lifecycle
from offbeat_edge.follow import Followed
from offbeat_edge.observed import Observed
from offbeat_edge.pace import Pace
from offbeat_edge.schema import MAX_EVENT_MS, AssetState, EventMs
from offbeat_edge.sensorcheck import SensorCheckState
from offbeat_edge.window import AlignerState


class WatchState(msgspec.Struct):
    """A `Watch` in a snapshot."""

    bundle: str
    aligner: AlignerState
    ring: tuple[int, bytes]
    check: SensorCheckState
    lives: dict[str, Lifecycle]
    faults: dict[str, str]
    scored_ms: EventMs | None
    score: float | None
    silent_ms: Annotated[int, msgspec.Meta(ge=0, le=MAX_EVENT_MS)]
    current: AssetState | None
    settled_ms: EventMs | None = None
    resting_ms: EventMs | None = None
    silence_ms: EventMs = 0
    stale_ms: EventMs = 0
    observed: Observed = Observed()
    adaptation: AdapterState | None = None
    pace: Pace = msgspec.field(default_factory=Pace)
    followed: Followed | None = None
    faults_told: list[str] | None = None  # None: of an earlier release
