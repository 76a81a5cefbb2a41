"""What people say, in the tests of what it means and of what is kept of it."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from offbeat_edge.control import Feedback, Maintenance, Rename
from offbeat_edge.engine import Engine
from offbeat_edge.schema import AlertEvent, Sample

if TYPE_CHECKING:
    from offbeat_edge.control import Verdict
    from offbeat_edge.model import Model

START = 1_700_000_000_000
NUMBERS = itertools.count()
Step = list[Sample] | int | Maintenance | Feedback | Rename


def engine_for(model: Model) -> Engine:
    return Engine(
        site="hall", gateway="gw", route=lambda a: model if a.startswith("pump") else None
    )


def sample(k: int, *, heat: float = 0.0, asset: str = "pump1") -> Sample:
    return Sample(
        asset, START + 1000 * k, {"flow": 10.0 + 0.1 * (k % 2), "heat": 20.0 + 0.2 * (k % 3) + heat}
    )


def run(engine: Engine, first: int, last: int, *, heat: float = 0.0) -> list[AlertEvent]:
    return engine.feed([sample(k, heat=heat) for k in range(first, last)]).events


def window(first: int, last: int, *, name: str = "w", **more: Any) -> Maintenance:  # noqa: ANN401 - fields
    return Maintenance(
        id=name,
        time_ms=START,
        asset=more.pop("asset", "pump1"),
        start_ms=START + 1000 * first,
        end_ms=START + 1000 * last,
        **more,
    )


def feedback(verdict: Verdict = "false_alarm", **more: Any) -> Feedback:  # noqa: ANN401 - fields
    return Feedback(id=f"f{next(NUMBERS)}", time_ms=START, asset="pump1", verdict=verdict, **more)


def rename(to: str = "pump2", asset: str = "pump1") -> Rename:
    return Rename(id=f"r{next(NUMBERS)}", time_ms=START, asset=asset, to=to)


def told(events: list[AlertEvent]) -> list[tuple[str, str, str | None]]:
    return [(e.kind, e.type, e.reason) for e in events if e.type != "update"]


def opened(model: Model) -> tuple[Engine, AlertEvent]:
    engine = engine_for(model)
    run(engine, 0, 20)
    return engine, run(engine, 20, 30, heat=9.0)[0]
