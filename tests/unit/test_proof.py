"""Proof of work: a lap walks everything, touches no asset, and notices what drifts."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest
from bundle_parts import answered

from offbeat_edge import bundle
from offbeat_edge.errors import ModelError
from offbeat_edge.model import open_model
from offbeat_edge.supervise.proof import Proof

if TYPE_CHECKING:
    from pathlib import Path

    from offbeat_edge.manifest import Manifest
    from offbeat_edge.model import Model, Reconstructor
    from offbeat_edge.window import Floats


@pytest.fixture
def real(tmp_path: Path, manifest: Manifest) -> Model:
    """A model of a real bundle, with the answers of the runtime here."""
    bundle.write(tmp_path / "x.bundle", *answered(manifest))
    return open_model(bundle.load(tmp_path / "x.bundle"), config_digest="c" * 64)


class Drifting:
    """Gives true answers, then a little more than that."""

    def __init__(self, inner: Reconstructor) -> None:
        self.inner = inner
        self.more = 0.0

    def reconstruct(self, windows: Floats) -> Floats:
        return self.inner.reconstruct(windows) + self.more


class Failing:
    def reconstruct(self, windows: Floats) -> Floats:
        raise ModelError(f"invocation failed of {len(windows)} windows")


def test_laps_give_the_bundles_golden_scores_and_an_alert_where_one_is_due(real: Model) -> None:
    proof = Proof(models=lambda: [real])
    laps = [proof.lap() for _ in range(4)]
    assert all(lap.fault is None and lap.broken is None for lap in laps)
    told = [json.loads(lap.token) for lap in laps]
    assert real.golden is not None
    assert [t["score"] for t in told[:2]] == pytest.approx(real.golden.scores, abs=0.01)
    assert [bool([e for e in t["events"] if "anomaly" in e]) for t in told] == [False, True] * 2
    assert [t["lap"] for t in told] == [0, 1, 2, 3]


def test_a_lap_changes_nothing_of_the_model(real: Model) -> None:
    before = (real.rule, real.lateness_ms, real.degraded, real.interpreter)
    Proof(models=lambda: [real]).lap()
    assert (real.rule, real.lateness_ms, real.degraded, real.interpreter) == before


def test_every_model_has_its_turn(real: Model, model: Model) -> None:
    proof = Proof(models=lambda: [real, model])
    assert [proof.lap().model for _ in range(4)] == [real, model, real, model]


def test_an_interpreter_that_drifts_by_a_bit_is_noticed(real: Model) -> None:
    assert real.interpreter is not None
    real.interpreter = drifting = Drifting(real.interpreter)
    proof = Proof(models=lambda: [real])
    assert proof.lap().fault is None
    proof.lap()
    drifting.more = 1e-9
    lap = proof.lap()
    assert lap.fault is not None
    assert "golden score was" in lap.fault
    assert lap.broken is None


def test_an_interpreter_that_was_wrong_from_the_start_is_noticed(real: Model) -> None:
    assert real.interpreter is not None
    real.interpreter = drifting = Drifting(real.interpreter)
    drifting.more = 1.0
    fault = Proof(models=lambda: [real]).lap().fault
    assert fault is not None
    assert "epsilon" in fault


def test_an_interpreter_that_throws_is_a_fault_and_the_fallback_walks_on(real: Model) -> None:
    real.interpreter = Failing()
    proof = Proof(models=lambda: [real])
    assert proof.lap().fault == "invocation failed of 2 windows"
    assert isinstance(real.interpreter, Failing)  # whether to go without it, others decide
    real.interpreter = None
    lap = proof.lap()
    assert (lap.fault, lap.broken) == (None, None)
    assert json.loads(lap.token)["score"] > 0


def test_a_way_that_gives_no_score_is_broken(real: Model) -> None:
    spec = msgspec.structs.replace(real.manifest.model, window=5)  # of 4 rows none is made
    real.manifest = msgspec.structs.replace(real.manifest, model=spec)
    broken = Proof(models=lambda: [real]).lap().broken
    assert broken is not None
    assert "no score" in broken


@pytest.mark.parametrize("stride", [1, 3, 4])
def test_the_window_ends_where_one_is_judged_whatever_the_stride(
    tmp_path: Path, manifest: Manifest, stride: int
) -> None:
    spec = msgspec.structs.replace(manifest.model, stride=stride)
    bundle.write(tmp_path / "x.bundle", *answered(msgspec.structs.replace(manifest, model=spec)))
    real = open_model(bundle.load(tmp_path / "x.bundle"), config_digest="c")
    lap = Proof(models=lambda: [real]).lap()
    assert lap.broken is None
    assert np.isfinite(json.loads(lap.token)["score"])
