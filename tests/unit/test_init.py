"""`offbeat init`: from payloads nobody explained to sources that read them."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING

import pytest
from bundle_parts import answered
from hypothesis import given
from hypothesis import strategies as st

from offbeat_edge import bundle, config
from offbeat_edge.check_command import check
from offbeat_edge.cli import main
from offbeat_edge.errors import ConfigError
from offbeat_edge.init import history, write
from offbeat_edge.init.recognise import Heard, Proposal, recognise, slug
from offbeat_edge.init.survey import survey
from offbeat_edge.topics import NAME

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from offbeat_edge.config import Source
    from offbeat_edge.init.survey import AssetSeen
    from offbeat_edge.manifest import Manifest

TIME_MS = 1_700_000_000_000
LINE = 'opcua,host=edge1,machine=pump{n} speed=1480.5,Quality="OK" 170000000{n}000000000\n'
METRIC = '{{"fields":{{"speed":1}},"name":"m","tags":{{"host":"e","machine":"pump{n}"}}}}'
TASMOTA = '{"Time":"2023-11-14T22:13:2%d","ENERGY":{"Power":9,"Voltage":231},"TempUnit":"C"}'


def heard(*messages: tuple[str, str]) -> list[Heard]:
    return [Heard(topic, text.encode(), TIME_MS + n) for n, (topic, text) in enumerate(messages)]


def found(messages: Iterable[Heard]) -> tuple[list[Source], dict[str, AssetSeen], list[Proposal]]:
    kept = list(messages)
    proposals = recognise(kept).proposals
    sources, assets = survey([p.source for p in proposals], kept)
    return sources, assets, proposals


@pytest.mark.parametrize(
    ("messages", "kind", "topic", "assets"),
    [
        (
            [(f"plant/p{n}", f'{{"ts": {TIME_MS + n}, "flow": 1.5}}') for n in range(3)],
            "object", "plant/{asset}", {"p0", "p1", "p2"},
        ),
        (
            [(f"plant/hall{n // 2}/pump{n % 2}/data", '{"flow": 1.5}') for n in range(4)],
            "object", "plant/{asset...}/data",
            {"hall0.pump0", "hall0.pump1", "hall1.pump0", "hall1.pump1"},
        ),
        (
            [("line/data", f'{{"id": "p{n}", "flow": 2}}') for n in range(2)],
            "object", "line/data", {"p0", "p1"},
        ),
        (
            [(f"plant/p{n}/{what}", "12.5") for n in (1, 2) for what in ("rpm", "temp")],
            "number", "plant/{asset}/{sensor}", {"p1", "p2"},
        ),
        (
            [(f"plant/p1/{what}", '{"value": 3, "ts": 1700000000}') for what in ("rpm", "temp")],
            "number", "plant/{asset}/{sensor}", {"p1"},
        ),
        (
            [("zigbee2mqtt/bridge/state", '{"state":"online"}'),
             ("zigbee2mqtt/0x00158d0001", '{"temperature":20.5,"linkquality":9}'),
             ("zigbee2mqtt/Boiler room", '{"temperature":60.5}'),
             ("zigbee2mqtt/Boiler room/availability", '{"state":"online"}')],
            "zigbee2mqtt", "zigbee2mqtt/{asset}", {"0x00158d0001", "boiler_room"},
        ),
        (
            [("home/z2m/bridge/state", '{"state":"online"}'), ("home/z2m/lamp", '{"power":2}')],
            "zigbee2mqtt", "home/z2m/{asset}", {"lamp"},
        ),
        (
            [("tele/tasmota_4F00C1/LWT", "Online"), ("tele/tasmota_4F00C1/STATE", '{"Heap": 2}'),
             ("tele/tasmota_4F00C1/SENSOR", TASMOTA % 1), ("tele/Pump 2/SENSOR", TASMOTA % 2)],
            "tasmota", "tele/{asset}/SENSOR", {"tasmota_4f00c1", "pump_2"},
        ),
        (
            [("telegraf/edge1/opcua", LINE.format(n=n)) for n in (1, 2)],
            "telegraf", "telegraf/+/+", {"pump1", "pump2"},
        ),
        (
            [(f"metrics/m{n}", METRIC.format(n=n)) for n in (1, 2)],
            "telegraf", "metrics/+", {"pump1", "pump2"},
        ),
    ],
)  # fmt: skip
def test_payloads_of_each_kind_are_told_apart_and_read(
    messages: list[tuple[str, str]], kind: str, topic: str, assets: set[str]
) -> None:
    sources, seen, proposals = found(heard(*messages))
    assert [(p.kind, s.topic) for p, s in zip(proposals, sources, strict=True)] == [(kind, topic)]
    assert set(seen) == assets
    assert all(asset.sensors for asset in seen.values())


def test_sparkplug_is_a_source_for_each_group_with_births_or_without() -> None:
    pytest.importorskip("google.protobuf", reason="the extra `sparkplug` is not installed")
    messages = heard(
        ("spBv1.0/Plant 1/NDATA/Line 1", ""), ("spBv1.0/Plant 1/DDATA/Line 1/Pump 3", ""),
        ("spBv1.0/g/DDATA/n/p1", ""), ("spBv1.0/STATE/scada", "{}"), ("spBv1.0/g/NCMD/n", ""),
    )  # fmt: skip
    sources, seen, _ = found(messages)
    assert sorted(source.topic for source in sources) == [
        "spBv1.0/Plant 1/+/{asset...}", "spBv1.0/g/+/{asset...}"
    ]  # fmt: skip
    assert set(seen) == {"line_1.pump_3", "n.p1"}
    assert "No birth was heard" in told(messages)


def test_what_is_ours_or_not_understood_is_no_source() -> None:
    messages = heard(
        ("offbeat/gw1/health", '{"uptime_s": 1}'), ("homeassistant/sensor/x/config", '{"a": 1}'),
        ("$SYS/broker/uptime", "3"), ("cam/1", "\x00\x01"), ("word/x", "online"),
    )  # fmt: skip
    recognised = recognise(messages)
    assert recognised.proposals == []
    assert recognised.strange == ["cam/1", "word/x"]


def test_proposals_never_match_the_same_topics() -> None:
    messages = heard(
        *[(f"plant/p{n}/{what}", "1.5") for n in range(3) for what in ("a", "b")],
        *[(f"plant/q{n}/state", '{"flow": 1.5, "heat": 2.5}') for n in range(2)],
    )
    sources, _, _ = found(messages)
    assert [source.topic for source in sources] == ["plant/{asset}/{sensor}"]


def test_two_devices_of_one_name_stay_two_assets() -> None:
    messages = heard(("zigbee2mqtt/a/lamp", '{"power": 1}'), ("zigbee2mqtt/b/lamp", '{"power": 2}'))
    _, seen, _ = found(messages)
    assert set(seen) == {"lamp", "lamp_2"}


def test_rates_and_ranges_are_those_of_the_samples() -> None:
    messages = [
        Heard("plant/p1", f'{{"ts": {TIME_MS + n * 5000}, "flow": {n}}}'.encode(), n)
        for n in range(5)
    ]
    _, seen, _ = found(messages)
    assert seen["p1"].every_ms == 5000
    assert (seen["p1"].sensors["flow"].low, seen["p1"].sensors["flow"].high) == (0.0, 4.0)


def told(messages: Iterable[Heard], *, gateway: str = "gw1") -> str:
    sources, seen, proposals = found(messages)
    return write.text(
        write.Found(
            gateway=gateway, origin="a test", mqtt=config.Mqtt(client_id="x", port=1883),
            proposals=[p._replace(source=s) for p, s in zip(proposals, sources, strict=True)],
            assets=seen, models=write.models(seen, bundle="", sensors=()),
        )
    )  # fmt: skip


def read(text: str, folder: Path) -> tuple[config.Config | None, list[str]]:
    path = folder / "offbeat.toml"
    path.write_text(text)
    return config.read(path, {})


def test_assets_with_other_sensors_get_a_model_of_their_own(tmp_path: Path) -> None:
    messages = heard(
        *[(f"plant/pump{n}", '{"flow": 1.5}') for n in range(2)],
        *[(f"plant/fan{n}", '{"speed_rpm": 15}') for n in range(3)],
    )
    made, problems = read(told(messages), tmp_path)
    assert made is not None
    assert not problems
    assert [(m.bundle.rpartition("/")[2], m.assets) for m in made.models] == [
        ("fan.offbeat", ("fan0", "fan1", "fan2")), ("pump.offbeat", ("pump0", "pump1"))
    ]  # fmt: skip
    assert "speed_rpm: 15 to 15 rpm?" in told(messages)


TOPICS = (
    st.lists(
        st.text(st.characters(codec="utf-8", exclude_characters="/+#\x00"), max_size=12),
        min_size=1,
        max_size=4,
    )
    .map("/".join)
    .filter(bool)
)
PAYLOADS = st.one_of(
    st.binary(max_size=40),
    st.sampled_from([
        b"1.5", b'{"value": 2}', b'{"a": 1, "id": "X y"}', b"[]", b'[{"a": 1}]', b'{"a": {"b": 2}}',
        LINE.format(n=1).encode(), METRIC.format(n=1).encode(), b'{"metrics": [1]}',
        b'{"metrics": [{"fields": {}, "tags": {}, "name": 1}]}', b'{"state": "on", "power": 3}',
    ]),
)  # fmt: skip


@given(st.lists(st.builds(Heard, TOPICS, PAYLOADS, st.just(TIME_MS)), max_size=12))
def test_whatever_is_heard_the_file_is_one_that_the_daemon_reads(messages: list[Heard]) -> None:
    text = told(messages)
    table = tomllib.loads(text)
    _, seen, _ = found(messages)
    assert all(NAME.fullmatch(name) for name in seen)
    assert bool(table.get("source")) == bool(seen)


@given(st.text(max_size=80), st.lists(st.text(max_size=8)))
def test_a_name_is_valid_and_new(name: str, taken: list[str]) -> None:
    assert NAME.fullmatch(slug(name, taken))
    assert slug(name, taken) not in taken


def test_a_history_and_a_bundle_make_a_file_that_passes(
    tmp_path: Path, manifest: Manifest, capsys: pytest.CaptureFixture[str]
) -> None:
    plain, members = answered(manifest)
    bundle.write(tmp_path / "tiny.offbeat", plain, members)
    recording = tmp_path / "pumps.csv"
    rows = [f"2025-01-01T00:00:{n:02}Z;P{n % 2};{n}.5;2{n}" for n in range(20)]
    recording.write_text("\n".join(["Zeit;Asset;flow;heat", *rows]))
    out = tmp_path / "offbeat.toml"
    words = ["init", str(recording), "--out", str(out), "--bundle", str(tmp_path / "tiny.offbeat")]
    assert main([*words, "--id", "gw7"]) == 0
    assert check(out, {}).problems == []
    made = config.load(out, {})
    assert (made.gateway.id, made.mqtt.host) == ("gw7", "localhost")
    assert "p0: 2 sensors, every 2 s" in out.read_text()
    capsys.readouterr()
    assert main(words) == 78
    assert "--force overwrites it" in capsys.readouterr().err
    assert main([*words, "--force"]) == 0


def test_a_bundle_whose_sensors_nobody_has_is_told(
    tmp_path: Path, manifest: Manifest, capsys: pytest.CaptureFixture[str]
) -> None:
    plain, members = answered(manifest)
    bundle.write(tmp_path / "tiny.offbeat", plain, members)
    recording = tmp_path / "pump.csv"
    recording.write_text("ts,Flow,Heat\n" + "".join(f"{1_700_000_000 + n},1,2\n" for n in range(9)))
    out = tmp_path / "offbeat.toml"
    words = ["init", str(recording), "--out", str(out), "--bundle", str(tmp_path / "tiny.offbeat")]
    assert main(words) == 0
    told = "no asset has all its sensors (flow, heat); values in a [[source]] maps others' names"
    assert f"problem tiny.offbeat: {told}" in capsys.readouterr().out
    assert f"# {told}\n[[model]]" in out.read_text()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a,b\n", "expected a head and rows"),
        ("a,b\nx,1\ny,2\n", "expected a column of times"),
        ("ts,word\n1700000000,x\n1700000001,y\n", "expected columns of numbers"),
    ],
)
def test_a_file_that_is_no_history_is_told_why(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "h.csv"
    path.write_text(text)
    with pytest.raises(ConfigError, match=problem):
        history.read(path)
