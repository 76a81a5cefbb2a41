"""A broker that shares the assets out: who lets go of which, and what becomes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest
from control_parts import START, engine_for, opened, run, sample

from offbeat_edge import config as configs
from offbeat_edge.control import Release
from offbeat_edge.errors import ConfigError
from offbeat_edge.mqtt_intake import Message
from offbeat_edge.shards.siblings import AGAIN_S, Siblings
from offbeat_edge.shards.worker import Shard, config_of, shared

if TYPE_CHECKING:
    from pathlib import Path

    from offbeat_edge.model import Model


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Desk:
    """The siblings of gw1-1of3, and the assets it has."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.ours: dict[str, int] = {}
        self.siblings = Siblings(
            gateway="gw1", shard=Shard(1, 3), since=self.ours.get, monotonic=self.clock
        )

    def hear(self, shard: str, asset: str, since_ms: int) -> list[str]:
        """Let a sibling tell of an asset; return what we let go of."""
        payload = msgspec.json.encode({"schema": "1.0", "asset": asset, "since_ms": since_ms})
        assert not self.siblings.sift([message(shard, asset, payload)])
        return self.release()

    def release(self) -> list[str]:
        found = [release.asset for release in self.siblings.moved()]
        for name in found:
            del self.ours[name]
        return found


def message(shard: str, asset: str, payload: bytes) -> Message:
    topic = f"offbeat/gw1-{shard}/asset/{asset}/state"
    return Message(topic, payload, 0, retain=False, mid=0, generation=1)


def test_an_asset_belongs_to_whoever_began_with_it_last() -> None:
    desk = Desk()
    desk.ours.update(p1=5000, p2=5000)
    assert desk.hear("0of3", "p1", 4000) == []
    assert desk.hear("0of3", "p1", 6000) == ["p1"]
    assert desk.hear("0of3", "p9", 9000) == []  # none of ours


def test_of_two_that_began_together_one_lets_go() -> None:
    desk = Desk()
    desk.ours.update(p1=5000, p2=5000)
    assert desk.hear("0of3", "p1", 5000) == []
    assert desk.hear("2of3", "p2", 5000) == ["p2"]


def test_an_asset_that_comes_and_goes_is_kept_and_reported() -> None:
    desk = Desk()
    desk.ours["p1"] = 1000
    assert desk.hear("0of3", "p1", 2000) == ["p1"]
    assert desk.siblings.problems == []
    desk.ours["p1"] = 3000
    assert desk.hear("0of3", "p1", 4000) == []
    (problem,) = desk.siblings.problems
    assert problem.startswith("shards: p1 by turns here")
    assert desk.release() == []
    desk.clock.now += AGAIN_S
    assert desk.release() == ["p1"]
    assert desk.siblings.problems == []


def test_an_asset_that_came_back_for_good_is_kept() -> None:
    desk = Desk()
    desk.ours["p1"] = 1000
    assert desk.hear("0of3", "p1", 2000) == ["p1"]
    desk.ours["p1"] = 3000
    assert desk.hear("0of3", "p1", 4000) == []
    desk.ours["p1"] = 5000  # our state changes: its samples still come
    desk.clock.now += AGAIN_S
    assert desk.release() == []
    assert desk.siblings.problems == []


def test_what_two_siblings_say_at_once_lets_an_asset_go_once() -> None:
    desk = Desk()
    desk.ours["p1"] = 1000
    states = [(shard, b'{"since_ms": 2000}') for shard in ("0of3", "2of3")]
    assert not desk.siblings.sift([message(shard, "p1", state) for shard, state in states])
    assert desk.release() == ["p1"]
    assert desk.release() == []
    assert desk.siblings.problems == []


@pytest.mark.parametrize(
    "payload", [b"", b"{", b"\xff", b"[]", b'{"since_ms": "soon"}', b'{"asset": "p1"}', b"[" * 9999]
)
def test_a_state_that_is_none_moves_nothing(payload: bytes) -> None:
    desk = Desk()
    desk.ours["p1"] = 1000
    assert not desk.siblings.sift([message("0of3", "p1", payload)])
    assert desk.siblings.moved() == []


@pytest.mark.parametrize(
    "topic",
    ["plant/p1", "offbeat/gw1-1of3/cmd/ping", "offbeat/gw1-0of3/health", "offbeat/gw1/status"],
)
def test_what_is_no_siblings_state_goes_on(topic: str) -> None:
    words = [Message(topic, b"{}", 0, retain=False, mid=0, generation=1)]
    assert Desk().siblings.sift(words) == words


def release(asset: str = "pump1") -> Release:
    return Release(id="m1", time_ms=START, asset=asset)


def test_what_is_open_on_an_asset_that_moves_ends_and_its_window_warms_up_again(
    model: Model,
) -> None:
    engine, event = opened(model)
    out = engine.control(release())
    assert [(e.alert, e.type, e.reason) for e in out.events] == [(event.alert, "end", "moved")]
    assert engine.states() == []
    assert engine.gone == {"pump1": ""}
    back = [engine.feed([sample(k)]) for k in range(31, 40)]
    fresh = engine_for(model)
    assert [out.scores for out in back] == [
        out.scores for out in (fresh.feed([sample(k)]) for k in range(31, 40))
    ]
    assert engine.gone == {}


def test_an_asset_that_moved_is_not_silent(model: Model) -> None:
    engine = engine_for(model)
    run(engine, 0, 20)
    engine.control(release())
    assert engine.idle(10 * 86_400_000).events == []


TOML = """
[gateway]
id = "gw1"
[mqtt]
share = "halls"
protocol = "{protocol}"
[[source]]
topic = "{topic}"
{more}
[[model]]
bundle = "a.offbeat"
"""


def load(folder: Path, topic: str, *, protocol: str = "auto", more: str = "") -> configs.Config:
    path = folder / "edge.toml"
    path.write_text(TOML.format(topic=topic, protocol=protocol, more=more))
    return configs.load(path, {})


@pytest.mark.parametrize("topic", ["plant/{asset}/{sensor}", "plant/+/{asset}", "+/{asset...}/x"])
def test_topics_of_an_asset_that_a_hash_would_tear_apart_are_refused(
    tmp_path: Path, topic: str
) -> None:
    with pytest.raises(ConfigError, match="expected one topic for each asset"):
        load(tmp_path, topic)


def test_two_sources_and_an_old_protocol_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"expected one \[\[source\]\].*got 2"):
        load(tmp_path, "plant/{asset}", more='[[source]]\ntopic = "hall/{asset}"')
    with pytest.raises(ConfigError, match=r"expected MQTT 5.*got 3\.1\.1"):
        load(tmp_path, "plant/{asset}", protocol="3.1.1")


@pytest.mark.parametrize(
    ("topic", "name"), [("plant/{asset}", "plant/+"), ("plant/{asset...}/now", "plant/#")]
)
def test_every_shard_asks_for_all_and_in_mqtt_5(tmp_path: Path, topic: str, name: str) -> None:
    own = config_of(load(tmp_path, topic), Shard(0, 2))
    assert shared(own) == [(f"$share/halls/{name}", 1)]
    assert own.mqtt.protocol == "5"
