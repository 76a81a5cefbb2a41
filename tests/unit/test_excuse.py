"""What a faulty sensor excuses: its own part of a score, and nothing of the machine's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest

from offbeat_edge.detector import DetectorSpec, FallbackSpec
from offbeat_edge.engine import Engine
from offbeat_edge.errors import ModelError
from offbeat_edge.model import Model
from offbeat_edge.replay import play
from offbeat_edge.schema import Sample, SensorSpec
from offbeat_edge.shape import ShapeSpec

if TYPE_CHECKING:
    from offbeat_edge.manifest import Manifest
    from offbeat_edge.outputs import Outputs
    from offbeat_edge.window import Floats

START = 1_700_000_000_000
STEPS, JUDGED = 8, 4
WRONG = -999.0
NAMES = ("flow", "heat", "load")


class OneLevel:
    """Expects every sensor at the level of the whole window: one reading spoils all of it."""

    def reconstruct(self, windows: Floats) -> Floats:
        level = windows.mean(axis=(1, 2), keepdims=True)
        return np.broadcast_to(level, windows.shape).copy()


class WearsOut(OneLevel):
    """Judges, and fails when it is asked for an explanation."""

    def reconstruct(self, windows: Floats) -> Floats:
        if (windows[..., 0] == 0.0).all() and (windows[..., 1] != 0.0).any():
            raise ModelError("worn out")
        return super().reconstruct(windows)


def manifest_of(manifest: Manifest, names: tuple[str, ...] = NAMES) -> Manifest:
    count = len(names)
    eye = tuple(tuple(float(i == j) for j in range(count)) for i in range(count))
    nothing, one = (0.0,) * count, (1.0,) * count
    return msgspec.structs.replace(
        manifest,
        model=msgspec.structs.replace(manifest.model, window=STEPS, stride=2),
        sensors=tuple(
            SensorSpec(
                name=name, center=10.0, scale=1.0, cadence_ms=1000, low=-50.0,
                sentinels=(0.0, WRONG),
            )
            for name in names
        ),
        detector=DetectorSpec(rows=JUDGED, center=nothing, precision=eye),
        fallback=FallbackSpec(
            threshold=1.0, level_center=nothing, level_scale=one, spread_center=nothing,
            spread_scale=one,
        ),
        threshold=1.0,
    )  # fmt: skip


def outcome(model: Model, rows: list[tuple[float, ...]]) -> list[Outputs]:
    engine = Engine(site="hall", gateway="gw", route=lambda _: model)
    stream = (
        Sample("pump1", START + 1000 * k, dict(zip(model.names, row, strict=True)))
        for k, row in enumerate(rows)
    )
    return list(play(engine, stream, batch=5))


def model_of(described: Manifest, interpreter: OneLevel | None) -> Model:
    return Model(
        manifest=described, digest="d" * 64, config_digest="c" * 64, interpreter=interpreter
    )


def kinds(outs: list[Outputs]) -> set[str]:
    return {event.kind for out in outs for event in out.events}


def loudest(outs: list[Outputs]) -> float:
    return max(score.score for out in outs for score in out.scores)


CALM = (10.2, 9.9, 10.0)
MUTE = [CALM] * 20 + [(WRONG, 9.9, 10.0)] * 6 + [CALM] * 20
STOPPED = [CALM] * 20 + [(0.0, 0.0, 4.0)] * 12


@pytest.mark.parametrize("interpreter", [OneLevel(), WearsOut(), None])
def test_what_a_mute_sensor_leaves_in_the_windows_opens_no_anomaly(
    manifest: Manifest, interpreter: OneLevel | None
) -> None:
    """Judged rows are healthy again while the window still holds the sensor's -999."""
    outs = outcome(model_of(manifest_of(manifest), interpreter), MUTE)
    assert loudest(outs) > 50.0
    assert kinds(outs) == {"sensor_fault"}


def test_a_reading_that_the_history_lacked_at_times_is_held_as_it_was_there(
    manifest: Manifest,
) -> None:
    described = manifest_of(manifest)
    hold = described.model.hold_ms // described.model.period_ms
    flicker = [CALM] * 20 + [(WRONG, 9.9, 10.0)] * hold + [CALM] * 20
    known = tuple(msgspec.structs.replace(s, absent=(WRONG,)) for s in described.sensors)
    knows = model_of(msgspec.structs.replace(described, sensors=known), OneLevel())
    assert loudest(outcome(model_of(described, OneLevel()), flicker)) > 50.0
    assert loudest(outcome(knows, flicker)) < 1.0
    assert not kinds(outcome(knows, flicker))
    assert kinds(outcome(knows, MUTE[:20] + MUTE[20:21] * (hold + 4) + MUTE[26:])) == {
        "sensor_fault"
    }


@pytest.mark.parametrize("interpreter", [OneLevel(), None])
def test_a_machine_that_stops_is_told_though_two_sensors_say_what_cannot_be(
    manifest: Manifest, interpreter: OneLevel | None
) -> None:
    outs = outcome(model_of(manifest_of(manifest), interpreter), STOPPED)
    assert kinds(outs) == {"sensor_fault", "anomaly"}


def test_an_anomaly_is_as_loud_as_what_the_other_sensors_say(manifest: Manifest) -> None:
    outs = outcome(model_of(manifest_of(manifest), OneLevel()), STOPPED)
    told = [e for out in outs for e in out.events if e.kind == "anomaly"]
    assert told[0].score is not None
    assert 1.0 < told[0].score < loudest(outs)


def test_a_lone_sensor_that_is_faulty_is_excused_altogether(manifest: Manifest) -> None:
    lone = model_of(manifest_of(manifest, names=("flow",)), OneLevel())
    outs = outcome(lone, [(row[0],) for row in MUTE])
    assert loudest(outs) > 50.0
    assert kinds(outs) == {"sensor_fault"}


def test_a_shape_that_a_faulty_sensor_drew_is_its_own(manifest: Manifest) -> None:
    flat = tuple(((0,) * STEPS,) for _ in NAMES)
    shape = ShapeSpec(pool=1, usual=(0.01,) * len(NAMES), threshold=1.0, codes=flat)
    described = msgspec.structs.replace(manifest_of(manifest), shape=shape)
    model = model_of(described, OneLevel())
    assert kinds(outcome(model, MUTE)) == {"sensor_fault"}
    restless = [(WRONG, 9.9, 10.0 + 4.0 * (-1) ** k) for k in range(20)]
    assert "anomaly" in kinds(outcome(model, [CALM] * 20 + restless))
