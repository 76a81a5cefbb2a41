"""Readings that a model finds normal, for measuring: any number, for many assets.

The most normal golden window of the bundle, played forth and back on the
model's grid: continuous, deterministic, and on every device the same.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np

from offbeat_edge.schema import Sample

if TYPE_CHECKING:
    from collections.abc import Iterator

    from offbeat_edge.bundle import Bundle

START_MS = 1_760_000_000_000  # event time, 2025; nothing depends on it
DIGITS = 6  # significant, as sensors have them


class Signal:
    """One asset's readings, step by step; every asset gets the same."""

    def __init__(self, bundle: Bundle) -> None:
        manifest, golden = bundle.manifest, bundle.golden
        center = np.array([s.center for s in manifest.sensors])
        scale = np.array([s.scale for s in manifest.sensors])
        rows = golden.windows[int(golden.scores.argmin())] * scale + center
        there_and_back = np.concatenate([rows, rows[-2:0:-1]])
        names = [sensor.name for sensor in manifest.sensors]
        self._period_ms = manifest.model.period_ms
        self._first = START_MS // self._period_ms
        self._first -= self._first % manifest.model.stride
        self._rows: list[dict[str, float]] = [
            {name: float(f"{value:.{DIGITS}g}") for name, value in zip(names, row, strict=True)}
            for row in there_and_back.tolist()
        ]

    def sample(self, asset: str, step: int) -> Sample:
        """Return the reading of one asset at one step, counted from 0."""
        return Sample(asset, self._time_ms(step), dict(self._row(step)))

    def samples(self, assets: range, steps: range) -> Iterator[Sample]:
        """Return readings, step by step, all assets at each."""
        return (self.sample(name_of(n), step) for step in steps for n in assets)

    def payload(self, step: int) -> bytes:
        """Return the reading of one step as a message carries it."""
        return json.dumps({"ts": self._time_ms(step), **self._row(step)}).encode()

    def _time_ms(self, step: int) -> int:
        return (self._first + step) * self._period_ms

    def _row(self, step: int) -> dict[str, float]:
        return self._rows[step % len(self._rows)]


def name_of(number: int) -> str:
    """Return the name of an asset."""
    return f"pump-{number:05}"
