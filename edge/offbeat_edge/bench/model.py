"""A bundle's size, and how long its model takes here for one window and for many."""

from __future__ import annotations

import time
import zlib
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from msgspec.structs import replace

from offbeat_edge import bundle as bundles
from offbeat_edge import golden
from offbeat_edge.bench.figures import Latency, Size, spread
from offbeat_edge.interpreter import BATCH

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from offbeat_edge.bundle import Bundle
    from offbeat_edge.interpreter import Interpreter
    from offbeat_edge.model import Model

TURNS = 9
TURN_S = 0.03  # seconds of one subject in one turn, at least


def size(path: Path, bundle: Bundle) -> Size:
    """Return how many bytes a bundle takes."""
    return Size(
        bundle=bundle.size,
        bundle_compressed=len(zlib.compress(path.read_bytes(), 9)),
        model=len(bundle.model),
        model_compressed=len(zlib.compress(bundle.model, 9)),
    )


def write_dense(path: Path, bundle: Bundle) -> None:
    """Write the same bundle with a window at every step."""
    model = replace(bundle.manifest.model, stride=1)
    members = {bundles.MODEL: bundle.model, bundles.GOLDEN: golden.encode(bundle.golden)}
    bundles.write(path, replace(bundle.manifest, model=model), members)


def latency(bundle: Bundle, interpreter: Interpreter, model: Model, *, turns: int) -> Latency:
    """Measure the model alone, and the whole way from readings to scores, in turns."""
    scaled = np.resize(bundle.golden.windows, (BATCH, interpreter.window, interpreter.sensors))
    sensors = bundle.manifest.sensors
    plain = scaled * np.array([s.scale for s in sensors]) + np.array([s.center for s in sensors])
    subjects: list[tuple[Callable[[], object], int]] = [
        (partial(interpreter.reconstruct, scaled[:1]), 1),
        (partial(interpreter.reconstruct, scaled), BATCH),
        (partial(model.judge, plain[:1]), 1),
        (partial(model.judge, plain), BATCH),
    ]
    figures = in_turns([call for call, _ in subjects], turns=turns)
    one, many, judged_one, judged_many = (
        spread([1000 * seconds / windows for seconds in taken])
        for taken, (_, windows) in zip(figures, subjects, strict=True)
    )
    return Latency(
        batch=BATCH,
        model_one_ms=one,
        model_batched_ms=many,
        judged_one_ms=judged_one,
        judged_batched_ms=judged_many,
    )


def in_turns(
    subjects: list[Callable[[], object]],
    *,
    turns: int = TURNS,
    clock: Callable[[], float] = time.perf_counter,
) -> list[list[float]]:
    """Time each subject in each turn; seconds a call, a list for each subject.

    The first call of each is not counted: it prepares.  ``clock`` is in
    seconds: `time.process_time` leaves out what other processes took.
    """
    calls = [_calls(subject) for subject in subjects]
    taken: list[list[float]] = [[] for _ in subjects]
    for _ in range(turns):
        for subject, count, figures in zip(subjects, calls, taken, strict=True):
            figures.append(_seconds(subject, count, clock) / count)
    return taken


def _calls(subject: Callable[[], object]) -> int:
    """Return how many calls fill a turn."""
    subject()
    count = 1
    while (seconds := _seconds(subject, count, time.process_time)) < TURN_S / 4:
        count *= 2
    return max(1, round(count * TURN_S / seconds))


def _seconds(subject: Callable[[], object], count: int, clock: Callable[[], float]) -> float:
    started = clock()
    for _ in range(count):
        subject()
    return clock() - started
