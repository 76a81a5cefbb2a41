"""One line of JSON per event on standard output; readable lines on a terminal.

Rules: an event has a fixed snake_case name and fields, never a sentence built
from input; nothing is logged per sample; the same event at most
``MAX_PER_MINUTE`` times a minute, then counted; a stream that cannot be
written is no reason to stop.

>>> import sys
>>> log = Log(stream=sys.stdout, level="info", pretty=True, wall_ms=lambda: 0)
>>> log.warning("broker_lost", host="plant", retry_s=2)
1970-01-01T00:00:00.000Z WARNING broker_lost host=plant retry_s=2
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Literal, TextIO

import msgspec

from offbeat_edge.schema import iso

if TYPE_CHECKING:
    from collections.abc import Callable

Level = Literal["debug", "info", "warning", "error"]
LEVELS: dict[str, int] = {"debug": 10, "info": 20, "warning": 30, "error": 40}
MAX_PER_MINUTE = 30  # lines of one event
MAX_FIELD = 500  # characters of one field


class Log:
    """Writes events to one stream.

    Parameters
    ----------
    stream : text stream, flushed after each line.
    level : the lowest level written.
    pretty : lines for people instead of JSON.
    wall_ms : the wall clock, ms.
    """

    def __init__(
        self,
        *,
        stream: TextIO,
        level: Level = "info",
        pretty: bool = False,
        wall_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._stream = stream
        self._level = LEVELS[level]
        self._pretty = pretty
        self._wall_ms = wall_ms
        self._minute = 0
        self._written: dict[str, int] = {}

    def debug(self, event: str, **fields: object) -> None:
        """Write what only a developer wants to know."""
        self._write("debug", event, fields)

    def info(self, event: str, **fields: object) -> None:
        """Write what an operator may want to know."""
        self._write("info", event, fields)

    def warning(self, event: str, **fields: object) -> None:
        """Write what an operator should look at."""
        self._write("warning", event, fields)

    def error(self, event: str, **fields: object) -> None:
        """Write what an operator must act upon."""
        self._write("error", event, fields)

    def _write(self, level: Level, event: str, fields: dict[str, object]) -> None:
        if LEVELS[level] < self._level:
            return
        now = self._wall_ms()
        if not self._allowed(now // 60_000, event):
            return
        short = {key: _short(value) for key, value in fields.items()}
        line = (
            _pretty(now, level, event, short) if self._pretty else _json(now, level, event, short)
        )
        try:
            self._stream.write(line + "\n")
            self._stream.flush()
        except (OSError, ValueError):  # a closed pipe, a full disk
            return

    def _allowed(self, minute: int, event: str) -> bool:
        """Count the event; say once what was left out in the minute before."""
        if minute != self._minute:
            over = {k: n - MAX_PER_MINUTE for k, n in self._written.items() if n > MAX_PER_MINUTE}
            self._minute, self._written = minute, {}
            if over:
                self._write("warning", "log_suppressed", {"events": over})
        self._written[event] = self._written.get(event, 0) + 1
        return self._written[event] <= MAX_PER_MINUTE


def _short(value: object) -> object:
    if isinstance(value, int | float | bool | dict | list | None):
        return value
    text = str(value)
    return text if len(text) <= MAX_FIELD else text[:MAX_FIELD] + "…"


def _json(now: int, level: str, event: str, fields: dict[str, object]) -> str:
    entry = {"time": iso(now), "level": level, "event": event, **fields}
    return msgspec.json.encode(entry, enc_hook=str).decode()


def _pretty(now: int, level: str, event: str, fields: dict[str, object]) -> str:
    pairs = " ".join(f"{key}={_quoted(value)}" for key, value in fields.items())
    return f"{iso(now)} {level.upper():7} {event} {pairs}".rstrip()


def _quoted(value: object) -> str:
    text = str(value)
    return text if text.isprintable() and " " not in text else repr(text)
