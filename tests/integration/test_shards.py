"""``offbeat run --shards``: several processes, one gateway, the same alerts."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from rig import (
    START_MS,
    Daemon,
    Listener,
    Mosquitto,
    Player,
    Reading,
    Site,
    closing,
    recording,
    wait_for,
)

from offbeat_edge.shards.owner import owner
from offbeat_edge.subscriptions import load

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SHARDS = 3
ASSETS = 8
NAMED = ", ".join(f'"p{n}"' for n in range(ASSETS))


class Hall:
    """A broker, a gateway of three shards, a listener and a player."""

    def __init__(
        self,
        folder: Path,
        broker: Mosquitto,
        words: tuple[str, ...] = ("--shards", str(SHARDS)),
        mqtt: str = "",
    ) -> None:
        self.site = Site(folder, broker.port)
        text = self.site.path.read_text().replace("[mqtt]\n", f"[mqtt]\n{mqtt}\n")
        known = f'bundle = "tiny.offbeat"\nassets = [{NAMED}, "late*"]'
        self.site.path.write_text(text.replace('bundle = "tiny.offbeat"', known))
        self.listener = Listener(broker.port)
        self.daemon = Daemon(self.site, words=words).start()
        self.player = Player(broker.port)

    def shards(self) -> list[dict[str, Any]]:
        report = json.loads(self.listener.topic("shards") or b"{}")
        return list(report.get("shards", []))

    def wait_ready(self, shards: int = SHARDS) -> None:
        def ready(shard: int) -> bool:
            own = sum(owner(f"p{n}", shards) == shard for n in range(ASSETS))
            held = self.held(shard, shards)
            named = [name for name in held if name.startswith("plant/")]
            granted = self.health(shard, shards).get("mqtt", {}).get("subscribed")
            return len(named) == own and granted == len(held)

        wait_for(lambda: all(ready(n) for n in range(shards)), "the shards to be subscribed")
        wait_for(lambda: all(shard["ready"] for shard in self.shards()), "their report")

    def held(self, shard: int, shards: int) -> list[str]:
        """Return the filters of a shard's session."""
        folder = self.site.state.parent / f"shard-{shard}-of-{shards}"
        return load(folder / "subscriptions.json")

    def health(self, shard: int, shards: int = SHARDS) -> dict[str, Any]:
        raw = self.listener.retained.get(f"offbeat/gw1-{shard}of{shards}/health", b"{}")
        return dict(json.loads(raw))


@pytest.fixture
def hall(tmp_path: Path, mosquitto: Mosquitto) -> Iterator[Hall]:
    hall = Hall(tmp_path, mosquitto)
    with closing(hall.player, hall.listener, hall.daemon):
        yield hall


def test_shards_together_say_what_one_daemon_would(hall: Hall) -> None:
    hall.wait_ready()
    readings = recording(seed=5, seconds=120, assets=ASSETS, faults=2)
    hall.player.play(readings)
    expected = hall.site.replay(readings)
    hall.listener.wait_alerts(event.id for event in expected)
    assert hall.listener.alerts.keys() == {event.id for event in expected}
    for event in hall.listener.alerts.values():
        assert event["gateway"] == f"gw1-{owner(event['asset'], SHARDS)}of{SHARDS}"
    assert {owner(f"p{n}", SHARDS) for n in range(ASSETS)} == set(range(SHARDS))

    def taken(shard: int) -> bool:
        return bool(hall.health(shard)["counters"]["messages"])

    wait_for(lambda: all(map(taken, range(SHARDS))), "every shard to say what it took")


def test_a_shard_that_dies_comes_back_and_loses_nothing(hall: Hall) -> None:
    hall.wait_ready()
    readings = recording(seed=6, seconds=120, assets=ASSETS, faults=2)
    half = len(readings) // 2
    hall.player.play(readings[:half])
    victim = hall.shards()[owner("p0", SHARDS)]
    os.kill(victim["pid"], signal.SIGKILL)
    hall.player.play(readings[half:])
    expected = hall.site.replay(readings)
    hall.listener.wait_alerts(event.id for event in expected)
    assert hall.listener.alerts.keys() == {event.id for event in expected}
    # the kept session is never asked to let go of its topics, not even for a moment
    log = (hall.site.path.parent / "broker" / "mosquitto.log").read_text()
    assert "Received PUBACK" in log
    assert "Received UNSUBSCRIBE" not in log


def test_an_asset_never_heard_of_is_found_and_watched_by_its_shard(hall: Hall) -> None:
    hall.wait_ready()
    shard = owner("late1", SHARDS)

    seconds = itertools.count()

    def heard() -> bool:
        body = {"ts": START_MS + next(seconds) * 1000, "flow": 10.0, "heat": 20.0}
        hall.player.play([Reading("plant/late1", json.dumps(body).encode())])
        return f"offbeat/gw1-{shard}of{SHARDS}/asset/late1/state" in hall.listener.retained

    wait_for(heard, "the new asset's state")


def test_the_shards_go_when_the_process_above_them_is_killed(hall: Hall) -> None:
    hall.wait_ready()
    pids = [shard["pid"] for shard in hall.shards()]
    hall.daemon.kill()
    wait_for(lambda: not any(alive(pid) for pid in pids), "the shards to end")


def test_another_number_of_shards_is_refused_beside_their_state(hall: Hall) -> None:
    hall.wait_ready()
    assert hall.daemon.stop() == 0
    other = Daemon(hall.site, words=("--shards", "2")).start()
    wait_for(lambda: not other.alive, "the refusal")
    assert other.stop() == 78
    assert "offbeat reshard --to 2" in other.errors()


@pytest.mark.parametrize(("before", "after"), [(None, 2), (2, 3)])
def test_assets_are_handed_over_in_the_middle_of_their_alerts(
    tmp_path: Path, mosquitto: Mosquitto, before: int | None, after: int
) -> None:
    words = () if before is None else ("--shards", str(before))
    hall = Hall(tmp_path, mosquitto, words=words)
    with closing(hall.player, hall.listener, hall.daemon):
        if before is None:
            hall.daemon.ready()
        else:
            hall.wait_ready(before)
        readings = recording(seed=7, seconds=150, assets=ASSETS, faults=3)
        third = len(readings) // 3
        hall.player.play(readings[:third])
        assert hall.daemon.stop() == 0
        hall.player.play(readings[third : 2 * third])  # the broker keeps them for the old ones
        told = subprocess.run(
            reshard(hall.site, after), capture_output=True, text=True, check=False
        )
        assert told.returncode == 0, told.stderr
        left = {t for t, payload in hall.listener.retained.items() if payload and "/state" in t}
        assert not left, "an old daemon's word still stands"
        hall.player.play(readings[2 * third :])  # and for the new ones
        later = Daemon(hall.site, words=("--shards", str(after))).start()
        with closing(later):
            expected = hall.site.replay(readings)
            hall.listener.wait_alerts(event.id for event in expected)
        assert hall.listener.alerts.keys() == {event.id for event in expected}


def reshard(site: Site, to: int) -> list[str]:
    command = [sys.executable, "-m", "offbeat_edge.cli", "reshard"]
    return [*command, "--config", str(site.path), "--to", str(to)]


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{pid}/stat") as file:  # noqa: PTH123 - not a file of ours
        return file.read().split()[2] != "Z"


def test_a_broker_that_deals_messages_out_in_turns_is_noticed(
    tmp_path: Path, mosquitto: Mosquitto
) -> None:
    """Mosquitto takes the shared subscriptions, and does not hash."""
    hall = Hall(tmp_path, mosquitto, words=("--shards", "2"), mqtt='share = "halls"')
    with closing(hall.player, hall.listener, hall.daemon):

        def ready(shard: int) -> bool:
            held = hall.held(shard, 2)
            granted = hall.health(shard, 2).get("mqtt", {}).get("subscribed")
            return "$share/halls/plant/+" in held and granted == len(held)

        wait_for(lambda: all(map(ready, range(2))), "the shards to be subscribed")
        seconds = itertools.count()

        def told() -> bool:
            body = {"ts": START_MS + next(seconds) * 1000, "flow": 10.0, "heat": 20.0}
            payload = json.dumps(body).encode()
            hall.player.play([Reading(f"plant/p{n}", payload) for n in range(3)])
            reasons = [hall.health(n, 2).get("degraded", []) for n in range(2)]
            return any("by turns here" in " ".join(told) for told in reasons)

        wait_for(told, "the report")
        assert all(row["assets"] is None for row in hall.shards())
