"""Faults for as long as one likes: ``python tests/system/soak.py --minutes 60``.

Each round plays a recording of its own seed with faults of many kinds: two
rounds of three those that must change nothing, then those after which the
broker's or the state's loss decides what is equal (``troubles.FAULTS``).  The
first difference ends it with exit code 1 and the seed that repeats it
(``--seed N --rounds 1``).  The last line holds the figures.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent / "integration")]

import clocks  # noqa: E402 - not a package: found by the line above
from faults import Run  # noqa: E402
from rig import Mosquitto  # noqa: E402
from troubles import DISTURBED, Promise, breaking  # noqa: E402


def main() -> int:
    """Play rounds until the time is over; return 1 at the first difference."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--rounds", type=int, default=1_000_000)
    args = parser.parse_args()
    figures: Counter[str] = Counter()
    deadline = time.monotonic() + args.minutes * 60
    seed = args.seed
    while time.monotonic() < deadline and seed < args.seed + args.rounds:
        difference = one_round(seed, figures)
        if difference:
            sys.stdout.write(f"seed {seed}: {difference}\n")
            return 1
        seed += 1
    sys.stdout.write(json.dumps({"rounds": seed - args.seed, **figures}) + "\n")
    return 0


def one_round(seed: int, figures: Counter[str]) -> str:
    """Play one recording; return how its alerts differ."""
    protocol = "3.1.1" if seed % 4 == 3 else "auto"
    clock = clocks.library() is not None and seed % 2 == 0
    with tempfile.TemporaryDirectory() as folder:
        broker = Mosquitto(Path(folder) / "broker").start()
        try:
            with Run(Path(folder), broker, seed=seed, protocol=protocol, clock=clock) as run:
                figures[f"wire {run.wire.kind}"] += 1
                play(run, seed)
                verdict = run.verdict()
        finally:
            broker.kill()
    figures.update(f"fault {kind}" for kind in run.told)
    figures["faults"] += len(run.told)
    figures["alert events"] += len(run.expected)
    figures["readings"] += len(run.readings)
    return verdict


def play(run: Run, seed: int) -> None:
    """Choose the faults of a round by its seed."""
    clock = run.clock is not None
    harmless = breaking(Promise.ALL, clock=clock)
    if seed % 3:
        run.play(harmless + DISTURBED)
    elif seed % 2:
        run.play(breaking(Promise.ALL, Promise.DELIVERED, clock=clock))
    else:
        half = len(run.readings) // 2
        run.play(breaking(Promise.ALL, Promise.AFTER, clock=clock), until=half)
        run.play((), start=half)


if __name__ == "__main__":
    sys.exit(main())
