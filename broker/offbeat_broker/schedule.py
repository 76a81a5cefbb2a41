"""A random schedule of faults that can be seen, and its ground truth.

Rules: seeded; at most one fault of an asset at a time, with time to recover
between two; a fault is placed where its pump runs for most of it, because a
leak of a stopped pump is no event.

>>> from offbeat_broker.plant import Plant
>>> plan = draw(Plant(seed=1), seed=1, start_ms=0, duration_ms=48 * HOUR_MS, each=1)
>>> sorted({fault.kind for fault in plan}) == sorted(KINDS)
True
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from offbeat_broker.faults import KINDS, LOSSES, UNSIZED, Fault, FaultKind, Truth
from offbeat_broker.plant import SENSORS
from offbeat_broker.signals import HOUR_MS
from offbeat_edge.schema import iso

if TYPE_CHECKING:
    from offbeat_broker.plant import Plant
    from offbeat_broker.signals import Floats, Ints

MINUTE_MS = 60_000
RECOVER_MS = 90 * MINUTE_MS  # after a fault, before the asset's next one
CANDIDATES = 60  # places tried for each fault
PARTS = 50  # of a fault, at which it is looked whether the pump runs


class Shape(NamedTuple):
    """Length and size of a kind of fault."""

    minutes: tuple[float, float]
    sigmas: tuple[float, float]
    sensors: tuple[str, ...] = ()


STEADY = ("current", "flow", "pressure", "motor_temp", "bearing_temp")
MOVING = ("current", "flow", "pressure", "vibration")
SHAPES: dict[FaultKind, Shape] = {
    "bearing_wear": Shape((150.0, 210.0), (6.0, 12.0)),
    "leak": Shape((60.0, 120.0), (2.5, 4.5)),
    "cavitation": Shape((30.0, 60.0), (4.0, 8.0)),
    "clogging": Shape((80.0, 140.0), (2.5, 4.5)),
    "sensor_stuck": Shape((120.0, 180.0), (0.0, 0.0), MOVING),
    "sensor_drift": Shape((150.0, 210.0), (4.0, 8.0), STEADY),
    "spike": Shape((0.7, 2.0), (6.0, 12.0), STEADY),
    # One instrument: a silent asset is told by the clock on the wall, not by event time.
    "dropout": Shape((20.0, 40.0), (0.0, 0.0), STEADY),
}


def draw(
    plant: Plant, *, seed: int, start_ms: int, duration_ms: int, each: int, period_ms: int = 10_000
) -> list[Fault]:
    """Return ``each`` faults of every kind, spread over the plant's assets and the time.

    Raises
    ------
    ValueError
        When the time is too short to hold them apart.
    """
    rng = np.random.default_rng([seed, 11])
    kinds = [kind for _ in range(each) for kind in KINDS]
    rng.shuffle(kinds)
    slots = -(-len(kinds) // len(plant.assets))
    slot_ms = duration_ms // max(slots, 1)
    longest = max(shape.minutes[1] for shape in SHAPES.values()) * MINUTE_MS
    if slot_ms < longest + RECOVER_MS:
        raise ValueError(
            f"duration: expected at least {slots * (longest + RECOVER_MS) / HOUR_MS:.1f} h for "
            f"{len(kinds)} faults on {len(plant.assets)} pumps, got {duration_ms / HOUR_MS:.1f} h"
        )
    seen: dict[FaultKind, int] = dict.fromkeys(KINDS, 0)
    plan = []
    for i, kind in enumerate(kinds):
        slot, asset = divmod(i, len(plant.assets))
        plan.append(
            _place(
                plant,
                plant.assets[asset],
                kind,
                start_ms + slot * slot_ms,
                slot_ms,
                rng=rng,
                rank=(seen[kind] + 0.5) / each,
                shortest=2 * period_ms,
            )
        )
        seen[kind] += 1
    return sorted(plan, key=lambda fault: (fault.start_ms, fault.asset))


def _place(
    plant: Plant,
    asset: str,
    kind: FaultKind,
    slot: int,
    slot_ms: int,
    *,
    rng: np.random.Generator,
    rank: float,
    shortest: int,
) -> Fault:
    """Return one fault inside its slot, where the pump runs longest."""
    shape = SHAPES[kind]
    length = max(int(rng.uniform(*shape.minutes) * MINUTE_MS), shortest)
    starts = slot + rng.integers(0, slot_ms - length - RECOVER_MS, CANDIDATES)
    start = int(starts[np.argmax(_running_shares(plant, asset, starts, length))])
    low, high = shape.sigmas
    size = low + (high - low) * rank  # small and large of every kind, whatever the seed
    sign = float(rng.choice([-1.0, 1.0])) if shape.sensors and size else 1.0
    sensor = str(rng.choice(shape.sensors)) if shape.sensors else ""
    return Fault(
        asset=asset,
        kind=kind,
        sensor=sensor or None,
        start_ms=start,
        end_ms=start + length,
        magnitude=round(sign * size, 2),
    )


def _running_shares(plant: Plant, asset: str, starts: Ints, length: int) -> Floats:
    """Return, for each start, the share of the following ``length`` ms that the pump runs."""
    order = np.argsort(starts)
    parts = np.linspace(0, length, PARTS).astype(np.int64)
    running = plant.running(asset, (starts[order][:, None] + parts).reshape(-1))
    shares = np.empty(len(starts))
    shares[order] = running.reshape(len(starts), PARTS).mean(axis=1)
    return shares


def truth(plant: Plant, fault: Fault, *, period_ms: int) -> Truth:
    """Return the ground truth of one fault, its effect measured against the healthy plant."""
    primary = fault.primary
    sized = fault.kind not in UNSIZED and primary is not None
    sigma = plant.sigma[primary] if primary else 1.0
    sign = -1.0 if fault.kind in LOSSES else 1.0
    return Truth(
        asset=fault.asset,
        kind=fault.kind,
        sensor=fault.sensor,
        start=iso(fault.start_ms),
        start_ms=fault.start_ms,
        end=iso(fault.end_ms),
        end_ms=fault.end_ms,
        magnitude=fault.magnitude if sized else None,
        magnitude_units=round(sign * fault.magnitude * sigma, 4) if sized else None,
        deviation=_deviation(plant, fault, period_ms),
        unit=SENSORS[primary].unit if primary else "",
    )


def _deviation(plant: Plant, fault: Fault, period_ms: int) -> float | None:
    """Return the largest change of the primary sensor in sigmas; None when it is silent."""
    if fault.primary is None or fault.kind == "dropout":
        return None
    first = -(-fault.start_ms // period_ms) * period_ms
    column = plant.sensors.index(fault.primary)
    faulty, healthy = (
        plant.history(
            start_ms=first,
            duration_ms=max(fault.end_ms - first, period_ms),
            period_ms=period_ms,
            schedule=schedule,
            assets=(fault.asset,),
        ).values[0, :, column]
        for schedule in ((fault,), ())
    )
    return round(float(np.max(np.abs(faulty - healthy))) / plant.sigma[fault.primary], 2)
