"""Home Assistant's side of the broker: devices appear, come again, and go."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from rig import Daemon, Listener, Mosquitto, Player, Reading, Site, closing, recording, wait_for

if TYPE_CHECKING:
    from pathlib import Path

P0 = "homeassistant/device/offbeat-gw1/p0/config"
OLD = "homeassistant/device/offbeat-gw1/old/config"


def test_assets_appear_and_the_entities_read_real_topics(
    tmp_path: Path, mosquitto: Mosquitto
) -> None:
    site = Site(tmp_path, mosquitto.port, more="[homeassistant]\ndiscovery = true")
    listener = Listener(mosquitto.port)
    house = Listener(mosquitto.port, name="house", topic="homeassistant/#")
    player = Player(mosquitto.port)
    player.play([Reading(OLD, b'{"device": {}}')], retain=True)
    daemon = Daemon(site).start().ready()
    with closing(player, listener, house, daemon):
        player.play(recording(seed=3, seconds=60, assets=1, faults=2))
        wait_for(lambda: P0 in house.retained, "the discovery of p0")
        told = json.loads(house.retained[P0])
        wait_for(lambda: bool(listener.alerts), "an alert")
        entities = told["components"]
        topics = {entity["state_topic"] for entity in entities.values()}
        topics |= {entities["problem"]["json_attributes_topic"]}
        topics |= {place["topic"] for place in told["availability"]}
        assert topics <= listener.retained.keys()
        wait_for(lambda: house.retained.get(OLD) == b"", "an asset of another life to go")
        del house.retained[P0]
        player.play([Reading("homeassistant/status", b"online")])
        wait_for(lambda: P0 in house.retained, "the discovery after the birth")
