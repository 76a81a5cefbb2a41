"""Payloads that many people have, read by one line of configuration."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from offbeat_edge import config
from offbeat_edge.config import Config, Gateway, Model, Source
from offbeat_edge.payload.decoder import Decoder
from offbeat_edge.payload.presets import PRESETS

if TYPE_CHECKING:
    from offbeat_edge.schema import Reject, Sample

ROOT = Path(__file__).parents[2]
HOW_TO = (ROOT / "docs" / "how-to" / "telegraf.md").read_text()
TIME_MS = 1_700_000_000_000


def read(source: Source, topic: str, payload: str) -> tuple[list[Sample], list[Reject]]:
    decoder = Decoder((source,), max_payload_bytes=1 << 16)
    return decoder.decode(topic, payload.encode(), 5, retained=False)


def one(source: Source, topic: str, payload: str) -> tuple[str, int, dict[str, float]]:
    samples, rejects = read(source, topic, payload)
    assert not rejects
    (sample,) = samples
    return sample.asset, sample.time_ms, sample.values


@pytest.mark.parametrize(
    "seen", ["1700000000000", '"2023-11-14T22:13:20.000Z"', '"2023-11-14T23:13:20+01:00"']
)
def test_a_zigbee_device_is_read_with_the_time_it_was_seen(seen: str) -> None:
    payload = (
        f'{{"battery":97,"humidity":44.72,"last_seen":{seen},"linkquality":120,"power_outage_count":'
        '3,"temperature":27.34,"state":"ON","update":{"state":"idle","installed_version":-1}}'
    )
    asset, time_ms, values = one(
        Source(preset="zigbee2mqtt"), "zigbee2mqtt/0x00158d0001dc126a", payload
    )
    assert (asset, time_ms) == ("0x00158d0001dc126a", TIME_MS)
    assert values["temperature"] == 27.34
    assert "last_seen" not in values


@pytest.mark.parametrize(
    "topic", ["zigbee2mqtt/bridge/devices", "zigbee2mqtt/lamp/availability", "zigbee2mqtt/lamp/set"]
)
def test_what_zigbee2mqtt_says_of_itself_is_no_sample(topic: str) -> None:
    samples, rejects = read(Source(preset="zigbee2mqtt"), topic, '{"state":1}')
    assert not samples
    assert rejects[0].reason == "unknown_topic"


def test_a_friendly_name_with_spaces_is_named() -> None:
    source = Source(preset="zigbee2mqtt", assets={"Boiler room": "boiler"})
    assert one(source, "zigbee2mqtt/Boiler room", '{"temperature": 60.5}')[0] == "boiler"


TASMOTA = (
    '{"Time":"2023-11-14T22:13:20","ENERGY":{"TotalStartTime":"2023-01-18T17:59:50","Total":1.956,'
    '"Power":9,"Voltage":231},"DS18B20":{"Id":"01131B123456","Temperature":20.6},"TempUnit":"C"}'
)


def test_a_tasmota_device_is_read_under_the_name_it_gives_itself() -> None:
    asset, time_ms, values = one(Source(preset="tasmota"), "tele/tasmota_4F00C1/SENSOR", TASMOTA)
    assert (asset, time_ms) == ("tasmota_4f00c1", TIME_MS)
    assert values == {
        "ENERGY.Total": 1.956, "ENERGY.Power": 9.0, "ENERGY.Voltage": 231.0,
        "DS18B20.Temperature": 20.6,
    }  # fmt: skip


def test_two_tasmota_topics_never_become_one_asset() -> None:
    _, rejects = read(Source(preset="tasmota"), "tele/tasmota_4f00c1/SENSOR", TASMOTA)
    assert rejects[0].reason == "asset_name"
    assert one(Source(preset="tasmota"), "tele/tasmota_123456/SENSOR", TASMOTA)[0] == (
        "tasmota_123456"
    )
    assert one(Source(preset="tasmota"), "tele/boiler/SENSOR", TASMOTA)[0] == "boiler"


# As Telegraf's serializers and inputs write them.
OPC_UA = (
    r'opcua,host=edge1,id=ns\=3;s\=Pump1.Speed,machine=pump1 speed=1480.5,Quality="The operation '
    r'succeeded. StatusGood (0x0)" 1700000000000000000'
    "\n"
    r"opcua,host=edge1,id=ns\=3;s\=Pump1.BearingTemp,machine=pump1 bearing_temp=61.25,"
    r'Quality="OK (0x0)" 1700000000000000000'
    "\n"
)
MODBUS = (
    "modbus,host=edge1,name=pump1,slave_id=1,type=holding_register "
    "speed=1480,bearing_temp=61.300000000000004,count=7u 1700000000000000000\n"
)
METRIC = (
    '{"fields":{"speed":1480.5,"Quality":"OK (0x0)","on":true,"gone":null},"name":"opcua",'
    '"tags":{"host":"edge1","machine":"pump1"},"timestamp":1700000000}'
)


def test_opc_ua_through_telegraf_is_read_node_by_node() -> None:
    source = Source(preset="telegraf", asset="machine")
    samples, rejects = read(source, "telegraf/edge1/opcua", OPC_UA)
    assert not rejects
    assert [(s.asset, s.time_ms, s.values) for s in samples] == [
        ("pump1", TIME_MS, {"speed": 1480.5}),
        ("pump1", TIME_MS, {"bearing_temp": 61.25}),
    ]


def test_modbus_through_telegraf_is_read_device_by_device() -> None:
    source = Source(preset="telegraf", asset="name")
    assert one(source, "telegraf/edge1/modbus", MODBUS) == (
        "pump1", TIME_MS, {"speed": 1480.0, "bearing_temp": 61.300000000000004, "count": 7.0}
    )  # fmt: skip


@pytest.mark.parametrize("payload", [METRIC, f'{{"metrics":[{METRIC}]}}', f"[{METRIC}]"])
def test_telegrafs_json_says_what_its_lines_say(payload: str) -> None:
    source = Source(preset="telegraf", asset="machine")
    expected = ("pump1", TIME_MS, {"speed": 1480.5, "on": 1.0})
    assert one(source, "telegraf/edge1/opcua", payload) == expected


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        ('{"metrics":[{"tags":{}},1,null]}', "not_influx"),
        ('{"fields":{"speed":[1]},"tags":{"host":"p1"}}', "wrong_type"),
        ('{"fields":{"speed":1},"tags":{"host":"p1"},"timestamp":{}}', "bad_time"),
        ('{"fields":{"speed":1},"tags":[],"timestamp":1700000000}', "asset_name"),
        ('{"fields":{"speed":1}', "not_influx"),
        ("[" * 5000, "not_influx"),
    ],
)
def test_what_is_no_point_is_refused(payload: str, reason: str) -> None:
    samples, rejects = read(Source(preset="telegraf"), "telegraf/edge1/x", payload)
    assert not samples
    assert {reject.reason for reject in rejects} == {reason}


def test_what_is_said_goes_before_the_preset() -> None:
    source = Source(preset="telegraf", topic="site/{asset}/+")
    assert (source.topic, source.format, source.asset) == ("site/{asset}/+", "influx", "")


def test_a_preset_means_what_its_keys_mean_down_to_the_digest() -> None:
    written = Source(topic="tele/{asset}/SENSOR", format="json")
    assert digest(Source(preset="tasmota")) == digest(written)


def digest(source: Source) -> str:
    made = Config(gateway=Gateway(id="gw1"), sources=(source,), models=(Model(bundle="x"),))
    return made.model_digest(made.models[0])


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_alone_is_a_source(preset: str, tmp_path: Path) -> None:
    file = tmp_path / "offbeat.toml"
    file.write_text(
        f'[gateway]\nid = "g"\n[[source]]\npreset = "{preset}"\n[[model]]\nbundle = "b"'
    )
    (source,) = config.load(file, {}).sources
    assert {key: getattr(source, key) for key in PRESETS[preset]} == PRESETS[preset]


def test_a_source_without_topic_and_preset_is_told_what_is_missing(tmp_path: Path) -> None:
    file = tmp_path / "offbeat.toml"
    file.write_text('[gateway]\nid = "g"\n[[source]]\nqos = 1\n[[model]]\nbundle = "b"')
    _, problems = config.read(file, {})
    assert "expected a topic or a preset" in "\n".join(problems)


def test_the_page_lists_the_presets_as_they_are() -> None:
    page = (ROOT / "docs" / "topics.md").read_text()
    section = page.split("## Presets")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| `(.+?)` \| `(\w+)` \| (.+?) \|", section, re.MULTILINE)
    assert {name for name, *_ in rows} == set(PRESETS)
    for name, topic, form, time in rows:
        assert (topic, form) == (PRESETS[name]["topic"], PRESETS[name]["format"])
        assert time.strip("`") == PRESETS[name].get("time", time)


def test_the_how_to_is_toml_whose_sensors_come_through(tmp_path: Path) -> None:
    opc_ua, modbus, ours = re.findall(r"```toml\n(.*?)```", HOW_TO, re.DOTALL)
    (group,) = tomllib.loads(opc_ua)["inputs"]["opcua"][0]["group"]
    (device,) = tomllib.loads(modbus)["inputs"]["modbus"]
    assert group["default_tags"] == {"machine": device["name"]}
    file = tmp_path / "offbeat.toml"
    file.write_text(ours)
    (source,) = config.load(file, {}).sources
    samples, _ = read(source, "telegraf/edge1/opcua", OPC_UA)
    names = [node["name"] for node in group["nodes"]]
    assert [name for sample in samples for name in sample.values] == names
    by_device = msgspec.structs.replace(source, asset="name")
    assert one(by_device, "telegraf/edge1/modbus", MODBUS)[0] == device["name"]
