"""`offbeat init` at a real broker, on which a plant and its neighbours publish."""

from __future__ import annotations

import json
import threading
import time
from typing import TYPE_CHECKING

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion
from rig import make_bundle

from offbeat_edge import config
from offbeat_edge.check_command import check
from offbeat_edge.cli import main

if TYPE_CHECKING:
    from pathlib import Path

    import pytest
    from rig import Mosquitto


def publish(port: int, done: threading.Event) -> None:
    """Two pumps, a meter of Telegraf's and a retained Zigbee device, until ``done``."""
    client = Client(CallbackAPIVersion.VERSION2)
    client.connect("127.0.0.1", port)
    client.loop_start()
    client.publish("zigbee2mqtt/Boiler room", '{"temperature": 60.5}', retain=True)
    while not done.wait(0.1):
        now = time.time_ns()
        for name in ("p1", "p2"):
            row = {"ts": now // 1_000_000, "flow": 10.1, "heat": 20.2}
            client.publish(f"plant/{name}", json.dumps(row), qos=1)
        client.publish("telegraf/edge/modbus", f"modbus,host=edge,name=m1 power=2 {now}", qos=1)
    client.loop_stop()
    client.disconnect()


def test_a_plant_is_found_and_the_file_passes_check_config(
    mosquitto: Mosquitto, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_bundle(tmp_path / "tiny.offbeat")
    out, done = tmp_path / "offbeat.toml", threading.Event()
    plant = threading.Thread(target=publish, args=[mosquitto.port, done])
    plant.start()
    words = ["init", "--host", "127.0.0.1", "--port", str(mosquitto.port), "--listen", "2"]
    try:
        assert main([*words, "--out", str(out), "--bundle", str(tmp_path / "tiny.offbeat")]) == 0
    finally:
        done.set()
        plant.join()
    assert "wrote" in capsys.readouterr().out
    assert check(out, {}).problems == []
    made = config.load(out, {})
    assert made.mqtt.port == mosquitto.port
    assert {(s.topic, s.preset, s.asset) for s in made.sources} == {
        ("plant/{asset}", None, ""), ("telegraf/+/+", "telegraf", "name"),
        ("zigbee2mqtt/{asset}", "zigbee2mqtt", ""),
    }  # fmt: skip
    assert made.models[0].assets == ("p1", "p2")


def test_a_silent_broker_is_no_configuration(
    mosquitto: Mosquitto, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "offbeat.toml"
    words = ["--host", "127.0.0.1", "--port", str(mosquitto.port), "--listen", "0.5"]
    assert main(["init", *words, "--out", str(out)]) == 1
    assert "nothing that could be a sensor came" in capsys.readouterr().out
    assert not out.exists()
