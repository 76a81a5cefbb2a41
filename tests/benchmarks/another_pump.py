"""What a warm-up is worth: pumps that differ from those a bundle was trained on.

Each pump is drawn anew, further off the common type the larger the tolerance
(the plant's own is 1.2 %), and replayed through the engine with and without a
warm-up of a day: anomalies a week after that day, faults caught, and what
became of a fault that was there from the first hour.

    offbeat simulate --pumps 2 --duration 12d --period 60s --out train.csv
    offbeat fit train.csv --out pump.offbeat
    python tests/benchmarks/another_pump.py pump.offbeat
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from offbeat_broker import plant as plants
from offbeat_broker.faults import Fault
from offbeat_edge import bundle as bundles
from offbeat_edge.engine import Engine
from offbeat_edge.model import open_model
from offbeat_edge.replay import play, samples

if TYPE_CHECKING:
    from offbeat_edge.model import Model
    from offbeat_edge.schema import AlertEvent

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
START_MS = 1_736_121_600_000 + 14 * DAY_MS
DAYS = 9  # one of warm-up, a week to count in, one to spare
TOLERANCES = (0.012, 0.06, 0.1, 0.14)
FAULTS: tuple[tuple[str, str | None, float], ...] = (
    ("bearing_wear", None, 3.0), ("leak", None, 2.0), ("cavitation", None, 3.0),
    ("clogging", None, 2.0), ("sensor_drift", "pressure", 3.0), ("sensor_drift", "flow", 3.0),
)  # fmt: skip


class Run(NamedTuple):
    """One pump, replayed."""

    anomalies: list[AlertEvent]
    stage: str


def run(model: Model, *, seed: int, tolerance: float, faults: list[Fault]) -> Run:
    """Replay nine days of a pump of its own kind."""
    plants.TOLERANCE = tolerance  # another type of pump: not what the plant offers its users
    plant = plants.Plant(seed=seed, pumps=1)
    period = model.manifest.model.period_ms
    history = plant.history(
        start_ms=START_MS, duration_ms=DAYS * DAY_MS, period_ms=period, schedule=faults
    )
    engine = Engine(site="s", gateway="g", route=lambda _: model)
    stream = samples("pump1", history.time_ms, history.values[0], history.sensors)
    opened = [
        event
        for out in play(engine, stream)
        for event in out.events
        if (event.kind, event.type) == ("anomaly", "new")
    ]
    told = engine.states()[0].adaptation
    return Run(opened, "" if told is None else told.stage)


def plan() -> list[Fault]:
    """Return a fault of each kind, six hours long, a day apart, after the warm-up."""
    return [
        Fault(
            asset="pump1", kind=kind, sensor=sensor, magnitude=size,  # type: ignore[arg-type]
            start_ms=START_MS + (2 + n) * DAY_MS + 9 * HOUR_MS,
            end_ms=START_MS + (2 + n) * DAY_MS + 15 * HOUR_MS,
        )
        for n, (kind, sensor, size) in enumerate(FAULTS)
    ]  # fmt: skip


def caught(found: Run, faults: list[Fault]) -> int:
    """Count faults in which an anomaly opened."""
    starts = [event.start_ms for event in found.anomalies]
    return sum(any(f.start_ms <= s < f.end_ms + HOUR_MS for s in starts) for f in faults)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--pumps", type=int, default=8)
    parser.add_argument("--kinds", type=int, default=len(TOLERANCES), help="how many tolerances")
    args = parser.parse_args()
    bundle = bundles.load(args.bundle)
    print("tolerance  warm-up  anomalies/week  stages  faults caught")  # noqa: T201
    for tolerance in TOLERANCES[: args.kinds]:
        for warmup_ms in (0, DAY_MS):
            model = open_model(bundle, config_digest="", warmup_ms=warmup_ms)
            normal, hits, stages = 0, 0, Counter[str]()
            for seed in range(100, 100 + args.pumps):
                calm = run(model, seed=seed, tolerance=tolerance, faults=[])
                late = [e for e in calm.anomalies if e.start_ms >= START_MS + 2 * DAY_MS]
                normal += len(late)
                stages[calm.stage] += 1
                sick = run(model, seed=seed, tolerance=tolerance, faults=plan())
                hits += caught(sick, plan())
            total = len(FAULTS) * args.pumps
            print(  # noqa: T201
                f"{tolerance:9.3f}  {warmup_ms / DAY_MS:5.0f} d  {normal / args.pumps:14.2f}  "
                f"{dict(stages)}  {hits}/{total}"
            )
    print("a fault that began a day before: days to its first alert without and with a warm-up")  # noqa: T201
    for kind, sensor, size in FAULTS:
        ongoing = Fault(
            asset="pump1", kind=kind, sensor=sensor, magnitude=size,  # type: ignore[arg-type]
            start_ms=START_MS - DAY_MS, end_ms=START_MS + DAYS * DAY_MS,
        )  # fmt: skip
        found = [
            run(
                open_model(bundle, config_digest="", warmup_ms=warmup_ms),
                seed=100, tolerance=0.012, faults=[ongoing],
            )
            for warmup_ms in (0, DAY_MS)
        ]  # fmt: skip
        days = [min((e.start_ms for e in r.anomalies), default=START_MS) for r in found]
        without, adapted = ((day - START_MS) / DAY_MS for day in days)
        print(f"  {kind:12} {without:4.1f} {adapted:4.1f}  {found[1].stage}")  # noqa: T201


if __name__ == "__main__":
    main()
