"""A fitted model → a bundle: golden windows, runtimes checked, manifest, lineage.

Rules: golden answers come from the device's own code on this machine, with
and without the runtime's delegate; only answers that no runtime can turn
over become golden.  The clock is passed in.

>>> digest = write(Path("pump.offbeat"), fitted, now=datetime.now(UTC))  # doctest: +SKIP
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import numpy as np

from offbeat_edge import __version__, bundle, golden
from offbeat_edge.interpreter import Interpreter
from offbeat_edge.manifest import Manifest, RuntimeCheck
from offbeat_edge.schema import AlertRule, Lineage, ModelSpec
from offbeat_edge.scorer import Scorer
from offbeat_train.blocks import in_blocks
from offbeat_train.compare import FAULTS
from offbeat_train.defaults import FOLLOW
from offbeat_train.errors import ExportError
from offbeat_train.retrain.drift import reference

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime
    from pathlib import Path

    from numpy.typing import NDArray

    from offbeat_train.fit import Fitted

    Floats = NDArray[np.float64]

GOLDEN_MOST, GOLDEN_LEAST = 16, 4  # windows, every fourth with a fault
GOLDEN_CELLS = 8192  # numbers in all of them, about: a bundle travels far
GOLDEN_GRAIN = 1 / 256  # scales; golden inputs are rounded so that they compress
GOLDEN_FAULT = 6.0  # scales
EPSILON_FLOOR = 0.02  # score units; what a runtime not listed may differ by, at least
EPSILON_FACTOR = 4.0  # times what delegates differed by here
EPSILON_MOST = 0.5
CHUNK = 1 << 20  # bytes hashed at a time


class Origin(NamedTuple):
    """Where data that came from no file came from."""

    version: str  # of the model
    data_sha256: str
    config: dict[str, object]  # what rebuilds it, in plain JSON values


class Answers(NamedTuple):
    """Golden windows and the runtimes that were asked."""

    golden: golden.Golden
    runtimes: tuple[RuntimeCheck, ...]
    epsilon: float


def write(path: Path, fitted: Fitted, *, now: datetime, origin: Origin | None = None) -> str:
    """Write the bundle; returns its identity (SHA-256 of the manifest, hex)."""
    answers = ask(fitted)
    members = {bundle.MODEL: fitted.trained.tflite, bundle.GOLDEN: golden.encode(answers.golden)}
    return bundle.write(path, describe(fitted, answers, now=now, origin=origin), members)


def describe(
    fitted: Fitted, answers: Answers, *, now: datetime, origin: Origin | None = None
) -> Manifest:
    """Fill in the manifest."""
    plan, calibration = fitted.prepared.plan, fitted.calibration
    step = plan.stride * plan.period_ms
    about = {
        key: value
        for key, value in msgspec.to_builtins(calibration).items()
        if key not in ("detector", "fallback", "shape", "threshold")
    }
    about |= _references(fitted)
    return Manifest(
        model=ModelSpec(
            name=fitted.options.name,
            version=origin.version if origin else f"{now:%Y%m%dT%H%M%SZ}",
            created=f"{now:%Y-%m-%dT%H:%M:%SZ}", period_ms=plan.period_ms, window=plan.window,
            stride=plan.stride, hold_ms=plan.hold_ms,
        ),
        sensors=fitted.prepared.sensors,
        detector=calibration.detector,
        fallback=calibration.fallback,
        threshold=calibration.threshold,
        shape=calibration.shape,
        follow=FOLLOW,
        epsilon=answers.epsilon,
        calibration=about,
        # Two windows in a row open an alert; a window of calm ends it.
        alert=AlertRule(min_duration_ms=step, clear_ms=plan.window * plan.period_ms),
        lineage=lineage(fitted, origin),
        runtimes=answers.runtimes,
    )  # fmt: skip


def _references(fitted: Fitted) -> dict[str, object]:
    """Describe inputs and held-out scores, scaled, so that drift can be told from the bundle."""
    calibration, sensors = fitted.calibration, fitted.prepared.sensors
    scorer = Scorer(calibration, sensors)
    held = fitted.holdout
    scores = in_blocks(lambda *part: scorer.score(*part).score, held.windows, held.recon)
    return {
        "scores": msgspec.to_builtins(reference(scores)),
        "inputs": {
            sensor.name: msgspec.to_builtins(reference(fitted.prepared.rows[:, index]))
            for index, sensor in enumerate(sensors)
        },
    }


def lineage(fitted: Fitted, origin: Origin | None = None) -> Lineage:
    """Say where the model comes from, in plain JSON values."""
    history, spec, losses = fitted.history, fitted.spec, fitted.trained.losses
    comparison = fitted.comparison
    config: dict[str, object] = {
        "network": {"patch": spec.patch, "encoder": list(spec.encoder), "latent": spec.latent,
                    "decoder": list(spec.decoder), "rank": spec.rank, "mask": spec.mask},
        "folds": len(fitted.splits), "files": [path.name for path in history.paths],
        "rows": history.rows, "excluded": history.excluded,
        "complete_rows": len(fitted.prepared.rows), "assets": list(history.assets),
        "time": history.time_said, "from_ms": int(fitted.prepared.times_ms.min()),
        "to_ms": int(fitted.prepared.times_ms.max()), "cold": fitted.cold,
    }  # fmt: skip
    metrics: dict[str, object] = {
        "epochs": len(losses.loss), "kept_epochs": losses.best + 1, "validation": losses.least,
        "lstm_learned": fitted.learned, "parity": fitted.parity.figures(),
        "injected_caught": comparison.network, "injected_caught_pca": comparison.pca,
        "pca_as_good": comparison.pca_as_good, "warnings": list(fitted.warnings),
    }  # fmt: skip
    return Lineage(
        data_sha256=origin.data_sha256 if origin else digest(history.paths),
        code_version=__version__,
        config=config | (origin.config if origin else {}),
        metrics=metrics,
        seed=fitted.options.seed,
    )


def digest(paths: Iterable[Path]) -> str:
    """SHA-256 over the SHA-256 of every file's bytes, in order, hex."""
    total = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()


def ask(fitted: Fitted) -> Answers:
    """Choose golden windows and record what this machine's runtimes answer."""
    windows = _candidates(fitted)
    sensors, calibration = fitted.prepared.sensors, fitted.calibration
    scorer = Scorer(calibration, sensors)
    runs = [Interpreter(fitted.trained.tflite, delegate=delegate) for delegate in (True, False)]
    scores = [scorer.score(windows, run.reconstruct(windows)) for run in runs]
    apart = float(np.abs(scores[1].score - scores[0].score).max())
    epsilon = min(EPSILON_MOST, max(EPSILON_FLOOR, EPSILON_FACTOR * apart))
    kept = golden.decisive(scores[0].score, epsilon=epsilon)
    if not kept.any() or apart > epsilon:
        raise ExportError(
            f"expected golden scores that runtimes agree on within {EPSILON_MOST}, got scores that "
            f"differ by {apart:.3f} between this runtime's delegates"
        )
    reference = scores[0].score[kept]
    return Answers(
        golden=golden.Golden(
            windows=windows[kept], scores=reference, shares=scores[0].shares[kept]
        ),
        runtimes=tuple(
            RuntimeCheck(
                runtime=run.runtime,
                scores_sha256=hashlib.sha256(
                    answer.score[kept].astype("<f8").tobytes()
                ).hexdigest(),
                max_diff=float(np.abs(answer.score[kept] - reference).max()),
            )
            for run, answer in zip(runs, scores, strict=True)
        ),
        epsilon=epsilon,
    )


def _candidates(fitted: Fitted) -> Floats:
    """Take held-out windows, every fourth with a fault, (N, T, F) scaled."""
    rng = np.random.default_rng(fitted.options.seed)
    count = max(GOLDEN_LEAST, min(GOLDEN_MOST, GOLDEN_CELLS // fitted.spec.size))
    windows = fitted.splits[-1].held_out.spread(count)
    targets = [index for index, sensor in enumerate(fitted.prepared.sensors) if sensor.scored]
    faults = [FAULTS[name] for name in ("offset", "drift", "noise", "offset")]
    for turn, place in enumerate(range(0, len(windows), 4)):
        fault, target = faults[turn % len(faults)], targets[turn % len(targets)]
        windows[place] = fault(windows[place], target, GOLDEN_FAULT, rng)
    return np.rint(windows / GOLDEN_GRAIN) * GOLDEN_GRAIN
