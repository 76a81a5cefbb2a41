"""What Home Assistant is told: whole, once, again at its birth, and taken back."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from offbeat_edge import homeassistant
from offbeat_edge.homeassistant import Discovery, device, object_id
from offbeat_edge.link import Message
from offbeat_edge.voice import Topics

if TYPE_CHECKING:
    from offbeat_edge.link import Link

TOPICS = Topics("gw1")
ROOT = "homeassistant/device/offbeat-gw1"


class Wire:
    """Takes so many publishes."""

    def __init__(self, room: int = 1000) -> None:
        self.room = room
        self.retained: dict[str, bytes] = {}

    def publish(self, topic: str, payload: bytes, *, qos: int, retain: bool) -> int:
        assert (qos, retain) == (1, True)
        self.room -= 1
        self.retained[topic] = payload
        return self.room


def discovery(wire: Wire) -> Discovery:
    link: Link = wire  # type: ignore[assignment]
    return Discovery(link=link, topics=TOPICS, prefix="homeassistant", gateway="gw1", scores=False)


def heard(topic: str, payload: bytes) -> Message:
    return Message(topic, payload, 0, retain=True, mid=0, generation=1)


@given(st.from_regex(r"\A[a-z0-9_.-]{1,64}\Z"))
def test_an_object_id_has_only_what_home_assistant_takes(asset: str) -> None:
    assert re.fullmatch(r"[a-zA-Z0-9_-]+", object_id(asset))


def test_names_that_look_alike_stay_apart() -> None:
    assert len({object_id(name) for name in ("a.b", "a-b", "a_b", "a..b")}) == 4


@pytest.mark.parametrize("scores", [False, True])
def test_every_entity_has_what_device_discovery_asks_for(scores: bool) -> None:  # noqa: FBT001
    found = device("hall1.p3", gateway="gw1", topics=TOPICS, scores=scores)
    assert found["device"]["identifiers"]
    assert found["origin"]["name"] == "offbeat"
    entities = found["components"].values()
    assert len({entity["unique_id"] for entity in entities}) == len(entities)
    for entity in entities:
        assert entity["platform"] in {"binary_sensor", "sensor"}
        assert entity["state_topic"].startswith("offbeat/gw1/asset/hall1.p3/")
    state = found["components"]["state"]
    assert "warming" in state["options"]
    score = found["components"]["score"]["state_topic"]
    assert score == (TOPICS.score("hall1.p3") if scores else TOPICS.state("hall1.p3"))


def test_an_asset_is_told_once_and_again_at_the_birth() -> None:
    wire = Wire()
    told = discovery(wire)
    told.turn(["p1"])
    assert msgspec.json.decode(wire.retained.pop(f"{ROOT}/p1/config"))["device"]["name"] == "p1"
    told.turn(["p1"])
    assert not wire.retained
    other = heard("plant/p1", b"1")
    assert told.sift([heard("homeassistant/status", b"online"), other]) == [other]
    told.turn(["p1"])
    assert f"{ROOT}/p1/config" in wire.retained


def test_what_was_told_in_another_life_is_taken_back() -> None:
    wire = Wire()
    told = discovery(wire)
    told.sift([heard(f"{ROOT}/old/config", b"{}"), heard(f"{ROOT}/p1/config", b"{}")])
    told.turn(["p1"])
    assert wire.retained[f"{ROOT}/old/config"] == b""
    assert wire.retained[f"{ROOT}/p1/config"] != b""


def test_a_broker_without_room_is_told_later() -> None:
    wire = Wire(room=2)
    told = discovery(wire)
    told.turn(["p1", "p2", "p3"])
    assert len(wire.retained) == 2
    wire.room = 1
    told.turn(["p1", "p2", "p3"])
    assert len(wire.retained) == 3


def test_the_filters_match_what_is_published() -> None:
    assert homeassistant.filters("homeassistant", "gw1") == {
        "homeassistant/status": 0,
        f"{ROOT}/+/config": 0,
    }
