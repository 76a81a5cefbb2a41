"""Why a message, a part of it or a sample is not taken: stable codes, one exception.

Rules: codes are part of the wire (``errors`` topic, counters) and never
change their meaning; ``docs/topics.md`` explains each.  ``Refused`` stays
inside the decoding modules; outside they return ``schema.Reject``.  What was
read and then not used by the engine is a ``dropped`` sample.

>>> str(Refused("bad_time", "expected a time, got 'soon'"))
"bad_time: expected a time, got 'soon'"
"""

from __future__ import annotations

import re
from typing import Literal, get_args

from offbeat_edge.schema import Reject

Reason = Literal[  # the message cannot be read
    "asset_collision",
    "asset_name",
    "bad_time",
    "command",
    "empty",
    "encoding",
    "no_birth",
    "no_values",
    "not_finite",
    "not_influx",
    "not_json",
    "not_sparkplug",
    "retained",
    "sensor_name",
    "seq_gap",
    "time_out_of_range",
    "too_deep",
    "too_large",
    "unknown_topic",
    "wrong_type",
]
DropReason = Literal[  # a sample was read, and is of no use
    "late",
    "no_model",
    "no_sensor",
    "surplus",
    "time_jump",
    "too_many_assets",
]
Failure = Literal["internal"]  # we failed, not the message
REASONS: frozenset[str] = frozenset((*get_args(Reason), *get_args(DropReason), *get_args(Failure)))
MAX_SHOWN = 60  # characters of a message's own text in a detail
MAX_ESCAPED = 120  # characters they may take once escaped: an odd one takes ten


class Refused(Exception):  # noqa: N818 - reads as what it is
    """A message or a part of it that is not taken, and why."""

    def __init__(self, reason: Reason, detail: str) -> None:
        self.reason: Reason = reason
        self.detail = detail
        super().__init__(f"{reason}: {detail}")


def dropped(reason: DropReason, detail: str) -> Reject:
    """Say why a sample was not used; its topic is no longer known."""
    return Reject(reason, detail, "")


def shown(value: object) -> str:
    """Repeat a value of unknown size and content: short and printable.

    >>> shown("a" * 100) == repr("a" * 59 + "…")
    True
    """
    if isinstance(value, str):
        text = repr(value if len(value) <= MAX_SHOWN else value[: MAX_SHOWN - 1] + "…")
        return text if len(text) <= MAX_ESCAPED else text[: MAX_ESCAPED - 1] + "…"
    if isinstance(value, (dict, list)):
        return f"{'an object' if isinstance(value, dict) else 'a list'} of {len(value)}"
    if isinstance(value, int) and value.bit_length() > 128:
        return f"an integer of {value.bit_length()} bits"
    return re.sub(r"[^ -~]", "?", repr(value))[:MAX_SHOWN]
