"""From topic and bytes to what was said: the console's ear.

Rules: pure; never raises, whatever the bytes; what cannot be read is None,
for a console has nobody to send a refusal to.

>>> read("offbeat/gw1/status", b"online")
Said(what='status', gateway='gw1', name='', body='online')
>>> read("offbeat/gw1/asset/p1/state", b"{}") is None
True
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import msgspec

from offbeat_edge.control import Feedback, Maintenance, Verdict
from offbeat_edge.schema import AlertEvent, AssetState, ScoreRecord

__all__ = ["FILTERS", "Feedback", "Maintenance", "Said", "Verdict", "read"]

ROOT = "offbeat"
FLEET = "fleet"
What = Literal["status", "health", "state", "score", "alert", "feedback", "maintenance", "rollout"]
MAX_STATUS_CHARS = 32

# What we want to hear, with its QoS.  Only what must not be missed is kept
# for us while we are away.
FILTERS: tuple[tuple[str, int], ...] = (
    ("offbeat/+/status", 1),
    ("offbeat/+/health", 0),
    ("offbeat/+/asset/+/state", 1),
    ("offbeat/+/asset/+/score", 0),
    ("offbeat/+/asset/+/alert", 1),
    ("offbeat/+/rollout/+", 1),
    ("offbeat/fleet/feedback/+", 1),
    ("offbeat/fleet/maintenance/+", 1),
)


Body = str | dict[str, object] | AssetState | ScoreRecord | AlertEvent | Feedback | Maintenance


class Said(NamedTuple):
    """One message: ``name`` is the asset or the model it is about."""

    what: What
    gateway: str
    name: str
    body: Body


_STATE = msgspec.json.Decoder(AssetState)
_SCORE = msgspec.json.Decoder(ScoreRecord)
_ALERT = msgspec.json.Decoder(AlertEvent)
_FEEDBACK = msgspec.json.Decoder(Feedback)
_MAINTENANCE = msgspec.json.Decoder(Maintenance)
_OBJECT: msgspec.json.Decoder[dict[str, object]] = msgspec.json.Decoder(dict[str, object])


def read(topic: str, payload: bytes) -> Said | None:
    """Read one message below ``offbeat/``; None when it is of no use to us."""
    levels = topic.split("/")
    if len(levels) < 3 or levels[0] != ROOT:
        return None
    try:
        return _read(levels[1], levels[2:], payload)
    except (ValueError, RecursionError):  # msgspec's errors are ValueErrors
        return None


def _read(gateway: str, rest: list[str], payload: bytes) -> Said | None:
    match gateway, rest:
        case "fleet", ["feedback", name]:
            said = Said("feedback", "", name, _FEEDBACK.decode(payload))
        case "fleet", ["maintenance", name]:
            said = Said("maintenance", "", name, _MAINTENANCE.decode(payload))
        case "fleet", _:
            return None
        case _, ["status"]:
            said = Said("status", gateway, "", payload[:MAX_STATUS_CHARS].decode())
        case _, ["health"]:
            said = Said("health", gateway, "", _OBJECT.decode(payload))
        case _, ["rollout", name]:
            said = Said("rollout", gateway, name, _OBJECT.decode(payload) if payload else {})
        case _, ["asset", name, what]:
            return _of_asset(gateway, name, what, payload)
        case _:
            return None
    return said


def _of_asset(gateway: str, name: str, what: str, payload: bytes) -> Said | None:
    if what == "score":
        return Said("score", gateway, name, _SCORE.decode(payload))
    if what == "state":
        return Said("state", gateway, name, _STATE.decode(payload))
    if what == "alert":
        return Said("alert", gateway, name, _ALERT.decode(payload))
    return None


def feedback_topic(asset: str) -> str:
    """Return where a verdict on an asset goes."""
    return f"{ROOT}/{FLEET}/feedback/{asset}"


def maintenance_topic(asset: str) -> str:
    """Return where work on an asset is announced."""
    return f"{ROOT}/{FLEET}/maintenance/{asset}"
