"""What two models did on the same held-out rows: all that the gate looks at.

Rules: data only.  The unit is the *strength* of a stretch of rows: the
highest threshold (in score units, 1.0 is the shipped one) at which an alert
would still have opened in it, whatever the alert rule asks for.  A stretch
alarms when its strength is above 1.0; at another threshold the same number
answers, which is what makes two models comparable on equal false alarms.

>>> strength(np.array([0.5, 3.0, 0.5, 2.0, 1.8]), windows=2)
1.8
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import msgspec
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Bools = NDArray[np.bool_]

GroundName = Literal["recent", "older"]
CERTAIN = 1e6  # the strength of what needs no threshold: a sensor called faulty


def strength(scores: Floats, *, windows: int) -> float:
    """Highest threshold that ``windows`` scores in a row (N,) exceed; 0 for too few."""
    if len(scores) < windows:
        return 0.0
    runs = np.lib.stride_tricks.sliding_window_view(scores, windows)
    return float(runs.min(axis=1).max())


@dataclass(frozen=True, kw_only=True)
class Side:
    """One model on one ground: B blocks of normal rows, C injected faults."""

    normal: Floats  # (B,) strength of each block as it was
    sick: Bools  # (B,) a sensor was called faulty in it
    faulty: Floats  # (C,) strength of each fault; CERTAIN where a sensor was called faulty


@dataclass(frozen=True, kw_only=True)
class Cases:
    """The injected faults: what, how large, in which sensor, in which block."""

    kind: NDArray[np.str_]  # (C,)
    size: Floats  # (C,) standard deviations of the sensor
    sensor: NDArray[np.str_]  # (C,)
    block: NDArray[np.intp]  # (C,) index into the ground's blocks


@dataclass(frozen=True, kw_only=True)
class Ground:
    """Held-out normal rows of one time, cut into blocks of equal length."""

    name: GroundName
    block_ms: int
    cases: Cases
    champion: Side | None
    challenger: Side

    @property
    def hours(self) -> float:
        """Length of all blocks."""
        return len(self.challenger.normal) * self.block_ms / 3_600_000


class Response(msgspec.Struct, frozen=True, kw_only=True):
    """What one model did about one incident."""

    strength: float
    delay_ms: int | None  # from its start to the alert, as shipped; None: no alert


class Incident(msgspec.Struct, frozen=True, kw_only=True):
    """An alert that people confirmed, or a failure known from before."""

    asset: str
    start_ms: int
    end_ms: int
    ground: GroundName
    champion: Response | None
    challenger: Response


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Everything; ``champion`` sides are None throughout for a first model."""

    grounds: tuple[Ground, ...]
    incidents: tuple[Incident, ...]
    budget_per_week: float  # false alarms a week and asset that were asked for
    promised_per_week: float  # that calibration could vouch for
    window_ms: int
    seed: int
