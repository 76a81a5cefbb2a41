"""The ACL and the configuration as text: who is granted what, and nothing more."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.client import topic_matches_sub

from offbeat_broker.access import (
    GRANTS,
    ROOT,
    Access,
    acl,
    check_filter,
    check_name,
    mosquitto_conf,
    mqtt_toml,
)

if TYPE_CHECKING:
    from offbeat_broker.access import Rights, Role

NAMES = st.text(alphabet="abc019_.-", min_size=1, max_size=64).filter(lambda n: not check_name(n))
LEVELS = st.sampled_from(
    ["plant", "+", "#", "offbeat", "$SYS", "", "a b", "cmd", "gw1", "x#", "\n"]
)
FILTERS = st.lists(LEVELS, min_size=1, max_size=5).map("/".join)


def may(text: str, name: str, access: str, topic: str) -> bool:
    """Whether an ACL grants, read as Mosquitto reads it."""
    blocks = dict(block.split("\n", 1) for block in text.split("\nuser ")[1:])
    rules = [line.split(" ", 2) for line in blocks.get(name, "").splitlines() if line]
    return any(granted == access and topic_matches_sub(rule, topic) for _, granted, rule in rules)


@given(
    one=NAMES, other=NAMES, verb=st.sampled_from(["status", "asset/a/state", "cmd/x", "result/x"])
)
def test_no_gateway_writes_or_reads_under_anothers_name(one: str, other: str, verb: str) -> None:
    text = acl({name: Access("gateway", topics=("plant/#",)) for name in (one, other)})
    topic = f"offbeat/{other}/{verb}"
    assert may(text, one, "read", topic) == (one == other)
    assert may(text, one, "write", topic) == (one == other and not verb.startswith("cmd"))


@pytest.mark.parametrize("topic", ["meta/timestamp.json", f"target/{'ab' * 32}/0"])
def test_signed_delivery_is_written_by_the_trainer_alone_and_read_by_gateways(topic: str) -> None:
    topic = f"offbeat/fleet/tuf/{topic}"
    everyone = {
        "gw1": Access("gateway", topics=("plant/#",)),
        "plc": Access("source", topics=("plant/#",)),
        "ana": Access("person", "operator"),
        "bob": Access("person", "viewer"),
        "desk": Access("console", "operator"),
        "nightly": Access("trainer"),
    }
    text = acl(everyone)
    assert [name for name in everyone if may(text, name, "write", topic)] == ["nightly"]
    assert may(text, "gw1", "read", topic)
    assert not may(text, "plc", "read", topic)


@given(name=NAMES, text=FILTERS)
def test_no_accepted_filter_reaches_our_own_topics(name: str, text: str) -> None:
    if check_filter(text) is not None:
        return
    granted = acl({name: Access("source", topics=(text,))})
    assert granted.count("\n") == 4
    for topic in ("offbeat/gw1/cmd/x", "offbeat/fleet/models/a", f"{ROOT}/gw1/status", "$SYS/x"):
        assert not may(granted, name, "write", topic)


@given(text=FILTERS)
def test_an_accepted_filter_is_one_that_mqtt_knows(text: str) -> None:
    if check_filter(text) is None:
        topic_matches_sub(text, "plant/pump1")
        assert "#" not in text[:-1]
        assert "\n" not in text


@pytest.mark.parametrize(
    ("role", "rights", "command", "model"),
    [
        ("source", "", False, False), ("gateway", "", False, False), ("trainer", "", False, True),
        ("notifier", "", False, False), ("sparkplug", "", False, False),
        ("person", "viewer", False, False), ("person", "operator", True, False),
        ("console", "viewer", False, False), ("console", "operator", True, False),
    ],
)  # fmt: skip
def test_commands_and_models_come_from_their_roles_only(
    role: Role,
    rights: Rights,
    command: bool,  # noqa: FBT001
    model: bool,  # noqa: FBT001
) -> None:
    text = acl({"x": Access(role, rights)})
    assert may(text, "x", "write", "offbeat/gw1/cmd/swap") == command
    assert may(text, "x", "write", "offbeat/fleet/feedback/1") == (command or model)
    assert may(text, "x", "write", "offbeat/fleet/models/pump") == model
    assert not may(text, "x", "write", "offbeat/gw1/asset/pump1/alert")
    assert not may(text, "x", "write", "plant/pump1")


def test_a_trainers_recorder_speaks_of_itself_and_of_no_other() -> None:
    text = acl({"x": Access("trainer")})
    for word in ("status", "health"):
        assert may(text, "x", "write", f"offbeat/record-x/{word}")
        assert not may(text, "x", "write", f"offbeat/record-y/{word}")
        assert not may(text, "x", "write", f"offbeat/x/{word}")
    assert check_name("record-x") is not None


def test_a_notifier_reads_alerts_and_says_only_how_it_is() -> None:
    text = acl({"x": Access("notifier")})
    assert may(text, "x", "read", "offbeat/gw1/asset/p1/alert")
    assert may(text, "x", "write", "offbeat/notify-x/status")
    for topic in ("plant/p1", "offbeat/gw1/health", "offbeat/fleet/feedback/p1"):
        assert not may(text, "x", "read", topic)
        assert not may(text, "x", "write", topic)
    assert check_name("notify-x") is not None


def test_a_gateway_that_reads_sparkplug_may_ask_its_group_for_births() -> None:
    text = acl({"x": Access("gateway", topics=("spBv1.0/plant1/#",))})
    assert may(text, "x", "write", "spBv1.0/plant1/NCMD/node")
    assert not may(text, "x", "write", "spBv1.0/plant2/NCMD/node")
    assert not may(text, "x", "write", "spBv1.0/plant1/DCMD/node/device")
    assert not may(acl({"y": Access("source", topics=("spBv1.0/plant1/#",))}), "y", "read",
                   "spBv1.0/plant1/NCMD/node")  # fmt: skip


def test_a_sparkplug_node_is_itself_alone() -> None:
    text = acl({"scada": Access("sparkplug")})
    for topic in ("NBIRTH/scada", "NDEATH/scada", "DDATA/scada/p1"):
        assert may(text, "scada", "write", f"spBv1.0/g/{topic}")
    for topic in ("NBIRTH/other", "NCMD/scada", "NCMD/plc", "DCMD/plc/d", "DDATA/plc/d"):
        assert not may(text, "scada", "write", f"spBv1.0/g/{topic}")
    assert may(text, "scada", "read", "spBv1.0/g/NCMD/scada")
    assert not may(text, "scada", "read", "plant/p1")


def test_every_grant_is_read_or_write_never_both() -> None:
    words = {rule.split(" ")[0] for rules in GRANTS.values() for rule in rules}
    assert words == {"read", "write"}


def test_the_only_listener_wants_a_certificate_and_binds_the_client_id() -> None:
    lines = [line for line in mosquitto_conf(port=8883).splitlines() if not line.startswith("#")]
    assert [line for line in lines if line.startswith("listener")] == ["listener 8883"]
    for line in (
        "require_certificate true", "use_identity_as_username true",
        "use_username_as_clientid true", "allow_anonymous false", "crlfile revoked.pem",
        "acl_file acl", "persistence true",
    ):  # fmt: skip
        assert line in lines
    assert "max_queued_messages 0" not in lines  # see the comment there


def test_the_gateways_table_names_its_own_files() -> None:
    table = tomllib.loads(mqtt_toml(gateway="gw1", host="broker.plant", port=8883))
    assert table == {
        "mqtt": {
            "host": "broker.plant", "port": 8883, "client_id": "gw1",
            "ca_file": "ca.pem", "cert_file": "cert.pem", "key_file": "key.pem",
        }
    }  # fmt: skip
