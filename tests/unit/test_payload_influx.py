"""Line protocol: what is a point, and what is none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offbeat_edge.payload.influx import Line, lines
from offbeat_edge.refusal import Refused


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("m a=1", Line("m", {}, {"a": 1.0}, None)),
        (
            "m,t=x a=1i,b=2u,c=-3.5e2 17",
            Line("m", {"t": "x"}, {"a": 1.0, "b": 2.0, "c": -350.0}, 17),
        ),
        ("m a=t,b=F,c=True,d=FALSE", Line("m", {}, {"a": 1.0, "b": 0.0, "c": 1.0, "d": 0.0}, None)),
        ('m a="s, \\" =\n x",b=1 5', Line("m", {}, {"b": 1.0}, 5)),
        (r"m\,\ n,k\=y=v\ w f\ g=1", Line("m, n", {"k=y": "v w"}, {"f g": 1.0}, None)),
        ("m=x a=1", Line("m=x", {}, {"a": 1.0}, None)),
        (" \n# note\n\n  m a=1 -5 \r\n", Line("m", {}, {"a": 1.0}, -5)),
    ],
)
def test_a_line_is_a_point(text: str, line: Line) -> None:
    assert list(lines(text)) == [line]


@pytest.mark.parametrize(
    "text",
    ["m", "m ", "m a", "m a=", "m a=x", "m a=1 2 3", "m a=1,", "m,t a=1", "m,t= a=1", "m,=x a=1",
     ",t=x a=1", "m a=1 now", "m a=1.5i", "m a=1_0", "m a=0x1", 'm a="x', "m  a=1", "m a=1,,b=2",
     "m a=1e99999", "m a=\u0661"],
)  # fmt: skip
def test_what_is_no_point_is_refused(text: str) -> None:
    (found,) = lines(text)
    assert isinstance(found, Refused)
    assert found.reason == "not_influx"


@pytest.mark.parametrize("value", ["nan", "NaN", "inf", "-Infinity", "1e999"])
def test_what_is_not_finite_is_refused(value: str) -> None:
    (found,) = lines(f"m a={value}")
    assert isinstance(found, Refused)
    assert found.reason == "not_finite"


def test_a_refusal_says_where() -> None:
    (found,) = lines("pump,asset=p1 speed=12,temp")
    assert isinstance(found, Refused)
    assert found.detail == "expected a field at column 23, got ',temp'"


def _escape(text: str, special: str) -> str:
    return "".join(f"\\{c}" if c in special else c for c in text)


NAMES = st.text(st.sampled_from("ab,= é\"'0"), min_size=1, max_size=5)
MEASUREMENTS = NAMES.filter(lambda name: not name.startswith(" "))
FINITE = st.floats(allow_nan=False, allow_infinity=False)


@given(MEASUREMENTS, st.dictionaries(NAMES, NAMES, max_size=2),
       st.dictionaries(NAMES, FINITE, min_size=1, max_size=3), st.integers(0, 2**63))  # fmt: skip
def test_what_is_written_is_read(
    measurement: str, tags: dict[str, str], fields: dict[str, float], stamp: int
) -> None:
    text = _escape(measurement, ", ")
    text += "".join(f",{_escape(k, ',= ')}={_escape(v, ',= ')}" for k, v in tags.items())
    text += " " + ",".join(f"{_escape(k, ',= ')}={v!r}" for k, v in fields.items()) + f" {stamp}"
    assert list(lines(f"{text}\n{text}")) == [Line(measurement, tags, fields, stamp)] * 2


@given(st.text(st.sampled_from('ma,=\\" \n#1.i'), max_size=40))
def test_any_text_is_read_to_its_end(text: str) -> None:
    assert len(list(lines(text))) <= text.count("\n") + 1


def test_a_refusal_is_short_however_odd_the_characters() -> None:
    odd = "q b=" + "\U000e0001" * 60 + "\n"
    (refused,) = lines(odd)
    assert isinstance(refused, Refused)
    assert len(refused.detail) < 200
