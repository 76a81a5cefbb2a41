"""What a gateway does with orders, and how it takes itself back."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from offbeat_edge.delivery import probation
from offbeat_edge.delivery.assignment import Mode, Probation, Rollout, Stage, decode
from offbeat_edge.delivery.conduct import Conduct
from offbeat_edge.delivery.figures import Count
from offbeat_edge.delivery.task import Order
from offbeat_edge.errors import DeliveryError

A, B, C = "a" * 64, "b" * 64, "c" * 64
HOUR_MS = 3_600_000


def order(bundle: str, mode: Mode = "active", version: int = 1) -> Order:
    return Order(model="tiny", mode=mode, bundle=bundle, version=version, path=bundle[:1])


@pytest.fixture
def conduct() -> Conduct:
    return Conduct(runs=A, last_good=A)


def test_a_bundle_that_runs_already_is_not_activated_again(conduct: Conduct) -> None:
    assert conduct.follow([order(A)]) == (None, None)
    assert conduct.state == "configured"


def test_a_new_bundle_is_activated_on_probation(conduct: Conduct) -> None:
    assert conduct.follow([order(B, "canary")]).activate == order(B, "canary")
    assert (conduct.runs, conduct.state, conduct.last_good) == (B, "probation", A)


def test_after_its_probation_it_is_the_one_to_go_back_to(conduct: Conduct) -> None:
    conduct.follow([order(B)])
    conduct.window(0.5, 0, 1000)
    conduct.window(0.5, 25 * HOUR_MS, 1000)
    assert conduct.judge(latency_ms=1.0, error=None) is None
    assert (conduct.state, conduct.last_good) == ("settled", B)


def test_who_is_replaced_within_its_probation_is_not_gone_back_to(conduct: Conduct) -> None:
    conduct.follow([order(B)])
    conduct.follow([order(C, version=2)])
    assert (conduct.runs, conduct.last_good) == (C, A)


@pytest.mark.parametrize(
    ("latency_ms", "error", "alerts", "why"),
    [
        (1.0, "model failed: NaN", 0, "it does not run: model failed: NaN"),
        (900.0, None, 0, "900 ms a window, expected at most 250"),
        (1.0, None, 50, "50 alerts in"),
    ],
)
def test_what_misbehaves_goes_back_and_is_not_tried_again(
    conduct: Conduct, latency_ms: float, error: str | None, alerts: int, why: str
) -> None:
    conduct.follow([order(B)])
    for n in range(probation.MIN_WINDOWS):
        conduct.window(0.5, n * 1000, 1000)
    conduct.count.alerts = alerts
    told = conduct.judge(latency_ms=latency_ms, error=error)
    assert told is not None
    assert told.startswith(why)
    assert conduct.send_back(told) == A
    assert (conduct.runs, conduct.state) == (A, "rolled_back")
    assert conduct.follow([order(B)]) == (None, None)
    assert conduct.follow([order(B, "shadow", 2)]) == (None, None)
    assert conduct.state == "rolled_back"
    assert why in conduct.reason
    assert conduct.follow([order(C, version=3)]).activate == order(C, version=3)


def test_a_few_alerts_are_always_granted() -> None:
    count = Count(windows=60, asset_ms=60_000, alerts=probation.MIN_ALERTS)
    assert probation.breach(Probation(), count, latency_ms=None, error=None) is None
    count.alerts += 1
    assert probation.breach(Probation(), count, latency_ms=None, error=None)


def test_once_settled_nothing_sends_it_back(conduct: Conduct) -> None:
    conduct.follow([order(B)])
    conduct.state = "settled"
    assert conduct.judge(latency_ms=900.0, error="dead") is None


def test_a_new_challenger_is_compared_from_nothing(conduct: Conduct) -> None:
    assert conduct.follow([order(A), order(B, "shadow")]).shadow == order(B, "shadow")
    conduct.compared.calm = 7
    assert conduct.follow([order(A), order(B, "shadow")]).shadow == order(B, "shadow")
    assert conduct.compared.both == 7
    conduct.follow([order(A), order(C, "shadow")])
    assert conduct.compared.both == 0


def test_what_was_kept_on_disk_goes_on(conduct: Conduct) -> None:
    conduct.follow([order(B, "canary"), order(C, "shadow")])
    conduct.window(1.5, 5, 1000)
    assert msgspec.json.decode(msgspec.json.encode(conduct), type=Conduct) == conduct


GATEWAYS = ("gw1", "gw2", "*")
STAGES = st.builds(
    Stage,
    mode=st.sampled_from(["shadow", "canary", "active"]),
    bundle=st.sampled_from([A, B, C]),
    gateways=st.lists(st.sampled_from(GATEWAYS), min_size=1, max_size=2).map(tuple),
)


@given(st.lists(STAGES, max_size=6))
def test_at_most_one_bundle_runs_and_one_other_is_compared(stages: list[Stage]) -> None:
    plan = Rollout(model="tiny", version=1, time_ms=0, stages=tuple(stages))
    mine = plan.of("gw1")
    runs = [stage.bundle for stage in mine if stage.mode != "shadow"]
    shadows = [stage.bundle for stage in mine if stage.mode == "shadow"]
    assert len(runs) <= 1
    assert len(shadows) <= 1
    assert not set(runs) & set(shadows)
    assert decode(msgspec.json.encode(plan), model="tiny", seen=1) == plan


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"model": "fan"}, "expected model tiny, got fan"),
        ({"schema": "2.0"}, "expected schema 1.0, got 2.0"),
        ({"version": 0}, "expected a rollout document"),
        ({"stages": [{"mode": "now", "bundle": A}]}, "expected a rollout document"),
    ],
)
def test_a_document_that_is_not_what_it_should_be_is_refused(
    change: dict[str, object], why: str
) -> None:
    plain = {"schema": "1.1", "model": "tiny", "version": 3, "time_ms": 0, "stages": [], "new": 1}
    assert decode(msgspec.json.encode(plain), model="tiny", seen=3).version == 3
    with pytest.raises(DeliveryError, match=why):
        decode(msgspec.json.encode(plain | change), model="tiny", seen=1)


@given(st.lists(st.floats(0.01, 100.0), min_size=1, max_size=300))
def test_figures_are_near_the_exact_ones(scores: list[float]) -> None:
    count = Count()
    for score in scores:
        count.score(score, 1000)
    exact = sorted(scores)[max(0, -(-len(scores) * 99 // 100) - 1)]
    assert count.quantile(0.99) == pytest.approx(exact, rel=0.03)
    assert count.mean == pytest.approx(sum(scores) / len(scores))
    assert count.over == sum(score > 1.0 for score in scores)


@pytest.mark.parametrize("score", [0.0, -1.0, float("nan"), float("inf"), 1e-300, 1e300])
def test_odd_scores_have_a_bin(score: float) -> None:
    count = Count()
    if score == float("inf"):
        score = 1e308
    count.score(score, 1)
    assert count.windows == 1
    assert len(count.bins) == 1
