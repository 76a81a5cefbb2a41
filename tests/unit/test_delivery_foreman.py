"""The foreman on a gateway: challengers compared, bundles sent back, reports."""

from __future__ import annotations

import io
import random
from typing import TYPE_CHECKING, cast

import msgspec
import pytest

from offbeat_edge.delivery.assignment import Mode, Probation
from offbeat_edge.delivery.foreman import ACTIVATE_S, REPORT_S, SAVE_S, Foreman, Place, Tools
from offbeat_edge.delivery.report import RolloutReport
from offbeat_edge.delivery.shadow import MAX_WAITING, Shadow
from offbeat_edge.delivery.task import Order
from offbeat_edge.engine import Engine
from offbeat_edge.errors import BundleError
from offbeat_edge.log import Log
from offbeat_edge.model import Model
from offbeat_edge.schema import Sample

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt

    from offbeat_edge.delivery.courier import Courier
    from offbeat_edge.manifest import Manifest
    from offbeat_edge.outputs import Outputs

A, B, C = "a" * 64, "b" * 64, "c" * 64


class Scaled:
    """Reconstructs nothing, and everything ``factor`` times too far away."""

    def __init__(self, factor: float) -> None:
        self.factor = factor

    def reconstruct(self, windows: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return windows * (1.0 - self.factor)


def model_of(manifest: Manifest, digest: str, factor: float = 1.0, window: int = 4) -> Model:
    spec = msgspec.structs.replace(manifest.model, window=window, stride=1)
    return Model(
        manifest=msgspec.structs.replace(manifest, model=spec),
        digest=digest, config_digest="c" * 64, interpreter=Scaled(factor),
    )  # fmt: skip


def recording(seconds: int = 120, assets: tuple[str, ...] = ("p1", "p2")) -> list[Sample]:
    """Quiet, but for one bump of each asset."""
    chance, samples = random.Random(7), []
    for second in range(seconds):
        for n, asset in enumerate(assets):
            bump = 9.0 if 40 <= second - 10 * n < 50 else 0.0
            values = {"flow": 10.0 + chance.gauss(0, 0.1) + bump, "heat": 20.0 + second * 1e-3}
            samples.append(Sample(asset, second * 1000, values, own_time=True))
    return samples


class FakeModels:
    """The models at work."""

    def __init__(self, manifest: Manifest) -> None:
        self.known = {A: model_of(manifest, A), B: model_of(manifest, B), C: model_of(manifest, C)}
        self.now = self.known[A]
        self.activated: list[str] = []
        self.held: set[str] = set()
        self.slow: Model | None = None  # ordered, not yet at work
        self.patient = False

    def loaded(self) -> list[Model]:
        return [self.now]

    def of(self, asset: str) -> str | None:
        return "tiny" if asset.startswith("p") else None

    def running(self, name: str) -> Model | None:
        return self.now if name == "tiny" else None

    def open(self, name: str, path: str, digest: str) -> Model:
        if name != "tiny" or digest not in self.known:
            raise BundleError(f"{path}: damaged")
        return self.known[digest]

    def activate(self, name: str, path: str, digest: str) -> None:
        self.slow = self.open(name, path, digest)
        self.activated.append(digest)
        if not self.patient:
            self.now = self.slow


class FakeCourier:
    """Brings the orders a test gives it."""

    def __init__(self) -> None:
        self.orders: list[Order] | None = None
        self.fresh = False
        self.error: str | None = None
        self.problems: dict[str, str] = {}

    def bring(self, *orders: Order) -> None:
        self.orders, self.fresh = list(orders), True

    def turn(self) -> None:
        pass

    def close(self) -> None:
        pass


class Bench:
    """A foreman with a clock and an engine."""

    def __init__(self, manifest: Manifest, folder: Path) -> None:
        self.now = 0.0
        self.models = FakeModels(manifest)
        self.courier = FakeCourier()
        self.reports: list[RolloutReport] = []
        self.said = io.StringIO()
        self.folder = folder
        self.connected = True
        self.foreman = self.started()

    def started(self) -> Foreman:
        self.engine = Engine(
            site="s", gateway="gw1", route=lambda a: self.models.now if a[0] == "p" else None
        )
        made = Foreman(
            courier=cast("Courier", self.courier),
            place=Place("gw1", "s", self.folder / "bundles", self.folder / "rollout.json", 100),
            tools=Tools(self.models, self.publish, Log(stream=self.said), lambda: 90.0),
            monotonic=lambda: self.now,
            wall_ms=lambda: 1_800_000_000_000,
        )
        made.turn()
        return made

    def publish(self, model: str, payload: bytes) -> bool:
        assert model == "tiny"
        if self.connected:
            self.reports.append(msgspec.json.decode(payload, type=RolloutReport))
        return self.connected

    def feed(self, samples: list[Sample]) -> Outputs:
        out = self.engine.feed(samples)
        self.foreman.hear(samples, out)
        return out

    def turn(self, seconds: float = 2.0) -> RolloutReport | None:
        self.now += seconds
        self.foreman.turn()
        return self.reports[-1] if self.reports else None


@pytest.fixture
def bench(manifest: Manifest, tmp_path: Path) -> Bench:
    return Bench(manifest, tmp_path)


def order(bundle: str, mode: Mode = "active", *, terms: Probation | None = None) -> Order:
    return Order(
        model="tiny", mode=mode, bundle=bundle, version=1, path=f"/{bundle[0]}",
        probation=terms or Probation(),
    )  # fmt: skip


def shadow_of(manifest: Manifest, challenger: Model) -> tuple[Shadow, Engine]:
    champion = model_of(manifest, A)
    shadow = Shadow(
        challenger=challenger, champion=champion, watches=lambda asset: asset == "p1",
        site="s", gateway="gw1", max_assets=10,
    )  # fmt: skip
    return shadow, Engine(site="s", gateway="gw1", route=lambda _: champion)


def test_a_challenger_that_is_the_champion_agrees_on_everything(manifest: Manifest) -> None:
    shadow, engine = shadow_of(manifest, model_of(manifest, B))
    samples = recording()
    for start in range(0, len(samples), 7):
        batch = samples[start : start + 7]
        shadow.take(batch, engine.feed(batch))
    compared = shadow.compared
    assert compared.champion == compared.challenger
    assert compared.champion.windows == compared.both > 100
    assert compared.agreement == 1.0
    assert compared.champion.alerts == 1


def test_a_deaf_challenger_disagrees_where_the_champion_alerts(manifest: Manifest) -> None:
    shadow, engine = shadow_of(manifest, model_of(manifest, B, factor=0.01))
    samples = recording()
    shadow.take(samples, engine.feed(samples))
    assert shadow.compared.challenger.over == 0
    assert shadow.compared.champion.over == shadow.compared.loud > 5
    assert shadow.compared.calm_agreement == 1.0
    assert shadow.compared.loud_agreement == 0.0


def test_a_challenger_with_another_window_is_compared_where_both_judge(manifest: Manifest) -> None:
    shadow, engine = shadow_of(manifest, model_of(manifest, B, window=9))
    samples = recording()
    shadow.take(samples, engine.feed(samples))
    compared = shadow.compared
    assert compared.challenger.windows == compared.champion.windows - 5 == compared.both


def test_a_challenger_changes_no_alert_of_the_champion(manifest: Manifest) -> None:
    samples, alone = recording(), Engine(site="s", gateway="gw1", route=lambda _: champion)
    champion = model_of(manifest, A)
    shadow, engine = shadow_of(manifest, model_of(manifest, B, factor=50.0))
    heard = engine.feed(samples)
    shadow.take(samples, heard)
    assert heard.events == alone.feed(samples).events


def test_what_only_one_judges_is_forgotten_in_the_end(manifest: Manifest) -> None:
    shadow, engine = shadow_of(manifest, model_of(manifest, B, window=200_000))
    samples = recording(MAX_WAITING + 100, assets=("p1",))
    shadow.take(samples, engine.feed(samples))
    assert len(shadow._waiting) == MAX_WAITING  # noqa: SLF001 - its bound is the point
    assert shadow.compared.agreement is None


def test_nothing_is_reported_before_anybody_delivers(bench: Bench) -> None:
    bench.feed(recording())
    bench.turn()
    assert not bench.reports


def test_a_canary_runs_and_says_so(bench: Bench) -> None:
    bench.courier.bring(order(B, "canary"))
    report = bench.turn()
    assert bench.models.activated == [B]
    assert report is not None
    assert (report.running.bundle, report.mode, report.state) == (B, "canary", "probation")


def test_a_document_that_changes_nothing_here_is_followed_at_once(bench: Bench) -> None:
    bench.courier.bring(order(A))
    bench.turn()
    bench.courier.bring(msgspec.structs.replace(order(A), version=2))
    report = bench.turn()
    assert report is not None
    assert report.document == 2
    assert bench.started().conducts["tiny"].version == 2


def test_a_shadow_is_compared_and_says_so(bench: Bench) -> None:
    bench.courier.bring(order(A), order(B, "shadow"))
    bench.turn()
    bench.feed(recording())
    report = bench.turn(REPORT_S)
    assert report is not None
    assert report.champion is not None
    assert report.challenger is not None
    assert report.compared == report.challenger.windows > 200
    assert report.agreement == 1.0
    assert report.challenger.latency_ms is not None
    assert report.champion.alerts == report.challenger.alerts == 2
    assert bench.models.activated == []


def test_a_bundle_that_does_not_run_is_sent_back_at_once(bench: Bench) -> None:
    bench.courier.bring(order(B))
    bench.turn()
    bench.models.known[B].degraded = "model failed: NaN"
    report = bench.turn()
    assert bench.models.activated == [B, A]
    assert report is not None
    assert (report.running.bundle, report.state) == (A, "rolled_back")
    assert report.rejected == [B]
    bench.courier.bring(order(B))
    bench.turn()
    assert bench.models.activated == [B, A]
    assert "rolled_back" in bench.foreman.problems[0]


def test_the_way_back_stays_on_the_shelf(bench: Bench) -> None:
    """Also when two newer ones came within their probations."""
    for version, bundle in enumerate((B, C)):
        bench.courier.bring(msgspec.structs.replace(order(bundle), version=version + 2))
        bench.turn()
    bench.turn()
    assert bench.models.held == {A}


def test_a_bundle_that_alerts_too_often_is_sent_back(bench: Bench, manifest: Manifest) -> None:
    bench.models.known[B] = model_of(manifest, B, factor=40.0)
    strict = Probation(alerts_per_day=1.0, alert_ratio=1.0)
    bench.courier.bring(order(B, terms=strict))
    bench.turn()
    samples = recording(400, assets=tuple(f"p{n}" for n in range(6)))
    bench.engine = Engine(site="s", gateway="gw1", route=lambda _: bench.models.known[B])
    bench.feed(samples)
    report = bench.turn()
    assert bench.models.activated == [B, A]
    assert report is not None
    assert "times the budget" in report.reason


def test_a_bundle_that_cannot_be_opened_is_refused_and_what_runs_goes_on(bench: Bench) -> None:
    bench.courier.bring(order("d" * 64))
    report = bench.turn()
    assert bench.models.activated == []
    assert report is not None
    assert (report.running.bundle, report.state) == (A, "rolled_back")
    assert "damaged" in report.reason


def test_a_challenger_that_cannot_be_opened_is_refused(bench: Bench) -> None:
    bench.courier.bring(order(A), order("d" * 64, "shadow"))
    report = bench.turn()
    assert report is not None
    assert (report.state, report.challenger) == ("refused", None)


def test_what_was_decided_outlives_the_process(bench: Bench) -> None:
    bench.courier.bring(order(B))
    bench.turn()
    bench.models.known[B].degraded = "crash"
    bench.turn()
    again = bench.started()
    assert again.conducts["tiny"].rejected.keys() == {B}
    bench.foreman = again
    bench.courier.bring(order(B))
    bench.turn()
    assert bench.models.activated == [B, A]


def test_a_probation_goes_on_after_a_restart(bench: Bench) -> None:
    bench.courier.bring(order(B))
    bench.turn()
    bench.feed(recording(20))
    bench.turn(SAVE_S)
    windows = bench.foreman.conducts["tiny"].count.windows
    again = bench.started()
    assert again.conducts["tiny"].count.windows == windows > 0
    assert again.conducts["tiny"].state == "probation"


def test_a_bundle_changed_behind_its_back_starts_anew(bench: Bench) -> None:
    bench.courier.bring(order(B))
    bench.turn()
    bench.foreman.conducts["tiny"].state = "settled"
    bench.turn(SAVE_S)
    bench.models.now = bench.models.known[C]  # a new configuration
    again = bench.started()
    assert again.conducts["tiny"].runs == C
    assert again.conducts["tiny"].state == "configured"


def test_what_ran_before_is_not_counted_as_what_was_ordered(bench: Bench) -> None:
    """The examination of a bundle takes its time."""
    bench.models.patient = True
    bench.courier.bring(order(B))
    bench.turn()
    bench.feed(recording(60))
    assert bench.foreman.conducts["tiny"].count.windows == 0
    bench.models.now = bench.models.known[B]
    bench.feed(recording(60))
    assert bench.foreman.conducts["tiny"].runs == B


def test_what_is_never_put_to_work_is_sent_back(bench: Bench) -> None:
    bench.models.patient = True
    bench.courier.bring(order(B))
    bench.turn()
    report = bench.turn(ACTIVATE_S + 2)
    assert report is not None
    assert (report.state, report.running.bundle) == ("rolled_back", A)
    assert "not at work after 300 s" in report.reason


def test_a_report_waits_for_the_broker(bench: Bench) -> None:
    bench.connected = False
    bench.courier.bring(order(B))
    assert bench.turn() is None
    bench.connected = True
    report = bench.turn()
    assert report is not None
    assert report.running.bundle == B


def test_trouble_with_delivery_is_a_reason_to_worry(bench: Bench) -> None:
    assert bench.foreman.problems == []
    bench.courier.error = "timestamp.json is expired"
    bench.courier.problems = {"tiny": "golden scores differ"}
    assert bench.foreman.problems == [
        "delivery: timestamp.json is expired",
        "delivery of tiny: golden scores differ",
    ]
