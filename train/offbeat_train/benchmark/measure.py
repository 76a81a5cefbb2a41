"""One series, one seed: fit as ``offbeat fit``, replay as ``offbeat replay``, count.

Rules: the bundle is written and read back; scores and alerts come out of the
device's engine; a series from which ``fit`` refuses to learn gets no score
and no alarm, and says why: it counts like any other.

>>> measure(series, Setting(dataset="skab", seed=0)).contenders["pca"]  # doctest: +SKIP
"""

from __future__ import annotations

import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import numpy as np

from offbeat_edge import bundle as bundles
from offbeat_edge.engine import Engine
from offbeat_edge.errors import OffbeatError
from offbeat_edge.model import open_model
from offbeat_edge.replay import row_scores
from offbeat_train import package
from offbeat_train.benchmark import contenders, metrics, numenta, orion
from offbeat_train.benchmark.metrics import Counts
from offbeat_train.benchmark.series import ASSET
from offbeat_train.fit import FitOptions, fit
from offbeat_train.replay_command import GATEWAY, SITE, replay_history

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from offbeat_edge.model import Model
    from offbeat_edge.schema import AlertEvent
    from offbeat_train.benchmark.series import Series

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

NASA = ("smap", "msl")  # where Orion publishes
DIGITS = 4  # of a score: what is beyond is no finding, but floats' own rounding would be ranked
MOMENT = datetime(2020, 1, 1, tzinfo=UTC)  # a bundle's date; scores do not depend on it


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """What is measured; ``epochs`` of None is the default of ``fit``."""

    dataset: str
    seed: int = 0
    epochs: int | None = None


class Contender(msgspec.Struct, frozen=True, kw_only=True):
    """One contender on one series."""

    rows: Counts  # of rows in alarm
    alerts: Counts  # of what the device would have sent
    auc_pr: float | None  # None without both kinds of row
    vus_pr: float | None
    ucr_hit: bool | None  # where the archive's rule applies
    numenta: numenta.Reward | None
    sensor_faults: int = 0  # alerts of that kind; they are not counted above


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """All contenders on one series."""

    series: str
    seed: int
    seconds: float
    contenders: dict[str, Contender]
    refused: str | None = None  # why there is no model


class Trace(NamedTuple):
    """What one contender said of a stream: scores (N,), alerts and when they were told."""

    scores: Floats
    alerts: Ints  # (A, 2) first and last row
    told: Ints  # (A,)
    sensor_faults: int = 0


class _Silent:
    def stage(self, text: str) -> None:
        """Say nothing."""

    def epoch(self, epoch: int, epochs: int, loss: float, validation: float) -> None:
        """Say nothing."""


def measure(series: Series, setting: Setting) -> Measured:
    """Fit, replay every contender, count."""
    begun = time.monotonic()
    refused = None
    try:
        traces = _traces(series, setting)
    except OffbeatError as error:
        refused = str(error)
        silent = Trace(np.zeros(len(series.labels)), *_no_alerts())
        traces = dict.fromkeys(contenders.NAMES[:-2], silent)
    traces |= _plain(series, setting)
    if setting.dataset in NASA:
        traces |= {name: _afterwards(traces[of]) for name, of in contenders.AFTERWARDS.items()}
    width = metrics.vus_window(np.nan_to_num(series.stream.values[:, 0]))
    counted = {name: _count(series, setting, trace, width=width) for name, trace in traces.items()}
    return Measured(
        series=series.name, seed=setting.seed, seconds=time.monotonic() - begun,
        contenders=counted, refused=refused,
    )  # fmt: skip


def _traces(series: Series, setting: Setting) -> dict[str, Trace]:
    options = FitOptions(name="benchmark", seed=setting.seed, epochs=setting.epochs)
    fitted = fit(series.history(), options, on=_Silent())
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "benchmark.offbeat"
        package.write(path, fitted, now=MOMENT)
        shipped = open_model(bundles.load(path), config_digest="")
    if shipped.degraded is not None:
        raise OffbeatError(shipped.degraded)
    found = {
        name: _replay(series, model)
        for name, model in contenders.models(fitted, shipped.manifest, shipped).items()
    }
    both = dict(zip(("offbeat", "online"), found["offbeat"], strict=True))
    return both | {name: hindsight for name, (hindsight, _) in found.items()}


def _replay(series: Series, model: Model) -> tuple[Trace, Trace]:
    """Send the stream through the device's engine: rows in hindsight, and as they were told."""
    engine = Engine(site=SITE, gateway=GATEWAY, route=lambda _: model, contributions=0)
    recording = series.recording()
    replayed = replay_history(engine, recording)
    anomalies = [event for event in replayed.events if event.kind == "anomaly"]
    faults = sum(e.kind == "sensor_fault" and e.type == "new" for e in replayed.events)
    times_ms = recording.assets[ASSET].times_ms
    alerts, told = _rows_of(anomalies, times_ms)

    def trace(scores: list[float | None]) -> Trace:
        known = np.array([0.0 if score is None else score for score in scores]).round(DIGITS)
        return Trace(known[recording.row_record], alerts, told, faults)

    hindsight, in_force = row_scores(times_ms, replayed.scores[ASSET], model.manifest)
    return trace(hindsight), trace(in_force)


def _rows_of(events: list[AlertEvent], times_ms: Ints) -> tuple[Ints, Ints]:
    """Give each alert's first and last row and the row at which it was told."""
    spans: dict[str, list[int]] = {}
    for event in events:
        if event.type == "new":
            spans[event.alert] = [event.start_ms, int(times_ms[-1]), event.time_ms]
        elif event.type == "end" and event.end_ms is not None:
            spans[event.alert][1] = event.end_ms
    if not spans:
        return _no_alerts()
    found = np.array(list(spans.values()), dtype=np.int64)
    last = len(times_ms) - 1
    first = np.minimum(np.searchsorted(times_ms, found[:, 0], side="left"), last)
    end = np.searchsorted(times_ms, found[:, 1], side="right") - 1
    told = np.minimum(np.searchsorted(times_ms, found[:, 2], side="left"), last)
    return np.stack([first, np.maximum(end, first)], axis=1), told


def _no_alerts() -> tuple[Ints, Ints]:
    return np.zeros((0, 2), dtype=np.int64), np.zeros(0, dtype=np.int64)


def _plain(series: Series, setting: Setting) -> dict[str, Trace]:
    """Give the two contenders that look at nothing."""
    rows = len(series.labels)
    coin = np.random.default_rng(setting.seed).uniform(0.0, 2.0, size=rows)
    spans = metrics.runs(coin > 1.0)
    endless = np.array([[0, rows - 1]], dtype=np.int64)
    return {
        "always": Trace(np.full(rows, 2.0), endless, endless[:, 0]),
        "random": Trace(coin, spans, spans[:, 0]),
    }


def _afterwards(trace: Trace) -> Trace:
    """Judge scores by Orion's rule; nothing is told before the signal has ended."""
    rows = len(trace.scores)
    spans = orion.spans(orion.errors_of(trace.scores))
    flags = np.zeros(rows)
    for first, last in spans.tolist():
        flags[first : last + 1] = 2.0
    return Trace(flags, spans, np.full(len(spans), rows - 1, dtype=np.int64))


def _count(series: Series, setting: Setting, trace: Trace, *, width: int) -> Contender:
    """Count what lies in the rows that the protocol counts."""
    first, labels = series.first, series.labels[series.first :]
    scores = trace.scores[first:]
    times = series.stream.times_ms[first:]
    moving = np.diff(times)[np.diff(times) > 0]
    period = int(np.median(moving))
    rows = metrics.runs(scores > 1.0)
    kept = trace.alerts[:, 1] >= first
    alerts = np.maximum(trace.alerts[kept] - first, 0)
    told = np.maximum(trace.told[kept] - first, 0)
    hit = metrics.ucr_hit(labels, scores) if setting.dataset == "ucr" else None
    reward = numenta.reward(series.labels, trace.told, first) if setting.dataset == "nab" else None
    return Contender(
        rows=metrics.count(labels, rows, rows[:, 0], times, period_ms=period),
        alerts=metrics.count(labels, alerts, told, times, period_ms=period),
        auc_pr=metrics.auc_pr(labels, scores),
        vus_pr=metrics.vus_pr(labels, scores, window=width),
        ucr_hit=hit, numenta=reward, sensor_faults=trace.sensor_faults,
    )  # fmt: skip
