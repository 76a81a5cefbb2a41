"""Train again where it is due, and let only what is better become the champion.

Takes what `offbeat record` kept, asks whether the champion is still right,
trains a challenger, compares both on rows neither was trained on, and keeps
everything in the registry.  Run it from cron or a timer: it does nothing
when nothing is due, and ends what a killed run began.

  offbeat retrain --lake LAKE --registry DIR --model pump --asset 'pump*'
  offbeat retrain --lake LAKE --registry DIR --fleet
"""

from __future__ import annotations

import fnmatch
import time
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape

from offbeat_train.argument_types import duration, positive, rate, units
from offbeat_train.defaults import ALERT_BUDGET
from offbeat_train.errors import RegistryError
from offbeat_train.lake import open_lake
from offbeat_train.retrain import tracking
from offbeat_train.retrain.job import JobOptions, adopt, retrain
from offbeat_train.retrain.listing import listed
from offbeat_train.retrain.past import LakePast
from offbeat_train.retrain.shelf import VERDICT_PAGE, Shelf
from offbeat_train.terminal import Bar
from offbeat_train.timestamps import parse_instant

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from offbeat_train.retrain.job import Outcome

ALL = "*"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("--registry", type=Path, required=True, metavar="DIR",
                        help="where models are kept")  # fmt: skip
    parser.add_argument("--lake", metavar="URI", help="what offbeat record wrote")
    parser.add_argument("--model", action="append", default=[], metavar="NAME[=PATTERN]",
                        help="the model, and the assets it is for; with --fleet, may be "
                             "repeated")  # fmt: skip
    parser.add_argument("--asset", default=ALL, metavar="PATTERN", help="assets, such as 'pump*'")
    parser.add_argument("--since", metavar="TIME", help="ISO 8601; leave older rows out")
    parser.add_argument("--force", action="store_true", help="train although nothing is due")
    parser.add_argument("--champion", type=Path, metavar="BUNDLE",
                        help="begin with this bundle as champion")  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="of all randomness (default: 0)")
    parser.add_argument("--epochs", type=positive, help="training epochs at most")
    parser.add_argument("--list", action="store_true", help="show the registry and end")
    first = parser.add_argument_group("a first model (later ones are like their champion)")
    first.add_argument("--period", type=duration, metavar="TIME", help="the time grid")
    first.add_argument("--window", type=positive, metavar="STEPS", help="steps in a window")
    first.add_argument("--units", type=units, metavar="N[,N...]", help="units of the LSTMs")
    first.add_argument("--budget", type=rate, default=ALERT_BUDGET, metavar="ALARMS",
                       help="false alarms a week and asset to accept (%(default)g)")  # fmt: skip
    fleet = parser.add_argument_group("many models, on Ray")
    fleet.add_argument("--fleet", action="store_true",
                       help="every --model, or without any a model for each asset")  # fmt: skip
    fleet.add_argument("--jobs", type=positive,
                       help="at once here (default: its cores)")  # fmt: skip
    fleet.add_argument("--ray-address", metavar="ADDRESS", help="a Ray cluster to run on")
    parser.add_argument("--mlflow", metavar="URI",
                        help="log there (default: MLFLOW_TRACKING_URI)")  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Retrain; returns 0 whatever the verdict, a failed model's code otherwise."""
    console = Console()
    if args.list:
        console.print(listed(args.registry), soft_wrap=True)
        return 0
    if args.lake is None:
        raise RegistryError("expected --lake, got none")
    if args.fleet:
        return _fleet(args, console)
    if len(args.model) != 1:
        raise RegistryError(f"expected one --model (or --fleet), got {len(args.model)}")
    name, pattern = _named(args.model[0], args.asset)
    past = LakePast(open_lake(args.lake))
    shelf = Shelf(args.registry, name)
    if args.champion is not None:
        adopt(shelf, args.champion)
    options = _options(args, _matching(past.assets(), pattern))
    with Bar(console) as bar:
        outcome = retrain(shelf, past, options, now_ms=_now_ms(), on=bar)
    tracking.log(outcome, shelf, uri=args.mlflow)
    _tell(outcome, shelf, console)
    return 0


def _fleet(args: argparse.Namespace, console: Console) -> int:
    """Hand every model to Ray; tell of each as it ends."""
    from offbeat_train.retrain import fleet  # noqa: PLC0415 - Ray is an extra

    known = LakePast(open_lake(args.lake)).assets()
    wanted = dict(_named(text, args.asset) for text in args.model)
    models = (
        {name: _matching(known, pattern) for name, pattern in wanted.items()}
        if wanted
        else {asset: (asset,) for asset in _matching(known, args.asset)}
    )
    orders = [
        fleet.Order(lake=args.lake, registry=str(args.registry.resolve()), model=name,
                    options=_options(args, assets), now_ms=_now_ms(), mlflow=args.mlflow)
        for name, assets in models.items()
    ]  # fmt: skip
    code = 0
    with fleet.running(address=args.ray_address, jobs=args.jobs):
        for done, end in enumerate(fleet.work(orders), start=1):
            colour = "red" if end.failed else "green"
            said = end.failed or end.said
            console.print(f"{done}/{len(orders)} [{colour}]{escape(end.model)}[/{colour}] "
                          f"{end.seconds:.0f} s: {escape(said)}", soft_wrap=True,
                          highlight=False)  # fmt: skip
            code = max(code, end.exit_code)
    return code


def _options(args: argparse.Namespace, assets: tuple[str, ...]) -> JobOptions:
    return JobOptions(
        assets=assets, since_ms=None if args.since is None else parse_instant(args.since, None),
        seed=args.seed, epochs=args.epochs, force=args.force, period_ms=args.period,
        window=args.window, units=args.units, budget_per_week=args.budget,
    )  # fmt: skip


def _named(text: str, pattern: str) -> tuple[str, str]:
    """Split NAME=PATTERN.

    >>> _named("pump=hall1.*", "*"), _named("pump", "*")
    (('pump', 'hall1.*'), ('pump', '*'))
    """
    name, equals, own = text.partition("=")
    return name, own if equals else pattern


def _matching(assets: Sequence[str], pattern: str) -> tuple[str, ...]:
    found = tuple(asset for asset in assets if fnmatch.fnmatchcase(asset, pattern))
    if not found:
        raise RegistryError(f"--asset: expected assets of the lake that match {pattern!r}, "
                            f"got none of {len(assets)}")  # fmt: skip
    return found


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _tell(outcome: Outcome, shelf: Shelf, console: Console) -> None:
    for reason in outcome.due.said:
        console.print(f"due: {escape(reason)}", highlight=False)
    console.print(escape(outcome.said), highlight=False)
    if outcome.version is not None:
        page = shelf.folder / outcome.version / VERDICT_PAGE
        console.print(f"{escape(str(page))} shows it in figures", highlight=False, soft_wrap=True)
