"""Proof of work and probes of a real daemon: what it tells systemd, and when it is silent."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from typing import TYPE_CHECKING

import pytest
from rig import Daemon, Listener, Mosquitto, Player, Site, closing, recording, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# What a test cannot wait for is made quicker in the daemon's own process.
MANY_PROBES = """
from offbeat_edge.supervise import probe
probe.EVERY_S = 0.2
"""
QUICK_PROBES = f"{MANY_PROBES}probe.PATIENCE_S = 0.3"
WEDGED = """
import time
from offbeat_edge.interpreter import Interpreter
whole = Interpreter.reconstruct
def wedge(self, windows):
    if wedge.calls > 3:
        time.sleep(600)
    wedge.calls += 1
    return whole(self, windows)
wedge.calls = 0
Interpreter.reconstruct = wedge
"""
DRIFTING = """
from offbeat_edge.interpreter import Interpreter
whole = Interpreter.reconstruct
def drift(self, windows):
    drift.calls += 1
    return whole(self, windows) + (0.001 if drift.calls > 8 else 0.0)
drift.calls = 0
Interpreter.reconstruct = drift
"""


class Systemd:
    """Listens where the service manager would."""

    def __init__(self, folder: Path) -> None:
        path = folder / "notify"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.setblocking(False)
        self.words: list[bytes] = []
        self.environ = {"NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": "600000"}

    def fed(self) -> int:
        """Return how often the watchdog was fed so far."""
        while True:
            try:
                self.words.append(self._socket.recv(100))
            except BlockingIOError:
                return self.words.count(b"WATCHDOG=1")

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[Systemd]:
    manager = Systemd(tmp_path)
    yield manager
    manager.close()


def test_a_daemon_that_works_feeds_and_a_wedged_interpreter_starves(
    tmp_path: Path, mosquitto: Mosquitto, systemd: Systemd
) -> None:
    site = Site(tmp_path, mosquitto.port)
    daemon = Daemon(site, environ=systemd.environ, prelude=WEDGED).start().ready()
    with closing(daemon):
        wait_for(lambda: systemd.fed() >= 2, "the watchdog to be fed")
        assert systemd.words[0] == b"READY=1"
        wait_for(lambda: stuck(systemd), "it to starve")
        assert daemon.alive


def stuck(systemd: Systemd, *, seconds: float = 1.5) -> bool:
    """Whether nothing was fed for much longer than systemd would bear."""
    before = systemd.fed()
    time.sleep(seconds)
    return systemd.fed() == before


def test_a_drifted_interpreter_degrades_and_systemd_is_fed_on(
    tmp_path: Path, mosquitto: Mosquitto, systemd: Systemd
) -> None:
    listener = Listener(mosquitto.port)
    daemon = Daemon(
        Site(tmp_path, mosquitto.port), environ=systemd.environ, prelude=DRIFTING
    ).start()
    with closing(listener, daemon):
        daemon.wait_event("model_failed")
        before = systemd.fed()
        wait_for(lambda: systemd.fed() > before + 2, "the watchdog to be fed on")
        wait_for(lambda: bool(listener.health().get("degraded")), "health to say so")
        assert "golden score" in listener.health()["degraded"][0]
        assert listener.health()["condition"] == "degraded"


def test_laps_and_probes_stand_in_health_and_touch_no_asset(
    tmp_path: Path, mosquitto: Mosquitto, systemd: Systemd
) -> None:
    site = Site(tmp_path, mosquitto.port)
    listener = Listener(mosquitto.port)
    daemon = Daemon(site, environ=systemd.environ, prelude=MANY_PROBES).start().ready()
    player = Player(mosquitto.port)
    with closing(player, listener, daemon):
        readings = recording(seed=3, seconds=40, faults=2)
        player.play(readings)
        listener.wait_alerts(event.id for event in site.replay(readings))
        wait_for(lambda: listener.health().get("counters", {}).get("laps", 0) > 3, "laps")
        wait_for(lambda: bool(listener.health()["mqtt"]["probe_ms"]), "a probe")
        health = listener.health()
        assert (health["condition"], health["degraded"]) == ("healthy", [])
        assert health["counters"]["messages"] == health["counters"]["samples"] == len(readings)
        assert {topic.split("/")[3] for topic in listener.retained if "/asset/" in topic} == {
            "p0", "p1",
        }  # fmt: skip
        assert {event["asset"] for event in listener.alerts.values()} <= {"p0", "p1"}


def test_a_broker_that_hangs_is_noticed_and_left_and_found_again(
    tmp_path: Path, mosquitto: Mosquitto
) -> None:
    daemon = Daemon(Site(tmp_path, mosquitto.port), prelude=QUICK_PROBES).start().ready()
    with closing(daemon):
        broker = int(subprocess.check_output(["pgrep", "-f", f"{tmp_path}.*mosquitto.conf"]))
        os.kill(broker, signal.SIGSTOP)
        try:
            daemon.wait_event("probe_lost")
            assert "probes" in daemon.wait_event("disconnected")["why"]
            assert daemon.alive
        finally:
            os.kill(broker, signal.SIGCONT)
        daemon.ready()
