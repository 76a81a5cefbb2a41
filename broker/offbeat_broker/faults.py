"""Faults of pumps and of instruments, on a schedule, with ground truth.

Rules: pure functions of time.  ``magnitude`` is in sigmas: standard
deviations of the faulty sensor in normal running (``Plant.sigma``).  Faults
of the machine become a ``Wear``, which enters the plant's equations, so that
every coupled sensor answers; faults of an instrument change its readings
only.  ``deviation`` is what really happened: the largest difference to the
same plant without the fault.

>>> leak = Fault(asset="pump1", kind="leak", start_ms=0, end_ms=1000, magnitude=1.0)
>>> leak.primary
'flow'
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple, get_args

import msgspec
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from offbeat_broker.signals import Floats, Ints

SCHEMA = "1.0"

FaultKind = Literal[
    "bearing_wear",
    "leak",
    "cavitation",
    "clogging",
    "sensor_stuck",
    "sensor_drift",
    "spike",
    "dropout",
]
KINDS: tuple[FaultKind, ...] = get_args(FaultKind)
PRIMARY: dict[FaultKind, str] = {
    "bearing_wear": "vibration",
    "leak": "flow",
    "cavitation": "vibration",
    "clogging": "flow",
}
NEEDS_SENSOR: tuple[FaultKind, ...] = ("sensor_stuck", "sensor_drift", "spike")
LOSSES: tuple[FaultKind, ...] = ("leak", "clogging")  # their primary sensor reads less
UNSIZED: tuple[FaultKind, ...] = ("sensor_stuck", "dropout")  # magnitude means nothing

ROUGHNESS = 0.35  # mm/s of vibration per unit of cavitation
USUAL_FLOW = 45.0  # m3/h
USUAL_SPEED = 0.8  # of the rated speed
LINE_SHARE = 3.2  # (pump's inner loss + line's loss) / pump's inner loss
MOST_LOST = 0.9  # of the usual flow, by clogging
ONSET = 0.1  # of a leak's or a clogging's length until it is at full size


class Fault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One fault of one asset, from ``start_ms`` to before ``end_ms``.

    ``sensor`` names the faulty instrument; a dropout without one silences
    the whole asset.  ``magnitude`` is signed for drift and spike.
    """

    asset: str
    kind: FaultKind
    start_ms: int
    end_ms: int
    sensor: str | None = None
    magnitude: float = 0.0  # sigmas

    def __post_init__(self) -> None:
        """Check what types cannot say."""
        where = f"{self.kind} of {self.asset}"
        if self.end_ms <= self.start_ms:
            raise ValueError(
                f"{where}: expected end after start ({self.start_ms}), got {self.end_ms}"
            )
        if self.kind in NEEDS_SENSOR and self.sensor is None:
            raise ValueError(f"{where}: expected a sensor, got none")
        if self.kind in PRIMARY and (self.sensor is not None or self.magnitude <= 0.0):
            raise ValueError(
                f"{where}: expected no sensor and a magnitude above 0, "
                f"got {self.sensor!r} and {self.magnitude}"
            )

    @property
    def primary(self) -> str | None:
        """The sensor that shows the fault first."""
        return PRIMARY.get(self.kind, self.sensor)


class Truth(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the ground-truth file."""

    schema: str = SCHEMA
    asset: str
    kind: FaultKind
    sensor: str | None
    start: str
    start_ms: int
    end: str
    end_ms: int
    magnitude: float | None  # sigmas, as asked
    magnitude_units: float | None  # the same in ``unit``
    deviation: float | None  # sigmas, largest difference to the plant without the fault
    unit: str


class Wear(NamedTuple):
    """State of a machine over time, each (N,); 0 is healthy."""

    shaking: Floats  # mm/s added at rated speed
    friction: Floats  # of the bearing, relative
    leak: Floats  # m3/h lost before the meter at rated speed
    cavitation: Floats  # roughness, 1 is audible
    clogging: Floats  # of the inlet, relative rise of the pump's inner loss


def wear(schedule: Sequence[Fault], time_ms: Ints, sigma: Mapping[str, float]) -> Wear:
    """Return the sum of the machine faults of one asset.

    Parameters
    ----------
    schedule : faults of that asset; those of instruments have no part
    time_ms : (N,) int64
    sigma : sensor → standard deviation, for the sensors in ``PRIMARY``
    """
    out = Wear(*(np.zeros(len(time_ms)) for _ in Wear._fields))
    for fault in schedule:
        if fault.kind not in PRIMARY:
            continue
        size = fault.magnitude * sigma[PRIMARY[fault.kind]] * _course(fault, time_ms)
        if fault.kind == "bearing_wear":
            out.shaking[:] += size
            out.friction[:] += 0.3 * fault.magnitude * _course(fault, time_ms)
        elif fault.kind == "leak":
            out.leak[:] += size / USUAL_SPEED
        elif fault.kind == "cavitation":
            out.cavitation[:] += size / ROUGHNESS
        else:
            lost = np.minimum(size / USUAL_FLOW, MOST_LOST)
            out.clogging[:] += LINE_SHARE * (1.0 / (1.0 - lost) ** 2 - 1.0)
    return out


def _course(fault: Fault, time_ms: Ints) -> Floats:
    """Return how far the fault has come, 0 to 1, and 0 outside it."""
    inside = (time_ms >= fault.start_ms) & (time_ms < fault.end_ms)
    done = (time_ms - fault.start_ms) / (fault.end_ms - fault.start_ms)
    if fault.kind in ("leak", "clogging"):
        done = np.minimum(done / ONSET, 1.0)
    elif fault.kind == "cavitation":
        done = np.ones(len(time_ms))
    return np.where(inside, done, 0.0)


def misread(
    schedule: Sequence[Fault],
    time_ms: Ints,
    readings: Floats,
    sensors: Sequence[str],
    sigma: Mapping[str, float],
) -> Floats:
    """Return the readings as faulty instruments give them; missing is NaN.

    Parameters
    ----------
    readings : (N, sensors); not changed
    """
    out = readings.copy()
    for fault in schedule:
        rows = (time_ms >= fault.start_ms) & (time_ms < fault.end_ms)
        if fault.kind == "dropout":
            columns = slice(None) if fault.sensor is None else sensors.index(fault.sensor)
            out[rows, columns] = np.nan
        elif fault.kind in NEEDS_SENSOR and fault.sensor is not None and rows.any():
            column = sensors.index(fault.sensor)
            out[rows, column] = _misread(fault, time_ms[rows], out[rows, column], sigma)
    return out


def _misread(fault: Fault, time_ms: Ints, good: Floats, sigma: Mapping[str, float]) -> Floats:
    """Return one instrument's readings during its fault."""
    if fault.kind == "sensor_stuck":
        return np.full(len(good), good[0])
    offset = fault.magnitude * sigma[str(fault.sensor)]
    if fault.kind == "spike":
        return np.asarray(good + offset)
    return np.asarray(good + offset * _course(fault, time_ms))


def check(schedule: Iterable[Fault], assets: Sequence[str], sensors: Sequence[str]) -> list[str]:
    """Return one line for each fault that names no asset or sensor of the plant."""
    problems = []
    for line, fault in enumerate(schedule, start=1):
        if fault.asset not in assets:
            problems.append(f"fault {line}: expected an asset of {assets}, got {fault.asset!r}")
        if fault.sensor is not None and fault.sensor not in sensors:
            problems.append(f"fault {line}: expected a sensor of {sensors}, got {fault.sensor!r}")
    return problems


def read_schedule(path: Path) -> list[Fault]:
    """Read one fault a line (JSON)."""
    faults = []
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        if not line.strip():
            continue
        try:
            faults.append(msgspec.json.decode(line, type=Fault))
        except msgspec.DecodeError as error:
            raise ValueError(f"{path}:{number}: expected a fault, got {error}") from error
    return faults
