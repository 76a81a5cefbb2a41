"""Both models on the same held-out rows, through the device's own engine.

Rules: every stretch of rows is an asset of its own to an `Engine`, so that
each starts fresh and is judged by window, interpreter, detector, sensor
checks and alert rule as on a device.  Nothing here knows which model it is
looking at.

>>> measure(grounds, incidents, champion=old, challenger=new, ...)  # doctest: +SKIP
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from offbeat_edge.engine import Engine
from offbeat_edge.replay import play, samples
from offbeat_train.retrain import inject
from offbeat_train.retrain.evidence import (
    CERTAIN,
    Evidence,
    Ground,
    GroundName,
    Incident,
    Response,
    Side,
    strength,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from offbeat_edge.model import Model
    from offbeat_edge.schema import AlertEvent
    from offbeat_train.retrain.evidence import Floats
    from offbeat_train.retrain.holdout import Block

    Ints = np.ndarray[tuple[int], np.dtype[np.int64]]

STRETCHES = 256  # played together; their windows share invocations
BLOCKS = 400  # of one ground, evenly spread, at most


class Stretch(NamedTuple):
    """Rows that are played from a fresh start."""

    times_ms: Ints  # (N,)
    values: Floats  # (N, F), NaN where absent


@dataclass(frozen=True)
class Heard:
    """What one model said to one stretch."""

    times_ms: Ints  # (W,) at which windows ended
    scores: Floats  # (W,)
    events: tuple[AlertEvent, ...]

    def sick(self) -> bool:
        """Whether a sensor was called faulty."""
        return any(event.kind == "sensor_fault" for event in self.events)


@dataclass(frozen=True, kw_only=True)
class Happened:
    """An incident and the raw rows around it, from before its beginning."""

    asset: str
    start_ms: int
    end_ms: int
    ground: GroundName
    rows: Stretch


@dataclass(frozen=True, kw_only=True)
class Pair:
    """The two that are compared; there may be no champion."""

    champion: Model | None
    challenger: Model

    @property
    def window_ms(self) -> int:
        """Length of the longer window."""
        return max(span_ms(model) for model in self.models)

    @property
    def models(self) -> tuple[Model, ...]:
        """Those there are."""
        return (self.challenger,) if self.champion is None else (self.champion, self.challenger)

    def judged(self, names: Sequence[str]) -> list[int]:
        """Columns of ``names`` that the one in force judges."""
        first = self.models[0].manifest.sensors
        scored = {sensor.name for sensor in first if sensor.scored}
        return [index for index, name in enumerate(names) if name in scored]


def span_ms(model: Model) -> int:
    """Length of a model's window."""
    return model.manifest.model.window * model.manifest.model.period_ms


def measure(
    pair: Pair,
    blocks: dict[GroundName, list[Block]],
    happened: Sequence[Happened],
    *,
    names: tuple[str, ...],
    block_ms: int,
    budget_per_week: float,
    promised_per_week: float,
    seed: int,
) -> Evidence:
    """Let both models meet the blocks, faults in them, and the incidents.

    Parameters
    ----------
    blocks : held-out normal rows of each ground, columns as ``names``.
    """
    grounds = tuple(
        _ground(pair, name, spread(found, BLOCKS), names=names, block_ms=block_ms, seed=seed)
        for name, found in blocks.items()
    )
    return Evidence(
        grounds=grounds, incidents=tuple(_incidents(pair, happened, names)),
        budget_per_week=budget_per_week, promised_per_week=promised_per_week,
        window_ms=pair.window_ms, seed=seed,
    )  # fmt: skip


def _ground(
    pair: Pair, name: GroundName, blocks: list[Block], *, names: tuple[str, ...], block_ms: int,
    seed: int,
) -> Ground:  # fmt: skip
    cases: list[inject.Case] = []
    if blocks:
        scale = np.nanstd(np.concatenate([block.values for block in blocks]), axis=0)
        cases = inject.inject(blocks, sensors=pair.judged(names), scale=scale,
                              window_ms=pair.window_ms, seed=seed)  # fmt: skip
    normal = [Stretch(block.times_ms, block.values) for block in blocks]
    faulty = [Stretch(case.times_ms, case.values) for case in cases]
    sides = [_side(model, normal, faulty, names) for model in pair.models]
    return Ground(
        name=name, block_ms=block_ms, cases=inject.table(cases, names),
        champion=sides[0] if pair.champion is not None else None, challenger=sides[-1],
    )  # fmt: skip


def _side(
    model: Model, normal: list[Stretch], faulty: list[Stretch], names: tuple[str, ...]
) -> Side:
    clean, hurt = hear(model, normal, names), hear(model, faulty, names)
    return Side(
        normal=np.array([_strength(model, one) for one in clean]),
        sick=np.array([one.sick() for one in clean], dtype=np.bool_),
        faulty=np.array([CERTAIN if one.sick() else _strength(model, one) for one in hurt]),
    )


def _incidents(
    pair: Pair, happened: Sequence[Happened], names: tuple[str, ...]
) -> Iterable[Incident]:
    rows = [one.rows for one in happened]
    heard = [hear(model, rows, names) for model in pair.models]
    for index, one in enumerate(happened):
        answers = [
            _response(model, answer[index], one)
            for model, answer in zip(pair.models, heard, strict=True)
        ]
        yield Incident(
            asset=one.asset, start_ms=one.start_ms, end_ms=one.end_ms, ground=one.ground,
            champion=answers[0] if pair.champion is not None else None, challenger=answers[-1],
        )  # fmt: skip


def _response(model: Model, heard: Heard, one: Happened) -> Response:
    """What was said from the incident's start until a window after its end."""
    until = one.end_ms + span_ms(model)
    inside = (heard.times_ms >= one.start_ms) & (heard.times_ms <= until)
    spans = _alerts(heard.events)
    touching = [s for s in spans if s[0] <= until and (s[1] is None or s[1] >= one.start_ms)]
    delays = [max(0, opened - one.start_ms) for opened, _ in touching]
    told = any(e.kind == "sensor_fault" and one.start_ms <= e.time_ms <= until
               for e in heard.events)  # fmt: skip
    found = strength(heard.scores[inside], windows=windows_to_alarm(model))
    return Response(strength=CERTAIN if told else found, delay_ms=min(delays, default=None))


def _alerts(events: Sequence[AlertEvent]) -> list[tuple[int, int | None]]:
    """When each alert was told, and when it ended."""
    opened: dict[str, tuple[int, int | None]] = {}
    for event in events:
        if event.type == "new":
            opened[event.alert] = (event.time_ms, None)
        elif event.type == "end" and event.alert in opened:
            opened[event.alert] = (opened[event.alert][0], event.time_ms)
    return list(opened.values())


def _strength(model: Model, heard: Heard) -> float:
    return strength(heard.scores, windows=windows_to_alarm(model))


def windows_to_alarm(model: Model) -> int:
    """Windows in a row above the threshold that open an alert."""
    step = model.manifest.model.stride * model.manifest.model.period_ms
    return 1 + -(-model.rule.min_duration_ms // step)


def hear(model: Model, stretches: Sequence[Stretch], names: tuple[str, ...]) -> list[Heard]:
    """Play every stretch to the model, each from a fresh start."""
    out: list[Heard] = []
    for first in range(0, len(stretches), STRETCHES):
        out += _together(model, stretches[first : first + STRETCHES], names)
    return out


def _together(model: Model, stretches: Sequence[Stretch], names: tuple[str, ...]) -> list[Heard]:
    engine = Engine(site="", gateway="", route=lambda _: model, contributions=0)
    called = {f"s{index}": index for index in range(len(stretches))}
    scores: list[list[tuple[int, float]]] = [[] for _ in stretches]
    events: list[list[AlertEvent]] = [[] for _ in stretches]
    stream = itertools.chain.from_iterable(
        samples(name, stretches[index].times_ms, stretches[index].values, names)
        for name, index in called.items()
    )
    for outputs in play(engine, stream):
        for score in outputs.scores:
            scores[called[score.asset]].append((score.time_ms, score.unfollowed))
        for event in outputs.events:
            events[called[event.asset]].append(event)
    return [
        Heard(
            np.array([time_ms for time_ms, _ in told], dtype=np.int64),
            np.array([score for _, score in told], dtype=np.float64),
            tuple(said),
        )
        for told, said in zip(scores, events, strict=True)
    ]


def spread(blocks: Sequence[Block], most: int) -> list[Block]:
    """At most so many, evenly spread."""
    if len(blocks) <= most:
        return list(blocks)
    return [blocks[i] for i in np.linspace(0, len(blocks) - 1, most).astype(int)]
