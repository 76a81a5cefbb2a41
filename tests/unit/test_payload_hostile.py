"""Whatever the bytes: no exception, no unbounded work, every promise kept."""

from __future__ import annotations

import json
import math
import random

from hypothesis import given
from hypothesis import strategies as st

from offbeat_edge.config import Source
from offbeat_edge.payload.decoder import Decoder
from offbeat_edge.payload.message import MAX_REJECTS, MAX_SENSOR_CHARS
from offbeat_edge.refusal import REASONS
from offbeat_edge.timestamps import MAX_MS, MIN_MS

NOW = 1_750_000_000_000  # the gateway's clock, ms


def _decoder(source: dict[str, object]) -> Decoder:
    made = Source(**{"topic": "plant/{asset}", **source})  # type: ignore[arg-type]
    return Decoder((made,), max_payload_bytes=1 << 16)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["ts", "t", "a", "value", "samples", "data", "x"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)
SOURCES = [
    {},
    {"topic": "plant/{asset...}/{sensor}"},
    {"topic": "plant/{asset...}/{sensor}", "prefix": "a"},
    {"topic": "plant/{asset...}", "values": {"s": "a.x", "u": "data.0"}, "prefix": "data"},
    {"topic": "plant/{asset...}", "time": "data.ts", "time_unit": "s"},
    {"topic": "plant/#".replace("#", "+"), "asset": "a"},
    {"topic": "plant/{asset...}", "format": "influx"},
    {"topic": "plant/{asset...}", "assets": {"a": "b"}, "time": "samples"},
]


def check(source: dict[str, object], topic: str, payload: bytes, *, retained: bool) -> None:
    """Every promise of the decoder that holds for any message."""
    samples, rejects = _decoder(source).decode(topic, payload, NOW, retained)
    assert len(rejects) <= MAX_REJECTS
    assert {reject.reason for reject in rejects} <= REASONS
    assert all(len(r.detail) < 300 and len(r.topic) <= 256 for r in rejects)
    assert [s.time_ms for s in samples] == sorted(s.time_ms for s in samples)
    for sample in samples:
        assert MIN_MS <= sample.time_ms <= MAX_MS
        assert sample.own_time or not retained
        assert sample.values
        assert all(type(v) is float and math.isfinite(v) for v in sample.values.values())
        assert all(len(name) <= MAX_SENSOR_CHARS for name in sample.values)
        "".join(sample.values).encode()  # no lone surrogates: names can be written


@given(st.sampled_from(SOURCES), st.text(max_size=12), st.binary(max_size=60), st.booleans())
def test_any_bytes_on_any_topic(
    source: dict[str, object],
    tail: str,
    payload: bytes,
    retained: bool,  # noqa: FBT001
) -> None:
    check(source, f"plant/{tail}", payload, retained=retained)


@given(st.sampled_from(SOURCES), JSON, st.booleans())
def test_any_json(source: dict[str, object], value: object, retained: bool) -> None:  # noqa: FBT001
    # Python writes NaN and Infinity, as many a sender does.
    check(source, "plant/a", json.dumps(value).encode(), retained=retained)


def test_mutated_messages_never_raise() -> None:
    seeds = [
        b'{"ts": 1700000000.5, "a": 1.5, "b": {"c": [1, {"d": NaN}]}, "unit": "C"}',
        b'[{"ts": "2023-11-14T22:13:20.123+02:00", "a": 1}, {"t": 1700000000, "value": 2}]',
        b'{"data": {"ts": [1700000000, 1700000001], "a": [1, null], "x": [true, "s"]}}',
        b'pump,host=p\\ 1,site="x" a=1i,b=2.5e3,c=t,d="s\\" t" 1700000000123456789\n# c\nq b=1\n',
        b"-12.5e-3",
    ]
    chance = random.Random(20240607)
    tokens = [
        b"{",
        b"}",
        b"[",
        b"]",
        b'"',
        b"\\",
        b",",
        b":",
        b"NaN",
        b"\xff",
        b"\n",
        b"=",
        b" ",
        b"1e308",
    ]
    for _ in range(4000):
        payload = bytearray(chance.choice(seeds))
        for _ in range(chance.randint(1, 4)):
            at = chance.randrange(len(payload) + 1)
            end = at + chance.choice([0, 0, 1, 5])
            payload[at:end] = chance.choice([*tokens, bytes([chance.randrange(256)])])
        check(chance.choice(SOURCES), "plant/a", bytes(payload), retained=chance.random() < 0.5)


def test_hostile_quotes_are_read_in_linear_work() -> None:
    # Quadratic work would take minutes here, and the suite's time limit ends it.
    size = 1 << 18
    made = Decoder(
        (Source(topic="plant/{asset}"), Source(topic="lp/{asset}", format="influx")),
        max_payload_bytes=size + 100,
    )
    for unit in (
        b'\\"',
        b'"',
        b"\\",
        b"{",
        b'a="',
        b"a b=1,",
        b",",
        b"#",
        b" ",
        b"a\\ ",
        b"a b=\n",
    ):
        body = unit * (size // len(unit))
        made.decode("plant/p1", b'NaN"' + body, NOW, retained=False)
        made.decode("lp/p1", b'm a="' + body, NOW, retained=False)
        made.decode("lp/p1", body, NOW, retained=False)
