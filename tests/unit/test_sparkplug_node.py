"""A gateway as an edge node, as a Sparkplug host sees it (extra `sparkplug`)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from chance import examples
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("google.protobuf", reason="the extra `sparkplug` is not installed")

from offbeat_edge.config import Source
from offbeat_edge.payload.decoder import Decoder
from offbeat_edge.schema import AlertEvent, AssetState, ScoreRecord
from offbeat_edge.sparkplug import sparkplug_command
from offbeat_edge.sparkplug.bridge import Session
from offbeat_edge.sparkplug.host import SEQS, rebirth
from offbeat_edge.sparkplug.node import METRICS, STATUS, EdgeNode
from offbeat_edge.sparkplug.proto import parse

if TYPE_CHECKING:
    from offbeat_edge.schema import State

PAGE = (Path(__file__).parents[2] / "docs" / "sparkplug.md").read_text()
NOW_MS = 1_700_000_000_000


def node() -> EdgeNode:
    return EdgeNode(group="g", node="n", gateway="gw1")


def state(asset: str, told: State = "ok", *, alert: str | None = None) -> tuple[str, bytes]:
    made = AssetState(asset=asset, state=told, since="", since_ms=NOW_MS, alert=alert, score=0.5)
    return f"offbeat/gw1/asset/{asset}/state", msgspec.json.encode(made)


def alert(asset: str, kind: str = "new") -> tuple[str, bytes]:
    plain = {
        "schema": "1.2", "id": "a1/0", "alert": "a1", "seq": 0, "type": kind, "kind": "anomaly",
        "severity": "critical", "site": "s", "gateway": "gw1", "asset": asset, "start": "",
        "start_ms": NOW_MS, "end": None, "end_ms": None, "time": "", "time_ms": NOW_MS + 5,
        "score": 3.5, "peak": 3.5, "message": "far off", "model": None,
        "contributions": [{"sensor": "flow", "share": 0.9}],
    }  # fmt: skip
    return f"offbeat/gw1/asset/{asset}/alert", msgspec.json.encode(
        msgspec.convert(plain, AlertEvent)
    )


def score(asset: str, value: float) -> tuple[str, bytes]:
    made = ScoreRecord(asset=asset, time="", time_ms=NOW_MS + 9, score=value)
    return f"offbeat/gw1/asset/{asset}/score", msgspec.json.encode(made)


def told(payload: bytes) -> dict[str, object]:
    """Metric → value; None for null."""
    found: dict[str, object] = {}
    for metric in parse(payload).metrics:
        fields = ("string_value", "double_value", "boolean_value", "long_value")
        value: Any = next((getattr(metric, f) for f in fields if metric.HasField(f)), None)
        found[metric.name.decode()] = value.decode() if isinstance(value, bytes) else value
        assert (value is None) == metric.is_null
    return found


def test_an_asset_is_a_device_from_its_first_state_to_its_last() -> None:
    scada = node()
    assert scada.hear(*state("p1"), now_ms=NOW_MS) == []  # not born yet
    births = scada.births(bd_seq=3, now_ms=NOW_MS)
    assert [topic for topic, _ in births] == ["spBv1.0/g/NBIRTH/n", "spBv1.0/g/DBIRTH/n/p1"]
    assert told(births[0][1]) == {"bdSeq": 3, "Node Control/Rebirth": False, STATUS: None}
    assert told(births[1][1]).keys() == METRICS.keys()
    ((topic, _),) = scada.hear(*state("p2"), now_ms=NOW_MS)
    assert topic == "spBv1.0/g/DBIRTH/n/p2"
    ((topic, _),) = scada.hear("offbeat/gw1/asset/p1/state", b"", now_ms=NOW_MS)
    assert topic == "spBv1.0/g/DDEATH/n/p1"


def test_an_alert_is_told_from_its_beginning_to_its_end_and_only_what_changed() -> None:
    scada = node()
    scada.births(bd_seq=0, now_ms=NOW_MS)
    scada.hear(*state("p1"), now_ms=NOW_MS)
    ((topic, data),) = scada.hear(*alert("p1"), now_ms=NOW_MS)
    assert topic == "spBv1.0/g/DDATA/n/p1"
    assert told(data) == {
        "Alert/Active": True, "Alert/Id": "a1", "Alert/Kind": "anomaly",
        "Alert/Severity": "critical", "Alert/Message": "far off", "Alert/Top Sensor": "flow",
    }  # fmt: skip
    assert parse(data).metrics[0].timestamp == NOW_MS + 5
    ((_, data),) = scada.hear(*state("p1", "anomaly", alert="a1"), now_ms=NOW_MS)
    assert told(data) == {"State": "anomaly"}
    ((_, data),) = scada.hear(*alert("p1", "end"), now_ms=NOW_MS)
    assert told(data) == {
        "Alert/Active": False, "Alert/Id": None, "Alert/Kind": None, "Alert/Severity": None,
        "Alert/Message": None, "Alert/Top Sensor": None,
    }  # fmt: skip
    ((_, data),) = scada.hear(*state("p1"), now_ms=NOW_MS)
    assert told(data) == {"State": "ok"}
    assert scada.hear(*state("p1"), now_ms=NOW_MS) == []


def test_an_alert_that_overtakes_its_assets_first_state_is_told_with_the_birth() -> None:
    scada = node()
    scada.births(bd_seq=0, now_ms=NOW_MS)
    ((topic, data),) = scada.hear(*alert("p1"), now_ms=NOW_MS)
    assert (topic, told(data)["Alert/Kind"]) == ("spBv1.0/g/DBIRTH/n/p1", "anomaly")
    assert told(data)["State"] is None


def test_the_end_of_one_alert_is_not_that_of_another() -> None:
    scada = node()
    scada.births(bd_seq=0, now_ms=NOW_MS)
    scada.hear(*state("p1", "sensor_fault", alert="b2"), now_ms=NOW_MS)
    assert scada.hear(*alert("p1", "end"), now_ms=NOW_MS) == []


def test_the_gateways_life_and_a_hosts_request_are_heard() -> None:
    scada = node()
    scada.births(bd_seq=5, now_ms=NOW_MS)
    ((topic, data),) = scada.hear("offbeat/gw1/status", b"offline", now_ms=NOW_MS)
    assert (topic, told(data)) == ("spBv1.0/g/NDATA/n", {STATUS: "offline"})
    ((topic, birth),) = scada.hear(scada.command_topic, rebirth(NOW_MS), now_ms=NOW_MS)
    assert (topic, told(birth)["bdSeq"], told(birth)[STATUS]) == (
        "spBv1.0/g/NBIRTH/n",
        5,
        "offline",
    )
    for payload in (b"", b"\xff", rebirth(NOW_MS)[:-2]):
        assert scada.hear(scada.command_topic, payload, now_ms=NOW_MS) == []


def test_each_sessions_will_is_the_death_of_its_own_birth() -> None:
    scada = node()
    session = Session(scada, first=SEQS - 1)
    for expected in (0, 1):
        will = session.will()
        assert (will.topic, will.retain) == ("spBv1.0/g/NDEATH/n", False)
        ((_, birth),) = scada.births(bd_seq=session.bd_seq, now_ms=NOW_MS)
        assert told(will.payload) == {"bdSeq": expected}
        assert told(birth)["bdSeq"] == expected


WORDS = st.one_of(
    st.sampled_from([state("p1"), state("p2", "anomaly", alert="a1"), alert("p1"),
                     alert("p2", "end"), ("offbeat/gw1/asset/p1/state", b""),
                     ("offbeat/gw1/status", b"online"),
                     ("spBv1.0/g/NCMD/n", rebirth(NOW_MS)), ("offbeat/gw1/x", b"{}")]),
    st.builds(score, st.sampled_from(["p1", "p2"]), st.floats(0, 9)),
    st.tuples(st.sampled_from(["offbeat/gw1/asset/p1/state", "offbeat/gw1/status"]), st.binary()),
)  # fmt: skip


@settings(max_examples=examples(60))
@given(st.lists(WORDS, max_size=40))
def test_whatever_a_gateway_says_a_host_follows_without_a_gap(
    words: list[tuple[str, bytes]],
) -> None:
    """Our own decoder is the host: no birth and no message is missing."""
    scada = node()
    host = Decoder((Source(preset="sparkplug"),), max_payload_bytes=1 << 16)
    said = scada.births(bd_seq=0, now_ms=NOW_MS)
    for topic, payload in words:
        said += scada.hear(topic, payload, now_ms=NOW_MS)
    for topic, payload in said:
        samples, rejects = host.decode(topic, payload, NOW_MS, retained=False)
        assert rejects == []
        assert {sample.asset for sample in samples} <= {"n.p1", "n.p2"}
    assert host.asks() == []


def test_the_page_lists_metrics_and_keys_as_they_are_and_its_example_loads(tmp_path: Path) -> None:
    rows = dict(re.findall(r"^\| `([A-Z][A-Za-z/ ]+)` \| (\w+) \|", PAGE, re.MULTILINE))
    names = {12: "String", 10: "Double", 11: "Boolean"}
    assert rows == {name: names[datatype] for name, datatype in METRICS.items()}
    keys = set(re.findall(r"^\| `([a-z]+)` \|", PAGE, re.MULTILINE))
    assert keys == set(sparkplug_command.Sparkplug.__struct_fields__)
    (example,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    path = tmp_path / "sparkplug.toml"
    path.write_text(example)
    assert sparkplug_command.load(path, {}).mqtt.client_id == "offbeat-sparkplug-scada"
