"""What was found, as a configuration that says where each line comes from.

Rules: pure text; keys that are left at their default are left out; comments
hold what a person should check.

>>> print(text(Found(...)))  # doctest: +SKIP
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import asdict

from offbeat_edge.config import Mqtt, Source
from offbeat_edge.init.recognise import SPOKEN, slug
from offbeat_edge.init.survey import classes, unit

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from offbeat_edge.init.recognise import Proposal
    from offbeat_edge.init.survey import AssetSeen

ASSETS_SHOWN = 20
SENSORS_SHOWN = 60
STRANGE_SHOWN = 10


class Wanted(NamedTuple):
    """A ``[[model]]``: its bundle and its assets, empty for all."""

    bundle: str
    assets: tuple[str, ...]
    sensors: tuple[str, ...]
    there: bool  # the bundle exists
    heard: bool = True  # some asset has all of its sensors


class Found(NamedTuple):
    """All that goes into the file."""

    gateway: str
    origin: str  # where it was found, in words
    mqtt: Mqtt
    proposals: Sequence[Proposal]  # with the survey's sources
    assets: Mapping[str, AssetSeen]
    models: Sequence[Wanted]
    strange: Sequence[str] = ()


def models(assets: Mapping[str, AssetSeen], *, bundle: str, sensors: Sequence[str]) -> list[Wanted]:
    """Return the models to configure.

    Parameters
    ----------
    bundle, sensors : of a bundle that is there; empty: one for each group of
        assets with the same sensors, still to be fitted.
    """
    if bundle:
        fit = tuple(name for name in sorted(assets) if set(sensors) <= assets[name].sensors.keys())
        chosen = () if len(fit) == len(assets) else fit
        return [Wanted(bundle, chosen, tuple(sensors), there=True, heard=bool(fit))]
    groups = classes(dict(assets))
    found: list[Wanted] = []
    for names, have in groups:
        stem = _common(names)
        taken = [one.bundle.removesuffix(".offbeat") for one in found]
        name = f"{slug(stem, taken)}.offbeat"
        chosen = tuple(names) if len(groups) > 1 else ()
        found.append(Wanted(name, chosen, tuple(have), there=False))
    return found


def _common(names: Sequence[str]) -> str:
    """Return what names begin with in common, without numbers.

    >>> _common(["pump1", "pump12"]), _common(["a", "b"])
    ('pump', 'model')
    """
    first, last = min(names), max(names)
    end = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))
    return first[:end].rstrip("0123456789_.-") or "model"


def text(found: Found) -> str:
    """Return the file."""
    return "\n".join(_lines(found)).rstrip("\n") + "\n"


def _lines(found: Found) -> Iterator[str]:
    yield f"# Proposed by `offbeat init` from {found.origin}."
    yield "# Read it, then: offbeat check-config FILE. Every key: docs/configuration.md."
    yield ""
    yield "[gateway]"
    yield f"id = {_quoted(found.gateway)}  # this device; its topics are offbeat/{found.gateway}/…"
    yield ""
    yield from _mqtt(found.mqtt)
    for index, proposal in enumerate(found.proposals):
        assets = {name: asset for name, asset in found.assets.items() if asset.source == index}
        if assets:
            yield from _source(proposal, assets)
    for model in found.models:
        yield from _model(model)
    if found.strange:
        yield f"# Not understood, {len(found.strange)} topics:"
        yield from (f"#   {_plain(topic)}" for topic in found.strange[:STRANGE_SHOWN])


def _mqtt(mqtt: Mqtt) -> Iterator[str]:
    given = {key: value for key, value in asdict(mqtt).items() if value != getattr(Mqtt(), key)}
    del given["client_id"]  # was ours, for a look
    if mqtt.port == (8883 if mqtt.tls else 1883):
        del given["port"]
    yield "[mqtt]"
    yield f"host = {_quoted(mqtt.host)}"
    yield from (f"{key} = {_value(value)}" for key, value in given.items() if key != "host")
    yield ""


def _source(proposal: Proposal, assets: Mapping[str, AssetSeen]) -> Iterator[str]:
    source = proposal.source
    yield f"# {SPOKEN[proposal.kind]}: {_many(len(assets), 'asset')}"
    for name, asset in list(assets.items())[:ASSETS_SHOWN]:
        yield f"#   {name}: {_many(len(asset.sensors), 'sensor')}, {_pace(asset)}"
    if len(assets) > ASSETS_SHOWN:
        yield f"#   … and {len(assets) - ASSETS_SHOWN} more"
    if any(not asset.sensors for asset in assets.values()):
        yield "# No birth was heard of some: their sensors show once the gateway has asked for it."
    if not all(asset.own_time for asset in assets.values()):
        yield "# Some messages say no time: the gateway stamps them, and their alerts"
        yield "# are outside the promise that a replay gives the same."
    yield "[[source]]"
    for key, value in _keys(source).items():
        yield f"{key} = {_value(value)}"
    yield ""
    yield from _sensors(assets)


def _keys(source: Source) -> dict[str, object]:
    """Return the keys that must be said: those that differ from the default and the preset's."""
    usual = Source(preset=source.preset) if source.preset else Source()
    said = {"preset": source.preset} if source.preset else {}
    return said | {k: v for k, v in asdict(source).items() if v != getattr(usual, k)}


def _sensors(assets: Mapping[str, AssetSeen]) -> Iterator[str]:
    names = sorted({name for asset in assets.values() for name in asset.sensors})
    if not names:
        return
    yield "# Sensors, and what was seen of them (units are guesses by name):"
    for name in names[:SENSORS_SHOWN]:
        seen = [a.sensors[name] for a in assets.values() if name in a.sensors]
        low, high = min(s.low for s in seen), max(s.high for s in seen)
        told = f" {unit(name)}?" if unit(name) else ""
        yield f"#   {_plain(name)}: {low:g} to {high:g}{told}"
    if len(names) > SENSORS_SHOWN:
        yield f"#   … and {len(names) - SENSORS_SHOWN} more"
    yield ""


def _model(model: Wanted) -> Iterator[str]:
    if not model.there:
        yield "# To be made of history with these assets' sensors:"
        yield f"#   offbeat fit HISTORY.csv --out {model.bundle}"
    if not model.heard:
        yield f"# {unheard(model)}"
    yield "[[model]]"
    yield f"bundle = {_quoted(model.bundle)}"
    if model.assets:
        yield f"assets = {_value(list(model.assets))}"
    yield ""


def unheard(model: Wanted) -> str:
    """Say that a bundle's sensors came from nobody, and what to do."""
    names = ", ".join(map(_plain, model.sensors[:SENSORS_SHOWN]))
    return f"no asset has all its sensors ({names}); values in a [[source]] maps others' names"


def _pace(asset: AssetSeen) -> str:
    every = asset.every_ms
    return "seen once" if every is None else f"every {every / 1000:g} s"


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _plain(told: str) -> str:
    """Keep a name from ending its comment."""
    return "".join(c if c.isprintable() else "?" for c in told)


def _quoted(told: str) -> str:
    """Write a basic string of TOML, which is JSON's but for DEL."""
    return json.dumps(told, ensure_ascii=False).replace("\x7f", "\\u007f")


def _value(value: object) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_quoted(k)} = {_value(v)}" for k, v in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_value, value)) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    return _quoted(value) if isinstance(value, str) else str(value)
