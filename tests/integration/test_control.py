"""What people say, through a real Mosquitto to a real daemon, over kills."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from rig import START_MS, Daemon, Listener, Mosquitto, Player, Reading, Site, closing, wait_for

from offbeat_edge import cli, control

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Plant:
    """A daemon, who plays its sensors and who listens."""

    def __init__(self, folder: Path, mosquitto: Mosquitto, prelude: str = "") -> None:
        self.folder, self.port = folder, mosquitto.port
        self.site = Site(folder, mosquitto.port)
        self.listener = Listener(mosquitto.port)
        self.daemon = Daemon(self.site, prelude=prelude).start().ready()
        wait_for(lambda: bool(self.listener.health()), "its first health")
        self.player = Player(mosquitto.port)

    def play(self, first: int, last: int, *, flow: float = 10.0, asset: str = "p0") -> None:
        self.player.play(readings(first, last, flow=flow, asset=asset))

    def samples(self) -> int:
        return int(self.listener.health().get("counters", {}).get("samples", 0))

    def say(self, topic: str, said: dict[str, object], *, retain: bool = False) -> None:
        self.player.say(f"offbeat/{topic}", json.dumps(said).encode(), retain=retain)

    def answer(self, verb: str, name: str) -> dict[str, Any]:
        """Wait for a command's answer."""

        def come() -> bool:
            return json.loads(self.listener.topic(f"result/{verb}") or b"{}").get("id") == name

        wait_for(come, f"the answer to {verb}")
        return dict(json.loads(self.listener.topic(f"result/{verb}") or b"{}"))

    def reasons(self) -> list[str | None]:
        return [e["reason"] for e in self.listener.alerts.values() if e["type"] == "end"]

    def state(self, asset: str = "p0") -> dict[str, Any]:
        return dict(json.loads(self.listener.topic(f"asset/{asset}/state") or b"{}"))


def readings(first: int, last: int, *, flow: float, asset: str = "p0") -> list[Reading]:
    chance = random.Random(first)
    return [
        Reading(
            f"plant/{asset}",
            json.dumps(
                {
                    "ts": START_MS + 1000 * k,
                    "flow": round(flow + chance.gauss(0, 0.1), 3),
                    "heat": round(20.0 + chance.gauss(0, 0.1), 3),
                }
            ).encode(),
        )
        for k in range(first, last)
    ]


@pytest.fixture
def plant(tmp_path: Path, mosquitto: Mosquitto) -> Iterator[Plant]:
    made = Plant(tmp_path, mosquitto)
    with closing(made.daemon, made.listener, made.player):
        yield made


def window(first: int, last: int, name: str = "w") -> dict[str, object]:
    return {
        "schema": "1.0",
        "id": name,
        "asset": "p0",
        "start_ms": START_MS + 1000 * first,
        "end_ms": START_MS + 1000 * last,
        "by": "ana",
        "note": "",
        "time_ms": START_MS,
        "cancelled": False,
    }


def feedback(alert: str | None, name: str = "f", verdict: str = "false_alarm") -> dict[str, object]:
    return {
        "schema": "1.0",
        "id": name,
        "alert": alert,
        "asset": "p0",
        "verdict": verdict,
        "by": "ana",
        "time_ms": START_MS,
    }


def opened(plant: Plant) -> str:
    """Let an alert open; return its name."""
    plant.play(0, 20)
    plant.play(20, 30, flow=19.0)
    wait_for(lambda: plant.state().get("state") == "anomaly", "an open alert")
    return str(plant.state()["alert"])


def test_feedback_ends_an_open_alert_and_the_state_says_why(plant: Plant) -> None:
    alert = opened(plant)
    plant.say("fleet/feedback/p0", feedback(alert))
    wait_for(lambda: plant.reasons() == ["false_alarm"], "the end of the alert")
    plant.play(30, 40, flow=19.0)
    wait_for(lambda: plant.state().get("reasons") == ["anomaly: false_alarm"], "the state")
    wait_for(lambda: plant.samples() == 40, "all samples")
    assert {e["alert"] for e in plant.listener.alerts.values()} == {alert}


def test_maintenance_announced_ahead_silences(plant: Plant) -> None:
    plant.say("fleet/maintenance/p0", window(15, 45))
    plant.say("gw1/cmd/ping", {"schema": "1.0", "id": "there"})
    assert plant.answer("ping", "there")["ok"] is True
    plant.play(0, 20)
    plant.play(20, 40, flow=19.0)
    wait_for(lambda: plant.samples() == 40, "all samples")
    (why,) = plant.state()["reasons"]
    assert why.startswith("maintenance until ")
    assert plant.listener.alerts == {}
    plant.play(40, 60, flow=19.0)
    wait_for(lambda: plant.state().get("state") == "anomaly", "an alert after its end")


def test_a_retained_command_is_refused(tmp_path: Path, mosquitto: Mosquitto) -> None:
    player = Player(mosquitto.port)
    player.play([])
    player.say("offbeat/fleet/maintenance/p0", json.dumps(window(0, 99)).encode(), retain=True)
    player.say("offbeat/gw1/cmd/ping", b'{"id": "old"}', retain=True)
    player.close()
    plant = Plant(tmp_path, mosquitto)
    with closing(plant.daemon, plant.listener, plant.player):
        assert "retained" in plant.answer("ping", "old")["error"]
        wait_for(lambda: len(plant.listener.errors) >= 2, "both refusals")
        assert {e["reason"] for e in plant.listener.errors} == {"command"}
        opened(plant)
        plant.say("gw1/cmd/reload-nothing", {"id": "x"})
        assert "expected one of" in plant.answer("reload-nothing", "x")["error"]


def test_a_renamed_asset_leaves_nothing_under_its_old_name(plant: Plant) -> None:
    opened(plant)
    said = {"schema": "1.0", "id": "r", "asset": "p0", "to": "p9", "time_ms": START_MS}
    plant.say("gw1/cmd/rename", said)
    assert plant.answer("rename", "r")["ok"] is True
    wait_for(lambda: plant.reasons() == ["renamed"], "the end of the alert")
    wait_for(lambda: plant.listener.topic("asset/p0/state") == b"", "no state under the old name")
    plant.play(30, 36, flow=19.0, asset="p9")
    wait_for(lambda: plant.state("p9").get("state") == "anomaly", "an alert under the new name")


def test_kills_amid_feedback_and_maintenance_change_nothing(
    plant: Plant, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same events as a replay of the samples with the control log."""
    chance = random.Random(3)

    def kill() -> None:
        plant.daemon.kill()
        plant.daemon.start()
        plant.daemon.ready()

    def played(first: int, last: int, flow: float = 10.0) -> None:
        for k in range(first, last):
            plant.play(k, k + 1, flow=flow)
            if chance.random() < 0.05:
                kill()

    played(0, 20)
    played(20, 28, 19.0)
    plant.say("fleet/feedback/p0", feedback(None))
    kill()
    played(28, 40, 19.0)
    plant.say("fleet/maintenance/p0", window(45, 52))
    played(40, 44)
    kill()
    played(44, 56, 19.0)
    plant.say("fleet/feedback/p0", feedback(None, "g", "expected"))
    plant.say("fleet/feedback/p0", feedback(None, "g", "expected"))
    played(56, 62)
    played(62, 70, 19.0)
    played(70, 80)
    wait_for(lambda: plant.state().get("state") == "ok", "calm at the end")
    plant.say("gw1/cmd/health", {"id": "last"})
    plant.answer("health", "last")
    plant.daemon.stop()
    assert cli.main(["control-log", "--config", str(plant.site.path)]) == 0
    log = capsys.readouterr().out
    kinds = [type(logged.control).__name__ for logged in control.decode_log(log)]
    assert [kind for kind in kinds if kind != "Swap"] == ["Feedback", "Maintenance", "Feedback"]
    stream = [r for k in range(80) for r in readings(k, k + 1, flow=flow_at(k))]
    expected = plant.site.replay(stream, log=log)
    plant.listener.wait_alerts(e.id for e in expected)
    told = {e["id"]: {**e, "resent": False} for e in plant.listener.alerts.values()}
    assert told == {e["id"]: e for e in map(plain, expected)}
    assert {"false_alarm"} <= {e.reason for e in expected}


FORGETFUL = """
from offbeat_edge.durable import Durable
record = Durable._record
def unjournalled(self, control, place):
    record(self, control, place)
    self._journal.controls.clear()
Durable._record = unjournalled
"""


@pytest.mark.parametrize("prelude", ["", FORGETFUL], ids=["true", "forgets what people said"])
def test_a_daemon_that_forgets_what_people_said_is_caught(
    tmp_path: Path, mosquitto: Mosquitto, prelude: str
) -> None:
    """The harness has teeth: a mutant that keeps controls out of its journal is told apart."""
    plant = Plant(tmp_path, mosquitto, prelude)
    with closing(plant.daemon, plant.listener, plant.player):
        plant.say("fleet/feedback/p0", feedback(opened(plant)))
        wait_for(lambda: plant.reasons() == ["false_alarm"], "the end of the alert")
        plant.daemon.kill()
        plant.daemon.start().ready()
        plant.play(30, 40, flow=19.0)
        plant.say("gw1/cmd/health", {"id": "after"})
        plant.answer("health", "after")
        wait_for(lambda: plant.state()["reasons"] != [], "the state of an asset out of its beat")
        silenced = plant.state()["reasons"] == ["anomaly: false_alarm"]
    assert silenced == (not prelude)


def flow_at(k: int) -> float:
    return 19.0 if 20 <= k < 40 or 44 <= k < 56 or 62 <= k < 70 else 10.0


def plain(event: Any) -> dict[str, Any]:  # noqa: ANN401 - an AlertEvent
    return dict(json.loads(msgspec.json.encode(event)))


# ---------------------------------------------------------------- the command line


def test_feedback_typed_by_a_person_finds_the_asset_and_ends_the_alert(
    plant: Plant, capsys: pytest.CaptureFixture[str]
) -> None:
    alert = opened(plant)
    words = ["feedback", "--alert", alert, "--verdict", "expected", "--port", str(plant.port)]
    assert cli.main(words) == 0
    assert "p0: expected" in capsys.readouterr().out
    wait_for(lambda: plant.reasons() == ["expected"], "the end of the alert")
    assert cli.main([*words[:2], "0" * 32, *words[3:]]) == 78
    assert "--asset" in capsys.readouterr().err


def test_maintenance_typed_by_a_person_begins_and_is_taken_back(
    plant: Plant, capsys: pytest.CaptureFixture[str]
) -> None:
    plant.play(0, 20)
    words = ["maintenance", "p0", "--config", str(plant.site.path)]
    assert cli.main([*words, "--start", "2025-10-09T08:53:20+00:00", "--for", "1h"]) == 0
    name = capsys.readouterr().out.split()[0]
    wait_for(lambda: plant.state().get("reasons") != [], "maintenance in the state")
    assert plant.daemon.alive, "the command took its session"
    assert cli.main([*words, "--cancel", name]) == 0
    wait_for(lambda: plant.state().get("reasons") == [], "no maintenance in the state")


def test_a_broker_that_refuses_or_is_not_there_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rules = tmp_path / "acl"
    rules.write_text("topic read #\n")
    strict = Mosquitto(tmp_path / "strict", extra=f"acl_file {rules}").start()
    words = ["maintenance", "p0", "--for", "1h", "--port", str(strict.port)]
    try:
        assert cli.main(words) == 75
        assert "Not authorized" in capsys.readouterr().err
    finally:
        strict.stop()
    assert cli.main(words) == 75
    assert f"localhost:{strict.port}" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ["maintenance", "p0", "--for", "soon"],
        ["maintenance", "p0", "--for", "2h", "--start", "2026-01-01T00:00:00"],
        ["maintenance", "P 0", "--for", "2h"],
        ["maintenance", "p0", "--for", "400d"],
        ["feedback", "--verdict", "expected"],
        ["feedback", "--asset", "p0", "--alert", "xyz", "--verdict", "expected"],
        ["feedback", "--asset", "p0", "--verdict", "expected", "--cert-file", "only.pem"],
    ],
)
def test_what_is_typed_wrong_is_said_before_anything_is_sent(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([*words, "--port", "9"]) == 78
    assert "expected" in capsys.readouterr().err.lower()


def test_bundles_are_looked_at_again_on_command(plant: Plant) -> None:
    plant.say("gw1/cmd/reload", {"schema": "1.0", "id": "again"})
    assert plant.answer("reload", "again")["ok"]
