"""``offbeat run`` against a real Mosquitto: alerts flow, and nothing stops it."""

from __future__ import annotations

import json
import shutil
import signal
import sqlite3
import subprocess
from typing import TYPE_CHECKING

import msgspec
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
    differences,
    recording,
    wait_for,
)

from offbeat_edge.schema import AlertEvent, AssetState

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Stage:
    """Broker, daemon, listener and player, all running."""

    def __init__(self, folder: Path, broker: Mosquitto, **options: str) -> None:
        self.broker = broker
        self.site = Site(folder, broker.port, **options)
        self.listener = Listener(broker.port)
        self.daemon = Daemon(self.site).start().ready()
        self.player = Player(broker.port)

    def agree(self, readings: list[Reading]) -> None:
        """Alerts equal those of an undisturbed run, in the order of ``seq``."""
        expected = self.site.replay(readings)
        assert expected, "the recording has no alerts"
        self.listener.wait_alerts(event.id for event in expected)
        assert differences(self.listener.alerts, expected) == ""
        for event in expected:
            got = msgspec.convert(self.listener.alerts[event.id], AlertEvent)
            assert msgspec.structs.replace(got, resent=False) == event


@pytest.fixture
def stage(tmp_path: Path, mosquitto: Mosquitto) -> Iterator[Stage]:
    stage = Stage(tmp_path, mosquitto)
    with closing(stage.player, stage.listener, stage.daemon):
        yield stage


def test_alerts_equal_replay_and_come_in_order(stage: Stage) -> None:
    readings = recording(seed=1, seconds=120)
    stage.player.play(readings)
    stage.agree(readings)
    for alert in {event["alert"] for event in stage.listener.alerts.values()}:
        seqs = [int(i.split("/")[1]) for i in stage.listener.order if i.startswith(alert)]
        assert seqs == list(range(len(seqs)))


def test_birth_stopped_and_will_are_retained(stage: Stage) -> None:
    wait_for(lambda: stage.listener.topic("status") == b"online", "the birth")
    assert stage.daemon.stop() == 0
    wait_for(lambda: stage.listener.topic("status") == b"stopped", "the farewell")
    stage.daemon.start().ready()
    wait_for(lambda: stage.listener.topic("status") == b"online", "the second birth")
    stage.daemon.kill()
    wait_for(lambda: stage.listener.topic("status") == b"offline", "the will")
    command = ["mosquitto_sub", "-p", str(stage.broker.port), "-t", "offbeat/+/status", "-C", "1"]
    late = subprocess.run([*command, "-W", "5"], capture_output=True, check=True)
    assert late.stdout.strip() == b"offline"


def test_states_are_retained_and_well_formed(stage: Stage) -> None:
    stage.player.play(recording(seed=2, seconds=40, faults=1))
    wait_for(lambda: stage.listener.topic("asset/p0/state") is not None, "a state")
    state = msgspec.json.decode(stage.listener.topic("asset/p0/state") or b"", type=AssetState)
    assert state.asset == "p0"


def test_killed_in_the_middle_of_an_alert_it_tells_the_same_story(stage: Stage) -> None:
    readings = recording(seed=3, seconds=160)
    expected = stage.site.replay(readings)
    opened = next(event for event in expected if event.type == "new")
    inside = next(
        n for n, reading in enumerate(readings)
        if json.loads(reading.payload)["ts"] > opened.time_ms
    )  # fmt: skip
    stage.player.play(readings[:inside])
    stage.listener.wait_alerts([opened.id])
    stage.daemon.kill()
    stage.player.play(readings[inside : inside + 40])
    stage.daemon.start().ready()
    stage.player.play(readings[inside + 40 :])
    stage.agree(readings)


def test_a_clean_restart_goes_on_where_it_stopped(stage: Stage) -> None:
    readings = recording(seed=4, seconds=120)
    stage.player.play(readings[:101])
    assert stage.daemon.stop() == 0
    with sqlite3.connect(stage.site.state) as db:
        assert db.execute("SELECT count(*) FROM journal").fetchone() == (0,)
        assert db.execute("SELECT count(*) FROM snapshot").fetchone() == (1,)
    db.close()
    stage.daemon.start().ready()
    stage.player.play(readings[101:])
    stage.agree(readings)


def test_a_broker_that_restarts_is_waited_for(stage: Stage) -> None:
    readings = recording(seed=5, seconds=120)
    stage.player.play(readings[:120])
    stage.broker.stop()
    stage.daemon.wait_event("disconnected")
    assert stage.daemon.alive
    stage.broker.start()
    stage.daemon.ready()
    stage.player.play(readings[120:])
    stage.agree(readings)


def test_alerts_made_while_the_broker_is_away_come_marked_resent(stage: Stage) -> None:
    readings = recording(seed=6, seconds=60, assets=1, faults=1)
    expected = stage.site.replay(readings)
    stage.player.play(readings)
    stage.listener.wait_alerts(event.id for event in expected)
    assert not any(event["resent"] for event in stage.listener.alerts.values())
    stage.daemon.stop()
    with sqlite3.connect(stage.site.state) as db:  # as if the last one had not been taken
        payload = msgspec.json.encode(msgspec.structs.replace(expected[0], id="waited/0"))
        row = (0, 0, "offbeat/gw1/asset/p0/alert", payload)
        db.execute(
            "INSERT INTO outbox (rank, committed_ms, topic, payload) VALUES (?, ?, ?, ?)", row
        )
    db.close()
    stage.daemon.start()
    stage.listener.wait_alerts(["waited/0"])
    assert stage.listener.alerts["waited/0"]["resent"] is True


def test_malformed_messages_are_counted_and_change_no_alert(stage: Stage) -> None:
    good = recording(seed=7, seconds=60)
    bad = [
        b"", b"{", b"nonsense", b"\xff\xfe", b"[" * 5000, b'{"flow": "x"}', b'{"flow": NaN}',
        b'{"flow": 1e999}', b'{"ts": 1, "flow": 1}', b"x" * 300_000, b'{"ts": 1e300}',
    ]  # fmt: skip
    mixed = []
    for n, reading in enumerate(good):
        mixed += [reading, Reading("plant/p0", bad[n % len(bad)]), Reading("plant/A B", b"{}")]
    stage.player.play(mixed)
    stage.agree(good)
    wait_for(lambda: stage.listener.health().get("rejects", {}).get("not_json", 0) > 0, "counts")
    assert {"not_json", "asset_name", "too_large"} <= stage.listener.health()["rejects"].keys()
    assert 0 < len(stage.listener.errors) <= 2 * 60
    assert all(error["reason"] and error["topic"] for error in stage.listener.errors)


def test_a_flood_of_rejects_is_reported_at_a_limited_rate(stage: Stage) -> None:
    stage.player.play([Reading("plant/p0", b"nonsense")] * 2000)

    def counted() -> bool:
        return stage.listener.health().get("rejects", {}).get("not_json") == 2000

    wait_for(counted, "2000 rejects in health")
    assert len(stage.listener.errors) <= 2 * 60


def test_health_names_what_holds_and_what_does_not(stage: Stage) -> None:
    lazy = Player(stage.broker.port, qos=0)
    with closing(lazy):
        lazy.play([Reading("plant/p0", b'{"flow": 10.0, "heat": 20.0}')])
        wait_for(lambda: stage.listener.health().get("counters", {}).get("samples") == 1, "health")
    health = stage.listener.health()
    assert health["degraded"] == []
    assert health["qos0_assets"] == {"total": 1, "names": ["p0"]}
    assert health["stamped_assets"] == {"total": 1, "names": ["p0"]}
    assert health["models"][0]["name"] == "tiny"
    assert health["mqtt"]["version"] == "5"


def test_mqtt_3_1_1_keeps_the_promise_too(tmp_path: Path, mosquitto: Mosquitto) -> None:
    stage = Stage(tmp_path, mosquitto, protocol="3.1.1")
    with closing(stage.player, stage.listener, stage.daemon):
        readings = recording(seed=8, seconds=80)
        stage.player.play(readings[:61])
        stage.daemon.kill()
        stage.player.play(readings[61:])
        stage.daemon.start().ready()
        stage.agree(readings)


def test_a_bundle_that_does_not_load_degrades_and_the_others_go_on(
    tmp_path: Path, mosquitto: Mosquitto
) -> None:
    more = '[[model]]\nbundle = "broken.offbeat"\n'
    (tmp_path / "broken.offbeat").write_bytes(b"not a bundle")
    stage = Stage(tmp_path, mosquitto, more=more)
    with closing(stage.player, stage.listener, stage.daemon):
        readings = recording(seed=9, seconds=40, faults=2)
        stage.player.play(readings)
        stage.agree(readings)
        wait_for(lambda: stage.listener.health() != {}, "health")
        assert "broken.offbeat" in stage.listener.health()["degraded"][0]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_while_no_broker_is_in_reach(tmp_path: Path, number: signal.Signals) -> None:
    daemon = Daemon(Site(tmp_path, 1)).start()
    with closing(daemon):
        daemon.wait_event("disconnected")
        assert daemon.alive
        daemon.signal(number)
        daemon.wait_event("stopped")


def test_two_daemons_never_share_a_state(stage: Stage) -> None:
    second = Daemon(stage.site).start()
    with closing(second):
        wait_for(lambda: not second.alive, "the second daemon to give up")
        assert second.stop() == 75
        assert "only daemon" in second.errors()


def test_a_wrong_configuration_says_all_and_exits_78(tmp_path: Path) -> None:
    site = Site(tmp_path, 1, more="[oops]\nx = 1\n")
    daemon = Daemon(site).start()
    with closing(daemon):
        wait_for(lambda: not daemon.alive, "the daemon to give up")
        assert daemon.stop() == 78
        assert "oops" in daemon.errors()


def test_a_gateway_with_an_empty_disk_takes_over_what_the_broker_kept(stage: Stage) -> None:
    readings = recording(seed=11, seconds=100)
    stage.player.play(readings[:100])
    wait_for(lambda: stage.listener.health()["counters"]["samples"] == 100, "all to be taken")
    stage.daemon.stop()
    shutil.rmtree(stage.site.state.parent)  # the old box is gone; name, bundle, settings are not
    stage.player.play(readings[100:])
    stage.daemon.start().ready()
    expected = stage.site.replay(readings[100:])
    assert expected
    stage.listener.wait_alerts(event.id for event in expected)


def test_a_sample_from_2099_blinds_nobody(stage: Stage) -> None:
    readings = recording(seed=10, seconds=60)
    far = json.dumps({"ts": START_MS + 73 * 365 * 86_400_000, "flow": 10.0, "heat": 20.0})
    stage.player.play([*readings[:20], Reading("plant/p0", far.encode()), *readings[20:]])
    stage.agree(readings)
