"""The benchmark on the terminal: pooled, published, series by series.

Rules: contenders in a fixed order; a figure without meaning is a dash; what
misleads stands below the table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

from offbeat_train.benchmark.published import PUBLISHED

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import Console

    from offbeat_train.benchmark.measure import Contender, Measured
    from offbeat_train.benchmark.pool import Spread

NAMES = {
    "offbeat": "offbeat, int8", "online": "the same, as told", "float": "offbeat, float",
    "pca": "windowed PCA",
    "untrained": "LSTM untrained", "zero": "reconstruction of zero",
    "forest": "isolation forest", "always": "always on", "random": "a coin for each row",
}  # fmt: skip
ORION_NAMES = {
    "offbeat-orion": "offbeat, int8, Orion's threshold",
    "pca-orion": "windowed PCA, Orion's threshold",
}
COLUMNS = {
    "f1": "F1", "far": "FAR", "mar": "MAR", "fc1": "Fc1", "overlap_f1": "overlap F1",
    "events_caught": "events", "false_alarms_per_hour": "false/h", "delay_median_s": "delay s",
    "delay_p90_s": "p90 s", "vus_pr": "VUS-PR", "auc_pr": "AUC-PR", "ucr_accuracy": "UCR",
    "nab_score": "NAB",
}  # fmt: skip
NOTES = (
    "F1, FAR, MAR, VUS-PR, AUC-PR and UCR judge rows, each by all windows that look at it; 'as",
    "told' by the last score that the device had told when it came. Fc1, overlap F1, events, false",
    "alarms and delays count alerts as the device sends them, and NAB when it sends them.",
    "An endless alarm has an overlap F1 near 1: look at its Fc1.",
)
UNTIMED = ("smap", "msl", "ucr", "tsb-ad")
UNTIMED_NOTE = "The rows have no times: hours and seconds take each for a second."
DASH = "-"
RANKLESS = ("always", *ORION_NAMES)  # they say yes or no, and rank nothing


def show(
    dataset: str,
    pooled: Mapping[str, Mapping[str, Spread]],
    measured: Sequence[Measured],
    console: Console,
) -> None:
    """Print all there is to say."""
    console.print(_series_table(measured))
    console.print(_pooled_table(dataset, pooled, measured))
    untimed = (UNTIMED_NOTE,) if dataset in UNTIMED else ()
    for text in (*NOTES, *untimed, *_sources(dataset), *_refusals(measured)):
        console.print(text, markup=False, highlight=False, soft_wrap=True)


def _pooled_table(
    dataset: str, pooled: Mapping[str, Mapping[str, Spread]], measured: Sequence[Measured]
) -> Table:
    columns = [name for name in COLUMNS if name in pooled["offbeat"]]
    count, seeds = len({one.series for one in measured}), len({one.seed for one in measured})
    table = _table(f"{dataset}: {count} series, {seeds} seed(s)", [COLUMNS[c] for c in columns])
    for name, figures in pooled.items():
        table.add_row(
            (NAMES | ORION_NAMES)[name], *(_told(name, c, figures.get(c)) for c in columns)
        )
    if PUBLISHED[dataset]:
        table.add_section()
    for row in PUBLISHED[dataset]:
        cells = [f"{row.values[c]:.3f}" if c in row.values else DASH for c in columns]
        table.add_row(f"{row.name} (published)", *cells)
    return table


def _series_table(measured: Sequence[Measured]) -> Table:
    heads = ["seed", "F1", "FAR", "Fc1", "overlap F1", "VUS-PR", "AUC-PR", "PCA's VUS-PR", "s"]
    table = _table("offbeat, int8, series by series", heads)
    for one in measured:
        ours, pca = one.contenders["offbeat"], one.contenders["pca"]
        table.add_row(one.series + (" !" if one.refused else ""), str(one.seed), *_own(ours),
                      _maybe(pca.vus_pr), f"{one.seconds:.0f}")  # fmt: skip
    return table


def _own(ours: Contender) -> list[str]:
    rows, alerts = ours.rows.rates(), ours.alerts.rates()
    shown = (rows["f1"], rows["far"], alerts["fc1"], alerts["overlap_f1"])
    return [*(f"{value:.3f}" for value in shown), _maybe(ours.vus_pr), _maybe(ours.auc_pr)]


def _table(title: str, heads: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("")
    for head in heads:
        table.add_column(head, justify="right", no_wrap=True)
    return table


def _told(contender: str, column: str, figure: Spread | None) -> str:
    ranking = column in ("vus_pr", "auc_pr", "ucr_accuracy")
    if figure is None or (contender in RANKLESS and ranking):
        return DASH
    digits = 1 if column.startswith("delay") or column == "nab_score" else 3
    text = f"{figure.mean:.{digits}f}"
    return f"{text}±{figure.spread:.{digits}f}" if figure.spread else text


def _maybe(value: float | None) -> str:
    return DASH if value is None else f"{value:.3f}"


def _sources(dataset: str) -> list[str]:
    return [f"published: {text}" for text in dict.fromkeys(f.source for f in PUBLISHED[dataset])]


def _refusals(measured: Sequence[Measured]) -> list[str]:
    return [f"! {one.series}: no model, no alarm: {one.refused}" for one in measured if one.refused]
