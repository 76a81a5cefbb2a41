"""Who is named under injected faults."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pytest

from offbeat_edge.detector import DetectorSpec
from offbeat_edge.schema import SensorSpec
from offbeat_edge.scorer import Scorer
from offbeat_train import compare

if TYPE_CHECKING:
    from offbeat_edge.window import Floats

SENSORS = tuple(SensorSpec(name=n, center=0.0, scale=1.0, cadence_ms=1000) for n in "ab")
SPEC = DetectorSpec(rows=4, center=(5.0, -5.0), precision=((1.0, 0.0), (0.0, 1.0)))


class Flat:
    """Held-out windows, networks and PCA in one: two sensors at 5 and -5, expected at 0."""

    detector, threshold, shape = SPEC, 1.0, None

    def __init__(self, levels: tuple[float, float]) -> None:
        self._levels = levels

    @property
    def held_out(self) -> Flat:
        return self

    def spread(self, count: int) -> Floats:
        noise = np.random.default_rng(0).normal(scale=0.1, size=(count, 4, 2))
        return np.asarray(self._levels + noise)

    def reconstruct(self, windows: Floats) -> Floats:
        return np.zeros_like(windows)


def named(
    fault: str,
    *,
    magnitude: float = 4.0,
    levels: tuple[float, float] = (5.0, -5.0),
    spec: DetectorSpec = SPEC,
) -> compare.Caught:
    flat: Any = Flat(levels)
    flat.detector = spec
    judge = Scorer(flat, SENSORS)
    return compare._caught(  # noqa: SLF001
        [compare.Pair(flat, flat, flat)], (judge, judge), fault, magnitude,
        targets=[0, 1], rng=np.random.default_rng(1),
    )  # fmt: skip


@pytest.mark.parametrize("fault", ["offset", "swapped"])
def test_a_sensor_that_was_touched_is_right(fault: str) -> None:
    found = named(fault)
    assert (found.network, found.named) == (1.0, 1.0)


def test_the_untouched_one_is_wrong() -> None:
    """The first sensor is off by itself and named always, and touched half of the time."""
    found = named("offset", magnitude=1e-6, levels=(9.0, -5.0))
    assert found.network == 1.0
    assert 0.3 < found.named < 0.7


def test_a_sensor_that_is_not_heard_by_itself_is_known() -> None:
    muffled = msgspec.structs.replace(SPEC, precision=((1.0, 0.0), (0.0, 0.01)))
    rows = [named(fault, spec=muffled) for fault in ("offset", "drift", "noise")]
    for row in rows:
        assert row.tried.sum() == compare.WINDOWS
        assert row.heard[0] > 0.9 * row.tried[0] > 0
        assert row.heard[1] == 0
    assert told_deaf(rows) == [1]
    assert told_deaf([named(fault) for fault in ("offset", "drift")]) == []


def told_deaf(rows: list[compare.Caught]) -> list[int]:
    some: Any = SimpleNamespace(caught=rows)
    return compare.Comparison.deaf_to(some)
