"""Twenty thousand hostile messages through a broker: same alerts, few words, no growth."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent.parent / "fuzz"))

from hostile import Hostile
from rig import Daemon, Listener, Mosquitto, Player, Site, closing, differences, recording, wait_for

COUNT = 20_000
GROWTH_BYTES = 24 << 20  # from a quarter of the way to the end
ERRORS_PER_MINUTE = 10
LOG_LINES = 200
UNSAVED = "autosave_on_changes false"  # or Mosquitto writes its whole queue at every message


def resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


def test_hostile_messages_change_no_alert_and_fill_neither_log_nor_memory(tmp_path: Path) -> None:
    broker = Mosquitto(tmp_path / "broker", extra=UNSAVED).start()
    site = Site(tmp_path, broker.port, more=f"[limits]\nerrors_per_minute = {ERRORS_PER_MINUTE}")
    readings = recording(seed=9, seconds=200, faults=12, sensor_faults=4)
    expected = site.replay(readings)
    listener, player, daemon = Listener(broker.port), Player(broker.port), Daemon(site)
    hostile = Hostile(9)
    with closing(player, listener, daemon, broker):
        daemon.start().ready()
        listener.wait_subscribed()
        parts = 20
        size = len(readings) // parts
        early = 0
        for part in range(parts):
            player.play(readings[part * size : (part + 1) * size])
            player.play(hostile.messages(COUNT // parts))
            taken = (COUNT // parts + size) * (part + 1)
            wait_for(
                lambda taken=taken: (  # type: ignore[misc]
                    listener.health().get("counters", {}).get("messages", 0) >= taken
                ),
                f"{taken} messages taken",
            )
            if part == parts // 4:
                early = resident(daemon.pid)
        listener.wait_alerts(event.id for event in expected)
        assert differences(listener.alerts, expected) == ""
        assert sum(listener.health()["rejects"].values()) > COUNT // 2
        assert listener.health()["degraded"] == []
        assert resident(daemon.pid) - early < GROWTH_BYTES
        minutes = 1 + listener.health()["uptime_s"] // 60 + 1
        assert 0 < len(listener.errors) <= ERRORS_PER_MINUTE * minutes
        assert len(daemon.events) < LOG_LINES
        assert "decoder_failed" not in {event["event"] for event in daemon.events}
