"""Hostile messages between good ones change no alert: ``python tests/fuzz/flood.py``.

Decoder and engine in one process: every good reading of a recording has a
share of the hostile messages behind it, but for the first ones: whom an asset
hears first it believes, if he lies until ten good ones in a row have come.
Prints what they cost, and exits
with 1 when an alert differs or the memory grew.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import NamedTuple

sys.path += [str(Path(__file__).parent), str(Path(__file__).parent.parent / "integration")]

from hostile import Hostile
from rig import Site, differences, recording

from offbeat_edge import config, fleet
from offbeat_edge.engine import Engine
from offbeat_edge.payload.decoder import Decoder

GROWTH_MB = 24.0  # from a tenth of the way to the end: routes of topics remembered, up to a bound


HEARD = 10  # good readings before the first hostile message


class Flood(NamedTuple):
    """What came of it."""

    messages: int
    samples: int  # that hostile messages gave all the same
    rejects: dict[str, int]
    whole: int
    growth_mb: float
    difference: str
    alerts: int


def flood(folder: Path, *, count: int, seed: int) -> Flood:
    """Play a recording with ``count`` hostile messages in it."""
    site = Site(folder, 1)
    readings = recording(seed=seed, seconds=400, faults=12, sensor_faults=4)
    read = config.load(site.path, {})
    entry = read.models[0]
    model = fleet.open_entry(read, entry, fleet.load_entry(entry))
    engine = Engine(
        site=read.gateway.site, gateway=read.gateway.id, route=fleet.router([(entry, model)])
    )
    decoder = Decoder(read.sources, max_payload_bytes=read.limits.max_payload_bytes)
    hostile, rejects = Hostile(seed), Counter[str]()
    told, samples, early = [], 0, 0.0
    rest = len(readings) - HEARD
    for n, reading in enumerate(readings):
        good, _ = decoder.decode(reading.topic, reading.payload, 0, retained=False)
        told += engine.feed(good).events
        if n < HEARD:
            continue
        share = count * (n + 1 - HEARD) // rest - count * (n - HEARD) // rest
        for message in hostile.messages(share):
            bad, why = decoder.decode(message.topic, message.payload, 0, retained=False)
            told += engine.feed(bad).events
            samples += len(bad)
            rejects.update(reject.reason for reject in why)
        if n == len(readings) // 10:
            early = _resident_mb()
    expected = site.replay(readings)
    return Flood(
        count, samples, dict(rejects), hostile.whole, round(_resident_mb() - early, 1),
        differences((event.id for event in told), expected), len(expected),
    )  # fmt: skip


def _resident_mb() -> float:
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6


def main() -> int:
    """Flood; return 1 when it changed anything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = flood(Path(folder), count=args.messages, seed=args.seed)
    sys.stdout.write(json.dumps(found._asdict()) + "\n")
    return int(bool(found.difference) or found.growth_mb > GROWTH_MB)


if __name__ == "__main__":
    sys.exit(main())
