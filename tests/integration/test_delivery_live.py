"""A daemon that follows signed orders: swapped, compared, taken back, over a real broker."""

from __future__ import annotations

import contextlib
import functools
import http.server
import json
import threading
from typing import TYPE_CHECKING, Any

import pytest
from delivery_rig import Fleet
from rig import Daemon, Listener, Mosquitto, Player, Site, make_bundle, recording, wait_for

from offbeat_edge import bundle as bundles

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LONG_S = 90.0  # a look starts children that import a runtime, on a machine that is busy


class Plant:
    """A broker, a publisher, a gateway and somebody who listens."""

    def __init__(self, folder: Path, broker: Mosquitto, *, source: str = "mqtt") -> None:
        self.fleet = Fleet(folder, broker.port)
        assert self.fleet.offbeat("keys", "init", str(self.fleet.repository)) == 0
        self.bundles = {}
        for n, threshold in enumerate((1.0, 0.9, 0.8)):
            path = folder / f"b{n}.offbeat"
            make_bundle(path, threshold=threshold)
            self.bundles[n] = path
        (folder / "tiny.offbeat").write_bytes(self.bundles[0].read_bytes())
        root = self.fleet.repository / "root.json"
        more = f'[delivery]\nroot = "{root}"\nsource = "{source}"\npoll_s = 10\n'
        self.site = Site(folder, broker.port, more=more)
        self.daemon = Daemon(self.site)
        self.listener = Listener(broker.port)
        self.player = Player(broker.port)
        self.played = 0

    def digest(self, number: int) -> str:
        return bundles.load(self.bundles[number]).digest

    def publish(self, number: int, *words: str) -> None:
        assert self.fleet.publish(str(self.bundles[number]), *words) == 0

    def play(self, seconds: int = 60) -> None:
        readings = recording(seed=3, seconds=600)
        self.player.play(readings[2 * self.played : 2 * (self.played + seconds)])
        self.played += seconds

    def report(self) -> dict[str, Any]:
        return json.loads(self.listener.topic("rollout/tiny") or b"{}")

    def running(self) -> str:
        models = self.listener.health().get("models") or [{}]
        return str(models[0].get("digest", ""))

    def wait_running(self, number: int) -> None:
        digest = self.digest(number)
        why = f"bundle {number} to run; {self.daemon.events[-5:]} {self.report()}"
        wait_for(lambda: self.running() == digest, why, timeout_s=LONG_S)

    def close(self) -> None:
        self.player.close()
        self.listener.close()
        if self.daemon.alive:
            self.daemon.kill()


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    made = Mosquitto(tmp_path / "broker", extra="max_packet_size 1048576")
    made.start()
    yield made
    made.kill()


def test_a_gateway_follows_signed_orders_and_no_others(tmp_path: Path, broker: Mosquitto) -> None:
    with contextlib.closing(Plant(tmp_path, broker)) as plant:
        plant.daemon.start().ready()
        plant.play()
        plant.wait_running(0)
        plant.publish(0)
        plant.publish(1)
        plant.wait_running(1)
        plant.play()
        plant.publish(2, "--mode", "shadow", "--gateways", "gw1")
        wait_for(lambda: bool(plant.report().get("challenger")), "a shadow", timeout_s=LONG_S)
        assert plant.report()["challenger"]["bundle"] == plant.digest(2)
        assert plant.running() == plant.digest(1)

        # a stranger with the broker's identity, but not the keys
        stranger = Fleet(tmp_path / "stranger", broker.port)
        assert stranger.offbeat("keys", "init", str(stranger.repository)) == 0
        assert stranger.publish(str(plant.bundles[2])) == 0
        plant.daemon.wait_event("delivery_refused")
        wait_for(
            lambda: any("delivery" in line for line in plant.listener.health()["degraded"]),
            "health to say that delivery is refused",
        )
        assert plant.running() == plant.digest(1)

        # killed and started again, it runs what was ordered; then it is rolled back
        plant.daemon.kill()
        plant.daemon.start().ready()
        plant.play()
        plant.wait_running(1)
        assert plant.fleet.rollback(plant.digest(0)) == 0
        plant.wait_running(0)
        assert plant.daemon.stop() == 0


def test_a_plain_web_folder_does_as_well(tmp_path: Path, broker: Mosquitto) -> None:
    handler = functools.partial(Quiet, directory=str(tmp_path / "repository"))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    source = f"http://127.0.0.1:{server.server_address[1]}"
    with (
        contextlib.closing(server.socket),
        contextlib.closing(Plant(tmp_path, broker, source=source)) as plant,
    ):
        where = ("--repository", str(plant.fleet.repository))
        plant.daemon.start().ready()
        plant.play()
        plant.wait_running(0)
        assert plant.fleet.offbeat("publish", str(plant.bundles[1]), *where) == 0
        plant.wait_running(1)
        server.shutdown()


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves a folder and says nothing."""

    def log_message(self, *_: object) -> None:
        pass
