"""The health of a history, for people at a terminal.

>>> show(health, history, Console())  # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from offbeat_edge.schema import iso

if TYPE_CHECKING:
    from rich.console import Console

    from offbeat_train.health import Health, SensorHealth
    from offbeat_train.history import History

SHOWN_ASSETS = 5
SHOWN_WARNINGS = 20


def show(health: Health, history: History, console: Console) -> None:
    """Print a compact account: what was read, each sensor, what looks wrong."""
    left = f", {history.excluded} left out" if history.excluded else ""
    console.print(f"{history.rows} rows{left}, {len(health.assets)} asset(s)", highlight=False)
    for asset in health.assets[:SHOWN_ASSETS]:
        console.print(
            f"  {escape(asset.name)}: {asset.records} records, {iso(asset.start_ms)} to "
            f"{iso(asset.end_ms)}, every {interval(asset.period_ms)}",
            highlight=False,
        )
    if len(health.assets) > SHOWN_ASSETS:
        console.print(f"  ... and {len(health.assets) - SHOWN_ASSETS} more")
    for note in history.notes:
        console.print(f"[dim]  {escape(note)}[/dim]", highlight=False)
    console.print(_table(health.sensors))
    warnings = (*history.warnings, *health.warnings)
    for warning in warnings[:SHOWN_WARNINGS]:
        console.print(f"[yellow]![/yellow] {escape(warning)}", highlight=False)
    if len(warnings) > SHOWN_WARNINGS:
        console.print(f"  ... and {len(warnings) - SHOWN_WARNINGS} more (see the report)")


def interval(ms: int) -> str:
    """Write a time span with one unit.

    >>> interval(90_000)
    '1.5 min'
    """
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1000)):
        if ms >= size:
            return f"{ms / size:.4g} {unit}"
    return f"{ms} ms"


def verdict(sensor: SensorHealth) -> str:
    """Say in a word or two what a sensor is."""
    if sensor.dead:
        return "dead"
    if sensor.constant:
        return "constant"
    if sensor.flag:
        return "flag"
    return "counter" if sensor.counter else "ok"


def _table(sensors: tuple[SensorHealth, ...]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("sensor")
    for heading in ("every", "missing", "low", "median", "high", ""):
        table.add_column(heading, justify="right")
    for sensor in sensors:
        every = "" if sensor.cadence_ms is None else interval(sensor.cadence_ms)
        table.add_row(
            escape(sensor.name), every, f"{sensor.missing_share:.1%}", f"{sensor.low:.4g}",
            f"{sensor.middle:.4g}", f"{sensor.high:.4g}", verdict(sensor),
        )  # fmt: skip
    return table
