"""Histories made up for tests of health, preparing and fitting."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from offbeat_train.history import History, Recording

START_MS = 1_704_067_200_000


def history(
    values: npt.NDArray[np.float64],
    *,
    times_ms: npt.NDArray[np.int64] | None = None,
    row: npt.NDArray[np.int64] | None = None,
    assets: int = 1,
    cuts: tuple[int, ...] = (),
) -> History:
    """Give every asset the same values (N, F), one second apart by default."""
    count, width = values.shape
    times = START_MS + np.arange(count) * 1000 if times_ms is None else times_ms
    recording = Recording(
        times_ms=times,
        values=values,
        row=np.arange(count) if row is None else row,
        cuts=np.array(cuts, dtype=np.int64),
    )
    return History(
        assets={f"pump{i + 1}": recording for i in range(assets)},
        sensors=tuple(f"s{i}" for i in range(width)),
        paths=(Path("made-up.csv"),), rows=count * assets, excluded=0, duplicates=0,
        time_said="as told", has_time=True,
        row_asset=np.repeat(np.arange(assets), count),
        row_record=np.tile(np.arange(count), assets), notes=(), warnings=(),
    )  # fmt: skip


def beat(count: int, *, seed: int = 0, width: int = 3) -> npt.NDArray[np.float64]:
    """Sensors that share a beat of 40 steps, with noise; (N, F)."""
    rng = np.random.default_rng(seed)
    phase = np.arange(count)[:, None] * 2 * np.pi / 40 + np.arange(width)
    return 20.0 + 5.0 * np.sin(phase) + rng.normal(scale=0.3, size=(count, width))
