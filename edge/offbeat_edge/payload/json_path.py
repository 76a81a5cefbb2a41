"""Paths into decoded JSON: ``motor.temp``, ``readings.0.value``, ``/a.b/c``.

Rules: levels are separated by ``.``; a path that starts with ``/`` is
separated by ``/`` instead, for keys that hold a dot.  A number is an index
where it meets a list, a key where it meets an object.

>>> follow({"motor": [{"temp": 41.5}]}, parse_path("motor.0.temp"))
41.5
"""

from __future__ import annotations

MAX_LEVELS = 16


class _Missing:
    """The type of ``MISSING``."""

    def __repr__(self) -> str:
        return "MISSING"


MISSING = _Missing()  # a path led nowhere; None is JSON's null


def parse_path(text: str) -> tuple[str, ...]:
    """Split a path; ValueError says what is wrong with it; empty is the whole."""
    if not text:
        return ()
    parts = tuple(text[1:].split("/") if text.startswith("/") else text.split("."))
    if "" in parts or len(parts) > MAX_LEVELS:
        raise ValueError(f"expected a path such as 'motor.temp' or '/motor/temp', got {text!r}")
    return parts


def follow(value: object, path: tuple[str, ...]) -> object:
    """Walk ``path`` from ``value``; MISSING when it leads nowhere."""
    for part in path:
        if type(value) is dict:
            value = value.get(part, MISSING)
        elif type(value) is list and part.isdecimal() and int(part) < len(value):
            value = value[int(part)]
        else:
            return MISSING
    return value
