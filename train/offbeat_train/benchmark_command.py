"""Measure the detector on public benchmarks, beside plain methods and published figures.

DIR holds a dataset as its authors publish it.  Each series is fitted with
the defaults on the rows that the dataset's protocol lets train, and streamed
through the device's own code.  With --json a run that was stopped goes on.

  offbeat benchmark skab --data downloads/SKAB/data --json skab.json
"""

from __future__ import annotations

import argparse
import fnmatch
import os
import platform
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from offbeat_edge import __version__
from offbeat_edge.interpreter import installed
from offbeat_train.benchmark.datasets import DATASETS
from offbeat_train.errors import HistoryError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from offbeat_train.benchmark.measure import Measured, Setting
    from offbeat_train.benchmark.series import Series

DATA = "OFFBEAT_DATA"
PIPE_WIDTH = 160  # columns


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("name", choices=list(DATASETS), metavar="NAME", help=", ".join(DATASETS))
    parser.add_argument("--data", type=Path, metavar="DIR", default=os.environ.get(DATA),
                        help=f"the dataset's folder, or the one around it (${DATA})")  # fmt: skip
    parser.add_argument("--json", type=Path, metavar="OUT", help="every figure, by series")
    parser.add_argument("--series", metavar="PATTERN", default="*",
                        help="only series of such names: 'valve1/*'")  # fmt: skip
    parser.add_argument("--seeds", type=_positive, default=1, metavar="N",
                        help="seeds 0 to N - 1, for the spread (%(default)s)")  # fmt: skip
    parser.add_argument("--jobs", type=_positive, default=os.cpu_count() or 1, metavar="N",
                        help="series at a time (all cores: %(default)s)")  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Measure, print, write."""
    if args.data is None:
        raise HistoryError(f"expected --data DIR or ${DATA}, got neither")
    if args.json is not None and not args.json.absolute().parent.is_dir():
        raise HistoryError(f"expected a directory to write into, got {args.json.parent}")
    series = _chosen(args)
    _one_thread_each()
    # TensorFlow takes seconds: only once the data is there.
    from offbeat_train.benchmark import pool, table  # noqa: PLC0415
    from offbeat_train.benchmark import run as runner  # noqa: PLC0415
    from offbeat_train.benchmark.measure import Setting  # noqa: PLC0415

    settings = [Setting(dataset=args.name, seed=seed) for seed in range(args.seeds)]
    key = runner.key_of(settings[0])
    cache = None if args.json is None else args.json.with_suffix(".series.jsonl")
    # A file or a pipe has no width; the tables need some.
    console = Console(width=None if sys.stdout.isatty() else PIPE_WIDTH)
    with _bar(console) as bar:
        task = bar.add_task(args.name, total=len(series) * len(settings), said="")
        measured = runner.run(
            series, settings, runner.Cache(cache, key), jobs=args.jobs,
            told=lambda one: bar.update(task, advance=1, said=one.series),
        )  # fmt: skip
    pooled = pool.summary(measured)
    table.show(args.name, pooled, measured, console)
    if args.json is not None:
        _write(args.json, settings, key, measured, pooled)
    return 0


def _chosen(args: argparse.Namespace) -> list[Series]:
    found = list(DATASETS[args.name](args.data))
    series = [one for one in found if fnmatch.fnmatch(one.name, args.series)]
    if not series:
        names = ", ".join(one.name for one in found[:5])
        raise HistoryError(f"--series: expected a name such as {names}, got {args.series!r}")
    return series


def _one_thread_each() -> None:
    """Let every process use one core; set before TensorFlow and numpy's BLAS start there."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS",
                 "TF_NUM_INTEROP_THREADS"):  # fmt: skip
        os.environ.setdefault(name, "1")


def _bar(console: Console) -> Progress:
    return Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
                    TextColumn("{task.fields[said]}"), TimeElapsedColumn(),
                    console=console)  # fmt: skip


def _write(
    path: Path, settings: Sequence[Setting], key: str, measured: list[Measured], pooled: object
) -> None:
    from offbeat_train.benchmark.published import PUBLISHED  # noqa: PLC0415

    name = settings[0].dataset
    about = {
        "dataset": name, "protocol": DATASETS[name].__doc__, "code": key.rsplit(maxsplit=1)[-1],
        "version": __version__, "runtime": installed().name, "machine": platform.machine(),
        "seeds": [one.seed for one in settings], "pooled": pooled,
        "published": [one._asdict() for one in PUBLISHED[name]], "series": measured,
    }  # fmt: skip
    path.write_bytes(msgspec.json.format(msgspec.json.encode(about)) + b"\n")


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number above 0, got {text!r}")
    return int(text)
