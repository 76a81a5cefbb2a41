"""Learn what is normal from recorded history and write a bundle.

HISTORY is one or more CSV or Parquet files, or directories of them, long or
wide.  Everything that is not told is found in the data and said.

  offbeat fit pump.csv --out pump.offbeat
  offbeat fit plant/*.parquet --asset-column pump --out pumps.offbeat
  offbeat fit --lake /srv/lake --asset 'pump*' --since 2026-01-01 --out pumps.offbeat
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from rich.console import Console
from rich.markup import escape

from offbeat_edge import bundle
from offbeat_edge.signature import Signer
from offbeat_train.argument_types import duration, positive, rate, units
from offbeat_train.defaults import ALERT_BUDGET
from offbeat_train.errors import HistoryError
from offbeat_train.fit_source import add_source_arguments, read_source
from offbeat_train.health import examine
from offbeat_train.health_view import show
from offbeat_train.hindsight import look_back
from offbeat_train.terminal import Bar, hushed
from offbeat_train.words import length, often

if TYPE_CHECKING:
    import argparse

    from offbeat_edge.schema import SensorSpec
    from offbeat_train.fit import Fitted
    from offbeat_train.hindsight import Hindsight
    from offbeat_train.history import History
    from offbeat_train.package import Origin
    from offbeat_train.tune import Tried

NAME_LENGTH = 64
LOUDEST = 3  # anomalies of its own history that are told; the report has more


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("--out", type=Path, required=True, metavar="BUNDLE", help="what to write")
    parser.add_argument("--name", help="the model's name (default: from BUNDLE)")
    parser.add_argument("--report", type=Path, metavar="FILE",
                        help="the HTML report (default: BUNDLE with .html)")  # fmt: skip
    parser.add_argument("--sign", type=Path, metavar="KEY",
                        help="sign the bundle with this private key")  # fmt: skip
    parser.add_argument("--sensors", type=_names, default=(), metavar="NAME[,NAME...]",
                        help="columns to use (default: all numeric ones but counters)")  # fmt: skip
    add_source_arguments(parser)
    model = parser.add_argument_group("model (chosen from the data by default)")
    model.add_argument("--period", type=duration, metavar="TIME",
                       help="the time grid: 500ms, 1s, 5min, 1h")  # fmt: skip
    model.add_argument("--window", type=positive, metavar="STEPS", help="steps in a window")
    model.add_argument("--stride", type=positive, metavar="STEPS", help="steps between windows")
    model.add_argument("--budget", type=rate, default=ALERT_BUDGET, metavar="ALARMS",
                       help="false alarms a week and asset to accept (%(default)g)")  # fmt: skip
    model.add_argument("--tune", type=positive, default=0, metavar="N",
                       help="search sizes with N trials (needs the extra tune)")  # fmt: skip
    model.add_argument("--units", type=units, metavar="N[,N...]",
                       help="units of the encoder's LSTMs, mirrored in the decoder")  # fmt: skip
    model.add_argument("--epochs", type=positive, help="training epochs at most")
    model.add_argument("--seed", type=int, default=0, help="of all randomness (default: 0)")


def run(args: argparse.Namespace) -> int:
    """Fit and write; returns 0."""
    console = Console()
    if not args.out.parent.is_dir():
        raise HistoryError(f"expected a directory to write into, got {args.out.parent}")
    signer = Signer(args.sign) if args.sign else None  # a wrong key must not cost a training
    history, lake = read_source(args)
    health = examine(history)
    show(health, history, console)
    with console.status("starting TensorFlow"), hushed():
        # It takes seconds: only once the data is worth it.
        from offbeat_train import fit, package, report, shared_graph  # noqa: PLC0415

        shared_graph.wake()
    options = fit.FitOptions(
        name=_name(args.name or args.out.stem), period_ms=args.period, window=args.window,
        stride=args.stride, units=args.units, epochs=args.epochs, seed=args.seed,
        budget_per_week=args.budget,
    )  # fmt: skip
    with Bar(console) as bar:
        if args.tune:
            from offbeat_train import tune  # noqa: PLC0415 - an extra of its own

            fitted, best = tune.tuned(
                history, health, options, args.tune, on=bar, told=lambda t: _tell_trial(t, console)
            )
            console.print(f"trial {best.number} is taken")
        else:
            fitted = fit.fit(history, options, on=bar, health=health)
        bar.stage("writing the bundle")
        now = datetime.now(UTC)
        origin = None if lake is None else _origin(history, lake, now)
        digest = package.write(args.out, fitted, now=now, origin=origin)
        if signer is not None:
            bundle.sign(args.out, signer.sign)
        bar.stage("looking back over the history")
        past = look_back(args.out, history)
        bar.stage("drawing the report")
        path = args.report or args.out.with_suffix(".html")
        report.write(path, fitted, bundle=args.out, digest=digest, past=past)
    _tell(fitted, past, console)
    _tell_files(args.out, path, digest, console)
    return 0


def _origin(history: History, lake: dict[str, object], now: datetime) -> Origin:
    """Return what traces a bundle to rows that lie in no file."""
    from offbeat_train.package import Origin  # noqa: PLC0415 - with TensorFlow behind it
    from offbeat_train.retrain import past  # noqa: PLC0415

    return Origin(f"{now:%Y%m%dT%H%M%SZ}", past.digest(history), {"lake": lake})


def _tell_trial(trial: Tried, console: Console) -> None:
    chosen = {name: value for name, value in msgspec.structs.asdict(trial.chosen).items() if value}
    sizes = ", ".join(f"{name} {value}" for name, value in chosen.items()) or "the defaults"
    said = (
        trial.refused if trial.caught is None else f"{trial.caught:.1%} of injected faults caught"
    )
    console.print(escape(f"trial {trial.number}: {sizes}: {said}"), highlight=False)


def _tell(fitted: Fitted, past: Hindsight, console: Console) -> None:
    plan, spec, parity = fitted.prepared.plan, fitted.spec, fitted.parity
    calibration = fitted.calibration
    layers = "/".join(str(units) for units in (*spec.encoder, *spec.decoder))
    lines = [
        f"window {plan.window} x {plan.period_ms} ms, stride {plan.stride}",
        f"{spec.sensors} sensors, LSTM {layers}, linear path of rank {spec.rank}",
        *_not_judged(fitted.prepared.sensors),
        f"reconstruction error {parity.integer_error:.4f} (float {parity.float_error:.4f})",
        (
            f"threshold for {often(calibration.expected_per_week)} false alarms a week, "
            f"from {length(calibration.held_out_hours)} of held-out rows"
        ),
        fitted.comparison.verdict,
        f"over its own history: {past.said(calibration.expected_per_week)}",
        *(f"  {event.start}  {event.message}" for event in past.loudest[:LOUDEST]),
    ]
    for line in lines:
        console.print(escape(line), highlight=False)
    for warning in (*fitted.warnings, *past.doubts(calibration.expected_per_week)):
        if warning != fitted.comparison.verdict:
            console.print(f"[yellow]![/yellow] {escape(warning)}", highlight=False)


def _tell_files(out: Path, report: Path, digest: str, console: Console) -> None:
    size = out.stat().st_size / 1024
    console.print(f"[green]{escape(str(out))}[/green] {size:.0f} KiB, {digest}", highlight=False,
                  soft_wrap=True)  # fmt: skip
    console.print(f"{escape(str(report))} shows it in pictures", highlight=False, soft_wrap=True)


def _not_judged(sensors: tuple[SensorSpec, ...]) -> list[str]:
    flags = [sensor.name for sensor in sensors if not sensor.scored]
    if not flags:
        return []
    return [f"not judged, only heard, as a 0 or 1 is decided elsewhere: {', '.join(flags)}"]


def _name(text: str) -> str:
    """Make an id of the design's alphabet.

    >>> _name("Hall 1/Pump")
    'hall_1.pump'
    """
    plain = re.sub(r"[^a-z0-9_.-]+", "_", text.lower().replace("/", "."))
    return plain[:NAME_LENGTH] or "model"


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())
