"""Write the table of speed in docs/benchmarks.md anew, from measurements on this machine.

    python tests/benchmarks/table.py BUNDLE [--turns N]

Takes minutes; a busy machine makes the figures wrong, which their ranges show.
"""

from __future__ import annotations

import argparse
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import test_model_against_float as against_float

from offbeat_edge.bench.bench_command import measure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from offbeat_edge.bench.figures import Report, Spread

PAGE = Path(__file__).parents[2] / "docs" / "benchmarks.md"
BEGIN, END = "<!-- speed: written by make bench -->", "<!-- speed: end -->"
MIB = 2**20


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--turns", type=int, default=5)
    args = parser.parse_args()
    report = measure(args.bundle, broker=None, turns=args.turns)
    table = "\n".join(rows(report, against_float.measure()))
    head, rest = PAGE.read_text().split(BEGIN)
    PAGE.write_text(f"{head}{BEGIN}\n{table}\n{END}{rest.split(END)[1]}")


def rows(report: Report, model: against_float.Figures) -> Iterator[str]:
    """Return the table's lines."""
    yield f"{report.machine}, {report.cpus} cores, load {report.load:.1f} at the start.\n"
    yield "| what | aim | median (lowest to highest) |\n|---|---|---|"
    yield row("int8 / fused float32, one window, runtimes alone", "≤ 0.5", model.alone)
    yield row("the same, a window of a batch of 16", "≤ 0.2", model.alone_batched)
    yield row("int8 from reals to reals / fused float32, one window", "", model.one)
    yield row("the same, a window of a batch of 16", "", model.batched)
    yield row("int8, one window / `keras.Model.predict`", "≤ 0.01", model.keras, "4f")
    size = len(zlib.compress(model.model, 9)) / 1024
    yield f"| default int8 model at 8 sensors, compressed, KiB | ≤ 96 | {size:.1f} |"
    for wire in report.wire:
        aim = {(0, False): "≥ 0.7", (1, False): "≥ 0.5"}.get((wire.qos, wire.stride == 1), "")
        what = f"messages for the CPU of paho with msgspec, QoS {wire.qos}, stride {wire.stride}"
        yield row(what, aim, wire.subjects["daemon"].ratio)
    if report.process is not None:
        above = (report.process.resident_bytes - report.floor_bytes) / MIB
        further = report.process.bytes_per_further_asset / 1024
        yield f"| engine and model, 100 assets, MiB above the floor | ≤ 15 | {above:.1f} |"
        yield f"| a further asset, KiB | ≤ 16 | {further:.1f} |"
        yield row("process start to first score, s", "≤ 1.0", report.process.first_score_s)
    if report.wire:
        above = (report.wire[0].daemon_bytes - report.floor_bytes) / MIB
        yield f"| the daemon, 100 assets, MiB above the floor | ≤ 15 | {above:.1f} |"


def row(what: str, aim: str, found: Spread, form: str = "2f") -> str:
    """Return one line."""
    numbers = [format(number, f".{form}") for number in (found.median, found.low, found.high)]
    return f"| {what} | {aim} | {numbers[0]} ({numbers[1]} to {numbers[2]}) |"


if __name__ == "__main__":
    main()
