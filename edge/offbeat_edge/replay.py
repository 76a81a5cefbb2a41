"""Recorded history through the very code of the daemon.

`play` feeds a recording to an `Engine` in batches.  Scores are of windows; of
rows there are two: `in_force`, what the device had said by then, and `judged`,
what is known of a row once all windows that look at it have been seen.
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


def in_force(
    times_ms: Ints, scores: list[ScoreRecord], *, period_ms: int, stride: int
) -> list[float | None]:
    """Return for each row the score of the latest window that had ended by then.

    None while the asset was warming up, or its data had a hole.
    """
    by_step = {step_of(s.time_ms, period_ms): s.score for s in scores}
    steps = (step_of(t, period_ms) for t in times_ms.tolist())
    return [by_step.get(step // stride * stride) for step in steps]


def judged(
    times_ms: Ints, scores: list[ScoreRecord], *, period_ms: int, stride: int, rows: int
) -> list[float | None]:
    """Return for each row the mean score of the windows that judge it.

    A window judges its last ``rows`` steps, so most rows are judged several times,
    the last time after they have passed: this ranks rows, in hindsight.  A row
    that no window judges has the score in force, or None.
    """
    by_step = {step_of(s.time_ms, period_ms): s.score for s in scores}
    ends = np.array(sorted(by_step), dtype=np.int64)
    values = np.array([by_step[end] for end in ends.tolist()], dtype=np.float64)
    steps = np.array([step_of(t, period_ms) for t in times_ms.tolist()], dtype=np.int64)
    first = np.searchsorted(ends, steps, side="left")
    count = np.searchsorted(ends, steps + rows - 1, side="right") - first
    total = np.zeros(len(steps))
    for nth in range(int(count.max(initial=0))):
        more = count > nth
        total[more] += values[first[more] + nth]
    means = (total / np.maximum(count, 1)).tolist()
    told = in_force(times_ms, scores, period_ms=period_ms, stride=stride)
    return [mean if n else last for mean, n, last in zip(means, count.tolist(), told, strict=True)]
