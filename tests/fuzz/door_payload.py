"""Messages from the broker: topics, payloads, times.

The first byte of an input chooses the source that reads it, so that one
corpus serves them all.
"""

from __future__ import annotations

import contextlib
import math

import msgspec

from offbeat_edge import timestamps
from offbeat_edge.config import Source
from offbeat_edge.payload.decoder import Decoder
from offbeat_edge.payload.influx import lines
from offbeat_edge.payload.json_path import parse_path
from offbeat_edge.payload.message import MAX_REJECTS, MAX_SENSOR_CHARS
from offbeat_edge.refusal import REASONS, Refused
from offbeat_edge.sparkplug.proto import new_payload
from offbeat_edge.topics import MAX_TOPIC_CHARS, NAME, Template, asset_name, overlap

NOW = 1_750_000_000_000  # the gateway's clock, ms
MAX_PAYLOAD = 1 << 16  # bytes
SPLIT = b"\x00"  # between the parts of an input that has several


def _decoder(**source: object) -> Decoder:
    made = Source(**{"topic": "plant/{asset...}", **source})  # type: ignore[arg-type]
    return Decoder((made,), max_payload_bytes=MAX_PAYLOAD, sensors=lambda _: ("flow", "heat"))


PLAIN = (
    _decoder(),
    _decoder(values={"flow": "a.x", "heat": "data.0"}, prefix="data"),
    _decoder(time="data.ts", time_unit="s"),
    _decoder(topic="plant/+", asset="a"),
    _decoder(assets={"a": "b"}, time="samples"),
)
PAYLOADS = (
    b'{"ts": 1700000000000, "flow": 10.0, "heat": 20.25}',
    b'{"ts": 1700000000.5, "a": {"x": 1.5, "ts": 3}, "b": {"c": [1, {"d": NaN}]}, "unit": "C"}',
    b'[{"ts": "2023-11-14T22:13:20.123+02:00", "a": 1}, {"t": 1700000000, "value": 2}]',
    b'{"data": {"ts": [1700000000, 1700000001], "a": [1, null], "x": [true, "s"], "0": 4}}',
    b'{"a": "pump","samples": [{"time": "1700000000", "flow": "1.5"}], "timestamp": 1700000000123}',
    b'{"metric": "flow", "name": "heat", "value": 12, "quality": "good"}',
    b"\xef\xbb\xbf[1, 2.5, -3e2]",
    b'{"fields": {"flow": 1}, "tags": {"asset": "p1"}, "timestamp": 1700000000}',
)


def _promises(decoder: Decoder, topic: str, payload: bytes, *, retained: bool) -> None:
    """Every promise of the decoder that holds for any message."""
    samples, rejects = decoder.decode(topic, payload, NOW, retained)
    assert len(rejects) <= MAX_REJECTS
    assert {reject.reason for reject in rejects} <= REASONS
    assert all(len(r.detail) < 300 and len(r.topic) <= 256 for r in rejects)
    assert [s.time_ms for s in samples] == sorted(s.time_ms for s in samples)
    for sample in samples:
        assert timestamps.MIN_MS <= sample.time_ms <= timestamps.MAX_MS
        assert sample.own_time or not retained
        assert NAME.fullmatch(sample.asset)
        assert sample.values
        assert all(type(v) is float and math.isfinite(v) for v in sample.values.values())
        assert all(len(name) <= MAX_SENSOR_CHARS for name in sample.values)
        "".join(sample.values).encode()  # no lone surrogates: names can be written


def payload_json(data: bytes) -> None:
    """The first byte chooses the source and whether the message is retained."""
    chosen = data[0] if data else 0
    decoder = PLAIN[chosen % len(PLAIN)]
    _promises(decoder, "plant/p1", data[1:], retained=chosen >= 128)


SINGLE = (
    _decoder(topic="plant/{asset...}/{sensor}"),
    _decoder(topic="plant/{asset}/{sensor}", format="number"),
    _decoder(topic="plant/{asset}/{sensor}", prefix="a", time_unit="ns"),
)


def payload_number(data: bytes) -> None:
    chosen = data[0] if data else 0
    decoder = SINGLE[chosen % len(SINGLE)]
    _promises(decoder, "plant/p1/flow", data[1:], retained=chosen >= 128)


READERS = (_decoder(format="influx"), _decoder(topic="x/+", format="influx", asset="host"))


def payload_influx(data: bytes) -> None:
    chosen = data[0] if data else 0
    for decoder, topic in zip(READERS, ("plant/p1", "x/y"), strict=True):
        _promises(decoder, topic, data[1:], retained=chosen >= 128)
    for line in lines(data.decode(errors="replace")):
        assert line is not None


KINDS = ("NBIRTH", "NDATA", "NDEATH", "DBIRTH/n/d", "DDATA/n/d", "DDEATH/n/d")


def payload_sparkplug(data: bytes) -> None:
    """Each part, split by two NULs, is a message: its first byte is the kind."""
    decoder = _decoder(preset="sparkplug", topic="")
    births = (("NBIRTH/n", BIRTH), ("DBIRTH/n/d", BIRTH[:-1] + b"\x01"))
    for topic, payload in births:
        _promises(decoder, f"spBv1.0/g/{topic}", payload, retained=False)
    for part in data.split(SPLIT + SPLIT)[:8]:
        kind = KINDS[part[0] % len(KINDS)] if part else KINDS[0]
        topic = kind if "/" in kind else f"{kind}/n"
        _promises(decoder, f"spBv1.0/g/{topic}", part[1:], retained=False)
    assert len(decoder.asks()) <= 1


def topics(data: bytes) -> None:
    """Template, another template and a topic, split by NUL."""
    parts = [part.decode(errors="replace") for part in data.split(SPLIT)[:3]]
    text, other, topic = (*parts, "", "")[:3]
    asset_name(topic, dots=bool(len(topic) % 2))
    try:
        template, second = Template.parse(text), Template.parse(other)
    except ValueError:
        return
    assert template.filter.count("#") <= 1
    levels = topic.split("/")
    both = template.match(levels) is not None and second.match(levels) is not None
    assert not both or overlap(template, second)
    assert overlap(template, second) == overlap(second, template)
    if len(topic) <= MAX_TOPIC_CHARS:
        _promises(SINGLE[0], topic, b"1.5", retained=False)


def times(data: bytes) -> None:
    """A JSON number or string in a unit, or text as it is."""
    unit = ("auto", "s", "ms", "us", "ns")[(data[0] if data else 0) % 5]
    values: list[object] = [data[1:].decode(errors="replace")]
    with contextlib.suppress(ValueError, RecursionError):
        values.append(msgspec.json.decode(data[1:]))
    for value in values:
        try:
            assert timestamps.MIN_MS <= timestamps.to_ms(value, unit) <= timestamps.MAX_MS
        except Refused as refused:
            assert refused.reason in REASONS  # noqa: PT017 - a target is no test
    with contextlib.suppress(ValueError):
        parse_path(data[1:].decode(errors="replace"))


def _sparkplug(*metrics: dict[str, object], seq: int = 0) -> bytes:
    payload = new_payload()
    payload.timestamp = NOW
    for metric in metrics:
        payload.metrics.add(**metric)
    payload.seq = seq
    data: bytes = payload.SerializeToString()
    return data


_FLOW = {"name": b"flow", "alias": 1, "datatype": 10, "double_value": 1.5}
_HEAT = {"name": b"heat", "alias": 2, "datatype": 1, "int_value": 255}
BIRTH = _sparkplug(_FLOW, _HEAT)
SPARKPLUG = (
    b"\x04" + _sparkplug({"alias": 1, "double_value": 2.5}, seq=2),
    b"\x04" + _sparkplug({"name": b"heat", "is_null": True}, {"alias": 9}, seq=7),
    b"\x03" + _sparkplug(_FLOW, {**_HEAT, "is_historical": True, "timestamp": NOW - 5}, seq=2),
    b"\x01" + _sparkplug({"alias": 2, "long_value": 2**63}, seq=2) + SPLIT + SPLIT + b"\x05",
    b"\x02" + _sparkplug({"name": b"bdSeq", "datatype": 4, "long_value": 3}),
)
JSON = tuple(bytes([n % len(PLAIN)]) + p for n, p in enumerate(PAYLOADS))
NUMBERS = (
    b"\x00-12.5e-3",
    b"\x0117",
    b'\x00{"ts": 1700000000, "value": "3.5"}',
    b"\x00nan",
    b"\x02[1]",
)
INFLUX = (
    b'\x00pump,host=p\\ 1,site="x" a=1i,b=2.5e3,c=t,d="s\\" t" 1700000000123456789\n# c\nq b=1\n',
    b"\x00flow,host=y flow=10,heat=20u 1700000000000000000",
    b'\x00{"metrics":[{"fields":{"flow":1.5,"s":"x"},"name":"m","tags":{"host":"y"},"timestamp":17e8}]}',
)
TOPICS = (
    b"plant/{asset...}/{sensor}\x00plant/+/{asset}\x00plant/hall1/p3/flow",
    b"a/{asset}/+/b\x00{sensor}/{asset...}\x00a/p1/x/b",
)
TIMES = (
    b"\x001700000000", b"\x011700000000.125", b"\x021700000000123", b"\x041700000000123456789",
    b"\x002023-11-14T22:13:20.123+02:00", b"\x0020231114T221320Z", b"\x00data.values[0].x",
)  # fmt: skip
