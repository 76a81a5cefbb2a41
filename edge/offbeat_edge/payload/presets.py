"""What a ``[[source]]`` need not say of payloads that many people have.

Rules: pure data; a preset only fills in keys that are left at their default,
so each of them can still be said otherwise.  What a payload means is decided
by those keys alone; only names of Tasmota's devices are spelled out here.

>>> PRESETS["zigbee2mqtt"]["topic"]
'zigbee2mqtt/{asset}'
"""

from __future__ import annotations

import re

PRESETS: dict[str, dict[str, str]] = {
    "zigbee2mqtt": {"topic": "zigbee2mqtt/{asset}", "format": "json", "time": "last_seen"},
    "tasmota": {"topic": "tele/{asset}/SENSOR", "format": "json"},
    "sparkplug": {"topic": "spBv1.0/+/+/{asset...}", "format": "sparkplug"},
    "telegraf": {"topic": "telegraf/+/+", "format": "influx", "asset": "host"},
}
# The end of the name that a Tasmota device gives itself: half of its MAC address.
_HEX_END = re.compile(r"(.*_)([0-9A-F]{6})")
_TWIN = re.compile(r".*_(?=[0-9]*[a-f])[0-9a-f]{6}")


def fill(preset: str | None, given: dict[str, str]) -> dict[str, str]:
    """Return the keys that a preset adds to those that are ``given``.

    >>> fill("telegraf", {"topic": "site/{asset}/+"})
    {'format': 'influx'}
    """
    added = {key: value for key, value in PRESETS.get(preset or "", {}).items() if key not in given}
    if "{asset" in given.get("topic", ""):
        added.pop("asset", None)
    return added


def spelled(preset: str | None, path: str) -> str:
    """Spell an asset's path as a name may be; one that could be another's becomes empty.

    >>> spelled("tasmota", "tasmota_4F00C1"), spelled("tasmota", "tasmota_4f00c1")
    ('tasmota_4f00c1', '')
    >>> spelled("zigbee2mqtt", "0x00158d0001dc126a")
    '0x00158d0001dc126a'
    """
    if preset != "tasmota":
        return path
    if found := _HEX_END.fullmatch(path):
        return found[1] + found[2].lower()
    return "" if _TWIN.fullmatch(path) else path
