"""What a message becomes: samples, or a reason."""

from __future__ import annotations

import pytest

from offbeat_edge.config import Source
from offbeat_edge.payload.decoder import MAX_ROUTES, Decoder
from offbeat_edge.payload.fields import MAX_DEPTH
from offbeat_edge.payload.message import MAX_REJECTS, MAX_SENSOR_CHARS
from offbeat_edge.schema import Reject, Sample

Decoded = tuple[list[Sample], list[Reject]]

NOW = 1_750_000_000_000  # the gateway's clock, ms
T = 1_700_000_000_123  # a sender's, ms


def decoder(**source: object) -> Decoder:
    return Decoder((Source(**{"topic": "plant/{asset}", **source}),), max_payload_bytes=1 << 16)  # type: ignore[arg-type]


def of_sensor(payload: bytes, **source: object) -> Decoded:
    made = decoder(topic="plant/{asset...}/{sensor}", **source)
    return made.decode("plant/hall1/pump3/speed", payload, NOW, retained=False)


def of_asset(payload: bytes, *, retained: bool = False, **source: object) -> Decoded:
    return decoder(**source).decode("plant/p1", payload, NOW, retained)


def reasons(rejects: list[Reject]) -> list[str]:
    return [reject.reason for reject in rejects]


# ------------------------------------------------------------ an object per asset


@pytest.mark.parametrize(
    ("payload", "values"),
    [
        (b'{"ts": 1700000000123, "a": 1.5, "b": -2}', {"a": 1.5, "b": -2.0}),
        (b'{"ts": 1700000000.123, "a": 1}', {"a": 1.0}),
        (b'{"a": 1, "timestamp": "2023-11-14T22:13:20.123Z"}', {"a": 1.0}),
        (b'{"time": "2023-11-15T00:13:20.123+02:00", "a": true, "b": false}', {"a": 1.0, "b": 0.0}),
        (b'{"t": 1700000000123, "a": 0}', {"a": 0.0}),
        (b'{"ts": 1700000000123, "a": 1, "unit": "C", "ids": [1, 2], "b": null}', {"a": 1.0}),
        (b'{"ts": 1700000000123, "motor": {"temp": 4, "bearing": {"rms": 5.5}}}',
         {"motor.temp": 4.0, "motor.bearing.rms": 5.5}),
        (b'\xef\xbb\xbf{"ts": 1700000000123, "a": 1}', {"a": 1.0}),
    ],
)  # fmt: skip
def test_an_object_gives_its_numbers_at_its_time(payload: bytes, values: dict[str, float]) -> None:
    assert of_asset(payload) == ([Sample("p1", T, values)], [])


def test_values_are_floats_whatever_the_number_was() -> None:
    samples, _ = of_asset(b'{"ts": 1700000000123, "a": 1, "b": 2.0, "c": true}')
    assert {type(value) for value in samples[0].values.values()} == {float}


def test_a_message_without_a_time_gets_the_gateways() -> None:
    assert of_asset(b'{"a": 1}') == ([Sample("p1", NOW, {"a": 1.0}, own_time=False)], [])


def test_a_temperature_called_t_is_no_time() -> None:
    samples, rejects = of_asset(b'{"t": 21.5, "a": 1}')
    assert samples == [Sample("p1", NOW, {"t": 21.5, "a": 1.0}, own_time=False)]
    assert not rejects


def test_a_retained_message_counts_only_with_its_own_time() -> None:
    assert reasons(of_asset(b'{"a": 1}', retained=True)[1]) == ["retained"]
    assert of_asset(b'{"ts": 1700000000123, "a": 1}', retained=True)[0]


def test_nan_and_infinity_cost_their_field_and_not_the_message() -> None:
    payload = b'{"ts": 1700000000123, "a": NaN, "b": -Infinity, "c": 3, "note": "NaN Infinity"}'
    samples, rejects = of_asset(payload)
    assert samples == [Sample("p1", T, {"c": 3.0})]
    assert reasons(rejects) == ["not_finite", "not_finite"]


def test_a_number_beyond_float64_costs_its_field() -> None:
    samples, rejects = of_asset(b'{"ts": 1700000000123, "a": 1%s, "c": 3}' % (b"0" * 400))
    assert samples == [Sample("p1", T, {"c": 3.0})]
    assert reasons(rejects) == ["not_finite"]


def test_a_known_sensor_of_a_wrong_type_is_refused_and_the_others_taken() -> None:
    made = Decoder(
        (Source(topic="plant/{asset}"),), max_payload_bytes=1000, sensors=lambda _: {"a", "b", "c"}
    )
    payload = b'{"ts": 1700000000123, "a": "12.5", "b": [1], "c": 3, "unit": "C"}'
    samples, rejects = made.decode("plant/p1", payload, NOW, retained=False)
    assert samples == [Sample("p1", T, {"c": 3.0})]
    assert reasons(rejects) == ["wrong_type", "wrong_type"]
    assert rejects[0] == ("wrong_type", "'a': expected a number, got '12.5'", "plant/p1")


def test_nulls_alone_are_neither_a_sample_nor_a_fault() -> None:
    assert of_asset(b'{"ts": 1700000000123, "a": null}') == ([], [])


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "empty"),
        (b" \n", "empty"),
        (b"hello", "not_json"),
        (b'{"a": 1', "not_json"),
        (b'{"a": 1} {"a": 2}', "not_json"),
        (b"\xff\xfe{\x00}\x00", "encoding"),
        (b'{"caf\xe9": 1}', "encoding"),
        (b'{"a": 1e999}', "not_finite"),
        (b"1" * 5000, "not_finite"),
        (b"[" * 60_000, "too_deep"),
        (b'{"a":' * 10 + b"1" + b"}" * 10, "too_deep"),
        (b" " * 70_000, "too_large"),
        (b"12.5", "wrong_type"),
        (b'"text"', "wrong_type"),
        (b"null", "wrong_type"),
        (b"[1, 2]", "wrong_type"),
        (b"[]", "no_values"),
        (b"{}", "no_values"),
        (b'{"state": "running"}', "no_values"),
        (b'{"ts": [], "a": []}', "no_values"),
        (b'{"ts": "soon", "a": 1}', "bad_time"),
        (b'{"ts": {}, "a": 1}', "bad_time"),
        (b'{"ts": true, "a": 1}', "bad_time"),
        (b'{"ts": 0, "a": 1}', "time_out_of_range"),
        (b'{"ts": 7258118400, "a": 1}', "time_out_of_range"),
        (b'{"ts": "2199-01-01", "a": 1}', "time_out_of_range"),
        (b'{"ts": -1e300, "a": 1}', "time_out_of_range"),
        (b'{"ts": 1700000000123, "%s": 1}' % (b"a" * (MAX_SENSOR_CHARS + 1)), "sensor_name"),
        (b'{"ts": 1700000000123, "%s": 1.5}' % (b"a" * (MAX_SENSOR_CHARS + 1)), "sensor_name"),
    ],
    ids=lambda value: value[:24] if isinstance(value, bytes) else value,
)
def test_a_bad_message_is_refused_for_its_reason(payload: bytes, reason: str) -> None:
    samples, rejects = of_asset(payload)
    assert samples == []
    assert set(reasons(rejects)) == {reason}


def test_objects_are_looked_into_to_a_stated_depth() -> None:
    samples, _ = of_asset(b'{"a":' * MAX_DEPTH + b'{"a": 1}' + b"}" * MAX_DEPTH)
    assert [len(name.split(".")) for name in samples[0].values] == [MAX_DEPTH + 1]


# ------------------------------------------------------------ topics


def test_an_unknown_topic_is_refused() -> None:
    assert reasons(decoder().decode("other/p1", b"{}", NOW, retained=False)[1]) == ["unknown_topic"]


def test_our_own_topics_are_passed_over_however_wide_the_template() -> None:
    made = decoder(topic="{asset...}/{sensor}")
    assert made.decode("offbeat/gw1/asset/p1/score", b"1", NOW, retained=False) == ([], [])


@pytest.mark.parametrize("level", ["Pump", "p 1", "", "é", "a" * 65, "p\x00"])
def test_a_level_that_cannot_be_a_name_is_refused(level: str) -> None:
    _, rejects = decoder().decode(f"plant/{level}", b'{"a": 1}', NOW, retained=False)
    assert reasons(rejects) == ["asset_name"]


def test_a_path_and_its_dotted_twin_are_not_one_asset() -> None:
    made = decoder(topic="plant/{asset...}/data")
    assert (
        made.decode("plant/hall1/p1/data", b'{"a": 1}', NOW, retained=False)[0][0].asset
        == "hall1.p1"
    )
    _, rejects = made.decode("plant/hall1.p1/data", b'{"a": 1}', NOW, retained=False)
    assert reasons(rejects) == ["asset_name"]


def test_an_asset_can_have_another_name_and_nobody_else_has_it() -> None:
    made = decoder(assets={"Pump 1": "p1"})
    assert made.decode("plant/Pump 1", b'{"a": 1}', NOW, retained=False)[0][0].asset == "p1"
    _, rejects = made.decode("plant/p1", b'{"a": 1}', NOW, retained=False)
    assert reasons(rejects) == ["asset_collision"]


def test_memory_for_topics_is_bounded_and_forgetting_changes_nothing() -> None:
    made = decoder()
    first = made.decode("plant/p1", b'{"a": 1}', NOW, retained=False)
    for index in range(MAX_ROUTES + 10):
        made.decode(f"noise/{index}", b"", NOW, retained=False)
    assert len(made._routes) <= MAX_ROUTES  # noqa: SLF001 - the bound is the behaviour
    assert made.decode("plant/p1", b'{"a": 1}', NOW, retained=False) == first


def test_a_long_topic_is_shortened_in_its_reject() -> None:
    _, rejects = decoder().decode("x" * 65_535, b"{}", NOW, retained=False)
    assert len(rejects[0].topic) <= 256


# ------------------------------------------------------------ a number per topic


@pytest.mark.parametrize(
    ("payload", "value"),
    [(b"12.5", 12.5), (b" -3\n", -3.0), (b"1e3", 1000.0), (b"true", 1.0), (b"+7", 7.0),
     (b".5", 0.5), (b"007", 7.0)],
)  # fmt: skip
@pytest.mark.parametrize("form", ["auto", "number"])
def test_a_plain_number_is_its_topics_sensor(payload: bytes, value: float, form: str) -> None:
    samples, rejects = of_sensor(payload, format=form)
    assert samples == [Sample("hall1.pump3", NOW, {"speed": value}, own_time=False)]
    assert not rejects


def test_an_object_brings_the_number_and_its_time() -> None:
    expected = [Sample("hall1.pump3", T, {"speed": 12.5})]
    assert of_sensor(b'{"value": 12.5, "ts": 1700000000123, "unit": "rpm"}')[0] == expected
    assert (
        of_sensor(b'{"d": {"x": 12.5, "at": 1700000000123}}', prefix="d.x", time="d.at")[0]
        == expected
    )


def test_a_list_brings_several_numbers_in_the_order_of_time() -> None:
    payload = (
        b'[{"v": 2, "ts": 1700000001}, {"v": 1, "ts": 1700000000}, {"v": "x", "ts": 1700000002}]'
    )
    samples, rejects = of_sensor(payload)
    assert [sample.values["speed"] for sample in samples] == [1.0, 2.0]
    assert reasons(rejects) == ["wrong_type"]


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"nan", "not_finite"),
        (b"-inf", "not_finite"),
        (b"+1e999", "not_finite"),
        (b"NaN", "not_finite"),
        (b"1" + b"0" * 400, "not_finite"),
        (b"ON", "not_json"),
        (b"1_000", "not_json"),
        (b"12,5", "not_json"),
        (b'"12.5"', "wrong_type"),
        (b"[1]", "wrong_type"),
        (b'{"state": 1}', "no_values"),
        (b"", "empty"),
        (b"null", None),
    ],
)
def test_what_is_no_number_is_refused_on_a_sensor_topic(payload: bytes, reason: str | None) -> None:
    samples, rejects = of_sensor(payload)
    assert samples == []
    assert reasons(rejects) == ([reason] if reason else [])


# ------------------------------------------------------------ paths, batches, columns


def test_configured_paths_pick_the_values() -> None:
    samples, rejects = of_asset(
        b'{"head": {"at": 1700000000123}, "data": {"m": [{"t": 4}], "rpm": 5, "other": 9}}',
        prefix="data", time="head.at", values={"temp": "m.0.t", "speed": "rpm", "flow": "nowhere"},
    )  # fmt: skip
    assert samples == [Sample("p1", T, {"temp": 4.0, "speed": 5.0})]
    assert not rejects


def test_a_key_with_a_dot_is_reached_by_a_path_with_slashes() -> None:
    samples, _ = of_asset(b'{"ns.Pump.Speed": 5}', values={"speed": "/ns.Pump.Speed"})
    assert samples[0].values == {"speed": 5.0}


def test_the_payload_may_name_the_asset() -> None:
    made = decoder(topic="line/data", asset="device.id")
    payload = b'[{"device": {"id": "p1"}, "a": 1}, {"device": {"id": 7}, "a": 2}, {"a": 3}]'
    samples, rejects = made.decode("line/data", payload, NOW, retained=False)
    assert [(sample.asset, sample.values["a"]) for sample in samples] == [("p1", 1.0), ("7", 2.0)]
    assert reasons(rejects) == ["asset_name"]


@pytest.mark.parametrize(
    "payload",
    [
        b'[{"ts": 1700000001, "a": 2}, {"ts": 1700000000, "a": 1}]',
        b'{"samples": [{"ts": 1700000000, "a": 1}, {"ts": 1700000001, "a": 2}]}',
        b'{"ts": [1700000001, 1700000000], "a": [2, 1], "unit": "C"}',
        b'{"time": ["2023-11-14 22:13:20", "20231114T221321Z"], "a": [1, 2], "b": [null, null]}',
    ],
)
def test_batches_come_out_in_the_order_of_time(payload: bytes) -> None:
    samples, rejects = of_asset(payload)
    assert [(s.time_ms, s.values) for s in samples] == [
        (1_700_000_000_000, {"a": 1.0}),
        (1_700_000_001_000, {"a": 2.0}),
    ]
    assert not rejects


def test_samples_of_a_batch_without_a_time_take_the_batchs() -> None:
    samples, _ = of_asset(b'{"ts": 1700000000123, "samples": [{"a": 1}, {"b": 2}]}')
    assert [sample.time_ms for sample in samples] == [T, T]


def test_a_bad_sample_costs_only_itself_and_is_named() -> None:
    samples, rejects = of_asset(b'[{"ts": 1700000000, "a": 1}, 5, {"ts": 3, "a": 1}]')
    assert len(samples) == 1
    assert [r.detail.split(":")[0] for r in rejects] == ["sample 1", "sample 2"]


def test_a_column_of_another_length_is_refused_alone() -> None:
    samples, rejects = of_asset(b'{"ts": [1700000000, 1700000001], "a": [1, 2], "b": [1]}')
    assert [sample.values for sample in samples] == [{"a": 1.0}, {"a": 2.0}]
    assert reasons(rejects) == ["wrong_type"]


def test_columns_may_lie_below_a_prefix_with_the_time_elsewhere() -> None:
    samples, _ = of_asset(
        b'{"head": {"at": [1700000000, 1700000001]}, "d": {"x": [1, 2]}}',
        time="head.at", prefix="d", values={"a": "x"},
    )  # fmt: skip
    assert [(s.time_ms, s.values) for s in samples] == [
        (1_700_000_000_000, {"a": 1.0}),
        (1_700_000_001_000, {"a": 2.0}),
    ]


def test_the_refusals_of_one_message_are_bounded() -> None:
    samples, rejects = of_asset(b"[" + b"5," * 20_000 + b'{"a": 1}]')
    assert len(samples) == 1
    assert len(rejects) == MAX_REJECTS


# ------------------------------------------------------------ line protocol


@pytest.mark.parametrize("form", ["auto", "influx"])
def test_lines_name_asset_sensor_and_time(form: str) -> None:
    made = decoder(topic="telegraf/+", format=form, asset="host")
    payload = (
        b"# a comment\npump,host=p1,site=x speed=1480i,ok=t 1700000000123000000\n"
        b"flow,host=p2 value=2.5 1700000000123\n"
    )
    samples, rejects = made.decode("telegraf/x", payload, NOW, retained=False)
    assert samples == [
        Sample("p1", T, {"speed": 1480.0, "ok": 1.0}),
        Sample("p2", T, {"flow": 2.5}),
    ]
    assert not rejects


def test_fields_are_renamed_by_values() -> None:
    samples, _ = of_asset(
        b"pump speed=1,temp=2 1700000000123\nbox temp=3,x=4 1700000000123",
        format="influx", values={"rpm": "speed", "heat": "pump.temp"},
    )  # fmt: skip
    assert samples == [Sample("p1", T, {"rpm": 1.0, "heat": 2.0})]


def test_a_bad_line_costs_only_itself() -> None:
    samples, rejects = of_asset(b"pump a=1\npump a=\npump a=nan\npump b=2", format="influx")
    assert [sample.values for sample in samples] == [{"a": 1.0}, {"b": 2.0}]
    assert reasons(rejects) == ["not_influx", "not_finite"]


def test_a_fields_name_is_bounded_like_any_sensors() -> None:
    samples, rejects = of_asset(b"pump %s=1,b=2" % (b"a" * (MAX_SENSOR_CHARS + 1)), format="influx")
    assert [sample.values for sample in samples] == [{"b": 2.0}]
    assert reasons(rejects) == ["sensor_name"]


def test_lines_nobody_wants_are_refused_only_if_there_is_nothing_else() -> None:
    wanted = {"format": "influx", "values": {"speed": "speed"}}
    samples, rejects = of_asset(b'cpu idle=9\npump speed=1\nlog text="x"', **wanted)
    assert (len(samples), rejects) == (1, [])
    assert reasons(of_asset(b'cpu idle=9\nlog text="x"', **wanted)[1]) == ["no_values"]
