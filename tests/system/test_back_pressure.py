"""At more than a daemon can take, nothing falls over: the broker waits, the daemon says so."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

from rig import (
    START_MS,
    Daemon,
    Listener,
    Mosquitto,
    Player,
    Reading,
    Site,
    closing,
    differences,
    recording,
    wait_for,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

WINDOW = 50  # messages in flight
SLOW = """
import time
from offbeat_edge.engine import Engine
feed = Engine.feed
def slow(self, samples):
    time.sleep(0.002 * len(samples))  # 500 samples a second at most
    return feed(self, samples)
Engine.feed = slow
"""
GROWTH_BYTES = 4 << 20  # what a backlog of thousands may cost, in all


def resident(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * 4096


def as_of(now_ms: int, readings: Sequence[Reading]) -> list[Reading]:
    """Return the recording as if it began now."""
    moved = []
    for reading in readings:
        values = json.loads(reading.payload)
        values["ts"] += now_ms - START_MS
        moved.append(Reading(reading.topic, json.dumps(values).encode()))
    return moved


def test_a_flood_waits_at_the_broker_and_every_alert_comes(
    tmp_path: Path, mosquitto: Mosquitto
) -> None:
    site = Site(tmp_path, mosquitto.port)
    text = site.path.read_text().replace("[mqtt]", f"[mqtt]\nreceive_maximum = {WINDOW}")
    site.path.write_text(text)
    listener, player = Listener(mosquitto.port), Player(mosquitto.port)
    daemon = Daemon(site, prelude=SLOW).start().ready()
    now_ms = time.time_ns() // 1_000_000 // 1000 * 1000 - 600_000  # all of it lies in the past
    readings = as_of(now_ms, recording(seed=9, seconds=600, assets=4, faults=4))
    with closing(player, listener, daemon):
        player.play(readings[:200])
        wait_for(lambda: listener.health()["counters"]["samples"] >= 200, "the first samples")
        before = resident(daemon.pid)
        started = time.monotonic()
        player.play(readings[200:])
        published_s = time.monotonic() - started
        behind = listener.health()["counters"]["samples"]
        flooded = resident(daemon.pid)
        expected = site.replay(readings)
        listener.wait_alerts((event.id for event in expected), timeout_s=60)
        wait_for(lambda: listener.health()["counters"]["samples"] >= len(readings), "the rest")
    assert behind < len(readings), f"no flood: all was taken within {published_s:.1f} s"
    assert flooded - before < GROWTH_BYTES, "the backlog lies in our memory"
    assert differences(listener.alerts, expected) == ""
    health = listener.health()
    assert health["lag_ms"] is not None
    assert health["mqtt"]["sessions_lost"] == 0
