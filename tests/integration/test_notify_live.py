"""`offbeat notify` between a real Mosquitto and a real web server (extra `notify`)."""

from __future__ import annotations

import json
import queue
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion
from rig import Daemon, Listener, Player, Site, closing, recording, wait_for

pytest.importorskip("apprise", reason="the extra `notify` is not installed")

from offbeat_edge.cli import main

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rig import Mosquitto


class Hook:
    """A webhook that says no as often as it is told to, and keeps what it took."""

    def __init__(self) -> None:
        self.took: queue.Queue[dict[str, Any]] = queue.Queue()
        self.answers = threading.Event()
        self.answers.set()
        self.refuse = 0
        self.refused = 0
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                hook.answers.wait(60)
                if hook.refused < hook.refuse:
                    hook.refused += 1
                    self.send_response(503)
                else:
                    hook.took.put(json.loads(body))
                    self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def titles(self, count: int) -> list[str]:
        return [self.took.get(timeout=60)["title"] for _ in range(count)]


@pytest.fixture
def hook() -> Iterator[Hook]:
    made = Hook()
    yield made
    made.stop()


class Place(Site):
    """A notifier's folder and configuration."""

    def __init__(self, folder: Path, port: int, hook: Hook, *, more: str = "") -> None:
        folder.mkdir()
        self.folder, self.path = folder, folder / "notify.toml"
        urls = folder / "urls"
        urls.touch(mode=0o600)
        urls.write_text(f"json://127.0.0.1:{hook.port}/hook?rto=60\n")  # seconds
        self.path.write_text(
            f'[notify]\nurls_file = "urls"\nid = "pager"\nstate_dir = "state"\n{more}\n'
            f'[mqtt]\nhost = "127.0.0.1"\nport = {port}\nkeepalive_s = 5\n[log]\nformat = "json"\n'
        )


def notifier(place: Place) -> Daemon:
    return Daemon(place, command="notify")


def ready(listener: Listener) -> None:
    wait_for(
        lambda: listener.retained.get("offbeat/notify-pager/status") == b"online", "the notifier"
    )


def event(alert: str, kind: str, *, asset: str = "p1", severity: str = "warning") -> bytes:
    plain = {
        "schema": "1.2", "id": f"{alert}/{kind}", "alert": alert, "seq": 0, "type": kind,
        "kind": "anomaly", "severity": severity, "site": "s", "gateway": "gw1", "asset": asset,
        "start": "then", "start_ms": 0, "end": None, "end_ms": None, "time": "now", "time_ms": 1,
        "score": 2.0, "peak": 2.0, "message": f"{asset}: far off", "model": None,
        "contributions": [],
    }  # fmt: skip
    return msgspec.json.encode(plain)


def say(port: int, *payloads: bytes) -> None:
    client = Client(CallbackAPIVersion.VERSION2)
    client.connect("127.0.0.1", port)
    client.loop_start()
    for payload in payloads:
        asset = json.loads(payload)["asset"]
        client.publish(f"offbeat/gw1/asset/{asset}/alert", payload, qos=1).wait_for_publish(30)
    client.loop_stop()
    client.disconnect()


def test_the_alerts_of_a_real_daemon_reach_a_webhook_each_once(
    mosquitto: Mosquitto, tmp_path: Path, hook: Hook
) -> None:
    site = Site(tmp_path, mosquitto.port)
    readings = recording(seed=3, seconds=120, assets=1, faults=2)
    expected = [e for e in site.replay(readings) if e.kind == "anomaly" and e.type != "update"]
    listener, player = Listener(mosquitto.port), Player(mosquitto.port)
    tells = notifier(Place(tmp_path / "notify", mosquitto.port, hook)).start()
    daemon = Daemon(site).start()
    with closing(listener, player, daemon, tells, mosquitto):
        ready(listener)
        daemon.ready()
        player.play(readings)
        told = hook.titles(len(expected))
        assert sorted(told) == sorted(
            f"{e.asset}: anomaly is over"
            if e.type == "end"
            else f"{e.asset}: anomaly, {e.severity}"
            for e in expected
        )
        assert tells.stop() == 0
        assert listener.retained["offbeat/notify-pager/status"] == b"stopped"


def test_a_kill_a_refusal_and_a_repetition_lose_and_double_nothing(
    mosquitto: Mosquitto, tmp_path: Path, hook: Hook
) -> None:
    hook.refuse = 1
    listener = Listener(mosquitto.port)
    tells = notifier(Place(tmp_path / "notify", mosquitto.port, hook)).start()
    with closing(listener, tells, mosquitto):
        ready(listener)
        say(mosquitto.port, event("a1", "new"))
        wait_for(lambda: hook.refused == 1, "the first attempt")
        tells.kill()
        say(mosquitto.port, event("a1", "new"), event("a2", "new", asset="p2"))  # while it is away
        tells.start()
        assert sorted(hook.titles(2)) == ["p1: anomaly, warning", "p2: anomaly, warning"]
        say(mosquitto.port, event("a1", "new"), event("a1", "end"))
        assert hook.titles(1) == ["p1: anomaly is over"]
        assert tells.stop() == 0
    assert hook.took.empty()


def test_a_flood_of_alerts_is_a_bounded_number_of_messages_that_name_all(
    mosquitto: Mosquitto, tmp_path: Path, hook: Hook
) -> None:
    place = Place(tmp_path / "notify", mosquitto.port, hook, more="per_hour = 2")
    listener = Listener(mosquitto.port)
    tells = notifier(place)
    with closing(listener, tells, mosquitto):
        tells.start()
        ready(listener)
        tells.stop()
        say(mosquitto.port, *[event(f"a{n}", "new", asset=f"p{n}") for n in range(20)])
        hook.answers.clear()  # until all are noted: the last message tells what waits by then
        tells.start()
        for _ in range(20):
            tells.wait_event("noted")
        hook.answers.set()
        first, rest = hook.took.get(timeout=60), hook.took.get(timeout=60)
        assert first["title"] == "p0: anomaly, warning"
        assert rest["title"] == "19 alerts"
        assert all(f"p{n}: anomaly" in rest["message"] for n in range(1, 20))
        assert tells.stop() == 0
    assert hook.took.empty()


@pytest.mark.filterwarnings("ignore:'imghdr':DeprecationWarning")  # a plugin of Apprise's has it
def test_a_test_message_says_which_target_took_it(
    tmp_path: Path, hook: Hook, capsys: pytest.CaptureFixture[str]
) -> None:
    place = Place(tmp_path / "notify", 1, hook)
    assert main(["notify", "--config", str(place.path), "--test"]) == 0
    assert hook.titles(1) == ["offbeat"]
    hook.refuse = 1
    assert main(["notify", "--config", str(place.path), "--test"]) == 1
    said = capsys.readouterr().out
    assert "sent      json://127.0.0.1" in said
    assert "not sent  json://127.0.0.1" in said
