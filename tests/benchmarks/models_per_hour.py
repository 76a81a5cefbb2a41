"""Models an hour on one core and on two, and what the second core is worth.

    python tests/benchmarks/models_per_hour.py [--models 6] [--rounds 2]

``offbeat retrain --fleet`` on a lake of simulated pumps, one model each; rounds
alternate between one and two cores, and each pair of a round gives one ratio.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))

from retrain_parts import SENSORS, plant_rows

from offbeat_train.lake import Writer, open_lake
from offbeat_train.lake.rows import Rows

SIZES = ("--period", "60s", "--window", "16", "--units", "8", "--epochs", "8", "--budget", "6")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=2)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        lake = filled(Path(folder) / "lake", args.models)
        ratios = []
        for number in range(args.rounds):
            took = {jobs: trained(lake, Path(folder) / f"{number}-{jobs}", jobs) for jobs in (1, 2)}
            ratios.append(took[1] / took[2])
            rates = {jobs: args.models * 3600 / seconds for jobs, seconds in took.items()}
            told = f"{rates[1]:.0f} models an hour on one core, {rates[2]:.0f} on two"
            print(f"round {number + 1}: {told}: {ratios[-1]:.2f} times")  # noqa: T201
    gain = statistics.median(ratios)
    print(f"efficiency of the second core: {gain / 2:.0%} (median of {args.rounds})")  # noqa: T201


def filled(folder: Path, pumps: int) -> str:
    """Return a lake with some days of each pump."""
    writer = Writer(open_lake(str(folder)).store)
    for asset, (times, values) in plant_rows(pumps=pumps, days=7).items():
        writer.rows("0000000000000001-a", asset, Rows(times, values, SENSORS))
    return str(folder)


def trained(lake: str, registry: Path, jobs: int) -> float:
    """Train every model; return the seconds."""
    words = ["retrain", "--fleet", "--lake", lake, "--registry", str(registry)]
    begun = time.monotonic()
    subprocess.run(
        [sys.executable, "-m", "offbeat_edge.cli", *words, "--jobs", str(jobs), *SIZES],
        check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    return time.monotonic() - begun


if __name__ == "__main__":
    main()
