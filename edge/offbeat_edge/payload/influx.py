r"""InfluxDB line protocol, read strictly and in linear time.

Rules: pure; a bad line is refused alone and the next one is read; comments
and blank lines are skipped; string fields are checked and left out; the
stamp stays an integer of the sender's unit.

>>> next(lines('pump,asset=p1 speed=1480,note="a b" 1700000000'))
Line(measurement='pump', tags={'asset': 'p1'}, fields={'speed': 1480.0}, stamp=1700000000)
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, NamedTuple

from offbeat_edge.refusal import Refused, shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# Possessive quantifiers (++, *+) never go back, so time is linear in the text.
_KEY = r"(?:[^,= \n\\]|\\[^\n])++"
_SKIP = re.compile(r"(?:[ \t\r]*+(?:#[^\n]*+)?+\n)*+[ \t\r]*+(?:#[^\n]*+)?+")
_MEASUREMENT = re.compile(r"((?:[^, \n\\]|\\[^\n])++)")
_TAG = re.compile(rf",({_KEY})=({_KEY})")
_FIELD = re.compile(rf"({_KEY})=(\"(?:[^\"\\]|\\.)*+\"|[^\", \n\r]++)", re.DOTALL)
_END = re.compile(r"(?: ++(-?[0-9]{1,20}))?+[ \r]*+(?:\n|\Z)")
_NUMBER = re.compile(r"([+-]?(?:[0-9]++(?:\.[0-9]*+)?|\.[0-9]++)(?:[eE][+-]?[0-9]{1,4})?)([iu]?)")
_ODD = re.compile(r"[+-]?(?:nan|inf|infinity)", re.IGNORECASE)
_TRUE = {"t", "T", "true", "True", "TRUE"}
_FALSE = {"f", "F", "false", "False", "FALSE"}
_ESCAPE = re.compile(r"\\([,= ])")


class Line(NamedTuple):
    """One point; ``stamp`` is None when it has none.

    Of a line, fields are floats and the stamp is an integer; of Telegraf's JSON
    they are what stood there.
    """

    measurement: str
    tags: dict[str, str]
    fields: Mapping[str, object]
    stamp: object


def lines(text: str) -> Iterator[Line | Refused]:
    """Read every line; one that cannot be taken gives its ``Refused`` instead."""
    at = _skip(text, 0)
    while at < len(text):
        try:
            line, at = _line(text, at)
            yield line
        except Refused as refused:
            yield refused
            end = text.find("\n", at)
            at = len(text) if end < 0 else end + 1
        at = _skip(text, at)


def _skip(text: str, at: int) -> int:
    """Return where the next line's text starts, past blank lines and comments."""
    found = _SKIP.match(text, at)
    return found.end() if found else at


def _line(text: str, at: int) -> tuple[Line, int]:
    start = at
    found = _MEASUREMENT.match(text, at)
    if not found:
        raise _refused(text, start, "a measurement", at)
    measurement, at = _plain(found[1]), found.end()
    tags = {}
    while found := _TAG.match(text, at):
        tags[_plain(found[1])], at = _plain(found[2]), found.end()
    fields, at = _fields(text, start, at)
    end = _END.match(text, at)
    if not end:
        raise _refused(text, start, "a time or the line's end", at)
    return Line(measurement, tags, fields, int(end[1]) if end[1] else None), end.end()


def _fields(text: str, start: int, at: int) -> tuple[dict[str, float], int]:
    fields = {}
    separator = " "
    while text.startswith(separator, at):
        found = _FIELD.match(text, at + 1)
        if not found:
            break
        if not found[2].startswith('"'):
            fields[_plain(found[1])] = _value(found[2])
        at, separator = found.end(), ","
    if separator == " " or text.startswith(",", at):
        raise _refused(text, start, "a field", at)
    return fields, at


def _value(text: str) -> float:
    if text in _TRUE or text in _FALSE:
        return 1.0 if text in _TRUE else 0.0
    number = _NUMBER.fullmatch(text)
    if number and (not number[2] or number[1].lstrip("+-").isdecimal()):
        value = float(number[1])
        if math.isfinite(value):
            return value
    elif not _ODD.fullmatch(text):
        raise Refused("not_influx", f"expected a field's value, got {shown(text)}")
    raise Refused("not_finite", f"expected a finite number, got {shown(text)}")


def _plain(text: str) -> str:
    return _ESCAPE.sub(r"\1", text) if "\\" in text else text


def _refused(text: str, start: int, what: str, at: int) -> Refused:
    rest = text[at : at + 40].split("\n", 1)[0]
    return Refused("not_influx", f"expected {what} at column {at - start + 1}, got {shown(rest)}")
