"""What was learned, on one page that needs nothing but a browser.

Rules: one file, no network, readable in light and dark and by the
colour-blind; the verdicts come first, honest ones included; every number
is also in the bundle's manifest or in the data's health.

>>> write(Path("pump.html"), fitted, bundle=Path("pump.offbeat"), digest=digest)  # doctest: +SKIP
"""

from __future__ import annotations

import time
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from offbeat_edge.interpreter import BATCH
from offbeat_edge.schema import iso
from offbeat_edge.scorer import Scorer
from offbeat_train import report_figures as figures
from offbeat_train.health_view import interval, verdict
from offbeat_train.report_page import PAGE, bullets, section, table, terms

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from offbeat_train.fit import Fitted
    from offbeat_train.hindsight import Hindsight

    Floats = NDArray[np.float64]

SPEED_RUNS = 50
LITTLE = 0.02  # of the linear path's error; an LSTM that takes away less is decoration
DECORATION = "The LSTM is decoration on this history: what it watches, the linear path watches."
NOTES_SHOWN = 60
ASSETS_SHOWN = 30
ASSET_HEADS = ("asset", "records", "from", "to", "every", "gaps", "duplicates", "out of order")
PAST_HEADS = ("begins", "asset", "peak", "")
SENSOR_HEADS = ("sensor", "every", "missing", "low", "median", "high", "longest rest", "")


def write(
    path: Path, fitted: Fitted, *, bundle: Path, digest: str, past: Hindsight | None = None
) -> None:
    """Write the page; ``past`` is what the bundle would have told of the history."""
    path.write_text(page(fitted, bundle=bundle, digest=digest, past=past), encoding="utf-8")


def page(fitted: Fitted, *, bundle: Path, digest: str, past: Hindsight | None = None) -> str:
    """Build the page."""
    scores = _scores(fitted)
    sections = [
        _summary(fitted, bundle, digest),
        _data(fitted),
        _training(fitted),
        _reconstructions(fitted, scores),
        _errors(fitted, scores),
        "" if past is None else _past(past, fitted.calibration.expected_per_week),
        _parity(fitted),
        _baseline(fitted),
        _speed(fitted, bundle),
    ]
    title = escape(f"{fitted.options.name}: what offbeat learned")
    return PAGE.substitute(title=title, body="\n".join(sections))


def _scores(fitted: Fitted) -> Floats:
    scorer = Scorer(fitted.calibration, fitted.prepared.sensors)
    return scorer.score(fitted.holdout.windows, fitted.holdout.recon).score


def _summary(fitted: Fitted, bundle: Path, digest: str) -> str:
    plan, spec, calibration = fitted.prepared.plan, fitted.spec, fitted.calibration
    layers = ", ".join(str(units) for units in (*spec.encoder, *spec.decoder))
    span = interval(plan.window * plan.period_ms)
    facts = [
        ("bundle", f"{bundle.name}, {bundle.stat().st_size / 1024:.0f} KiB"),
        ("identity", digest),
        ("window", f"{plan.window} steps of {interval(plan.period_ms)}: {span}"),
        ("scores", f"every {interval(plan.stride * plan.period_ms)}"),
        ("network", f"LSTM autoencoder ({layers} units) over {spec.sensors} sensors"),
        ("latent", f"{spec.latent}, beside a linear path of rank {spec.rank}"),
        ("threshold", f"for {calibration.expected_per_week:.3g} false alarms a week and asset"),
        ("asked for", f"{calibration.budget_per_week:g} a week"),
        ("held out", f"{calibration.held_out_alarms} in {calibration.held_out_hours:.3g} h"),
        ("that is", f"{calibration.held_out_per_week:.3g} a week"),
        ("seed", str(fitted.options.seed)),
        ("time taken", f"{fitted.seconds:.0f} s"),
    ]  # fmt: skip
    warnings = bullets(fitted.warnings, "warning") or "<p>No doubts.</p>"
    return section("Verdict", warnings, terms(facts))


def _data(fitted: Fitted) -> str:
    history, health, prepared = fitted.history, fitted.health, fitted.prepared
    assets = [
        (a.name, f"{a.records}", iso(a.start_ms), iso(a.end_ms), interval(a.period_ms),
         f"{a.gaps}", f"{a.duplicates}", f"{a.out_of_order}")
        for a in health.assets[:ASSETS_SHOWN]
    ]  # fmt: skip
    sensors = [
        (s.name, "" if s.cadence_ms is None else interval(s.cadence_ms), f"{s.missing_share:.1%}",
         f"{s.low:.5g}", f"{s.middle:.5g}", f"{s.high:.5g}", f"{s.longest_flat}", verdict(s))
        for s in health.sensors
    ]  # fmt: skip
    names = [sensor.name for sensor in prepared.sensors]
    center = np.array([sensor.center for sensor in prepared.sensors])
    scale = np.array([sensor.scale for sensor in prepared.sensors])
    kept = np.linspace(0, len(prepared.rows) - 1, min(len(prepared.rows), 200_000)).astype(np.intp)
    return section(
        "Data",
        f"<p>{history.rows} rows read, {history.excluded} left out, {len(prepared.rows)} complete "
        "rows on the time grid.</p>",
        bullets((*history.warnings, *health.warnings)[:NOTES_SHOWN], "warning"),
        bullets(history.notes[:NOTES_SHOWN], "note"),
        table(ASSET_HEADS, assets),
        table(SENSOR_HEADS, sensors),
        figures.series(names, prepared.times_ms[kept], prepared.run[kept],
                       prepared.rows[kept] * scale + center),
    )  # fmt: skip


def _training(fitted: Fitted) -> str:
    losses = fitted.trained.losses
    how = (
        "The last rows of each asset were held out for the threshold, those before them for "
        "validation."
        if len(fitted.splits) == 1
        else f"The history is short: each of {len(fitted.splits)} blocks was held out by a network "
        "that never saw it, and the threshold comes from these. The network delivered was then "
        "trained on everything, for as long as those took; its validation loss is not held out."
    )
    return section(
        "Training",
        f"<p>{how} Errors are in squares of the sensors' standard deviations; training windows "
        "have sensors masked or moved, the others have not.</p>",
        f"<p>{_learned(fitted)}</p>",
        figures.loss_curve(losses.loss, [losses.start, *losses.validation]),
    )


def _learned(fitted: Fitted) -> str:
    before = "the network it began with" if fitted.cold is None else "the linear path alone"
    said = f"On validation rows the error is {fitted.learned:.1%} below that of {before}."
    return said + (f" {DECORATION}" if fitted.learned < LITTLE and fitted.cold else "")


def _reconstructions(fitted: Fitted, scores: Floats) -> str:
    holdout, sensors = fitted.holdout, fitted.prepared.sensors
    order = np.argsort(scores)
    chosen = np.array([order[len(order) // 2], order[-1]])
    center = np.array([sensor.center for sensor in sensors])
    scale = np.array([sensor.scale for sensor in sensors])
    titles = [f"typical (score {scores[chosen[0]]:.2f})", f"worst (score {scores[chosen[1]]:.2f})"]
    return section(
        "Reconstructions",
        "<p>Two held-out windows, as measured and as the integer model gives them back.</p>",
        figures.windows([s.name for s in sensors], holdout.windows[chosen] * scale + center,
                        holdout.recon[chosen] * scale + center, titles),
    )  # fmt: skip


def _errors(fitted: Fitted, scores: Floats) -> str:
    comparison = fitted.comparison
    names = [sensor.name for sensor in fitted.prepared.sensors]
    unjudged = [sensor.name for sensor in fitted.prepared.sensors if not sensor.scored]
    said = f"<p>Inputs that are not judged: {escape(', '.join(unjudged))}.</p>" if unjudged else ""
    return section(
        "Errors and threshold",
        figures.distribution(scores, comparison.pca_scores),
        figures.scores_in_time(scores),
        said,
        figures.by_sensor(names, comparison.network_errors, comparison.pca_errors),
    )


def _past(past: Hindsight, per_week: float) -> str:
    rows = [
        (event.start, event.asset, "" if event.peak is None else f"{event.peak:.2f}", event.message)
        for event in past.loudest
    ]
    return section(
        "Over its own history",
        f"<p>Replayed as the device would have met it: {escape(past.said(per_week))}.</p>",
        bullets(past.doubts(per_week), "warning"),
        table(PAST_HEADS, rows) if rows else "",
    )


def _parity(fitted: Fitted) -> str:
    parity = fitted.parity
    facts = [
        ("windows", f"{parity.windows}, held out"),
        ("error, integers", f"{parity.integer_error:.4f}"),
        ("error, floats", f"{parity.float_error:.4f}"),
        ("between them", f"{parity.difference:.4f}"),
        ("scores differ by", f"{parity.score_difference:.4f}, at worst {parity.score_worst:.4f}"),
    ]  # fmt: skip
    return section(
        "Integers against floats",
        terms(facts),
        figures.parity(parity.float_scores, parity.integer_scores),
    )


def _baseline(fitted: Fitted) -> str:
    comparison = fitted.comparison
    kind = "warning" if comparison.pca_as_good else "note"
    rows = [
        (row.fault, f"{row.magnitude:g}" if row.fault in figures.SIZED else "",
         f"{row.network:.0%}", f"{row.pca:.0%}", f"{row.named:.0%}")
        for row in comparison.caught
    ]  # fmt: skip
    return section(
        "Against windowed PCA",
        bullets((comparison.verdict,), kind),
        "<p>Faults were put into one sensor of held-out windows; sizes are in the sensor's "
        "standard deviations. Untouched windows above the threshold: "
        f"{comparison.network_alarms:.2%} (network), {comparison.pca_alarms:.2%} (PCA).</p>",
        figures.caught(comparison.caught),
        table(("fault", "size", "network", "PCA", "right sensor named"), rows),
    )


def _speed(fitted: Fitted, bundle: Path) -> str:
    one, many = _time_of(fitted, 1), _time_of(fitted, BATCH)
    runtime = fitted.trained.interpreter.runtime
    facts = [
        ("model", f"{len(fitted.trained.tflite) / 1024:.1f} KiB"),
        ("bundle", f"{bundle.stat().st_size / 1024:.1f} KiB"),
        ("one window", f"{one:.3f} ms"),
        (f"{BATCH} windows at once", f"{many:.3f} ms a window"),
        ("measured with", f"{runtime.name} {runtime.version} on {runtime.arch}"),
    ]
    return section("Size and speed", terms(facts))


def _time_of(fitted: Fitted, count: int) -> float:
    """Median milliseconds a window, ``count`` at once, on this machine."""
    windows = fitted.holdout.windows[np.arange(count) % len(fitted.holdout.windows)]
    fitted.trained.interpreter.reconstruct(windows)
    taken = []
    for _ in range(SPEED_RUNS):
        begun = time.perf_counter()
        fitted.trained.interpreter.reconstruct(windows)
        taken.append(time.perf_counter() - begun)
    return float(np.median(taken)) * 1000.0 / count
