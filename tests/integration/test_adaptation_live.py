"""A real daemon adapts to another pump, killed amid its warm-up."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any

from rig import START_MS, Daemon, Listener, Mosquitto, Player, Reading, Site, closing, wait_for

from offbeat_edge import cli, config, control, fleet
from offbeat_edge.engine import Engine
from offbeat_edge.payload.decoder import Decoder

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from offbeat_edge.schema import AssetState

KILLED_AT = (17, 41, 75, 120)  # learning, checking, adapted, learning again
AGAIN_AT = 70
FAULT = range(150, 158)
ROWS = 180


def readings() -> list[Reading]:
    """A pump whose flow runs off its usual level, and breaks at the end."""
    chance = random.Random(1)
    return [
        Reading(
            "plant/p0",
            json.dumps(
                {
                    "ts": START_MS + 1000 * k,
                    "flow": round(10.4 + chance.gauss(0, 0.1) + 9.0 * (k in FAULT), 3),
                    "heat": round(20.0 + chance.gauss(0, 0.1), 3),
                }
            ).encode(),
        )
        for k in range(ROWS)
    ]


def undisturbed(site: Site, log: str) -> tuple[AssetState, set[str]]:
    """Return the last state and the events of one run over all readings."""
    read = config.load(site.path, {})
    entry = read.models[0]
    model = fleet.open_entry(read, entry, fleet.load_entry(entry))
    engine = Engine(
        site=read.gateway.site, gateway=read.gateway.id, route=fleet.router([(entry, model)])
    )
    engine.schedule(control.decode_log(log))
    decoder = Decoder(read.sources, max_payload_bytes=1 << 16)
    samples = [
        s for r in readings() for s in decoder.decode(r.topic, r.payload, 0, retained=False)[0]
    ]
    events = {event.id for event in engine.feed(samples).events}
    (state,) = engine.states()
    return state, events


def test_kills_amid_a_warm_up_change_nothing(
    tmp_path: Path, mosquitto: Mosquitto, capsys: pytest.CaptureFixture[str]
) -> None:
    site = Site(tmp_path, mosquitto.port)
    declared = site.path.read_text().replace("[[model]]", "[[model]]\nwarmup_s = 60")
    site.path.write_text(declared)
    listener, player = Listener(mosquitto.port), Player(mosquitto.port)
    daemon = Daemon(site).start().ready()

    def said() -> dict[str, Any]:
        return json.loads(listener.topic("asset/p0/state") or b"{}").get("adaptation") or {}

    with closing(daemon, listener, player):
        for k, reading in enumerate(readings()):
            if k in KILLED_AT:
                daemon.kill()
                daemon.start()
                daemon.ready()
            if k == AGAIN_AT:
                wait_for(lambda: said().get("stage") == "adapted", "the end of the warm-up")
                again = {"id": "1", "asset": "p0", "time_ms": START_MS}
                player.say("offbeat/gw1/cmd/recalibrate", json.dumps(again).encode())
                wait_for(lambda: said().get("stage") == "learning", "a new beginning")
            player.play([reading])
        wait_for(lambda: len(listener.alerts) >= 2, "the fault's alert")
        daemon.stop()
        assert cli.main(["control-log", "--config", str(site.path)]) == 0
        state, events = undisturbed(site, capsys.readouterr().out)
        listener.wait_alerts(events)
        assert {e["id"] for e in listener.alerts.values()} == events
        assert state.adaptation is not None
        assert (said()["stage"], said()["shift"], said()["factor"]) == (
            "adapted",
            state.adaptation.shift,
            state.adaptation.factor,
        )
        assert state.adaptation.shift["flow"] > 0.05
