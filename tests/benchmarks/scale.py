"""One daemon, ever more assets: what a message costs, and what an asset holds.

    python tests/benchmarks/scale.py BUNDLE [ASSETS ...]

``offbeat run`` with its defaults on a Mosquitto of its own; every asset's windows are full before
anything is counted.  CPU time is the daemon's own.  The first line is the floor: an empty process
with paho, numpy and the runtime.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from offbeat_edge import bundle
from offbeat_edge.bench import broker
from offbeat_edge.bench.process import floor
from offbeat_edge.bench.wire import Bench

ASSETS = (1, 100, 1_000, 10_000)
MESSAGES = 20_000  # of a turn, at least a stride of each asset
TURNS = 3


def main(path: Path, sizes: tuple[int, ...]) -> None:
    package = bundle.load(path)
    program = broker.installed() or sys.exit("scale: mosquitto is not installed")
    print(f"floor: {floor() / 2**20:.1f} MiB")  # noqa: T201
    print("| assets | CPU, µs a message | resident, MiB | an asset more, KiB |\n|---|---|---|---|")  # noqa: T201
    before = None
    for assets in sizes:
        with (
            tempfile.TemporaryDirectory() as folder,
            broker.mosquitto(program, Path(folder)) as address,
            Bench(
                address=address, path=path, bundle=package, folder=Path(folder), assets=assets,
                peers=False,
            ) as bench,
        ):  # fmt: skip
            stride = package.manifest.model.stride
            steps = max(stride, MESSAGES // assets // stride * stride)
            cpu = min(bench.feed(steps).cpu_s for _ in range(TURNS)) / (steps * assets)
            held = bench.resident()
        more = "" if before is None else f"{(held - before[1]) / (assets - before[0]) / 1024:.1f}"
        print(f"| {assets:,} | {cpu * 1e6:.1f} | {held / 2**20:.1f} | {more} |", flush=True)  # noqa: T201
        before = assets, held


if __name__ == "__main__":
    main(Path(sys.argv[1]), tuple(map(int, sys.argv[2:])) or ASSETS)
