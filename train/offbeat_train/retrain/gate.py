"""May the challenger replace the champion?  The rule, and nothing else.

Rules: pure, and written down for people in ``docs/retraining.md``.  The
challenger must be *no worse* in every figure that says ``must`` and *better*
in at least one.  A figure is

``worse``     beyond its margin (and, for a kind of fault or a sensor, not by
              chance: the 90 % interval of the difference lies beyond 0)
``unclear``   within its margin, but the interval reaches much further
``fine``      no worse, and that is certain enough
``better``    the interval of the difference lies on the good side

One ``worse`` keeps the champion; without one, an ``unclear`` or too little
evidence decides nothing; and a challenger that is nowhere better is not
worth a roll-out.

>>> judge(evidence).decision  # doctest: +SKIP
'promote'
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec
import numpy as np

from offbeat_train.calibration import WEEK_MS
from offbeat_train.compare import BLIND, LARGE
from offbeat_train.retrain.due import at_least
from offbeat_train.retrain.evidence import Incident
from offbeat_train.retrain.resample import SHIPPED, Draws, interval

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from offbeat_train.retrain.evidence import Bools, Evidence, Floats, Ground, GroundName, Side

SCHEMA = "1.0"
LEAST_BLOCKS = 12  # of normal rows on each ground
LEAST_CASES = 60  # injected faults on each ground
# Of all injected faults so many fewer may be caught.  On older rows more: who
# knows a second regime is a little less sure of the first.
CAUGHT_MARGIN: dict[GroundName, float] = {"recent": 0.05, "older": 0.10}
CAUGHT_REACH = 0.15  # and no further may the interval of the difference reach
KIND_MARGIN = 0.10  # of the faults of one kind
SENSOR_MARGIN = 0.15  # of the faults in one sensor
CHANCE = 0.05  # more alarms than promised are told from bad luck at this level
DELAY_SHARE = 0.25  # of the champion's delay, and ...
DELAY_WINDOWS = 1.0  # ... this many windows: so much later is no later

IN_SENSOR = "faults in "  # figures of one sensor begin so

Decision = Literal["promote", "keep", "insufficient"]
Judged = Literal["worse", "unclear", "fine", "better", "told"]


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was compared; ``low`` and ``high`` bound the difference (90 %)."""

    what: str
    ground: str
    unit: str
    champion: float | None
    challenger: float
    low: float | None = None
    high: float | None = None
    limit: str = ""
    judged: Judged = "told"

    @property
    def said(self) -> str:
        """The figure as part of a sentence."""
        before = "" if self.champion is None else f" (champion {_tell(self.champion, self.unit)})"
        ground = f", {self.ground} rows" if self.ground else ""
        return f"{self.what}{ground}: {_tell(self.challenger, self.unit)}{before}"


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """The decision, the sentence why, and all it rests on."""

    schema: str = SCHEMA
    decision: Decision
    why: str
    figures: tuple[Figure, ...]
    incidents: tuple[Incident, ...] = ()
    lacking: tuple[str, ...] = ()
    hours: dict[str, float] = {}  # of normal rows by ground
    faults: dict[str, int] = {}  # injected, by ground
    budget_per_week: float = 1.0
    seed: int = 0


def judge(evidence: Evidence) -> Verdict:
    """Compare both models; without a champion, hold the first to fixed limits."""
    usable = [g for g in evidence.grounds if len(g.challenger.normal)]
    first = any(ground.champion is None for ground in usable)
    # A first model has nothing older to forget.
    lacking = tuple(_lacking(g for g in evidence.grounds if not first or g.name == "recent"))
    figures: list[Figure] = []
    levels: dict[str, tuple[float, float]] = {}
    for ground in usable:
        draws = Draws(ground, budget_per_week=evidence.budget_per_week, seed=evidence.seed)
        if first:
            figures += _alone(draws, evidence)
        else:
            figures += _beside(draws, evidence)
            levels[ground.name] = _levels(draws)
    if not first and evidence.incidents:
        figures += _incidents(evidence, levels)
    decision, why = _decide(figures, lacking, first=first)
    return Verdict(
        decision=decision, why=why, figures=tuple(figures), incidents=evidence.incidents,
        lacking=lacking, hours={g.name: g.hours for g in evidence.grounds},
        faults={g.name: len(g.cases.kind) for g in evidence.grounds},
        budget_per_week=evidence.budget_per_week, seed=evidence.seed,
    )  # fmt: skip


def _lacking(grounds: Iterable[Ground]) -> Iterator[str]:
    for ground in grounds:
        blocks, cases = len(ground.challenger.normal), len(ground.cases.kind)
        if blocks < LEAST_BLOCKS:
            yield f"expected {LEAST_BLOCKS} blocks of {ground.name} normal rows, got {blocks}"
        elif cases < LEAST_CASES:
            yield f"expected {LEAST_CASES} injected faults in {ground.name} rows, got {cases}"


def _decide(
    figures: list[Figure], lacking: tuple[str, ...], *, first: bool
) -> tuple[Decision, str]:
    by = {word: [f for f in figures if f.judged == word] for word in ("worse", "unclear", "better")}
    if by["worse"]:
        told = "; ".join(f.said for f in by["worse"])
        return "keep", f"the challenger is worse: {told}{_where(figures)}"
    if lacking:
        return "insufficient", "too little to judge by: " + "; ".join(lacking)
    if by["unclear"]:
        told = "; ".join(f.said for f in by["unclear"])
        return "insufficient", f"no worse as far as can be seen, but that is not certain: {told}"
    if first:
        return "promote", "the first model meets every limit"
    if by["better"]:
        told = "; ".join(f.said for f in by["better"])
        return "promote", f"the challenger is nowhere worse, and better: {told}"
    return "keep", "the challenger is nowhere worse, but nowhere better either"


def _where(figures: list[Figure]) -> str:
    """Name the sensor whose faults are lost most, for people who look for the cause."""
    lost = [
        (figure.challenger - figure.champion, figure)
        for figure in figures
        if figure.what.startswith(IN_SENSOR) and figure.champion is not None
    ]
    change, most = min(lost, key=lambda pair: pair[0], default=(0.0, None))
    return f"; lost above all: {most.said}" if most is not None and change < 0.0 else ""


# ------------------------------------------------------------- with a champion


def _beside(draws: Draws, evidence: Evidence) -> Iterator[Figure]:
    yield _alarms(draws, evidence)
    yield _caught(draws, "injected faults caught, equal false alarms", equal=True)
    yield _caught(draws, "injected faults caught, as shipped", equal=False)
    cases = draws.ground.cases
    for kind in sorted(set(cases.kind.tolist())):
        yield _part(draws, f"faults of kind {kind} caught", cases.kind == kind, KIND_MARGIN)
    for sensor in sorted(set(cases.sensor.tolist())):
        yield _part(draws, f"{IN_SENSOR}{sensor} caught", cases.sensor == sensor, SENSOR_MARGIN)
    yield from _by_size(draws)


def _alarms(draws: Draws, evidence: Evidence) -> Figure:
    """No more alarms than the champion, or than was promised, but for luck; fewer is better."""
    ground = draws.ground
    weeks = len(ground.challenger.normal) * ground.block_ms / WEEK_MS
    mine = draws.alarms(ground.challenger)
    theirs = draws.alarms(_champion(ground))
    allowed = max(int(theirs[0]), at_most(evidence.promised_per_week * weeks))
    low, high = interval((mine - theirs) / weeks)
    judged: Judged = "worse" if mine[0] > allowed else "better" if high < 0.0 else "fine"
    return Figure(
        what="alarms on normal rows", ground=ground.name, unit="a week",
        champion=float(theirs[0]) / weeks, challenger=float(mine[0]) / weeks, low=low, high=high,
        limit=f"at most {allowed} in {ground.hours:.3g} h", judged=judged,
    )  # fmt: skip


def _caught(draws: Draws, what: str, *, equal: bool) -> Figure:
    """Of all injected faults: surely no fewer than the champion, but for the margin."""
    figure, difference = _compared(draws, what, equal=equal, which=None)
    low, high = interval(difference)
    margin = CAUGHT_MARGIN[draws.ground.name]
    judged: Judged = "fine"
    if difference[0] < -margin:
        judged = "worse"
    elif low < -CAUGHT_REACH:
        judged = "unclear"
    elif low > 0.0:
        judged = "better"
    limit = f"at most {margin:.0%} fewer, interval {CAUGHT_REACH:.0%}"
    return msgspec.structs.replace(figure, low=low, high=high, limit=limit, judged=judged)


def _part(draws: Draws, what: str, which: Bools, margin: float) -> Figure:
    """Of one kind or sensor: not worse by more than the margin, unless by chance."""
    figure, difference = _compared(draws, what, equal=True, which=which)
    low, high = interval(difference)
    judged: Judged = "worse" if difference[0] < -margin and high < 0.0 else "fine"
    limit = f"at most {margin:.0%} fewer"
    return msgspec.structs.replace(figure, low=low, high=high, limit=limit, judged=judged)


def _by_size(draws: Draws) -> Iterator[Figure]:
    sizes = draws.ground.cases.size
    for size in sorted(set(sizes.tolist())):
        figure, difference = _compared(
            draws, f"faults of size {size:g} caught", equal=True, which=sizes == size
        )
        low, high = interval(difference)
        yield msgspec.structs.replace(figure, low=low, high=high)


def _compared(
    draws: Draws, what: str, *, equal: bool, which: Bools | None
) -> tuple[Figure, Floats]:
    champion, challenger = _champion(draws.ground), draws.ground.challenger
    theirs = draws.caught(
        champion, at=draws.level(champion) if equal else SHIPPED, which=which)  # fmt: skip
    mine = draws.caught(
        challenger, at=draws.level(challenger) if equal else SHIPPED, which=which)  # fmt: skip
    figure = Figure(what=what, ground=draws.ground.name, unit="%", champion=float(theirs[0]),
                    challenger=float(mine[0]))  # fmt: skip
    return figure, mine - theirs


def _champion(ground: Ground) -> Side:
    if ground.champion is None:
        raise ValueError(f"gate: expected what the champion did on {ground.name} rows, got none")
    return ground.champion


def _levels(draws: Draws) -> tuple[float, float]:
    ground = draws.ground
    return (float(draws.level(_champion(ground))[0]), float(draws.level(ground.challenger)[0]))


def _incidents(evidence: Evidence, levels: dict[str, tuple[float, float]]) -> Iterator[Figure]:
    """Count incidents caught: the champion's at equal false alarms, the challenger's as shipped.

    A champion that alarms on everything around an incident has not found it;
    a challenger has to raise the alert itself.
    """
    theirs, mine = [], []
    for incident in evidence.incidents:
        level = max(1.0, levels.get(incident.ground, (1.0, 1.0))[0])
        theirs.append(incident.champion is not None and incident.champion.strength > level)
        mine.append(incident.challenger.strength > 1.0)
    lost, gained = _apart(theirs, mine), _apart(mine, theirs)
    judged: Judged = "worse" if lost > gained else "better" if gained > lost else "fine"
    yield Figure(
        what="incidents caught", ground="", unit=f"of {len(mine)}", champion=float(sum(theirs)),
        challenger=float(sum(mine)), limit=f"lost {lost}, gained {gained}", judged=judged,
    )  # fmt: skip
    yield from _delays(evidence)


def _apart(one: list[bool], other: list[bool]) -> int:
    return sum(a and not b for a, b in zip(one, other, strict=True))


def _delays(evidence: Evidence) -> Iterator[Figure]:
    """Middle delay over the incidents that both alarmed on."""
    pairs = [
        (i.champion.delay_ms, i.challenger.delay_ms)
        for i in evidence.incidents
        if i.champion and i.champion.delay_ms is not None and i.challenger.delay_ms is not None
    ]
    if not pairs:
        return
    theirs, mine = (float(np.median(side)) for side in zip(*pairs, strict=True))
    margin = max(DELAY_SHARE * theirs, DELAY_WINDOWS * evidence.window_ms)
    yield Figure(
        what="delay to the alert, middle incident", ground="", unit="s", champion=theirs / 1000,
        challenger=mine / 1000, limit=f"at most {margin / 1000:.0f} s later",
        judged="worse" if mine > theirs + margin else "fine",
    )  # fmt: skip


# ---------------------------------------------------------- without a champion


def _alone(draws: Draws, evidence: Evidence) -> Iterator[Figure]:
    ground = draws.ground
    weeks = len(ground.challenger.normal) * ground.block_ms / WEEK_MS
    alarms = float(draws.alarms(ground.challenger)[0])
    allowed = at_most(evidence.promised_per_week * weeks)
    yield Figure(
        what="alarms on normal rows", ground=ground.name, unit="a week", champion=None,
        challenger=alarms / weeks, limit=f"at most {allowed} in {ground.hours:.3g} h",
        judged="worse" if alarms > allowed else "fine",
    )  # fmt: skip
    large = ground.cases.size >= LARGE
    share = float(draws.caught(ground.challenger, at=SHIPPED, which=large)[0])
    yield Figure(
        what=f"faults of size {LARGE:g} and more caught, as shipped", ground=ground.name, unit="%",
        champion=None, challenger=share, limit=f"at least {BLIND:.0%}",
        judged="worse" if share < BLIND else "fine",
    )  # fmt: skip


def at_most(expected: float) -> int:
    """Give the most alarms that luck explains where ``expected`` are promised.

    >>> at_most(0.1), at_most(1.0), at_most(10.0)
    (1, 3, 15)
    """
    count = 0
    while at_least(count + 1, expected) >= CHANCE:
        count += 1
    return count


def _tell(value: float, unit: str) -> str:
    """Tell a figure.

    >>> _tell(0.5, "%"), _tell(3.0, "of 4"), _tell(12.34, "s")
    ('50%', '3 of 4', '12.3 s')
    """
    return f"{value:.0%}" if unit == "%" else f"{value:.3g} {unit}"
