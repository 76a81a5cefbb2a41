"""Edge nodes of Sparkplug B: births, data, deaths, and whatever else comes (extra `sparkplug`).

``data/sparkplug.json`` holds payloads as the reference implementation's own definition of the
messages (Eclipse Tahu's) writes them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from chance import examples
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("google.protobuf", reason="the extra `sparkplug` is not installed")

from offbeat_edge import config
from offbeat_edge.config import Config, Gateway, Source
from offbeat_edge.errors import ConfigError
from offbeat_edge.payload.decoder import Decoder
from offbeat_edge.shards.worker import check_sources
from offbeat_edge.sparkplug.host import ASK_MS, SEQS, rebirth
from offbeat_edge.sparkplug.metric import BOOLEAN, DOUBLE, INT8, INT32, INT64
from offbeat_edge.sparkplug.proto import new_payload, parse

if TYPE_CHECKING:
    from offbeat_edge.schema import Reject, Sample

GOLDEN = {
    name: bytes.fromhex(text)
    for name, text in json.loads(
        (Path(__file__).parent / "data" / "sparkplug.json").read_text()
    ).items()
}
TIME_MS = 1_700_000_000_000
SOURCE = Source(preset="sparkplug")
NCMD = "spBv1.0/g/NCMD/n"


class Plant:
    """A decoder, and one edge node that talks to it."""

    def __init__(self, source: Source = SOURCE, *, sensors: tuple[str, ...] = ()) -> None:
        self.decoder = Decoder(
            (source,), max_payload_bytes=1 << 16, sensors=(lambda _: sensors) if sensors else None
        )
        self.seq = 0
        self.now_ms = TIME_MS

    def say(
        self, kind: str, *metrics: dict[str, Any], device: str = "", seq: int | None = None
    ) -> tuple[list[Sample], list[Reject]]:
        payload = new_payload()
        payload.timestamp = self.now_ms
        if kind == "NBIRTH":
            self.seq = 0
        if kind != "NDEATH":
            payload.seq = self.seq if seq is None else seq
            self.seq = (payload.seq + 1) % SEQS
        for metric in metrics:
            payload.metrics.add(**metric)
        return self.send(kind, payload.SerializeToString(), device=device)

    def send(
        self, kind: str, payload: bytes, *, device: str = "", retained: bool = False
    ) -> tuple[list[Sample], list[Reject]]:
        topic = "/".join(filter(None, ("spBv1.0/g", kind, "n", device)))
        return self.decoder.decode(topic, payload, self.now_ms, retained)

    def born(self, *, bd_seq: int = 7) -> None:
        """Be born, with device ``d`` of two metrics."""
        self.say("NBIRTH", metric("bdSeq", bd_seq, datatype=INT64))
        self.say("DBIRTH", metric("a", 1.0, alias=1), metric("b", 2.0, alias=2), device="d")
        assert self.decoder.asks() == []


def metric(
    name: str = "", value: float | None = None, *, datatype: int = DOUBLE, **more: object
) -> dict[str, object]:
    made: dict[str, object] = {"name": name.encode()} if name else {}
    if value is None:
        told: dict[str, object] = {"is_null": True}
    else:
        told = {"long_value": int(value)} if datatype == INT64 else {"double_value": value}
    return {**made, "datatype": datatype, **told, **more}


def values(samples: list[Sample]) -> list[dict[str, float]]:
    return [sample.values for sample in samples]


def test_payloads_of_the_reference_are_read() -> None:
    plant = Plant()
    samples, rejects = plant.send("NBIRTH", GOLDEN["NBIRTH"])
    assert not rejects
    assert [(s.asset, s.time_ms, s.values) for s in samples] == [
        ("n", TIME_MS, {"Supply Voltage": 23.5})
    ]
    samples, rejects = plant.send("DBIRTH", GOLDEN["DBIRTH"], device="pump1")
    assert not rejects
    (birth,) = samples
    assert birth.asset == "n.pump1"
    assert birth.values == {
        "i8": -1.0, "i16": -2.0, "i32": -3.0, "i64": -4.0, "u8": 255.0, "u16": 65535.0,
        "u32": 4294967295.0, "u64": 2.0**53, "float": 1.5, "double": -0.1, "on": 1.0, "good": 8.0,
    }  # fmt: skip
    samples, rejects = plant.send("DDATA", GOLDEN["DDATA"], device="pump1")
    assert not rejects
    assert samples[0].time_ms == TIME_MS + 1000
    assert samples[0].values == birth.values | {"double": 0.25, "i8": 5.0}
    plant.send("NDEATH", GOLDEN["NDEATH"])
    _, rejects = plant.send("DDATA", GOLDEN["DDATA"], device="pump1")
    assert [reject.reason for reject in rejects] == ["no_birth"]


def test_the_request_for_a_rebirth_is_the_references_to_the_byte() -> None:
    assert rebirth(TIME_MS) == GOLDEN["NCMD"]


def test_a_sample_holds_what_stands_until_it_changes_is_null_or_its_device_dies() -> None:
    plant = Plant()
    plant.born()
    assert values(plant.say("DDATA", metric(value=3.0, alias=1), device="d")[0]) == [
        {"a": 3.0, "b": 2.0}
    ]
    assert values(plant.say("DDATA", metric(alias=2), device="d")[0]) == [{"a": 3.0}]
    plant.say("DDEATH", device="d")
    samples, rejects = plant.say("DDATA", metric(value=1.0, alias=1), device="d")
    assert (samples, rejects[0].reason) == ([], "no_birth")


def test_history_told_afterwards_stands_alone_and_changes_nothing() -> None:
    plant = Plant()
    plant.born()
    old = metric(value=9.0, alias=1, timestamp=TIME_MS - 60_000, is_historical=True)
    samples, _ = plant.say("DDATA", old, metric(value=5.0, alias=2), device="d")
    assert [(s.time_ms, s.values) for s in samples] == [
        (TIME_MS - 60_000, {"a": 9.0}), (TIME_MS, {"a": 1.0, "b": 5.0})
    ]  # fmt: skip


def test_a_model_is_given_its_own_sensors_by_the_names_it_has() -> None:
    source = Source(preset="sparkplug", values={"speed": "a"})
    plant = Plant(source)
    plant.born()
    assert values(plant.say("DDATA", metric(value=3.0, alias=1), device="d")[0]) == [{"speed": 3.0}]
    plant = Plant(sensors=("b",))
    plant.born()
    assert values(plant.say("DDATA", metric(value=3.0, alias=1), device="d")[0]) == [{"b": 2.0}]


def test_sequence_numbers_wrap_and_a_gap_asks_for_a_rebirth() -> None:
    plant = Plant()
    plant.born()
    for _ in range(2 * SEQS):
        assert not plant.say("DDATA", metric(value=3.0, alias=1), device="d")[1]
    samples, rejects = plant.say(
        "DDATA", metric(value=4.0, alias=1), device="d", seq=(plant.seq + 1) % SEQS
    )
    assert rejects[0].reason == "seq_gap"
    assert samples[0].values["a"] == 4.0  # what it says is no less true
    assert plant.decoder.asks() == [NCMD]


def test_data_of_the_unborn_asks_once_in_a_while() -> None:
    plant = Plant()
    for _ in range(5):
        samples, rejects = plant.say("DDATA", metric(value=3.0, alias=1), device="d")
        assert (samples, rejects[0].reason) == ([], "no_birth")
    assert plant.decoder.asks() == [NCMD]
    plant.now_ms += ASK_MS
    plant.say("DDATA", device="d")
    assert plant.decoder.asks() == [NCMD]
    plant.born()


def test_an_alias_nobody_was_given_is_refused_and_the_rest_is_taken() -> None:
    plant = Plant()
    plant.born()
    samples, rejects = plant.say(
        "DDATA", metric(value=3.0, alias=99), metric(value=4.0, alias=1), device="d"
    )
    assert values(samples) == [{"a": 4.0, "b": 2.0}]
    assert "alias 99" in rejects[0].detail
    assert plant.decoder.asks() == [NCMD]


def test_an_alias_of_another_device_is_a_strangers() -> None:
    plant = Plant()
    plant.born()
    plant.say("DBIRTH", metric("c", 1.0, alias=3), device="e")
    samples, rejects = plant.say("DDATA", metric(value=4.0, alias=1), device="e")
    assert (samples, rejects[0].reason) == ([], "no_birth")


def test_the_late_death_of_an_earlier_session_kills_nobody() -> None:
    plant = Plant()
    plant.born(bd_seq=8)
    plant.say("NDEATH", metric("bdSeq", 7, datatype=INT64))
    assert plant.say("DDATA", metric(value=3.0, alias=1), device="d")[0]
    plant.say("NDEATH", metric("bdSeq", 8, datatype=INT64))
    assert not plant.say("DDATA", metric(value=3.0, alias=1), device="d")[0]


def test_a_nodes_birth_counts_though_its_name_is_no_assets() -> None:
    source = Source(preset="sparkplug", assets={"Line 1/Pump 3": "pump3"})
    decoder = Decoder((source,), max_payload_bytes=1 << 16)
    topics = ("spBv1.0/G/NBIRTH/Line 1", "spBv1.0/G/DBIRTH/Line 1/Pump 3")
    birth = new_payload()
    birth.metrics.add(**metric("bdSeq", 0, datatype=INT64))
    assert decoder.decode(topics[0], birth.SerializeToString(), TIME_MS, retained=False) == ([], [])
    device = new_payload()
    device.seq, device.timestamp = 1, TIME_MS
    device.metrics.add(**metric("flow", 2.5))
    (sample,), rejects = decoder.decode(
        topics[1], device.SerializeToString(), TIME_MS, retained=False
    )
    assert (sample.asset, sample.values, rejects) == ("pump3", {"flow": 2.5}, [])


def test_devices_of_two_groups_never_become_one_asset() -> None:
    plant = Plant()
    plant.born()
    device = GOLDEN["DBIRTH"]
    plant.decoder.decode("spBv1.0/h/NBIRTH/n", GOLDEN["NBIRTH"], TIME_MS, retained=False)
    samples, rejects = plant.decoder.decode("spBv1.0/h/DBIRTH/n/d", device, TIME_MS, retained=False)
    assert not samples
    assert rejects[-1].reason == "asset_collision"


def test_commands_and_states_are_not_for_us_and_retained_births_are_old() -> None:
    plant = Plant()
    assert plant.send("NCMD", rebirth(TIME_MS)) == ([], [])
    assert plant.decoder.decode("spBv1.0/STATE/scada", b"{}", 0, retained=True) == ([], [])
    _, rejects = plant.send("NBIRTH", GOLDEN["NBIRTH"], retained=True)
    assert rejects[0].reason == "retained"


def test_a_wrong_time_costs_its_metric_alone() -> None:
    plant = Plant()
    plant.born()
    samples, rejects = plant.say(
        "DDATA", metric(value=3.0, alias=1, timestamp=5), metric(value=4.0, alias=2), device="d"
    )
    assert values(samples) == [{"a": 1.0, "b": 4.0}]
    assert rejects[0].reason == "time_out_of_range"


@pytest.mark.parametrize(
    ("datatype", "value", "number"),
    [(INT8, 0x80, -128.0), (INT8, 0xFFFFFF80, -128.0), (INT32, 0x7FFFFFFF, 2147483647.0)],
)
def test_whole_numbers_are_signed_by_their_type(datatype: int, value: int, number: float) -> None:
    plant = Plant()
    plant.say("NBIRTH")
    samples, _ = plant.say("DBIRTH", {"name": b"x", "datatype": datatype, "int_value": value},
                           device="d")  # fmt: skip
    assert values(samples) == [{"x": number}]


METRICS = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from([b"a", b"b", b"\xff", b"bdSeq", b"x" * 200, b""]),
        "alias": st.integers(0, 3), "timestamp": st.sampled_from([0, 1, TIME_MS, 2**64 - 1]),
        "datatype": st.integers(0, 20), "is_null": st.booleans(), "is_historical": st.booleans(),
        "int_value": st.integers(0, 2**32 - 1), "double_value": st.floats(width=64),
    },
)  # fmt: skip
KINDS = st.sampled_from(["NBIRTH", "NDEATH", "NDATA", "DBIRTH", "DDEATH", "DDATA", "NCMD", "X"])


@settings(max_examples=examples(60))
@given(st.lists(st.tuples(KINDS, st.lists(METRICS, max_size=4), st.sampled_from(["", "d", "e/f"]),
                          st.none() | st.integers(0, 2**64 - 1)), max_size=12))  # fmt: skip
def test_whatever_is_said_in_whatever_order_samples_are_sound(
    story: list[tuple[str, list[dict[str, Any]], str, int | None]],
) -> None:
    plant = Plant()
    for kind, metrics, device, seq in story:
        samples, _ = plant.say(kind, *metrics, device=device, seq=seq)
        for sample in samples:
            assert sample.values
            assert all(abs(value) < float("inf") for value in sample.values.values())
            assert kind in ("NBIRTH", "DBIRTH", "NDATA", "DDATA")


@settings(max_examples=examples(100))
@given(
    st.sampled_from(sorted(GOLDEN)),
    st.lists(st.tuples(st.integers(0, 900), st.integers(0, 255)), max_size=6),
)
def test_damaged_payloads_are_read_or_refused_and_never_raise(
    kind: str, changes: list[tuple[int, int]]
) -> None:
    plant = Plant()
    plant.born()
    payload = bytearray(GOLDEN[kind])
    for place, value in changes:
        payload[place % len(payload)] = value
    device = "d" if kind.startswith("D") else ""
    samples, rejects = plant.send(kind, bytes(payload), device=device)
    assert all(reject.reason for reject in rejects)
    assert all(sample.values for sample in samples)


@pytest.mark.parametrize("payload", [b"\xff", b"\x12\xff", b"hello"])
def test_other_bytes_are_no_payload(payload: bytes) -> None:
    _, rejects = Plant().send("NBIRTH", payload)
    assert rejects[0].reason == "not_sparkplug"


def test_a_compressed_payload_is_said_to_be_one() -> None:
    payload = new_payload()
    payload.uuid = b"SPBV1.0_COMPRESSED"
    _, rejects = Plant().send("NBIRTH", payload.SerializeToString())
    assert "not compressed" in rejects[0].detail


def test_a_topic_that_names_no_kind_cannot_be_sparkplug(tmp_path: Path) -> None:
    file = tmp_path / "offbeat.toml"
    source = '[[source]]\npreset = "sparkplug"\ntopic = "plant/{asset}"'
    file.write_text(f'[gateway]\nid = "g"\n{source}\n[[model]]\nbundle = "b"\n')
    _, problems = config.read(file, {})
    assert "expected spBv1.0/GROUP/+/{asset...}" in "\n".join(problems)


def test_edge_nodes_are_not_split_among_shards() -> None:
    with pytest.raises(ConfigError, match="expected no Sparkplug with --shards"):
        check_sources(Config(gateway=Gateway(id="g"), sources=(SOURCE,)))


def test_a_rebirth_is_a_boolean_that_is_true() -> None:
    (asked,) = parse(rebirth(TIME_MS)).metrics
    assert (asked.name, asked.datatype, asked.boolean_value) == (
        b"Node Control/Rebirth", BOOLEAN, True
    )  # fmt: skip
