"""Bundles change, break and kill under a running daemon: alerts go on, or degrade and recover."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

import pytest
from rig import (
    Daemon,
    Listener,
    Mosquitto,
    Player,
    Site,
    closing,
    differences,
    make_bundle,
    recording,
    wait_for,
)

from offbeat_edge import bundle
from offbeat_edge.signature import Signer, generate

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

QUICK = """
from offbeat_edge.supervise import models, post
models.LOOK_S, post.RETRY_S = 0.2, 0.5
"""
# While the file "poison" lies there, the interpreter dies as a bad model makes it die.
POISONED = """
import os, signal
from pathlib import Path
from offbeat_edge.interpreter import Interpreter
whole = Interpreter._run
def run(self, *args):
    if Path({poison!r}).exists():
        os.kill(os.getpid(), signal.SIGSEGV)
    return whole(self, *args)
Interpreter._run = run
"""
THROWING = """
from pathlib import Path
from offbeat_edge.errors import ModelError
from offbeat_edge.interpreter import Interpreter
whole = Interpreter._run
def run(self, *args):
    if Path({poison!r}).exists():
        raise ModelError("thrown")
    return whole(self, *args)
Interpreter._run = run
"""


class Stage:
    def __init__(self, folder: Path, broker: Mosquitto, prelude: str = "", more: str = "") -> None:
        self.site = Site(folder, broker.port, more=more)
        self.poison = folder / "poison"
        prelude = prelude.format(poison=str(self.poison))
        self.listener = Listener(broker.port)
        self.daemon = Daemon(self.site, prelude=QUICK + prelude).start()
        self.player = Player(broker.port)

    @property
    def model(self) -> dict[str, Any]:
        return (self.listener.health().get("models") or [{}])[0]

    def runs(self, version: str, *, degraded: str | None = None) -> None:
        """Wait until health says so."""

        def said() -> bool:
            why = self.model.get("degraded")
            well = why is None if degraded is None else degraded in (why or "")
            return self.model.get("version") == version and well

        wait_for(said, f"version {version}, degraded {degraded}; {self.model}")


@pytest.fixture
def stage(tmp_path: Path, mosquitto: Mosquitto) -> Iterator[Stage]:
    stage = Stage(tmp_path, mosquitto)
    stage.daemon.ready()
    with closing(stage.player, stage.listener, stage.daemon):
        yield stage


@pytest.mark.parametrize("killed", [False, True])
def test_a_new_bundle_is_taken_in_the_middle_and_no_alert_is_lost(
    stage: Stage, *, killed: bool
) -> None:
    """The kill comes with both bundles' samples in the journal, and no snapshot between."""
    readings = recording(seed=21, seconds=120)
    expected = stage.site.replay(readings)
    stage.player.play(readings[:100])
    make_bundle(stage.site.bundle, version="2")
    stage.runs("2")
    stage.player.play(readings[100:180])
    if killed:
        stage.daemon.kill()
        stage.daemon.start().ready()
    stage.player.play(readings[180:])
    stage.listener.wait_alerts(event.id for event in expected)
    assert differences(stage.listener.alerts, expected) == ""
    told = {event["model"]["version"] for event in stage.listener.alerts.values()}
    assert told == {"1", "2"}


def test_a_bundle_replaced_while_the_daemon_was_dead_judges_only_what_comes_after(
    stage: Stage,
) -> None:
    """The journal is walked with the bundle that judged it the first time."""
    readings = recording(seed=22, seconds=120)
    expected = stage.site.replay(readings)
    stage.player.play(readings[:120])
    wait_for(lambda: stage.listener.health()["counters"]["samples"] == 120, "all to be taken")
    stage.daemon.kill()
    make_bundle(stage.site.bundle, version="2")
    stage.daemon.start().ready()
    stage.runs("2")
    stage.player.play(readings[120:])
    stage.listener.wait_alerts(event.id for event in expected)
    assert differences(stage.listener.alerts, expected) == ""


def test_a_damaged_file_is_said_and_a_repair_ends_it(stage: Stage) -> None:
    whole = stage.site.bundle.read_bytes()
    stage.site.bundle.write_bytes(whole[:-100])
    stage.runs("1", degraded="the last good bundle goes on")
    readings = recording(seed=23, seconds=60)
    stage.player.play(readings)
    stage.site.bundle.write_bytes(whole)
    stage.runs("1")
    expected = stage.site.replay(readings)
    stage.listener.wait_alerts(event.id for event in expected)


def test_sighup_has_bundles_looked_at(stage: Stage) -> None:
    make_bundle(stage.site.bundle, version="3")
    stage.daemon.signal(signal.SIGHUP)
    stage.runs("3")
    assert stage.daemon.alive


def test_an_interpreter_that_throws_degrades_and_comes_back(
    tmp_path: Path, mosquitto: Mosquitto
) -> None:
    stage = Stage(tmp_path, mosquitto, THROWING)
    with closing(stage.player, stage.listener, stage.daemon):
        readings = recording(seed=24, seconds=60)
        stage.player.play(readings[:40])
        stage.poison.touch()
        stage.player.play(readings[40:60])
        assert "thrown" in stage.daemon.wait_event("model_failed")["why"]
        stage.poison.unlink()
        stage.player.play(readings[60:])
        stage.runs("1")
        assert stage.daemon.alive


def test_a_model_that_kills_is_put_aside_and_its_statistics_watch(
    tmp_path: Path, mosquitto: Mosquitto
) -> None:
    stage = Stage(tmp_path, mosquitto, POISONED)
    with closing(stage.player, stage.listener, stage.daemon):
        readings = recording(seed=25, seconds=60, assets=1)
        stage.daemon.ready()
        stage.player.play(readings[:20])
        stage.poison.touch()
        stage.player.play(readings[20:])
        deaths = 0
        while deaths < 3:
            wait_for(lambda: not stage.daemon.alive, "the daemon to die")
            deaths += 1
            stage.daemon.start()
        told = stage.daemon.wait_event("model_crashed")
        assert "crashed or hung" in told["aside"]
        stage.daemon.ready()
        stage.runs("1", degraded="crashed or hung")
        wait_for(lambda: b'"stat' in (stage.listener.topic("asset/p0/state") or b""), "a state")
        assert any(event["type"] == "new" for event in stage.listener.alerts.values())
        stage.poison.unlink()
        stage.daemon.signal(signal.SIGHUP)
        stage.runs("1")


def test_only_signed_bundles_run(tmp_path: Path, mosquitto: Mosquitto) -> None:
    generate(tmp_path / "release.key")
    stage = Stage(tmp_path, mosquitto, more='[trust]\nkeys = ["release.key.pub"]\n')
    with closing(stage.player, stage.listener, stage.daemon):
        stage.daemon.ready()
        wait_for(lambda: "expected a signature, got none" in str(stage.model), "a refusal")
        assert stage.model["version"] == ""
        bundle.sign(stage.site.bundle, Signer(tmp_path / "release.key").sign)
        stage.runs("1")
        generate(tmp_path / "other.key")
        make_bundle(stage.site.bundle, version="2")
        bundle.sign(stage.site.bundle, Signer(tmp_path / "other.key").sign)
        stage.runs("1", degraded="expected a signature of release.key.pub")
