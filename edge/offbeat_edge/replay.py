"""Recorded history through the very code of the daemon.

`play` feeds a recording to an `Engine` in batches; `row_scores` maps the
scores of windows back to the rows they came from.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from offbeat_edge.schema import Sample
from offbeat_edge.window import step_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from offbeat_edge.engine import Engine
    from offbeat_edge.outputs import Outputs
    from offbeat_edge.schema import ScoreRecord
    from offbeat_edge.window import Floats, Ints

BATCH = 2048  # rows; windows of one batch share an invocation


def samples(asset: str, times_ms: Ints, values: Floats, names: tuple[str, ...]) -> Iterator[Sample]:
    """Turn rows into samples.

    Parameters
    ----------
    times_ms : (N,) int64.
    values : (N, F) float64, NaN where a sensor is absent.
    names : F sensor names.
    """
    whole: list[bool] = np.asarray(np.isfinite(values).all(axis=1)).tolist()
    for n, (time_ms, row) in enumerate(zip(times_ms.tolist(), values.tolist(), strict=True)):
        if whole[n]:
            yield Sample(asset, time_ms, dict(zip(names, row, strict=True)))
        else:
            known = zip(names, row, np.isfinite(row).tolist(), strict=True)
            kept = {name: value for name, value, present in known if present}
            if kept:
                yield Sample(asset, time_ms, kept)


def play(engine: Engine, recording: Iterator[Sample], *, batch: int = BATCH) -> Iterator[Outputs]:
    """Feed a recording; yield what each batch led to."""
    for pending in batches(recording, batch=batch):
        yield engine.feed(pending)


def batches(recording: Iterator[Sample], *, batch: int = BATCH) -> Iterator[list[Sample]]:
    """Cut a recording into pieces of ``batch`` samples."""
    while pending := list(islice(recording, batch)):
        yield pending


def row_scores(
    times_ms: Ints, scores: list[ScoreRecord], *, period_ms: int, stride: int
) -> list[float | None]:
    """Return for each row the score in force: of the latest window that had ended by then.

    None while the asset was warming up, or its data had a hole.
    """
    by_step = {step_of(s.time_ms, period_ms): s.score for s in scores}
    steps = (step_of(t, period_ms) for t in times_ms.tolist())
    return [by_step.get(step // stride * stride) for step in steps]
