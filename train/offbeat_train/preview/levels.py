"""One model at several thresholds.

Rules: the bundle's own threshold comes first.  Others are read from the
calibration at a budget of false alarms, or are multiples of the bundle's own.
The reconstructions do not depend on them: one interpreter serves all levels,
which are fed the same windows in turn, and runs each window once.

>>> [level.said for level in by_times(model, [2.0])]  # doctest: +SKIP
['as it is', 'times 2']
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec
import numpy as np

from offbeat_edge.model import Model
from offbeat_train.calibration import Curve
from offbeat_train.errors import DataError
from offbeat_train.words import often

if TYPE_CHECKING:
    from collections.abc import Sequence

    from offbeat_edge.manifest import Manifest
    from offbeat_edge.model import Reconstructor
    from offbeat_edge.window import Floats

BUDGETS = (0.5, 1.0, 3.0, 7.0)  # a week and asset, when nobody names any
TIMES = (0.8, 1.25, 1.5, 2.0)  # for a bundle that does not know its budgets


class Level(NamedTuple):
    """A threshold and the model that judges by it."""

    said: str
    times: tuple[float, ...]  # the bundle's own: of the residuals and, if judged, the shapes
    model: Model


class Once:
    """Runs windows that come several times in a row only once."""

    def __init__(self, interpreter: Reconstructor) -> None:
        self._interpreter = interpreter
        self._last: tuple[Floats, Floats] | None = None

    def reconstruct(self, windows: Floats) -> Floats:
        """(N, T, F) scaled → (N, T, F) scaled."""
        if self._last is None or not np.array_equal(self._last[0], windows):
            self._last = windows, self._interpreter.reconstruct(windows)
        return self._last[1]


def curve_of(manifest: Manifest) -> Curve | None:
    """Return what the bundle knows of other budgets; those made before it was kept know nothing."""
    try:
        curve = msgspec.convert(manifest.calibration, Curve)
    except msgspec.ValidationError:
        return None
    return curve if len(curve.tails) == len(_own(manifest)) else None


def by_budget(model: Model, budgets: Sequence[float]) -> list[Level]:
    """Return the model as it is and at each budget; budgets of one threshold are one level.

    Raises
    ------
    DataError : the bundle does not know its budgets.
    """
    curve = curve_of(model.manifest)
    if curve is None:
        raise DataError(
            "expected a bundle that knows how its threshold follows from a budget, got one of an "
            "earlier version: fit again, or compare --thresholds"
        )
    own = _own(model.manifest)
    named: dict[tuple[float, ...], list[float]] = {own: []}
    for budget in sorted(budgets):
        named.setdefault(curve.thresholds(budget), []).append(budget)
    said = {at: f"{', '.join(f'{b:g}' for b in found)} a week" for at, found in named.items()}
    own_rate = model.manifest.calibration.get("expected_per_week")
    rate = f": {often(float(own_rate))} a week" if isinstance(own_rate, int | float) else ""
    said[own] = f"as it is{rate}"
    return _levels(model, [(text, _ratio(wanted, own)) for wanted, text in said.items()])


def reach(manifest: Manifest, budgets: Sequence[float]) -> str | None:
    """Say which budgets the bundle's held-out rows cannot speak of, if any."""
    curve = curve_of(manifest)
    beyond = [b for b in budgets if curve is not None and b < curve.supported_per_week]
    if curve is None or not beyond:
        return None
    return (
        f"The bundle's held-out rows speak of no rarer rate than {often(curve.supported_per_week)} "
        f"a week: {', '.join(f'{budget:g}' for budget in beyond)} are read there."
    )


def by_times(model: Model, times: Sequence[float]) -> list[Level]:
    """Return the model as it is and at multiples of its threshold."""
    width = len(_own(model.manifest))
    others = [(f"times {one:g}", (one,) * width) for one in sorted(set(times) - {1.0})]
    return _levels(model, [("as it is", (1.0,) * width), *others])


def _levels(model: Model, wanted: Sequence[tuple[str, tuple[float, ...]]]) -> list[Level]:
    once = None if model.interpreter is None else Once(model.interpreter)
    return [Level(said, times, _at(model, times, once)) for said, times in wanted]


def _at(model: Model, times: tuple[float, ...], once: Reconstructor | None) -> Model:
    """Return the model with its thresholds multiplied."""
    plain = model.manifest
    shape = plain.shape
    if shape is not None:
        shape = msgspec.structs.replace(shape, threshold=shape.threshold * times[1])
    return Model(
        manifest=msgspec.structs.replace(plain, threshold=plain.threshold * times[0], shape=shape),
        digest=model.digest, config_digest=model.ref.config, interpreter=once, rule=model.rule,
        lateness_ms=model.lateness_ms, degraded=model.degraded, golden=model.golden,
    )  # fmt: skip


def _own(manifest: Manifest) -> tuple[float, ...]:
    shape = manifest.shape
    return (manifest.threshold,) if shape is None else (manifest.threshold, shape.threshold)


def _ratio(wanted: tuple[float, ...], own: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(one / other for one, other in zip(wanted, own, strict=True))
