"""Recorded history through the very code of the daemon.

`play` feeds a recording to an `Engine` in batches; `row_scores` maps the
scores of windows back to the rows they came from.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from offbeat_edge.schema import Sample
from offbeat_edge.window import step_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from offbeat_edge.engine import Engine
    from offbeat_edge.manifest import Manifest
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


class RowScores(NamedTuple):
    """Two scores for each of N rows; None while the asset was warming up, or its data had a hole.

    A window is scored when it ends, and judges its last steps: most rows are
    judged several times, the last time after they have passed.
    """

    judged: list[float | None]  # mean of the windows that judge it, in hindsight; else in force
    in_force: list[float | None]  # of the latest window that had ended by then


def row_scores(times_ms: Ints, scores: list[ScoreRecord], manifest: Manifest) -> RowScores:
    """Return the scores of rows at ``times_ms``, (N,), under the bundle that scored the windows."""
    period_ms, stride = manifest.model.period_ms, manifest.model.stride
    by_step = {step_of(s.time_ms, period_ms): s.score for s in scores}
    steps = [step_of(t, period_ms) for t in times_ms.tolist()]
    in_force = [by_step.get(step // stride * stride) for step in steps]
    ends = np.array(sorted(by_step), dtype=np.int64)
    values = np.array([by_step[end] for end in ends.tolist()], dtype=np.float64)
    first = np.searchsorted(ends, steps, side="left")
    last = np.array(steps, dtype=np.int64) + manifest.detector.rows - 1
    count = np.searchsorted(ends, last, side="right") - first
    total = np.zeros(len(steps))
    for nth in range(int(count.max(initial=0))):
        more = count > nth
        total[more] += values[first[more] + nth]
    means = (total / np.maximum(count, 1)).tolist()
    judged = [
        mean if windows else told
        for mean, windows, told in zip(means, count.tolist(), in_force, strict=True)
    ]
    return RowScores(judged, in_force)
