"""The report's pictures, as SVG that takes the page's text colour.

Rules: drawn without a display; colours are Okabe and Ito's, told apart by
everybody, on light and dark; long series are thinned to what a picture can
show, extremes kept; the same figures give the same bytes.

>>> "<svg" in loss_curve([1.0, 0.5], [1.1, 0.7])  # doctest: +SKIP
True
"""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from offbeat_train.compare import Caught

    Floats = NDArray[np.float64]

BLUE, ORANGE, GREEN, RED, PINK = "#2a8fd4", "#e69f00", "#009e73", "#d55e00", "#cc79a7"
INK = "#010203"  # replaced by the page's own text colour
POINTS = 1500  # of a series, at most
SENSORS = 16  # drawn at most
WIDTH = 9.0  # inches
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none", "font.size": 9, "font.family": "sans-serif", "text.color": INK,
    "axes.labelcolor": INK, "axes.edgecolor": INK, "xtick.color": INK, "ytick.color": INK,
    "axes.spines.top": False, "axes.spines.right": False, "axes.linewidth": 0.6,
    "axes.titlesize": 9, "axes.titlelocation": "left", "legend.frameon": False,
    "lines.linewidth": 1.1,
}  # fmt: skip


def loss_curve(loss: Sequence[float], validation: Sequence[float]) -> str:
    """Draw both losses by epoch; ``validation`` begins before the first epoch."""
    with rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 2.6))
        axes = figure.subplots()
        axes.plot(range(1, len(loss) + 1), loss, color=BLUE, label="training")
        axes.plot(range(len(validation)), validation, color=ORANGE, label="validation")
        best = int(np.argmin(validation))
        axes.plot([best], [validation[best]], "o", color=ORANGE, markersize=5)
        axes.set_xlabel("epoch")
        axes.set_ylabel("mean squared error")
        axes.legend()
        return svg(figure, "loss")


def series(
    names: Sequence[str], times_ms: NDArray[np.int64], run: NDArray[np.int64], rows: Floats
) -> str:
    """Draw each sensor over time; ``rows`` (S, F) in units, lines end with a ``run`` (S,)."""
    shown = list(names)[:SENSORS]
    hours = (times_ms - times_ms.min()) / 3_600_000
    unit, size = ("hours", 1.0) if hours.max() > 2 else ("minutes", 1 / 60)
    unit, size = ("days", 24.0) if hours.max() > 96 else (unit, size)
    with rc_context(STYLE):
        figure, grid = _grid(len(shown), height=1.2)
        for index, (name, axes) in enumerate(zip(shown, grid, strict=False)):
            kept = thin(rows[:, index])
            ends = np.flatnonzero(np.diff(run[kept])) + 1
            x = np.insert(hours[kept] / size, ends, np.nan)
            y = np.insert(rows[kept, index], ends, np.nan)
            axes.plot(x, y, color=BLUE, linewidth=0.7)
            axes.set_title(name)
        grid[max(0, len(shown) - 1)].set_xlabel(unit)
        return svg(figure, "series")


def windows(names: Sequence[str], actual: Floats, expected: Floats, titles: Sequence[str]) -> str:
    """Draw windows against their reconstructions; (K, T, F) in units."""
    shown = list(names)[:SENSORS]
    with rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 0.5 + 1.1 * len(shown)))
        grid = figure.subplots(len(shown), len(actual), squeeze=False, sharey="row", sharex=True)
        for row, name in enumerate(shown):
            for column, title in enumerate(titles):
                axes = grid[row][column]
                axes.plot(actual[column, :, row], color=BLUE, label="measured")
                axes.plot(expected[column, :, row], color=ORANGE, ls="--", label="reconstructed")
                axes.set_title(f"{name}: {title}" if row == 0 or column == 0 else "")
        grid[0][0].legend(loc="best", fontsize=7)
        grid[-1][0].set_xlabel("step of the window")
        return svg(figure, "windows")


def distribution(scores: Floats, baseline: Floats) -> str:
    """Draw the held-out scores of network and PCA; 1.0 is the threshold."""
    with rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 2.6))
        axes = figure.subplots()
        top = max(1.1, float(np.quantile(scores, 0.999)), float(np.quantile(baseline, 0.999)))
        bins = np.linspace(0.0, top * 1.05, 80).tolist()
        axes.hist(np.minimum(scores, bins[-1]), bins, color=BLUE, alpha=0.75, label="network")
        axes.hist(np.minimum(baseline, bins[-1]), bins, color=ORANGE, histtype="step",
                  linewidth=1.3, label="windowed PCA")  # fmt: skip
        axes.axvline(1.0, color=RED, linestyle="--", label="threshold")
        axes.set_yscale("log")
        axes.set_xlabel("score of held-out windows")
        axes.set_ylabel("windows")
        axes.legend()
        return svg(figure, "distribution")


def scores_in_time(scores: Floats) -> str:
    """Draw the held-out scores in their order."""
    with rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 2.2))
        axes = figure.subplots()
        kept = thin(scores)
        axes.plot(kept, scores[kept], color=BLUE, linewidth=0.8)
        axes.axhline(1.0, color=RED, linestyle="--")
        axes.set_ylim(bottom=0.0)
        axes.set_xlabel("held-out window")
        axes.set_ylabel("score")
        return svg(figure, "scores")


def by_sensor(names: Sequence[str], network: Floats, pca: Floats) -> str:
    """Draw each sensor's error under both; (F,) scaled units."""
    shown = np.argsort(network)[::-1][: 2 * SENSORS]
    with rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 0.8 + 0.26 * len(shown)))
        axes = figure.subplots()
        place = np.arange(len(shown))
        axes.barh(place - 0.2, network[shown], 0.38, color=BLUE, label="network")
        axes.barh(place + 0.2, pca[shown], 0.38, color=ORANGE, label="windowed PCA")
        axes.set_yticks(place, [names[index] for index in shown])
        axes.invert_yaxis()
        axes.set_xlabel("reconstruction error, in the sensor's standard deviations")
        axes.legend()
        return svg(figure, "sensors")


def parity(floats: Floats, integers: Floats) -> str:
    """Draw integer scores over float ones."""
    kept = np.linspace(0, len(floats) - 1, min(len(floats), POINTS)).astype(np.intp)
    with rc_context(STYLE):
        figure = Figure(figsize=(4.2, 3.4))
        axes = figure.subplots()
        axes.plot(floats[kept], integers[kept], ".", color=BLUE, markersize=3, alpha=0.6)
        top = float(max(floats.max(), integers.max()))
        axes.plot([0, top], [0, top], color=INK, linewidth=0.6)
        axes.set_xlabel("score, float model")
        axes.set_ylabel("score, integer model")
        return svg(figure, "parity")


def caught(rows: Sequence[Caught]) -> str:
    """Draw the shares of injected faults that were caught."""
    names = [f"{r.fault} {r.magnitude:g}" if r.fault in SIZED else r.fault for r in rows]
    place = np.arange(len(rows))
    with rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 2.8))
        axes = figure.subplots()
        axes.bar(place - 0.2, [r.network for r in rows], 0.38, color=BLUE, label="network")
        axes.bar(place + 0.2, [r.pca for r in rows], 0.38, color=ORANGE, label="windowed PCA")
        axes.set_xticks(place, names, rotation=30, ha="right")
        axes.set_ylim(0, 1)
        axes.set_ylabel("share caught")
        axes.legend()
        return svg(figure, "caught")


SIZED = ("offset", "drift", "noise")


def thin(values: Floats) -> NDArray[np.intp]:
    """Choose at most ``POINTS`` indices that keep every extreme, in order."""
    if len(values) <= POINTS:
        return np.arange(len(values))
    size = -(-len(values) // (POINTS // 2))
    whole = len(values) // size * size
    blocks = values[:whole].reshape(-1, size)
    first = np.arange(len(blocks)) * size
    picked = np.concatenate([first + blocks.argmin(axis=1), first + blocks.argmax(axis=1)])
    return np.unique(picked)


def svg(figure: Figure, name: str) -> str:
    """Write a figure as an inline SVG element without fixed ids or colours."""
    figure.set_layout_engine("constrained")
    buffer = io.StringIO()
    with rc_context({"svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :].replace(INK, "currentColor")
    text = re.sub(r'(\bid="|href="#|url\(#)', rf"\1{name}-", text)
    share = round(100 * figure.get_figwidth() / WIDTH)
    return re.sub(r'(<svg[^>]*?) width="[^"]*"', rf'\1 width="{share}%"', text, count=1)


def _grid(count: int, *, height: float) -> tuple[Figure, list[Axes]]:
    columns = 1 if count == 1 else 2
    lines = -(-count // columns)
    figure = Figure(figsize=(WIDTH, 0.4 + height * lines))
    grid = figure.subplots(lines, columns, squeeze=False, sharex=True)
    flat = [axes for line in grid for axes in line]
    for axes in flat[count:]:
        axes.set_visible(False)
    return figure, flat
