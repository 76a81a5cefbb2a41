"""A snapshot that this model cannot have left is refused whole, and nothing of it stays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from offbeat_edge.engine import Engine
from offbeat_edge.model import Model
from offbeat_edge.schema import Sample

if TYPE_CHECKING:
    from collections.abc import Callable

    from offbeat_edge.manifest import Manifest

NOW = 1_750_000_000_000


def _engine(manifest: Manifest) -> Engine:
    model = Model(manifest=manifest, digest="0" * 64, config_digest="0" * 64, interpreter=None)
    return Engine(site="default", gateway="gw1", route=lambda _: model)


def _fed(manifest: Manifest) -> Engine:
    engine = _engine(manifest)
    sensors = [sensor.name for sensor in manifest.sensors]
    for step in range(30):
        engine.feed([Sample("p1", NOW + step * 1000, dict.fromkeys(sensors, 1.0))])
    engine.feed([Sample("p1", NOW + 10**9, dict.fromkeys(sensors, 1.0))])  # into quarantine
    return engine


def _year_36245(watch: dict[str, Any]) -> None:
    watch["lives"]["anomaly"][1] = 1 << 50


def _said_in_year_36245(watch: dict[str, Any]) -> None:
    watch["current"]["since_ms"] = 1 << 50


def _step_beyond_dates(watch: dict[str, Any]) -> None:
    watch["aligner"][1] = 1 << 45


def _ring_of_less_than_nothing(watch: dict[str, Any]) -> None:
    watch["ring"][0] = -1


def _ring_of_few_bytes(watch: dict[str, Any]) -> None:
    watch["ring"][1] = watch["ring"][1][:-8]


def _sensor_too_many(watch: dict[str, Any]) -> None:
    watch["aligner"][3].append(1)


def _sensor_too_few(watch: dict[str, Any]) -> None:
    del watch["check"][0][0]


def _quarantine_of_another_model(watch: dict[str, Any]) -> None:
    watch["aligner"][5][0][1].append(1.0)


@pytest.mark.parametrize(
    "damage",
    [
        _year_36245, _said_in_year_36245, _step_beyond_dates,
        _ring_of_less_than_nothing, _ring_of_few_bytes,
        _sensor_too_many, _sensor_too_few, _quarantine_of_another_model,
    ],
)  # fmt: skip
def test_a_state_no_model_of_this_shape_left_is_refused_whole(
    manifest: Manifest, damage: Callable[[dict[str, Any]], None]
) -> None:
    document = msgspec.msgpack.decode(_fed(manifest).snapshot())
    document["assets"] = {"a": document["assets"]["p1"], "p1": document["assets"]["p1"]}
    document = msgspec.msgpack.decode(msgspec.msgpack.encode(document))
    damage(document["assets"]["p1"])
    engine = _engine(manifest)
    with pytest.raises((msgspec.MsgspecError, ValueError)):
        engine.restore(msgspec.msgpack.encode(document))
    assert engine.watches == {}


def test_an_undamaged_state_is_taken(manifest: Manifest) -> None:
    snapshot = _fed(manifest).snapshot()
    engine = _engine(manifest)
    engine.restore(snapshot)
    assert engine.snapshot() == snapshot
