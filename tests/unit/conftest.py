"""A tiny model for the pure core: two sensors, four steps, expects zero."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from offbeat_edge.detector import DetectorSpec, FallbackSpec
from offbeat_edge.manifest import Manifest
from offbeat_edge.model import Model
from offbeat_edge.schema import AlertRule, Lineage, ModelSpec, SensorSpec


class ExpectsCenter:
    """The plainest reconstructor: every sensor at its center."""

    def reconstruct(self, windows: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.zeros_like(windows)


@pytest.fixture
def manifest() -> Manifest:
    def sensor(name: str, center: float, stuck: int | None = None) -> SensorSpec:
        return SensorSpec(
            name=name, center=center, scale=1.0, cadence_ms=1000, low=-50.0, stuck_steps=stuck
        )

    return Manifest(
        model=ModelSpec(
            name="tiny", version="1", created="2026-01-01T00:00:00Z",
            period_ms=1000, window=4, stride=2, hold_ms=2000,
        ),
        sensors=(sensor("flow", 10.0), sensor("heat", 20.0, stuck=6)),
        detector=DetectorSpec(rows=4, center=(0.0, 0.0), precision=((1.0, 0.0), (0.0, 1.0))),
        fallback=FallbackSpec(
            threshold=2.0, level_center=(0.0, 0.0), level_scale=(1.0, 1.0),
            spread_center=(0.0, 0.0), spread_scale=(1.0, 1.0),
        ),
        threshold=2.0,
        epsilon=0.01,
        calibration={},
        alert=AlertRule(clear_ratio=0.9),
        lineage=Lineage(
            data_sha256="0" * 64, code_version="0", config={}, metrics={}, seed=0
        ),
        runtimes=(),
    )  # fmt: skip


@pytest.fixture
def model(manifest: Manifest) -> Model:
    return Model(
        manifest=manifest, digest="d" * 64, config_digest="c" * 64, interpreter=ExpectsCenter()
    )
