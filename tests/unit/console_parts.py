"""What a gateway says, made up: for the console's tests."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import msgspec

from offbeat_edge.schema import (
    AlertEvent,
    AssetState,
    Contribution,
    ModelRef,
    ScoreRecord,
    iso,
)

if TYPE_CHECKING:
    from offbeat_edge.schema import EventType, Kind, Severity, State

START_MS = 1_760_000_000_000
CONTRIBUTIONS = (
    Contribution(sensor="flow", share=0.9, expected=15.77, actual=18.1),
    Contribution(sensor="heat", share=0.1, expected=21.5, actual=20.1),
)


def event(
    seq: int = 0,
    *,
    asset: str = "p1",
    gateway: str = "gw1",
    kind: Kind = "anomaly",
    severity: Severity = "warning",
    type_: EventType | None = None,
    start_ms: int = START_MS,
) -> AlertEvent:
    """Return an event; number 0 is new, later ones are updates unless told."""
    alert = hashlib.md5(f"{asset} {kind} {start_ms}".encode(), usedforsecurity=False).hexdigest()
    time_ms = start_ms + seq * 1000
    ended = time_ms if type_ == "end" else None
    return AlertEvent(
        id=f"{alert}/{seq}", alert=alert, seq=seq, type=type_ or ("update" if seq else "new"),
        kind=kind, severity=severity, site="default", gateway=gateway, asset=asset,
        start=iso(start_ms), start_ms=start_ms, time=iso(time_ms), time_ms=time_ms,
        end=iso(ended) if ended else None, end_ms=ended, score=2.8, peak=2.8,
        message=f"{asset}: 2.8 times the threshold, most from flow (18.1, expected 15.77)",
        contributions=CONTRIBUTIONS,
        model=ModelRef(name="tiny", version="1", bundle="5e32" * 16, config="55d5" * 16),
    )  # fmt: skip


def state(
    name: State = "ok",
    *,
    asset: str = "p1",
    since_ms: int = START_MS,
    **more: Any,  # noqa: ANN401
) -> AssetState:
    return AssetState(asset=asset, state=name, since=iso(since_ms), since_ms=since_ms, **more)


def score(value: float, *, asset: str = "p1", time_ms: int = START_MS) -> ScoreRecord:
    return ScoreRecord(
        asset=asset, time=iso(time_ms), time_ms=time_ms, score=value, contributions=CONTRIBUTIONS
    )


def told(body: msgspec.Struct) -> bytes:
    return msgspec.json.encode(body)
