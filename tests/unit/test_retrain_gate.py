"""The gate: what is better passes, what only looks better on one figure does not."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from offbeat_train.retrain.evidence import (
    Cases,
    Evidence,
    Ground,
    Incident,
    Response,
    Side,
    strength,
)
from offbeat_train.retrain.gate import Verdict, judge

if TYPE_CHECKING:
    from collections.abc import Callable

BLOCKS = 60
BLOCK_MS = 7_200_000
KINDS, SIZES, SENSORS = ("drift", "noise", "offset"), (1.0, 2.0, 4.0), ("flow", "heat", "speed")


def cases() -> Cases:
    rows = [
        (k, z, s, b) for b in range(0, BLOCKS, 3) for k in KINDS for z in SIZES for s in SENSORS
    ]
    kind, size, sensor, block = zip(*rows, strict=True)
    return Cases(kind=np.array(kind), size=np.array(size), sensor=np.array(sensor),
                 block=np.array(block, dtype=np.intp))  # fmt: skip


CASES = cases()


def side(*, gain: float = 0.35, noise: float = 0.08, level: float = 0.5, seed: int = 0) -> Side:
    """A model: ``level`` on normal rows, ``gain`` more for each standard deviation."""
    rng = np.random.default_rng(seed)
    normal = level + noise * rng.gumbel(size=BLOCKS)
    faulty = normal[CASES.block] + gain * CASES.size * rng.uniform(0.7, 1.3, size=len(CASES.size))
    return Side(normal=normal, sick=np.zeros(BLOCKS, dtype=bool), faulty=faulty)


def ground(name: str, champion: Side | None, challenger: Side) -> Ground:
    return Ground(name=name, block_ms=BLOCK_MS, cases=CASES,  # type: ignore[arg-type]
                  champion=champion, challenger=challenger)  # fmt: skip


def decided(
    recent: tuple[Side | None, Side], older: tuple[Side | None, Side], *incidents: Incident
) -> Verdict:
    return judge(
        Evidence(
            grounds=(ground("recent", *recent), ground("older", *older)), incidents=incidents,
            budget_per_week=1.0,
            promised_per_week=1.0, window_ms=640_000, seed=1,
        )
    )  # fmt: skip


def incident(champion: float, challenger: float, *, delays: tuple[int, int] = (60, 60)) -> Incident:
    def response(strong: float, delay_s: int) -> Response:
        return Response(strength=strong, delay_ms=1000 * delay_s if strong > 1.0 else None)

    return Incident(
        asset="pump1", start_ms=0, end_ms=10**7, ground="older",
        champion=response(champion, delays[0]), challenger=response(challenger, delays[1]),
    )  # fmt: skip


SAME = side()
BETTER = side(gain=0.5)
DRIFTED = side(level=1.6, noise=0.3)  # a champion in a regime it does not know


def blunted(where: Callable[[Cases], np.ndarray], by: float = 0.3, *, of: Side = BETTER) -> Side:
    """A better model that is nearly blind to some of the faults."""
    weak = of.normal[CASES.block] + by * (of.faulty - of.normal[CASES.block])
    return replace(of, faulty=np.where(where(CASES), weak, of.faulty))


def judged(verdict: Verdict, word: str) -> list[str]:
    return [figure.said for figure in verdict.figures if figure.judged == word]


def test_a_challenger_that_catches_more_at_equal_false_alarms_is_promoted() -> None:
    verdict = decided((SAME, BETTER), (SAME, BETTER))
    assert verdict.decision == "promote"
    assert "injected faults caught" in verdict.why


def test_a_challenger_at_home_in_a_new_regime_is_promoted() -> None:
    verdict = decided((DRIFTED, SAME), (SAME, SAME))
    assert verdict.decision == "promote"
    assert "alarms on normal rows, recent rows: 0 a week (champion" in verdict.why


def test_who_always_alarms_has_caught_nothing() -> None:
    verdict = decided((DRIFTED, SAME), (SAME, SAME))
    shipped = next(f for f in verdict.figures if f.what.endswith("as shipped"))
    assert shipped.champion is not None
    assert shipped.champion < 0.1 < shipped.challenger


def test_an_equal_challenger_is_not_worth_a_roll_out() -> None:
    assert decided((SAME, SAME), (SAME, SAME)).decision == "keep"


def test_a_deaf_challenger_is_kept_out_although_its_false_alarms_vanish() -> None:
    noisy = side(level=0.85)
    deaf = Side(normal=SAME.normal / 3, sick=SAME.sick, faulty=SAME.faulty / 3)
    verdict = decided((noisy, deaf), (noisy, deaf))
    assert verdict.decision == "keep"
    assert any("alarms on normal rows" in said for said in judged(verdict, "better"))
    assert any("as shipped" in said for said in judged(verdict, "worse"))


def test_a_trigger_happy_challenger_is_kept_out_although_it_catches_more_as_shipped() -> None:
    happy = Side(normal=SAME.normal * 1.7, sick=SAME.sick, faulty=SAME.faulty * 1.7)
    verdict = decided((SAME, happy), (SAME, happy))
    assert verdict.decision == "keep"
    assert any("alarms on normal rows" in said for said in judged(verdict, "worse"))


@pytest.mark.parametrize(
    "blind",
    [lambda c: c.sensor == "heat", lambda c: c.kind == "drift"],
    ids=["to one sensor", "to one kind"],
)
def test_a_challenger_gone_blind_is_kept_out_although_it_catches_more_in_all(
    blind: Callable[[Cases], np.ndarray],
) -> None:
    weak, sharp = side(gain=0.2), side(gain=0.6)
    worse = blunted(blind, by=0.15, of=sharp)
    verdict = decided((weak, worse), (weak, worse))
    assert any("equal false alarms" in said for said in judged(verdict, "better"))
    assert verdict.decision == "keep"


def test_a_forgetful_challenger_is_kept_out_although_it_is_better_on_recent_rows() -> None:
    verdict = decided((DRIFTED, BETTER), (SAME, DRIFTED))
    assert verdict.decision == "keep"
    assert all("older rows" in said for said in judged(verdict, "worse"))
    assert any("recent rows" in said for said in judged(verdict, "better"))


def test_a_challenger_less_sensitive_in_an_older_regime_is_kept_out() -> None:
    verdict = decided((DRIFTED, BETTER), (SAME, side(gain=0.22)))
    assert verdict.decision == "keep"


def test_a_challenger_that_loses_an_incident_is_kept_out_although_it_catches_more_faults() -> None:
    verdict = decided((SAME, BETTER), (SAME, BETTER), incident(2.0, 0.9), incident(2.0, 2.5))
    assert verdict.decision == "keep"
    assert "incidents caught" in verdict.why


def test_a_gained_incident_is_a_reason_to_promote() -> None:
    verdict = decided((SAME, SAME), (SAME, SAME), incident(0.9, 2.0), incident(2.0, 2.0))
    assert verdict.decision == "promote"


def test_an_incident_found_by_a_champion_that_always_alarms_cannot_be_lost() -> None:
    verdict = decided((DRIFTED, SAME), (DRIFTED, SAME), incident(1.2, 0.9))
    assert verdict.decision == "promote"


def test_a_late_challenger_is_kept_out() -> None:
    late = [incident(2.0, 2.0, delays=(600, 600 + late)) for late in (2000, 2500, 3000)]
    assert decided((SAME, BETTER), (SAME, BETTER), *late).decision == "keep"


def test_sensors_called_faulty_in_normal_rows_are_alarms() -> None:
    fussy = replace(BETTER, sick=np.arange(BLOCKS) % 10 == 0)
    verdict = decided((SAME, fussy), (SAME, fussy))
    assert verdict.decision == "keep"


def few(whole: Ground, blocks: int) -> Ground:
    kept = whole.cases.block < blocks
    part = {name: getattr(whole.cases, name)[kept] for name in ("kind", "size", "sensor", "block")}

    def cut(one: Side) -> Side:
        return Side(normal=one.normal[:blocks], sick=one.sick[:blocks], faulty=one.faulty[kept])

    assert whole.champion is not None
    return replace(whole, cases=Cases(**part), champion=cut(whole.champion),
                   challenger=cut(whole.challenger))  # fmt: skip


def test_too_few_rows_decide_nothing() -> None:
    grounds = (few(ground("recent", SAME, BETTER), 8), ground("older", SAME, BETTER))
    verdict = judge(Evidence(grounds=grounds, incidents=(), budget_per_week=1.0,
                             promised_per_week=1.0, window_ms=1000, seed=0))  # fmt: skip
    assert verdict.decision == "insufficient"
    assert "expected 12 blocks of recent normal rows, got 8" in verdict.why


def test_a_difference_that_may_be_worse_decides_nothing() -> None:
    rng = np.random.default_rng(5)
    wild = replace(SAME, faulty=SAME.faulty * rng.lognormal(0.0, 0.8, size=BLOCKS)[CASES.block])
    grounds = tuple(few(ground(name, SAME, wild), 14) for name in ("recent", "older"))
    verdict = judge(Evidence(grounds=grounds, incidents=(), budget_per_week=1.0,
                             promised_per_week=1.0, window_ms=1000, seed=0))  # fmt: skip
    assert verdict.decision != "promote"


@pytest.mark.parametrize(
    ("model", "decision"),
    [(side(gain=0.5), "promote"), (side(gain=0.05), "keep"), (DRIFTED, "keep")],
)
def test_a_first_model_is_held_to_fixed_limits(model: Side, decision: str) -> None:
    assert decided((None, model), (None, model)).decision == decision


def test_the_same_evidence_gives_the_same_verdict_and_every_figure_has_its_interval() -> None:
    one, two = (decided((SAME, BETTER), (SAME, BETTER), incident(2.0, 2.0)) for _ in "ab")
    assert one == two
    for figure in one.figures:
        if figure.unit == "%":
            assert figure.low is not None
            assert figure.high is not None
            assert figure.champion is not None
            assert figure.low <= figure.challenger - figure.champion <= figure.high


@pytest.mark.parametrize(("windows", "expected"), [(1, 3.0), (2, 1.8), (3, 0.5), (9, 0.0)])
def test_strength_is_the_highest_threshold_that_still_alarms(windows: int, expected: float) -> None:
    assert strength(np.array([0.5, 3.0, 0.5, 2.0, 1.8]), windows=windows) == expected
