"""A recorder process at a real Mosquitto, and what should be in its lake."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from rig import Daemon, Reading, Site

from offbeat_train.lake import open_lake

if TYPE_CHECKING:
    from pathlib import Path

Rows = dict[str, dict[int, dict[str, float]]]


class Recording(Site):
    """A site whose process records."""

    def __init__(self, folder: Path, port: int, *, more: str = "", protocol: str = "auto") -> None:
        super().__init__(folder, port, more=more, protocol=protocol)
        self.lake = folder / "lake"


def recorder(site: Recording, *, flush: str = "300ms") -> Daemon:
    """``offbeat record`` as a process of its own."""
    return Daemon(site, command="record", words=("--lake", str(site.lake), "--flush", flush))


def published(readings: list[Reading]) -> Rows:
    """What a lake should hold of these readings."""
    rows: Rows = {}
    for reading in readings:
        values: dict[str, Any] = json.loads(reading.payload)
        rows.setdefault(reading.topic.split("/")[1], {})[values.pop("ts")] = values
    return rows


def recorded(site: Recording) -> Rows:
    lake = open_lake(str(site.lake))
    found: Rows = {}
    for asset in lake.assets():
        rows = lake.rows(asset)
        times = rows.times.tolist()
        assert len(times) == len(set(times))
        found[asset] = {
            time: dict(zip(rows.sensors, values, strict=True))
            for time, values in zip(times, rows.matrix.tolist(), strict=True)
        }
    return found
