"""A message being read, and the source it is read for.

Rules: ``Plan`` is made once for each source, ``Message`` once for each
message; samples and refusals collect in it.

>>> from offbeat_edge.config import Source
>>> Plan(Source(topic="plant/{asset}", prefix="data.values")).prefix
('data', 'values')
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from offbeat_edge.payload.json_path import parse_path
from offbeat_edge.schema import Reject, Sample

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from offbeat_edge.config import Source
    from offbeat_edge.refusal import Reason

    Sensors = Callable[[str], Collection[str]]  # asset → the names of its model's inputs

MAX_REJECTS = 32  # of one message; further ones are dropped
MAX_SENSOR_CHARS = 128
MAX_TOPIC_SHOWN = 256  # characters of a topic in a reject
NOT_FINITE = "\u0000not finite"  # stands for NaN and Infinity, which JSON cannot say


class Plan:
    """One ``[[source]]``, its paths parsed once."""

    def __init__(self, source: Source) -> None:
        self.preset = source.preset
        self.format = source.format
        self.qos = source.qos
        self.unit = source.time_unit
        self.time = parse_path(source.time)
        self.prefix = parse_path(source.prefix)
        self.values = tuple((name, parse_path(path)) for name, path in source.values.items())
        self.fields = {path: name for name, path in source.values.items()}  # of line protocol
        self.asset = source.asset
        self.asset_path = parse_path(source.asset)
        self.assets = source.assets
        # Nothing configured: an object of floats with a time in milliseconds can go straight
        # through.
        self.plain = source.format in ("auto", "json") and source.time_unit in ("auto", "ms")
        self.plain &= not (source.time or source.prefix or source.values or source.asset)


class Message(NamedTuple):
    """A message being read: where it came from, and what came of it so far."""

    plan: Plan
    topic: str
    asset: str | None  # from the topic; none: the payload names it
    sensor: str | None
    received_ms: int
    retained: bool
    sensors: Sensors | None
    samples: list[Sample]
    rejects: list[Reject]

    def refuse(self, reason: Reason, detail: str) -> None:
        """Count one refusal, as long as there are not too many of them."""
        if len(self.rejects) < MAX_REJECTS:
            self.rejects.append(Reject(reason, detail, self.topic[:MAX_TOPIC_SHOWN]))
