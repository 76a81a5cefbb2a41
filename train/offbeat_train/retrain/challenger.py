"""A plan and its rows → a version: bundle, weights, report.

Rules: the only module of retraining that brings TensorFlow.  The grid and
the window are the plan's, so the champion's weights fit where the sensors
are the same; where they do not, the bundle's lineage says why it started cold.  A champion
that has a counter was asked for it, and so is the challenger.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec

from offbeat_edge import bundle as bundles
from offbeat_train import fit, package, report
from offbeat_train.health import examine
from offbeat_train.retrain import holdout
from offbeat_train.retrain import weights as kept
from offbeat_train.retrain.shelf import BUNDLE, REPORT, REPORT_PAGE, WEIGHTS

if TYPE_CHECKING:
    from pathlib import Path

    from offbeat_edge.manifest import Manifest
    from offbeat_train.health import Health
    from offbeat_train.history import History
    from offbeat_train.retrain.record import Plan


def make(
    folder: Path,
    plan: Plan,
    rows: History,
    *,
    on: fit.Progress,
    manifest: Manifest | None,
    weights: Path | None,
) -> None:
    """Fit a challenger on ``rows`` and fill ``folder``.

    Parameters
    ----------
    manifest, weights : the champion's, to start from; None for a first model.
    """
    start = None if manifest is None or weights is None else kept.start(manifest, weights)
    options = fit.FitOptions(
        name=plan.model, period_ms=plan.period_ms, window=plan.window, stride=plan.stride,
        units=plan.units, epochs=plan.epochs, seed=plan.seed,
        budget_per_week=plan.budget_per_week, scatter_ms=plan.block_ms, start=start,
    )  # fmt: skip
    health = examine(rows)
    if manifest is not None and asked_for(health, manifest):
        rows = replace(rows, named=True)
    fitted = fit.fit(rows, options, on=on, health=health)
    target = folder / BUNDLE
    on.stage("writing the bundle")
    made = datetime.fromtimestamp(plan.made_ms / 1000, UTC)
    digest = package.write(target, fitted, now=made, origin=_origin(plan))
    kept.save(folder / WEIGHTS, fitted.trained.weights)
    report.write(folder / REPORT_PAGE, fitted, bundle=target, digest=digest)
    (folder / REPORT).write_bytes(_report(target))


def asked_for(health: Health, champion: Manifest) -> bool:
    """Tell whether a champion has what would be left out, so that it was asked for."""
    had = {sensor.name for sensor in champion.sensors}
    return any(sensor.counter and sensor.name in had for sensor in health.sensors)


def _origin(plan: Plan) -> package.Origin:
    """What traces a bundle to its data, and rebuilds it."""
    return package.Origin(
        version=plan.version,
        data_sha256=plan.data_sha256,
        config={
            "parent": plan.parent,
            "parent_version": plan.champion,
            "lake": {"assets": list(plan.assets), "since_ms": plan.since_ms,
                     "end_ms": plan.end_ms},
            "holdout": {"block_ms": plan.block_ms, "recent_ms": plan.recent_ms,
                        "one_in": holdout.ONE_IN},
            "epochs": plan.epochs,
            "to_ms": plan.end_ms - 1,  # the newest row of the lake, judged by if not trained on
        },
    )  # fmt: skip


def _report(path: Path) -> bytes:
    """What the page says in figures: lineage and calibration as the bundle has them."""
    found = bundles.load(path)
    told = {
        "schema": "1.0",
        "bundle": found.digest,
        "model": msgspec.to_builtins(found.manifest.model),
        "lineage": msgspec.to_builtins(found.manifest.lineage),
        "calibration": found.manifest.calibration,
    }
    return msgspec.json.format(msgspec.json.encode(told), indent=1) + b"\n"
