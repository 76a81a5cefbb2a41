"""What a recorder says of itself, retained on ``offbeat/record-<id>/health``."""

from __future__ import annotations

import msgspec

from offbeat_edge.health import AssetList, Gap, MqttHealth
from offbeat_edge.schema import SCHEMA


class SpoolState(msgspec.Struct, frozen=True, kw_only=True):
    """What is acknowledged and not yet in the lake."""

    segments: int
    bytes: int
    limit_bytes: int  # from here on nothing is acknowledged
    oldest_s: float  # age of the oldest segment


class RecorderHealth(msgspec.Struct, frozen=True, kw_only=True):
    """Counters rise from the start of the process; an empty ``degraded``: all promises hold."""

    schema: str = SCHEMA
    recorder: str
    lake: str  # without what may be secret in its URI
    time: str
    time_ms: int
    uptime_s: float
    version: str
    degraded: list[str]
    mqtt: MqttHealth
    spool: SpoolState
    counters: dict[str, int]
    rejects: dict[str, int]
    gaps: list[Gap]
    lag_ms: int | None  # wall clock less the newest sample's own time
    qos0_assets: AssetList
    stamped_assets: AssetList  # without a time of their own: redelivered, they are new rows
