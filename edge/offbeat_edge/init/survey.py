"""What assets and sensors the proposed sources give, how often and how large.

Rules: pure; read by the daemon's own decoder, so what stands here is what it
would see.  Names that it refuses are spelled anew and kept in ``assets``.

>>> from offbeat_edge.config import Source
>>> from offbeat_edge.init.recognise import Heard
>>> sources, seen = survey([Source(topic="plant/{asset}")], [Heard("plant/P 1", b'{"a": 2}', 0)])
>>> sources[0].assets, seen["p_1"].sensors["a"].high
({'P 1': 'p_1'}, 2.0)
"""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING

from msgspec.structs import replace

from offbeat_edge.init.recognise import slug
from offbeat_edge.payload.decoder import Decoder
from offbeat_edge.payload.presets import spelled
from offbeat_edge.topics import Template, asset_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from offbeat_edge.config import Source
    from offbeat_edge.init.recognise import Heard

MAX_PAYLOAD_BYTES = 1 << 20
# The ends of names that say their unit, and the names that mostly have one.
ENDS = {
    "rpm": "rpm", "bar": "bar", "mbar": "mbar", "pa": "Pa", "kpa": "kPa", "hpa": "hPa", "hz": "Hz",
    "w": "W", "kw": "kW", "kwh": "kWh", "v": "V", "a": "A", "ma": "mA", "c": "°C", "degc": "°C",
    "degf": "°F", "pct": "%", "percent": "%", "mm": "mm", "um": "µm", "mms": "mm/s", "lpm": "l/min",
    "m3h": "m³/h", "db": "dB", "ppm": "ppm", "s": "s", "ms": "ms",
}  # fmt: skip
NAMES = {
    "temperature": "°C", "temp": "°C", "humidity": "%", "battery": "%", "voltage": "V",
    "current": "A", "power": "W", "energy": "kWh", "frequency": "Hz", "rssi": "dBm", "speed": "rpm",
    "rpm": "rpm",
}  # fmt: skip


@dataclass
class SensorSeen:
    """One sensor."""

    low: float = math.inf
    high: float = -math.inf
    times_ms: set[int] = field(default_factory=set)

    def take(self, value: float, time_ms: int) -> None:
        """Take in a reading."""
        self.low, self.high = min(self.low, value), max(self.high, value)
        self.times_ms.add(time_ms)

    @property
    def every_ms(self) -> int | None:
        """The usual distance of its readings; None with fewer than two."""
        times = sorted(self.times_ms)
        gaps = [b - a for a, b in pairwise(times)]
        return round(median(gaps)) if gaps else None


@dataclass
class AssetSeen:
    """One asset."""

    source: int  # which of the sources gives it
    sensors: dict[str, SensorSeen] = field(default_factory=dict)
    own_time: bool = True  # every sample said when it was

    @property
    def every_ms(self) -> int | None:
        """How often its fastest sensor comes; None where none came twice."""
        found = [sensor.every_ms for sensor in self.sensors.values()]
        return min((ms for ms in found if ms is not None), default=None)

    def take(self, values: Mapping[str, float], time_ms: int) -> None:
        """Take in a sample."""
        for name, value in values.items():
            self.sensors.setdefault(name, SensorSeen()).take(value, time_ms)


def survey(
    sources: Sequence[Source], messages: Iterable[Heard]
) -> tuple[list[Source], dict[str, AssetSeen]]:
    """Read the messages; return the sources with names for assets, and what they give."""
    heard = list(messages)
    named = _named(sources, heard)
    decoders = [Decoder((source,), max_payload_bytes=MAX_PAYLOAD_BYTES) for source in named]
    seen: dict[str, AssetSeen] = _devices(named, decoders, heard)
    for message in heard:
        for index, decoder in enumerate(decoders):
            samples, _ = decoder.decode(
                message.topic, message.payload, message.time_ms, retained=False
            )
            for sample in samples:
                asset = seen.setdefault(sample.asset, AssetSeen(index))
                asset.own_time &= sample.own_time
                asset.take(sample.values, sample.time_ms)
    return named, seen


def _named(sources: Sequence[Source], heard: Sequence[Heard]) -> list[Source]:
    """Give a valid name to assets whose own is none, or another source's."""
    templates = [Template.parse(source.topic) for source in sources]
    dots = not any(template.many for template in templates)
    taken: set[str] = set()
    found = []
    for source, template in zip(sources, templates, strict=True):
        paths = {m.path for h in heard if (m := template.match(h.topic.split("/"))) and m.path}
        own = {path: asset_name(spelled(source.preset, path), dots=dots) for path in paths}
        wrong = sorted(path for path, name in own.items() if name is None or name in taken)
        taken |= {name for path, name in own.items() if name and path not in wrong}
        assets: dict[str, str] = {}
        for path in wrong:
            assets[path] = slug(path, taken)
            taken.add(assets[path])
        found.append(replace(source, assets=assets) if assets else source)
    return found


def _devices(
    sources: Sequence[Source], decoders: Sequence[Decoder], heard: Sequence[Heard]
) -> dict[str, AssetSeen]:
    """Return Sparkplug's devices by their topics: their births may not have been heard."""
    seen: dict[str, AssetSeen] = {}
    for index, (source, decoder) in enumerate(zip(sources, decoders, strict=True)):
        for message in heard if source.format == "sparkplug" else ():
            place = decoder.place(message.topic)
            if place is not None and message.topic.split("/")[2] in ("DBIRTH", "DDATA"):
                seen.setdefault(place[0], AssetSeen(index))
    return seen


def unit(sensor: str) -> str | None:
    """Guess a sensor's unit from its name.

    >>> unit("motor.temperature"), unit("pressure_bar"), unit("ENERGY.Power"), unit("x")
    ('°C', 'bar', 'W', None)
    """
    words = re.findall(r"[a-z0-9]+", sensor.lower())
    if not words:
        return None
    if len(words) > 1 and words[-1] in ENDS:
        return ENDS[words[-1]]
    return next((NAMES[word] for word in reversed(words) if word in NAMES), None)


def classes(seen: dict[str, AssetSeen]) -> list[tuple[list[str], list[str]]]:
    """Group assets by the sensors they have: (assets, sensors), the largest group first."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for name in sorted(seen):
        groups.setdefault(tuple(sorted(seen[name].sensors)), []).append(name)
    sizes = Counter({sensors: len(assets) for sensors, assets in groups.items()})
    return [(groups[sensors], list(sensors)) for sensors, _ in sizes.most_common() if sensors]
