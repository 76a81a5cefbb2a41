"""Replay recorded history through the daemon's own code, to see what would have fired.

A score for every input row (1.0 is the threshold; empty while warming up) and
the one that was in force when it came, the alerts that would have been
published, and how many that is a week.
"""

from __future__ import annotations

import csv
import sys
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import numpy as np

from offbeat_edge import bundle as bundles
from offbeat_edge import config as configs
from offbeat_edge import fleet
from offbeat_edge.control import decode_log, elders_first
from offbeat_edge.engine import Engine
from offbeat_edge.errors import BundleError, StoreError
from offbeat_edge.model import open_model
from offbeat_edge.replay import batches, row_scores, samples
from offbeat_edge.schema import iso
from offbeat_train.argument_types import rates
from offbeat_train.errors import HistoryError
from offbeat_train.history import read_history
from offbeat_train.history_arguments import add_history_arguments, history_options
from offbeat_train.preview import page
from offbeat_train.preview.levels import BUDGETS, TIMES, by_budget, by_times, curve_of, reach
from offbeat_train.recordings import asset_weeks

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from offbeat_edge.bundle import Bundle
    from offbeat_edge.control import Logged
    from offbeat_edge.model import Model
    from offbeat_edge.schema import AlertEvent, ScoreRecord
    from offbeat_train.history import History
    from offbeat_train.preview.levels import Level

SITE = "default"  # the configuration's own default
GATEWAY = "replay"


class Replayed(NamedTuple):
    """What a recording led to, asset by asset."""

    scores: dict[str, list[ScoreRecord]]
    events: list[AlertEvent]
    drops: Counter[str]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument("bundle", type=Path, metavar="BUNDLE")
    parser.add_argument("history", type=Path, nargs="+", metavar="FILE")
    parser.add_argument("--scores", type=Path, metavar="OUT.csv", help="a score for each row")
    parser.add_argument("--alerts", type=Path, metavar="OUT.jsonl", help="the alert events")
    parser.add_argument(
        "--config", type=Path, help="site, lateness and alert settings of this daemon's file"
    )
    parser.add_argument(
        "--control", type=Path, metavar="FILE.jsonl", help="the daemon's control log"
    )
    parser.add_argument(
        "--report", type=Path, metavar="OUT.html", help="a page with every alert, drawn"
    )
    beside = parser.add_mutually_exclusive_group()
    beside.add_argument(
        "--budgets", type=rates, metavar="A,B,…", help="compare false alarms a week and asset"
    )
    beside.add_argument(
        "--thresholds", type=rates, metavar="A,B,…", help="compare multiples of the bundle's own"
    )
    parser.add_argument("--asset", help="the asset's name, for a recording of one asset")
    add_history_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Replay, write what was asked for, print the summary."""
    bundle = bundles.load(args.bundle)
    history = _history(args, bundle)
    make, model = _engines(args, bundle)
    levels = _levels(args, model)
    log = _control_log(args.control)
    told = replay_all([make(level.model) for level in levels], history, asset=args.asset, log=log)
    replayed = told[0]
    if args.scores is not None:
        _write_scores(args.scores, history, replayed, model, args.asset)
    if args.alerts is not None:
        lines = [msgspec.json.encode(event) for event in replayed.events]
        args.alerts.write_bytes(b"".join(line + b"\n" for line in lines))
    _summary(history, replayed, model)
    preview = _preview(args, history, levels, told)
    if len(levels) > 1:
        _compare(preview)
    if args.report is not None:
        page.write(args.report, preview)
    return 0


def replay_history(
    engine: Engine, history: History, *, asset: str | None = None, log: Sequence[Logged] = ()
) -> Replayed:
    """Feed every recording to the engine, its rows in the order of the file.

    What the control log holds takes effect where it did in the daemon.
    """
    return replay_all([engine], history, asset=asset, log=log)[0]


def replay_all(
    engines: Sequence[Engine],
    history: History,
    *,
    asset: str | None = None,
    log: Sequence[Logged] = (),
) -> list[Replayed]:
    """Feed several engines in step; scores, which take room, are kept of the first alone."""
    outs = [Replayed({}, [], Counter()) for _ in engines]
    for engine in engines:
        engine.schedule(log)
    for name in elders_first(history.assets, log):
        recording = history.assets[name]
        order = np.argsort(recording.row, kind="stable")
        called = asset or name
        stream = samples(
            called, recording.times_ms[order], recording.values[order], history.sensors
        )
        scores = outs[0].scores.setdefault(name, [])
        for batch in batches(stream):
            fed = [engine.feed(batch) for engine in engines]
            scores += fed[0].scores
            for out, outputs in zip(outs, fed, strict=True):
                out.events.extend(outputs.events)
                out.drops.update(drop.reason for drop in outputs.drops)
    for out, engine in zip(outs, engines, strict=True):
        out.events.extend(engine.flush().events)
    return outs


def _control_log(path: Path | None) -> list[Logged]:
    if path is None:
        return []
    try:
        return decode_log(path.read_text(encoding="utf-8"))
    except (StoreError, UnicodeDecodeError) as error:
        raise HistoryError(str(error), path=path) from error


def _history(args: argparse.Namespace, bundle: Bundle) -> History:
    wanted = tuple(s.name for s in bundle.manifest.sensors)
    history = read_history(args.history, history_options(args, sensors=wanted))
    if args.asset is not None and len(history.assets) > 1:
        raise HistoryError(
            f"expected one asset beside --asset, got {', '.join(history.asset_names)}",
            path=args.history[0],
        )
    for note in (*history.notes, *history.warnings):
        print(note, file=sys.stderr)
    return history


def _engines(args: argparse.Namespace, bundle: Bundle) -> tuple[Callable[[Model], Engine], Model]:
    """Return what makes an engine for a model, and the bundle's model."""
    if args.config is None:
        model = _runnable(open_model(bundle, config_digest=""), args.bundle)
        return lambda one: Engine(site=SITE, gateway=GATEWAY, route=lambda _: one), model
    config = configs.load(args.config, {})
    entry = next(
        (e for e in config.models if Path(e.bundle).resolve() == args.bundle.resolve()),
        config.models[0],
    )
    model = _runnable(fleet.open_entry(config, entry, bundle), args.bundle)
    return lambda one: Engine(
        site=config.gateway.site,
        gateway=config.gateway.id,
        route=lambda _: one,
        contributions=config.publish.explain_top,
    ), model


def _levels(args: argparse.Namespace, model: Model) -> list[Level]:
    """Return the thresholds to compare, the bundle's own first."""
    if args.thresholds is not None:
        return by_times(model, args.thresholds)
    if args.budgets is not None:
        return by_budget(model, args.budgets)
    if args.report is None:
        return by_times(model, ())
    known = by_budget(model, BUDGETS) if curve_of(model.manifest) is not None else []
    return known if len(known) > 1 else by_times(model, TIMES)


def _preview(
    args: argparse.Namespace,
    history: History,
    levels: Sequence[Level],
    told: Sequence[Replayed],
) -> page.Preview:
    called = {name: args.asset or name for name in history.assets}
    asked = args.budgets or (() if args.thresholds else BUDGETS)
    return page.Preview(
        levels=levels,
        events=[one.events for one in told],
        scores={called[name]: scores for name, scores in told[0].scores.items()},
        recordings={called[name]: found for name, found in history.assets.items()},
        sensors=history.sensors,
        notes=[*history.warnings, *filter(None, [reach(levels[0].model.manifest, asked)])],
    )


def _runnable(model: Model, path: Path) -> Model:
    if model.degraded is not None:
        raise BundleError(f"{path}: {model.degraded}")
    return model


def _rows(history: History, replayed: Replayed, model: Model) -> Iterator[tuple[str, list[str]]]:
    """For each input row: asset, and its cells; an asset of "" for a row that was left out."""
    names = history.asset_names
    times = [history.assets[name].times_ms for name in names]
    scored = [
        row_scores(times_ms, replayed.scores[name], model.manifest)
        for name, times_ms in zip(names, times, strict=True)
    ]
    for asset, record in zip(history.row_asset.tolist(), history.row_record.tolist(), strict=True):
        if asset < 0:
            yield "", ["", "", ""]
            continue
        told = (column[record] for column in scored[asset])
        cells = ["" if score is None else repr(score) for score in told]
        yield names[asset], [iso(int(times[asset][record])), *cells]


def _write_scores(
    path: Path, history: History, replayed: Replayed, model: Model, asset: str | None
) -> None:
    several = len(history.assets) > 1
    with ExitStack() as stack:
        file = stack.enter_context(path.open("w", newline="", encoding="utf-8"))
        writer = csv.writer(file)
        writer.writerow(["time", "score", "in_force", *(["asset"] if several else [])])
        for name, cells in _rows(history, replayed, model):
            writer.writerow([*cells, *([name and (asset or name)] if several else [])])


def opened(events: Iterable[AlertEvent]) -> Counter[str]:
    """Count the alerts that were opened, by kind."""
    return Counter(event.kind for event in events if event.type == "new")


def _summary(history: History, replayed: Replayed, model: Model) -> None:
    spec = model.manifest.model
    weeks = asset_weeks(history.assets.values())
    scored = sum(map(len, replayed.scores.values()))
    print(f"model     {spec.name} {spec.version}, {len(model.names)} sensors,", end=" ")
    print(f"window {spec.window} x {spec.period_ms / 1000:g} s, stride {spec.stride}")
    print(f"history   {history.rows} rows, {len(history.assets)} assets, {weeks:.2f} asset weeks")
    print(f"windows   {scored} scored")
    for reason, count in sorted(replayed.drops.items()):
        print(f"not used  {count} samples: {reason}")
    if replayed.drops["late"] or replayed.drops["time_jump"]:
        print("          rows are out of order: sort them, or set lateness_s in --config")
    for kind, count in sorted(opened(replayed.events).items()) or [("anomaly", 0)]:
        rate = f", {count / weeks:.2f} a week and asset" if weeks > 0 else ""
        print(f"alerts    {count} {kind}{rate}")
    for event in [e for e in replayed.events if e.type == "new"][:20]:
        print(f"  {event.time}  {event.severity:8}  {event.message}")


def _compare(preview: page.Preview) -> None:
    """Print each threshold's anomalies, side by side."""
    lines = page.summary(preview, preview.incidents())
    width = max(len(line[0]) for line in lines)
    print("compared  of the bundle's threshold, anomalies, a week and asset")
    for said, times, count, rate, *_ in lines:
        print(f"  {said:{width}}  {times:>13}  {count:>6}  {rate}")
