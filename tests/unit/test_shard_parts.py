"""Who owns an asset, where it is heard of, and the processes that share the work."""

from __future__ import annotations

import io
import sys
import time
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from offbeat_edge import config as configs
from offbeat_edge.errors import ConfigError, StoreError
from offbeat_edge.link import Message
from offbeat_edge.log import Log
from offbeat_edge.shards import register as registers
from offbeat_edge.shards.finder import LOOK, RATE, Finder, named
from offbeat_edge.shards.herd import Herd
from offbeat_edge.shards.owner import owner
from offbeat_edge.shards.register import Place, Register
from offbeat_edge.shards.split import split
from offbeat_edge.shards.worker import Shard, config_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

NAMES = st.text("abc0123.-_", min_size=1, max_size=12)


@given(NAMES, st.integers(1, 16))
def test_one_more_shard_takes_assets_and_moves_none_between_the_others(
    asset: str, shards: int
) -> None:
    before, after = owner(asset, shards), owner(asset, shards + 1)
    assert after in (before, shards)


def test_shards_share_evenly() -> None:
    counts = [0] * 4
    for n in range(4000):
        counts[owner(f"pump{n}", 4)] += 1
    assert min(counts) > 900


@given(
    st.dictionaries(NAMES, st.integers(0, 99), max_size=20), st.integers(1, 5), st.integers(1, 5)
)
def test_states_split_and_split_again_are_whole(
    states: dict[str, int], some: int, others: int
) -> None:
    snapshot = msgspec.msgpack.encode({"schema": "1.1", "assets": states, "heard": ["a"]})
    parts = [msgspec.msgpack.decode(part) for part in split(split([snapshot], some), others)]
    for number, part in enumerate(parts):
        assert part["schema"] == "1.1"
        assert part["heard"] == ["a"]
        assert {owner(asset, others) for asset in part["assets"]} <= {number}
    assert {k: v for part in parts for k, v in part["assets"].items()} == states


def test_two_states_of_one_asset_are_refused() -> None:
    snapshot = msgspec.msgpack.encode({"assets": {"p1": 1}})
    with pytest.raises(ValueError, match="'p1' twice"):
        split([snapshot, snapshot], 1)


def test_the_register_survives_and_a_damaged_one_is_no_empty_one(tmp_path: Path) -> None:
    assert registers.load(tmp_path).places == {}
    register = Register({"plant/p1/+": Place("p1", 1)})
    registers.save(tmp_path / "state", register)
    assert registers.load(tmp_path / "state").places == register.places
    (tmp_path / registers.FILE).write_text("[]")
    with pytest.raises(StoreError, match=r"assets\.json: expected the register"):
        registers.load(tmp_path)


@pytest.fixture
def config(tmp_path: Path) -> configs.Config:
    path = tmp_path / "edge.toml"
    path.write_text("""
[gateway]
id = "gw1"
[mqtt]
cert_file = "certs/{shard}/cert.pem"
key_file = "certs/{shard}/key.pem"
[[source]]
topic = "plant/{asset...}/{sensor}"
assets = {"hall9/main" = "big"}
[[model]]
bundle = "a.offbeat"
assets = ["hall1.p1", "p*"]
""")
    return configs.load(path, {})


def test_assets_with_names_are_known_from_the_start(config: configs.Config) -> None:
    assert dict(named(config)) == {
        "plant/hall1/p1/+": Place("hall1.p1", 1),
        "plant/hall9/main/+": Place("big", 1),
    }


def message(topic: str) -> Message:
    return Message(topic, b"", 0, retain=False, mid=0, generation=1)


def test_the_finder_learns_each_asset_once_and_nothing_of_strange_topics(
    config: configs.Config,
) -> None:
    finder = Finder(config=config, register=Register())
    heard = ["plant/hall2/p7/speed", "plant/hall2/p7/temp", "plant/UPPER/x", "elsewhere/p", "a"]
    assert finder.hear([message(topic) for topic in heard])
    assert finder.register.places == {"plant/hall2/p7/+": Place("hall2.p7", 1)}
    assert not finder.hear([message(topic) for topic in heard])


def test_the_finder_rests_until_its_average_is_kept(config: configs.Config) -> None:
    finder = Finder(config=config, register=Register())
    assert finder.listening(0.0)
    finder.hear([message("plant/p1/x")] * LOOK)
    assert not finder.listening(1.0)
    assert not finder.listening(0.9 + LOOK / RATE)
    assert finder.listening(1.0 + LOOK / RATE)


def test_a_shard_is_a_gateway_of_its_own(config: configs.Config) -> None:
    own = config_of(config, Shard(1, 4))
    assert own.gateway.id == "gw1-1of4"
    assert own.gateway.state_dir.endswith("/shard-1-of-4")
    assert own.mqtt.client_id == "offbeat-gw1-1of4"
    assert own.mqtt.cert_file.endswith("certs/1of4/cert.pem")


@pytest.mark.parametrize("text", ["", "1", "4/4", "-1/4", "1/65", "a/b", "1/4/4"])
def test_what_is_no_shard_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="expected I/N"):
        Shard.parse(text)


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def herd_of() -> Iterator[Callable[[str, Clock], Herd]]:
    herds: list[Herd] = []

    def make(code: str, clock: Clock) -> Herd:
        commands = {"0": [sys.executable, "-c", code]}
        herd = Herd(commands=commands, environ={}, log=Log(stream=io.StringIO()), monotonic=clock)
        herds.append(herd)
        return herd

    yield make
    for herd in herds:
        herd.stop()


def turn_until(herd: Herd, what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not what():
        assert time.monotonic() < deadline
        herd.turn()
        time.sleep(0.01)


READY = """
import os, socket, time
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.sendto(b"READY=1", "\\0" + os.environ["NOTIFY_SOCKET"][1:])
time.sleep(60)
"""


def test_a_child_that_stops_feeding_its_watchdog_is_killed_and_comes_again(
    herd_of: Callable[[str, Clock], Herd],
) -> None:
    clock = Clock()
    herd = herd_of(READY, clock)
    turn_until(herd, lambda: herd.ready)
    first = herd.children[0].process
    assert first is not None
    clock.now += 31.0
    herd.turn()
    assert first.poll() == -9
    clock.now += 1.1
    turn_until(herd, lambda: herd.ready)
    assert herd.children[0].starts == 2


def test_a_child_whose_configuration_is_wrong_ends_the_herd(
    herd_of: Callable[[str, Clock], Herd],
) -> None:
    herd = herd_of("raise SystemExit(78)", Clock())
    with pytest.raises(ConfigError, match="shard 0"):
        turn_until(herd, lambda: False)


def test_a_child_that_keeps_dying_is_started_less_and_less_often(
    herd_of: Callable[[str, Clock], Herd],
) -> None:
    clock = Clock()
    herd = herd_of("raise SystemExit(1)", clock)
    waits = []
    for deaths in range(1, 8):
        turn_until(herd, lambda want=deaths: herd.children[0].failures == want)  # type: ignore[misc]
        waits.append(herd.children[0].retry_at - clock.now)
        clock.now = herd.children[0].retry_at
    assert waits == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
