"""Runs, figures and lineage to MLflow, for those who keep one.

Rules: nothing is imported and nothing is sent unless a tracking address is
given (``--mlflow`` or ``MLFLOW_TRACKING_URI``); the registry stays the
truth, and a run is logged once: its version is looked for first.

>>> log(outcome, shelf, uri=None)  # doctest: +SKIP
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

from offbeat_train.errors import TrackingError
from offbeat_train.retrain.shelf import BUNDLE, REPORT_PAGE, VERDICT, VERDICT_PAGE

if TYPE_CHECKING:
    from offbeat_train.retrain.gate import Figure
    from offbeat_train.retrain.job import Outcome
    from offbeat_train.retrain.shelf import Shelf

ADDRESS = "MLFLOW_TRACKING_URI"
TEXT_MAX = 500  # characters of a tag or parameter that MLflow takes


def log(outcome: Outcome, shelf: Shelf, *, uri: str | None) -> None:
    """Log one job's run; nothing without an address or a verdict.

    Raises
    ------
    TrackingError : an address, but no library, or a server that refuses.
    """
    address = uri or os.environ.get(ADDRESS)
    if not address or outcome.judgement is None or outcome.version is None:
        return
    try:
        mlflow: Any = importlib.import_module("mlflow")
    except ModuleNotFoundError as error:
        raise TrackingError(
            f"expected MLflow to log to {address}, got {error}: pip install mlflow-skinny"
        ) from error
    try:
        _log(mlflow, address, outcome, shelf)
    except mlflow.exceptions.MlflowException as error:
        raise TrackingError(f"MLflow at {address}: {error}") from error


def _log(mlflow: Any, address: str, outcome: Outcome, shelf: Shelf) -> None:  # noqa: ANN401
    mlflow.set_tracking_uri(address)
    experiment = mlflow.set_experiment(f"offbeat/{outcome.model}")
    version = shelf.version(outcome.version or "")
    known = mlflow.search_runs(
        [experiment.experiment_id], output_format="list",
        filter_string=f"tags.version = '{outcome.version}'", max_results=1,
    )  # fmt: skip
    if known or version is None:
        return
    with mlflow.start_run(run_name=outcome.version):
        mlflow.set_tags(_tags(outcome))
        mlflow.log_params(_parameters(outcome))
        mlflow.log_metrics(_metrics(outcome))
        for name in (BUNDLE, REPORT_PAGE, VERDICT, VERDICT_PAGE):
            if (version.folder / name).is_file():
                mlflow.log_artifact(str(version.folder / name))


def _tags(outcome: Outcome) -> dict[str, str]:
    judgement = outcome.judgement
    if judgement is None:
        return {}
    plan, verdict = judgement.plan, judgement.verdict
    return {
        "version": plan.version, "decision": verdict.decision, "why": verdict.why[:TEXT_MAX],
        "bundle": judgement.bundle, "parent": plan.parent or "", "data": plan.data_sha256,
    }  # fmt: skip


def _parameters(outcome: Outcome) -> dict[str, str]:
    judgement = outcome.judgement
    if judgement is None:
        return {}
    plan = judgement.plan
    return {
        "assets": ",".join(plan.assets)[:TEXT_MAX], "since_ms": str(plan.since_ms),
        "end_ms": str(plan.end_ms), "window": str(plan.window), "period_ms": str(plan.period_ms),
        "seed": str(plan.seed), "start": judgement.cold or "warm",
    }  # fmt: skip


def _metrics(outcome: Outcome) -> dict[str, float]:
    """Both models' figures; names in MLflow's alphabet."""
    found = {}
    for figure in outcome.judgement.verdict.figures if outcome.judgement else ():
        found[f"challenger/{_name(figure)}"] = figure.challenger
        if figure.champion is not None:
            found[f"champion/{_name(figure)}"] = figure.champion
    return found


def _name(figure: Figure) -> str:
    kept = "".join(c if c.isalnum() or c in "-_. " else "" for c in figure.what)
    return f"{figure.ground or 'all'}/{kept}"
