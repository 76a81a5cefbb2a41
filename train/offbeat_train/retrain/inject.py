"""Faults put into held-out normal rows: what, how large, where.

Rules: pure and seeded; sizes are in standard deviations of the sensor over
the rows that judge, the same for both models.  A case is the end of a block:
one window of rows as they were, then the fault to the block's end.  Kinds,
sizes and sensors take turns, so that each meets each.

>>> sorted(KINDS)
['drift', 'frozen', 'noise', 'offset', 'spike']
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from offbeat_train.retrain.evidence import Cases

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from offbeat_train.retrain.evidence import Floats
    from offbeat_train.retrain.holdout import Block

    Fault = Callable[[Floats, float, np.random.Generator], Floats]

SIZES = (1.0, 2.0, 4.0)
PLACES = 36  # blocks with faults on each ground, at most; where there are fewer, each has more
WARM_WINDOWS, FAULT_WINDOWS = 1.0, 2.0  # window lengths before and under the fault
SPIKE_EVERY = 8  # records


class Case(NamedTuple):
    """One fault in one block."""

    kind: str
    size: float
    sensor: int
    block: int
    times_ms: np.ndarray[tuple[int], np.dtype[np.int64]]
    values: Floats  # (N, F), faulty


def _offset(values: Floats, size: float, rng: np.random.Generator) -> Floats:
    return np.asarray(values + size * rng.choice((-1.0, 1.0)), dtype=np.float64)


def _drift(values: Floats, size: float, rng: np.random.Generator) -> Floats:
    ramp = np.linspace(0.0, 1.0, len(values))
    return np.asarray(values + size * rng.choice((-1.0, 1.0)) * ramp, dtype=np.float64)


def _noise(values: Floats, size: float, rng: np.random.Generator) -> Floats:
    return values + size * rng.normal(size=len(values))


def _frozen(values: Floats, _size: float, _rng: np.random.Generator) -> Floats:
    known = values[np.isfinite(values)]
    return np.where(np.isfinite(values), known[0] if known.size else 0.0, values)


def _spike(values: Floats, size: float, rng: np.random.Generator) -> Floats:
    out = values.copy()
    out[:: min(SPIKE_EVERY, len(values))] += size * rng.choice((-1.0, 1.0))
    return out


KINDS: dict[str, Fault] = {
    "drift": _drift, "frozen": _frozen, "noise": _noise, "offset": _offset, "spike": _spike,
}  # fmt: skip
UNSIZED = ("frozen",)


def inject(
    blocks: Sequence[Block],
    *,
    sensors: Sequence[int],
    scale: Floats,
    window_ms: int,
    seed: int,
) -> list[Case]:
    """Put every kind and size into some of the blocks.

    Parameters
    ----------
    sensors : columns that may become faulty.
    scale : (F,) one standard deviation of each column.
    window_ms : the longer of the models' windows.
    """
    rng = np.random.default_rng(seed)
    places = np.linspace(0, len(blocks) - 1, PLACES).astype(int)  # some twice in a short ground
    acts = [(k, z) for k in KINDS for z in (SIZES if k not in UNSIZED else SIZES[-1:])]
    out = []
    for turn, place in enumerate(places.tolist()):
        for act, (kind, size) in enumerate(acts):
            sensor = sensors[(turn + act) % len(sensors)]
            times, values = _case(blocks[place], kind, size * scale[sensor], sensor=sensor,
                                  window_ms=window_ms, rng=rng)  # fmt: skip
            out.append(Case(kind, size, sensor, place, times, values))
    return out


def table(cases: Sequence[Case], names: Sequence[str]) -> Cases:
    """Describe cases to the gate."""
    return Cases(
        kind=np.array([case.kind for case in cases], dtype=np.str_),
        size=np.array([case.size for case in cases], dtype=np.float64),
        sensor=np.array([names[case.sensor] for case in cases], dtype=np.str_),
        block=np.array([case.block for case in cases], dtype=np.intp),
    )


def _case(
    block: Block, kind: str, size: float, *, sensor: int, window_ms: int, rng: np.random.Generator
) -> tuple[np.ndarray[tuple[int], np.dtype[np.int64]], Floats]:
    end = int(block.times_ms[-1])
    began = end - round(FAULT_WINDOWS * window_ms)
    first = int(np.searchsorted(block.times_ms, began - round(WARM_WINDOWS * window_ms)))
    fault = int(np.searchsorted(block.times_ms, began))
    values = block.values[first:].copy()
    values[fault - first :, sensor] = KINDS[kind](values[fault - first :, sensor], size, rng)
    return block.times_ms[first:], values
