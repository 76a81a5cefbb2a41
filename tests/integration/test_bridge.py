"""A plant's Mosquitto brings its gateways to a second one: the generated bridge, over real TLS.

The way between the brokers goes through a small proxy that can be cut.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("cryptography", reason="the extra `provision` is not installed")
sys.path.append(str(Path(__file__).parents[1] / "system"))

from access_parts import TAKEN, Peer, Site, needs_mosquitto, peer
from proxy import Proxy

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = needs_mosquitto
ALERT = "offbeat/gw1/asset/pump1/alert"


class Plants:
    """A plant's broker, the cloud's, and the bridge between them."""

    def __init__(self, folder: Path) -> None:
        self.cloud, self.plant = Site(folder / "cloud"), Site(folder / "plant")
        self.proxy = Proxy(self.cloud.port)
        bridge = self.cloud.admit("bridge", "plant1", gateways=["gw1"], topics=["plant/#"])
        self.cloud.admit("person", "ana", rights="operator")
        for name in ("gw1", "gw2"):
            self.plant.admit("gateway", name, topics=["plant/#"])
        shutil.copytree(bridge, self.plant.folder / "broker" / "bridge")
        said = (bridge / "bridge.conf").read_text()
        there = f"address 127.0.0.1:{self.cloud.port}"
        assert there in said
        said = said.replace(there, f"address 127.0.0.1:{self.proxy.port}")
        said = said.replace("restart_timeout 1 30", "restart_timeout 1 1")
        with (self.plant.folder / "broker" / "mosquitto.conf").open("a") as conf:
            conf.write(said)
        self.cloud.start()
        self.plant.start()

    def person(self) -> Peer:
        return Peer(self.cloud, self.cloud.folder / "person" / "ana")

    def gateway(self, name: str = "gw1") -> Peer:
        return Peer(self.plant, self.plant.folder / "gateway" / name)

    def cut(self) -> None:
        self.proxy.refusing = True
        self.proxy.cut()

    def close(self) -> None:
        self.proxy.close()
        self.plant.stop()
        self.cloud.stop()


@pytest.fixture(scope="module")
def plants(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plants]:
    made = Plants(tmp_path_factory.mktemp("bridge"))
    yield made
    made.close()


def raised(gateway: Peer, first: int, count: int) -> list[str]:
    """Publish alert events; return their ids."""
    ids = [f"a/{seq}" for seq in range(first, first + count)]
    for name in ids:
        assert gateway.publish(ALERT, json.dumps({"id": name}).encode()) in TAKEN
    return ids


def heard(person: Peer) -> list[str]:
    """Return the ids of the alert events that came, each once, as a consumer reads them."""
    return list(dict.fromkeys(json.loads(body)["id"] for body in person.arrived(ALERT)))


def test_alerts_cross_and_what_is_raised_while_the_way_is_cut_comes_later_once_by_id(
    plants: Plants,
) -> None:
    person, gateway = plants.person(), plants.gateway()
    person.subscribe("offbeat/#")
    ids = raised(gateway, 0, 5)
    person.until(lambda: heard(person) == ids)
    plants.cut()
    ids += raised(gateway, 5, 50)
    gateway.close()
    plants.plant.stop()  # the queue outlives a restart of the plant's broker
    plants.plant.start()
    gateway = plants.gateway()
    ids += raised(gateway, 55, 5)
    plants.proxy.refusing = False
    person.until(lambda: len(heard(person)) >= len(ids))
    assert heard(person) == ids
    person.close()
    gateway.close()


def test_what_is_said_in_the_cloud_reaches_the_plant_and_does_not_come_back(
    plants: Plants,
) -> None:
    person, gateway = plants.person(), plants.gateway()
    for topic in ("offbeat/fleet/#", "offbeat/gw1/#"):
        gateway.subscribe(topic)
        person.subscribe(topic)
    for topic in ("offbeat/fleet/feedback/pump1", "offbeat/gw1/cmd/state"):
        assert person.publish(topic, b"{}") in TAKEN
        gateway.until(lambda topic=topic: bool(gateway.arrived(topic)))  # type: ignore[misc]
    assert gateway.publish("offbeat/gw1/result/state", b"{}") in TAKEN
    person.until(lambda: bool(person.arrived("offbeat/gw1/result/state")))
    assert len(person.arrived("offbeat/fleet/feedback/pump1")) == 1
    assert len(gateway.arrived("offbeat/fleet/feedback/pump1")) == 1
    person.close()
    gateway.close()


def test_a_bridge_speaks_for_its_gateways_and_for_no_other(plants: Plants) -> None:
    plants.cut()
    with peer(plants.cloud, plants.cloud.folder / "bridge" / "plant1") as thief:
        assert thief.publish("offbeat/gw1/status", b"online") in TAKEN
        for topic in ("offbeat/gw2/status", "offbeat/gw1/cmd/x", "offbeat/fleet/models/a"):
            assert thief.publish(topic) == "Not authorized"
    plants.proxy.refusing = False
    with peer(plants.plant, plants.plant.folder / "gateway" / "gw2") as other:
        assert other.publish("offbeat/gw2/status", b"online") in TAKEN
    person = plants.person()
    person.subscribe("offbeat/+/status")
    gateway = plants.gateway()
    assert gateway.publish("offbeat/gw1/status", b"stopped") in TAKEN
    person.until(lambda: b"stopped" in person.arrived("offbeat/gw1/status"))
    assert person.arrived("offbeat/gw2/status") == []
    person.close()
    gateway.close()


def test_another_gateway_is_added_to_the_bridge(plants: Plants) -> None:
    bridge = plants.cloud.admit("bridge", "plant1", gateways=["gw1", "gw2"])
    said = (bridge / "bridge.conf").read_text()
    assert "topic offbeat/gw2/asset/# out 1\n" in said
    assert said.count("topic offbeat/fleet/# in 1\n") == 1
    assert "topic plant/# out 1\n" in said
    assert "topic write offbeat/gw2/status" in (plants.cloud.folder / "broker/acl").read_text()
