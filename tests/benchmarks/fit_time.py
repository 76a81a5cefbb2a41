"""What ``offbeat fit`` costs with its defaults: seconds, and the peak of its memory.

    python tests/benchmarks/fit_time.py [ROWS ...]

Simulated histories of one pump, 8 sensors, a row each ten seconds; `fit` in a process of its own.
The last column is what the peak grew by for each row more than in the line above.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

ROWS = (100_000, 300_000, 1_000_000)
PERIOD_S = 10  # of the simulated plant
COLUMNS = ("rows", "seconds", "of CPU", "peak, MiB", "a row more, bytes")


class Cost(NamedTuple):
    """Of one command."""

    seconds: float
    cpu_s: float  # on all cores
    peak: int  # bytes, of its largest process


def main(sizes: tuple[int, ...]) -> None:
    print("|", " | ".join(COLUMNS), "|\n" + "|---" * len(COLUMNS) + "|")  # noqa: T201
    before: tuple[int, Cost] | None = None
    for rows in sizes:
        with tempfile.TemporaryDirectory() as folder:
            cost = fitted(Path(folder), rows)
        more = "" if before is None else f"{(cost.peak - before[1].peak) / (rows - before[0]):.0f}"
        spent = f"{cost.seconds:.0f} | {cost.cpu_s:.0f} | {cost.peak / 2**20:.0f}"
        print(f"| {rows:,} | {spent} | {more} |", flush=True)  # noqa: T201
        before = rows, cost


def fitted(folder: Path, rows: int) -> Cost:
    """Fit one pump's history."""
    history, out = str(folder / "history.parquet"), str(folder / "pump.offbeat")
    run("simulate", "--out", history, "--pumps", "1", "--duration", f"{rows * PERIOD_S}s")
    return run("fit", history, "--out", out)


def run(*words: str) -> Cost:
    """Run a command of offbeat to its end; what it says goes to standard error."""
    program = [sys.executable, "-m", "offbeat_edge.cli", *words]
    begun = time.monotonic()
    child = os.posix_spawn(
        sys.executable, program, os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, 2, 1)]
    )
    _, status, used = os.wait4(child, 0)
    if status:
        sys.exit(f"fit_time: expected offbeat {words[0]} to succeed, its status is {status}")
    return Cost(time.monotonic() - begun, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024)


if __name__ == "__main__":
    main(tuple(map(int, sys.argv[1:])) or ROWS)
