"""Proof of work: golden windows walk the way of every sample, aside from every asset.

Rules: a lap feeds one golden window of one model, sample by sample, to an
engine of its own, so that aligner, window, interpreter, detector and alert
machine move and nothing of a real asset does.  The first lap of a model is
held against the bundle's golden score, every later one against the first, to
the bit.  An answer that changed is the model's *fault*; a lap that gives no
score, or other events for the same score, is *broken*: then something beside
the model is, and only a restart helps.

>>> proof = Proof(models=lambda: [])
>>> proof.lap()
Lap(token=b'{"lap":0,"bundle":"","score":null,"events":[]}', model=None, fault=None, broken=None)
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import numpy as np

from offbeat_edge import knownanswer
from offbeat_edge.engine import Engine
from offbeat_edge.errors import ModelError
from offbeat_edge.schema import AlertRule, Sample

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from offbeat_edge.golden import Golden
    from offbeat_edge.model import Model
    from offbeat_edge.outputs import Outputs

NAME = "offbeat.proof"  # site, gateway and asset of the private engine
AT_ONCE = AlertRule()  # an alert on the first score above 1.0
MAX_REFERENCES = 1024  # first laps remembered; far more than models


class Lap(NamedTuple):
    """What one walk came to."""

    token: bytes  # for the disk: what was scored and told
    model: Model | None  # the one that walked; None: none is loaded
    fault: str | None = None  # the model no longer gives its answers
    broken: str | None = None  # the way itself does not work


class _Told(msgspec.Struct, frozen=True):
    """One lap's outcome."""

    lap: int
    bundle: str
    score: float | None
    events: list[str]


class Proof:
    """Laps, one model after the other.

    Parameters
    ----------
    models : those that are loaded now.
    """

    def __init__(self, *, models: Callable[[], Sequence[Model]]) -> None:
        self._models = models
        self._laps = 0
        self._first: dict[tuple[str, bool, int], _Told] = {}

    def lap(self) -> Lap:
        """Send one golden window of the next model around."""
        number, self._laps = self._laps, self._laps + 1
        models = self._models()
        if not models:
            return Lap(_token(_Told(number, "", None, [])), None)
        model = models[number % len(models)]
        return self._walk(model, number, number // len(models))

    def _walk(self, model: Model, number: int, turn: int) -> Lap:
        runs = model.interpreter is not None
        golden = model.golden
        if golden is None:
            return Lap(_token(_Told(number, model.digest, None, [])), model)
        index = turn % len(golden.scores)
        fault = _differs(model, golden) if runs and not self._known(model, index) else None
        if fault:
            return Lap(b"", model, fault=fault)
        shadow = _shadow(model)
        out = _around(shadow, golden.windows[index])
        if runs and shadow.interpreter is None:
            return Lap(b"", model, fault=shadow.degraded)
        return self._judge(model, _told(out, number, model), index)

    def _known(self, model: Model, index: int) -> bool:
        return (model.digest, model.interpreter is not None, index) in self._first

    def _judge(self, model: Model, told: _Told, index: int) -> Lap:
        """Hold a lap against the first one of its kind."""
        token = _token(told)
        if told.score is None:
            return Lap(token, model, broken="a whole window went in and no score came out")
        if len(self._first) >= MAX_REFERENCES:
            self._first.clear()
        key = (model.digest, model.interpreter is not None, index)
        first = self._first.setdefault(key, told)
        if told.score != first.score:
            fault = f"a golden score was {first.score!r} and is {told.score!r}"
            return Lap(token, model, fault=fault)
        if told.events != first.events:
            broken = f"events {first.events} became {told.events} for the same score"
            return Lap(token, model, broken=broken)
        return Lap(token, model)


def _differs(model: Model, golden: Golden) -> str | None:
    """Say how the model's answers are not the bundle's; scaled units, as in the trial."""
    if model.interpreter is None:
        return None
    try:
        here = knownanswer.scored(model.manifest, golden.windows, model.interpreter)
    except ModelError as error:
        return str(error)
    off = float(np.abs(here - golden.scores).max())
    crossed = bool(((here > 1.0) != (golden.scores > 1.0)).any())
    if off <= model.manifest.epsilon and not crossed:
        return None
    return f"golden scores are off by {off:.3g} (epsilon {model.manifest.epsilon:.3g})"


def _shadow(model: Model) -> Model:
    """Copy a model for the proof's own asset: no lateness, no patience, no side effects."""
    shadow = copy.copy(model)
    shadow.rule, shadow.lateness_ms, shadow.warmup_ms = AT_ONCE, 0, 0
    return shadow


def _around(model: Model, window: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> Outputs:
    """Feed ``window`` (T, F), scaled, to a new engine; its last step ends a window."""
    spec = model.manifest.model
    sensors = model.manifest.sensors
    last = spec.stride * -(-spec.window // spec.stride)
    values = window * [s.scale for s in sensors] + [s.center for s in sensors]
    samples = [
        Sample(NAME, step * spec.period_ms, dict(zip(model.names, row, strict=True)))
        for step, row in enumerate(values.tolist(), last - spec.window + 1)
    ]
    # No sensor is named: to explain an event takes the model several times.
    engine = Engine(site=NAME, gateway=NAME, route=lambda _: model, contributions=0)
    return engine.feed(samples)


def _told(out: Outputs, number: int, model: Model) -> _Told:
    events = [f"{event.kind} {event.id}" for event in out.events]
    return _Told(number, model.digest, out.scores[-1].score if out.scores else None, events)


def _token(told: _Told) -> bytes:
    return msgspec.json.encode(told)
