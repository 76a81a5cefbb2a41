"""Messages of a broker nobody has explained → the sources that read them.

Rules: pure.  Topics are told apart by what they carry (a known sender's
payload, an object for each asset, a number for each sensor), then by first
level and depth; the levels that differ name asset and sensor.  Two proposals
never match the same topics: the one with more topics stays.

>>> heard = [Heard(f"plant/p{n}/{what}", b"1.5", 0) for n in (1, 2) for what in ("rpm", "temp")]
>>> recognise(heard).proposals[0].source.topic
'plant/{asset}/{sensor}'
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from offbeat_edge.config import Source
from offbeat_edge.payload.influx import Line, lines
from offbeat_edge.payload.records import TIME_NAMES, VALUE_PATHS
from offbeat_edge.payload.telegraf import points
from offbeat_edge.topics import NAME, ROOT, Template, overlap

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from offbeat_edge.config import Preset

MAX_SLUG = 60  # characters, so that a number fits behind it
MAX_TOPIC = 900  # characters, so that a template of it is not too long
MAX_OBJECTS = 50  # payloads of a family that are looked into
ASSET_KEYS = ("asset", "machine", "device", "device_id", "deviceId", "name", "id", "unit")
ASSET_TAGS = ("asset", "machine", "device", "name", "id")  # before Telegraf's own machine
VALUE_KEYS = {path[0] for path in VALUE_PATHS}
QUIET = ("homeassistant",)  # first levels that carry no samples
SPARKPLUG = "spBv1.0"
SPOKEN = {
    "zigbee2mqtt": "Zigbee2MQTT",
    "tasmota": "Tasmota",
    "telegraf": "Telegraf",
    "sparkplug": "Sparkplug B",
    "object": "an object for each asset",
    "number": "a number for each sensor",
}


class Heard(NamedTuple):
    """One message."""

    topic: str
    payload: bytes
    time_ms: int  # at which it came
    retained: bool = False


class Proposal(NamedTuple):
    """A source and what made us think of it."""

    source: Source
    kind: str  # a key of `SPOKEN`
    topics: int


class Recognised(NamedTuple):
    """What was understood, and the topics that were not."""

    proposals: list[Proposal]
    strange: list[str]


class Family(NamedTuple):
    """Topics that one source may read."""

    kind: str
    levels: list[list[str]]  # of each topic
    trees: list[object]  # payloads, decoded


def recognise(messages: Iterable[Heard]) -> Recognised:
    """Propose sources for all that was heard."""
    by_topic: dict[str, list[Heard]] = {}
    for message in messages:
        by_topic.setdefault(message.topic, []).append(message)
    bases = {topic.removesuffix("/bridge/state") for topic in by_topic
             if topic.endswith("/bridge/state")} | {"zigbee2mqtt"}  # fmt: skip
    families: dict[tuple[str, str, int], Family] = {}
    strange = []
    for topic, heard in by_topic.items():
        if topic.split("/")[0] == ROOT or topic.startswith("$") or len(topic) > MAX_TOPIC:
            continue
        kind, trees = _kind(topic, heard, bases)
        if kind is None:
            strange.append(topic)
        elif kind:
            _join(families, kind, topic.split("/"), trees)
    found = [p for family in families.values() if (p := _propose(family)) is not None]
    return Recognised(_apart(found), strange)


def _join(
    families: dict[tuple[str, str, int], Family], kind: str, levels: list[str], trees: list[object]
) -> None:
    root, depth = levels[0], len(levels)
    if kind == "zigbee2mqtt":
        root = "/".join(levels[:-1])
    elif kind == "sparkplug":
        root, depth = levels[1], 0  # one source reads a group
    family = families.setdefault((kind, root, depth), Family(kind, [], []))
    family.levels.append(levels)
    family.trees.extend(trees[: max(0, MAX_OBJECTS - len(family.trees))])


def _quiet(levels: list[str], base: str | None) -> bool:
    """Whether a topic of a known sender carries something else than readings."""
    if base is not None:
        inner = levels[len(base.split("/")) :]
        return inner[0] == "bridge" or inner[-1] in ("availability", "set", "get")
    tele = "tele" in levels[:2] and levels[-1] in ("STATE", "LWT", "INFO1", "INFO2", "INFO3")
    return tele or levels[0] in (*QUIET, "stat", "cmnd")


def _kind(topic: str, heard: Sequence[Heard], bases: set[str]) -> tuple[str | None, list[object]]:
    """Tell what a topic carries: None for nothing we know, empty for nothing to read."""
    levels = topic.split("/")
    base = next((b for b in bases if topic.startswith(f"{b}/")), None)
    if _quiet(levels, base):
        return "", []
    if levels[0] == SPARKPLUG:
        known = len(levels) > 3 and levels[2] in ("NBIRTH", "DBIRTH", "NDATA", "DDATA")
        return ("sparkplug" if known else ""), []
    trees = [tree for message in heard[:MAX_OBJECTS] for tree in _trees(message.payload)]
    if not trees:
        return None, []
    if base is not None:
        return "zigbee2mqtt", trees
    tasmota = "tele" in levels[:2] and levels[-1] == "SENSOR"
    return ("tasmota" if tasmota else _shape(trees)), trees


def _trees(payload: bytes) -> Iterator[object]:
    """Decode a payload: JSON, or the points of line protocol."""
    try:
        yield msgspec.json.decode(payload)
    except (ValueError, RecursionError):
        text = payload.decode(errors="replace")
        yield from (line for line in lines(text) if isinstance(line, Line))


def _shape(trees: Sequence[object]) -> str | None:
    """Tell the shape of a topic's payloads, by the first that has one."""
    for tree in trees:
        if isinstance(tree, Line) or _is_metric(tree):
            return "telegraf"
        if _is_number(tree) or (isinstance(tree, dict) and _is_reading(tree)):
            return "number"
        if isinstance(tree, dict | list) and any(_numbers(tree)):
            return "object"
    return None


def _is_metric(tree: object) -> bool:
    inner = tree.get("metrics") if isinstance(tree, dict) else None
    item = inner[0] if isinstance(inner, list) and inner else tree
    return isinstance(item, dict) and {"fields", "tags", "name"} <= item.keys()


def _is_reading(tree: dict[str, object]) -> bool:
    """Whether an object is one sensor's value with its time."""
    values = [key for key in VALUE_KEYS if _is_number(tree.get(key))]
    others = {key for key, value in tree.items() if _is_number(value)} - VALUE_KEYS
    return bool(values) and not others - {*TIME_NAMES, "t"}


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _numbers(tree: object) -> Iterator[bool]:
    """Yield True for each number that is not a time, some levels deep."""
    todo = [tree]
    for _ in range(MAX_OBJECTS * 10):
        if not todo:
            return
        item = todo.pop()
        if isinstance(item, dict):
            todo += [value for key, value in item.items() if key not in TIME_NAMES]
        elif isinstance(item, list):
            todo += item[:MAX_OBJECTS]
        elif _is_number(item):
            yield True


# ---------------------------------------------------------------- from families to sources


def _propose(family: Family) -> Proposal | None:
    count, first = len(family.levels), list(map(_literal, family.levels[0]))
    varying = [len({levels[i] for levels in family.levels}) > 1 for i in range(_depth(family))]
    if family.kind == "sparkplug":
        topic = f"{SPARKPLUG}/{first[1]}/+/{{asset...}}"
        return Proposal(Source(preset="sparkplug", topic=topic), family.kind, count)
    if family.kind == "zigbee2mqtt":
        topic = "/".join([*first[:-1], "{asset}"])
        return Proposal(_preset("zigbee2mqtt", topic), family.kind, count)
    if family.kind == "tasmota":
        topic = "/".join("{asset}" if i == _device(first) else part for i, part in enumerate(first))
        return Proposal(_preset("tasmota", topic), family.kind, count)
    if family.kind == "telegraf":
        parts = [first[0], *("+" if v else p for p, v in zip(first[1:], varying[1:], strict=True))]
        return Proposal(_telegraf("/".join(parts), _tag(family.trees)), family.kind, count)
    if family.kind == "number":
        return _of_sensors(family, varying)
    return _of_objects(family, varying)


def _literal(level: str) -> str:
    """Return a level as it stands in a template, which keeps braces for itself."""
    return "+" if set(level) & {"{", "}"} else level


def _depth(family: Family) -> int:
    return min(map(len, family.levels))


def _preset(preset: Preset, topic: str) -> Source:
    usual = Source(preset=preset)
    return usual if usual.topic == topic else Source(preset=preset, topic=topic)


def _telegraf(topic: str, tag: str) -> Source:
    usual = Source(preset="telegraf")
    return Source(
        preset="telegraf",
        topic="" if Template.parse(usual.topic).match(topic.split("/")) else topic,
        asset="" if tag == usual.asset else tag,
    )


def _device(levels: list[str]) -> int:
    """Return which level is the device's: ``tele/x/SENSOR`` or ``x/tele/SENSOR``."""
    return 1 if levels[0] == "tele" else 0


def _tag(trees: Iterable[object]) -> str:
    """Return the tag that names the asset: the best known of those that all points have."""
    common: set[str] | None = None
    for tree in trees:
        for point in [tree] if isinstance(tree, Line) else points(tree):
            if isinstance(point, Line):
                tags = {key for key, text in point.tags.items() if NAME.fullmatch(text)}
                common = tags if common is None else common & tags
    return next((tag for tag in ASSET_TAGS if tag in (common or ())), "host")


def _of_sensors(family: Family, varying: list[bool]) -> Proposal | None:
    """Read ``…/asset/sensor``: the last level is the sensor, what varies before it the asset."""
    first, last = list(map(_literal, family.levels[0])), _depth(family) - 1
    if last == 0:
        return None
    where = [i for i in range(last) if varying[i]] or [last - 1]
    parts = _with_asset(first[:last], where, varying)
    return Proposal(Source(topic="/".join([*parts, "{sensor}"])), family.kind, len(family.levels))


def _of_objects(family: Family, varying: list[bool]) -> Proposal:
    first, count = list(map(_literal, family.levels[0])), len(family.levels)
    where = [i for i, differs in enumerate(varying) if differs]
    key = _asset_key(family.trees)
    if not where and key is not None:
        return Proposal(Source(topic="/".join(first), asset=key), family.kind, count)
    where = where or [len(first) - 1]
    return Proposal(Source(topic="/".join(_with_asset(first, where, varying))), family.kind, count)


def _with_asset(levels: Sequence[str], where: list[int], varying: list[bool]) -> list[str]:
    """Put the asset where topics differ: one level, or all from the first to the last of them."""
    start, stop = where[0], where[-1] + 1
    if stop - start == 1:
        return [*levels[:start], "{asset}", *levels[stop:]]
    if all(varying[start:stop]):
        return [*levels[:start], "{asset...}", *levels[stop:]]
    return [
        "{asset}" if i == where[-1] else "+" if i in where else level
        for i, level in enumerate(levels)
    ]


def _asset_key(trees: Iterable[object]) -> str | None:
    """Return the field that names the asset, where topics do not: the best known."""
    counts: Counter[str] = Counter()
    total = 0
    for tree in trees:
        for item in tree if isinstance(tree, list) else [tree]:
            total += 1
            if isinstance(item, dict):
                counts.update(key for key in ASSET_KEYS if isinstance(item.get(key), str))
    return next((key for key in ASSET_KEYS if total and counts[key] == total), None)


def _apart(proposals: list[Proposal]) -> list[Proposal]:
    """Keep those that match no topic of a larger one."""
    kept: list[Proposal] = []
    for proposal in sorted(proposals, key=lambda p: -p.topics):
        mine = Template.parse(proposal.source.topic)
        if not any(overlap(mine, Template.parse(other.source.topic)) for other in kept):
            kept.append(proposal)
    return kept


def slug(name: str, taken: Iterable[str]) -> str:
    """Make a valid name of an asset's own one, unlike those taken.

    >>> slug("Boiler room/Pump 3", ["boiler_room.pump_3"])
    'boiler_room.pump_3_2'
    """
    plain = (
        re.sub(r"[^a-z0-9_.-]+", "_", name.lower().replace("/", ".")).strip("_.")[:60] or "asset"
    )
    found, n = plain, 1
    while found in taken:
        n += 1
        found = f"{plain}_{n}"
    return found
