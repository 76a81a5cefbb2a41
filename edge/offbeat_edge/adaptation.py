"""A bundle trained on some machines meets another: what is learned of it, once.

In a warm-up that the configuration declares, the levels of an asset's
sensors are shifted to where the model expects them, and the threshold is
raised if the asset's scores are larger than those in training.

* *learning*: of every window that may be learned, how far each scored sensor
  is from what the model reconstructs.  The median is the sensor's shift.
* *checking*: with the shifts in force, what is still off must not have grown
  (else the asset does not hold still), and the ninth decile of the scores
  over that of training becomes the threshold's factor.
* *adapted*: for good, until somebody says ``recalibrate`` or a bundle comes.
* *refused*: the bundle's own levels and threshold hold, and a reason is said.

Rules: pure, a function of the windows in event time.  What may be learned
the caller says: nothing above the threshold that no human called normal,
nothing beside a sensor's fault or maintenance.  Half of the warm-up is one
stage; windows that may not be learned prolong it, and after `PATIENCE`
warm-ups it is refused.  Shifts and factor are bounded.

>>> flow = SensorSpec(name="flow", center=50.0, scale=2.0, cadence_ms=1000)
>>> adapter = Adapter(Terms(warmup_ms=2000, step_ms=10, sensors=(flow,), usual=None))
>>> [n for n in range(200) if adapter.take([0.4], 0.7, learnable=True)]
[99, 199]
>>> adapter.shift, adapter.told
([0.4], Adaptation(stage='adapted', shift={'flow': 0.8}, factor=1.0, reason=''))
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, NamedTuple

import msgspec
from msgspec import Meta

from offbeat_edge.schema import Adaptation, SensorSpec, Stage
from offbeat_edge.sketch import STEP, Sketch, fits

if TYPE_CHECKING:
    from offbeat_edge.manifest import Manifest

MAX_SHIFT = 1.0  # standard deviations of training; a machine further off is another kind
MAX_FACTOR = 1.5  # of the threshold
STILL = 0.25  # standard deviations; what a median may wander in an hour or a day
MIN_WINDOWS = 30  # of a stage, however short the warm-up
PATIENCE = 3  # warm-ups, in event time watched
HIGH = 0.9  # quantile of scores that is compared with training's
HOUR_MS = 3_600_000

Count = Annotated[int, Meta(ge=0)]


class Terms(NamedTuple):
    """What is fixed for an asset."""

    warmup_ms: int
    step_ms: int  # event time between windows
    sensors: tuple[SensorSpec, ...]  # F of the model; S of them are scored
    usual: float | None  # ninth decile of scores in training; None: not known


class AdapterState(msgspec.Struct, array_like=True):
    """An `Adapter` in a snapshot; shifts in scaled units."""

    stage: Stage = "learning"
    shift: list[float] = []  # (S,) in force; none while learning or refused
    factor: float = 1.0  # in force
    learned: Count = 0  # windows of this stage
    watched: Count = 0  # windows since the beginning
    away: list[Sketch] = []  # (S,) of this stage
    scores: Sketch = msgspec.field(default_factory=Sketch)  # of this stage
    reason: str = ""


class Adapter:
    """What is learned of one asset under one bundle."""

    def __init__(self, terms: Terms) -> None:
        self._terms = terms
        self._scored = [sensor for sensor in terms.sensors if sensor.scored]
        self._stage_windows = max(MIN_WINDOWS, terms.warmup_ms // (2 * terms.step_ms))
        self._enter(AdapterState(away=self._sketches()))

    def take(self, away: list[float], score: float, *, learnable: bool) -> bool:
        """Take one window; return whether the next ones are to be judged otherwise.

        Parameters
        ----------
        away : (S,) mean distance of the scored sensors from what was expected, scaled units.
        learnable : whether it may be taken for normal.
        """
        state = self.state
        if state.stage not in ("learning", "checking"):
            return False
        state.watched += 1
        if learnable:
            state.learned += 1
            for sketch, value in zip(state.away, away, strict=True):
                sketch.add(value)
            state.scores.add(score)
        if state.learned >= self._stage_windows:
            return self._learned() if state.stage == "learning" else self._checked()
        if state.watched >= PATIENCE * 2 * self._stage_windows:
            return self._refuse(self._too_little())
        return False

    def restore(self, state: AdapterState) -> None:
        """Take back a state; raises ValueError on one that this never leaves."""
        count, sketches = len(self._scored), [*state.away, state.scores]
        if len(state.shift) not in (0, count) or len(state.away) not in (0, count):
            raise ValueError(f"adaptation: expected {count} sensors, got {state}")
        bounded = all(abs(shift) <= MAX_SHIFT for shift in state.shift)
        if not (bounded and 1.0 <= state.factor <= MAX_FACTOR and all(map(fits, sketches))):
            raise ValueError(f"adaptation: expected what is within bounds, got {state}")
        learning = state.stage in ("learning", "checking")
        if learning and not state.away:
            raise ValueError("adaptation: expected what was learned so far, got nothing")
        self._enter(state)

    def _enter(self, state: AdapterState) -> bool:
        """Put a state in force; true, for the next windows are judged by it."""
        self.state, self.factor = state, state.factor
        shifts = dict(zip((s.name for s in self._scored), state.shift, strict=False))
        self.shift = [shifts.get(sensor.name, 0.0) for sensor in self._terms.sensors]
        self.told = Adaptation(
            stage=state.stage,
            shift={s.name: _short(shifts[s.name] * s.scale) for s in self._scored if shifts},
            factor=state.factor,
            reason=state.reason,
        )
        return True

    def _learned(self) -> bool:
        shift = [sketch.quantile(0.5) for sketch in self.state.away]
        for sensor, value in zip(self._scored, shift, strict=True):
            if abs(value) > MAX_SHIFT:
                far = f"{sensor.name} is {value:+.2g} standard deviations of training off"
                return self._refuse(f"{far}, at most {MAX_SHIFT:g} can be adapted")
        watched = self.state.watched
        return self._enter(
            AdapterState(stage="checking", shift=shift, watched=watched, away=self._sketches())
        )

    def _checked(self) -> bool:
        state = self.state
        for sensor, first, sketch in zip(self._scored, state.shift, state.away, strict=True):
            rest = sketch.quantile(0.5)
            if abs(rest) > max(STILL, abs(first)):
                moved = f"{first:+.2g} standard deviations of training off, then {rest:+.2g} more"
                return self._refuse(f"{sensor.name} does not hold still: {moved}")
        usual = self._terms.usual
        wanted = 1.0 if usual is None else state.scores.quantile(HIGH) / usual
        if wanted > MAX_FACTOR:
            return self._refuse(
                f"scores are {wanted:.2g} times those of training, at most {MAX_FACTOR:g} times"
            )
        factor = max(1.0, wanted)
        return self._enter(AdapterState(stage="adapted", shift=state.shift, factor=factor))

    def _refuse(self, reason: str) -> bool:
        return self._enter(AdapterState(stage="refused", reason=reason))

    def _too_little(self) -> str:
        hours = self._terms.step_ms / HOUR_MS
        learned, watched = self.state.learned * hours, self.state.watched * hours
        return (
            f"{learned:.3g} h of {watched:.3g} h could be learned in this stage: "
            "the rest was above the threshold, faulty or under maintenance"
        )

    def _sketches(self) -> list[Sketch]:
        return [Sketch() for _ in self._scored]


def in_force(adapter: Adapter | None) -> Adaptation | None:
    """Return what was learned, where anything is in force."""
    return adapter.told if adapter is not None and adapter.state.shift else None


def shift_of(told: Adaptation, sensors: tuple[SensorSpec, ...]) -> list[float]:
    """Return the (F,) shifts in scaled units that were ``told``, to the digit: whole steps."""
    return [round(round(told.shift.get(s.name, 0.0) / s.scale / STEP) * STEP, 9) for s in sensors]


def _short(value: float) -> float:
    """Leave nine digits: enough to tell one step of a sketch from the next."""
    return float(f"{value:.9g}")


def adapter_of(manifest: Manifest, warmup_ms: int) -> Adapter | None:
    """Return what adapts an asset to a bundle; None without a warm-up."""
    if not warmup_ms:
        return None
    spec = manifest.model
    step_ms = spec.stride * spec.period_ms
    return Adapter(Terms(warmup_ms, step_ms, manifest.sensors, _usual(manifest)))


def _usual(manifest: Manifest) -> float | None:
    scores = manifest.calibration.get("scores")
    high = scores.get("high") if isinstance(scores, dict) else None
    return float(high) if isinstance(high, (int, float)) and high > 0.0 else None
