"""What the broker took stands in the lake once, whatever happens to the recorder."""

from __future__ import annotations

import json
import random
import threading
import time
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from record_parts import Recording, published, recorded, recorder
from rig import START_MS, Listener, Mosquitto, Player, Reading, closing, recording, wait_for

from offbeat_edge.schema import AlertEvent, iso
from offbeat_train.lake import layout, open_lake
from offbeat_train.lake.compact import MAX_PARTS

if TYPE_CHECKING:
    from pathlib import Path

    from rig import Daemon


def health(listener: Listener) -> dict[str, Any]:
    return json.loads(listener.retained.get("offbeat/record-gw1/health", b"{}"))


def listening(listener: Listener) -> None:
    """Wait until the recorder's subscriptions are granted."""
    wait_for(lambda: health(listener).get("mqtt", {}).get("subscribed") == 4, "its subscriptions")


def drained(site: Recording, listener: Listener, process: Daemon, readings: list[Reading]) -> None:
    """Wait until the lake has everything, then end the recorder politely."""
    wanted = sum(map(len, published(readings).values()))
    listening(listener)

    def there() -> bool:
        time.sleep(0.5)  # each look reads the whole lake
        return sum(map(len, recorded(site).values())) >= wanted

    wait_for(there, f"{wanted} rows in the lake; {process.errors()}")
    assert process.stop() == 0


@pytest.mark.parametrize("seed", range(2))
def test_a_recorder_killed_at_random_moments_leaves_every_row_once(
    mosquitto: Mosquitto, tmp_path: Path, seed: int
) -> None:
    chance = random.Random(seed)
    readings = recording(seed=seed, seconds=300, assets=3)
    site = Recording(tmp_path, mosquitto.port, protocol="3.1.1" if seed == 1 else "auto")
    listener, player = Listener(mosquitto.port), Player(mosquitto.port)
    process = recorder(site).start()
    with closing(listener, player, process):
        listening(listener)
        playing = threading.Thread(target=player.play, args=[readings])
        playing.start()
        for _ in range(3):
            time.sleep(chance.uniform(0.0, 0.7))
            process.kill()
            process.start()
            if chance.random() < 0.7:
                process.wait_event("connected")
        playing.join()
        drained(site, listener, process, readings)
    assert recorded(site) == published(readings)
    assert not list((site.state.parent / "record").glob("*.spool"))


def alert() -> AlertEvent:
    return AlertEvent(
        id=f"{'a' * 32}/0", alert="a" * 32, seq=0, type="new", kind="anomaly", severity="warning",
        site="default", gateway="gw7", asset="p1", start=iso(START_MS), start_ms=START_MS,
        time=iso(START_MS), time_ms=START_MS, score=1.1 + 2.2, peak=3.3, message="odd",
    )  # fmt: skip


def test_alerts_feedback_and_maintenance_are_kept_and_lies_are_refused(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    site = Recording(tmp_path, mosquitto.port)
    listener, player = Listener(mosquitto.port), Player(mosquitto.port)
    process = recorder(site, flush="1h").start()
    event = msgspec.json.encode(alert())
    again = msgspec.json.encode(msgspec.structs.replace(alert(), resent=True))
    feedback = {"schema": "1.0", "id": "f1", "alert": "a" * 32, "asset": "p1", "by": "ann",
                "verdict": "false_alarm", "time_ms": START_MS, "of_a_later_minor": 1}  # fmt: skip
    work = {"schema": "1.0", "id": "m1", "asset": "p1", "start_ms": START_MS, "note": "oil",
            "end_ms": START_MS + 1000, "time_ms": START_MS, "cancelled": False}  # fmt: skip
    with closing(listener, player, process):
        listening(listener)
        said = [json.dumps(feedback).encode(), json.dumps(work).encode()]
        player.play([
            Reading("offbeat/gw7/asset/p1/alert", event),
            Reading("offbeat/gw7/asset/p1/alert", again),
            Reading("offbeat/gw8/asset/p1/alert", event),
            Reading("offbeat/gw7/asset/p2/alert", event),
            Reading("offbeat/fleet/feedback/p1", said[0]),
            Reading("offbeat/fleet/feedback/p2", said[0]),
            Reading("offbeat/fleet/maintenance/p1", said[1]),
            Reading("offbeat/fleet/maintenance/p1", b"{"),
        ])  # fmt: skip
        wait_for(lambda: health(listener)["counters"]["messages"] == 8, "eight messages")
        assert health(listener)["rejects"] == {"bad_event": 4}
        assert process.stop() == 0  # and flushes, an hour early
        assert listener.retained["offbeat/record-gw1/status"] == b"stopped"
    lake = open_lake(str(site.lake))
    assert lake.alerts() == [alert()]
    ((said_by, verdict),) = [(f.by, f.verdict) for f in lake.feedback("p1")]
    assert (said_by, verdict) == ("ann", "false_alarm")
    assert [m.note for m in lake.maintenance()] == ["oil"]


def wide(second: int) -> Reading:
    """A message of two hundred sensors: a megabyte is soon full."""
    values = {f"sensor{n}": n / 7 + second for n in range(200)}
    return Reading("plant/p1", json.dumps({"ts": START_MS + second * 1000, **values}).encode())


def test_while_the_lake_is_away_rows_wait_in_the_spool_and_then_in_the_broker(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    readings = [wide(second) for second in range(700)]
    site = Recording(tmp_path, mosquitto.port, more="[limits]\nspool_mb = 1")
    site.lake.write_text("a file stands where the lake should be")
    listener, player = Listener(mosquitto.port), Player(mosquitto.port)
    process = recorder(site).start()
    with closing(listener, player, process):
        listening(listener)
        player.play(readings)
        wait_for(lambda: any("full" in r for r in health(listener)["degraded"]), "a full spool")
        assert any(r.startswith("lake: ") for r in health(listener)["degraded"])
        waiting = health(listener)["spool"]
        assert waiting["limit_bytes"] <= waiting["bytes"] < 2 * waiting["limit_bytes"]
        assert health(listener)["counters"]["samples"] < len(readings)
        site.lake.unlink()
        drained(site, listener, process, readings)
    assert recorded(site) == published(readings)


def test_many_small_parts_of_a_day_become_few(mosquitto: Mosquitto, tmp_path: Path) -> None:
    readings = recording(seed=6, seconds=80, assets=1)
    site = Recording(tmp_path, mosquitto.port)
    listener, player = Listener(mosquitto.port), Player(mosquitto.port)
    process = recorder(site, flush="20ms").start()
    with closing(listener, player, process):
        listening(listener)
        for reading in readings:
            player.play([reading])
            time.sleep(0.03)
        drained(site, listener, process, readings)
    assert recorded(site) == published(readings)
    folder = layout.samples_folder("p0", layout.day_of(START_MS))
    assert len(layout.parts(open_lake(str(site.lake)).store, folder)) <= MAX_PARTS


def test_two_recorders_cannot_share_a_spool(mosquitto: Mosquitto, tmp_path: Path) -> None:
    site = Recording(tmp_path, mosquitto.port)
    first, second = recorder(site).start(), recorder(site)
    with closing(first):
        first.ready()
        second.start()
        wait_for(lambda: not second.alive, "the second to give up")
        assert second.stop() == 75
        assert "another recorder uses it" in second.errors()
