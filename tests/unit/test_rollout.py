"""The rollout job against a simulated fleet: gated, halted, killed anywhere, resumed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest
from delivery_parts import NOW, MemoryWire, Packed, Publisher, bundle, now_ms

from offbeat_edge.delivery.figures import Figures
from offbeat_edge.delivery.report import RolloutReport
from offbeat_edge.errors import ConfigError, DeliveryError
from offbeat_train.delivery import plan
from offbeat_train.rollout import policy as policies
from offbeat_train.rollout.course import Course, gateways, stages, steps
from offbeat_train.rollout.job import Job, load
from offbeat_train.rollout.judge import judge
from offbeat_train.rollout.policy import Gates, Policy, Ring

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from offbeat_edge.manifest import Manifest
    from offbeat_train.delivery.repository import Repository

A, B = "a" * 64, "b" * 64
POLICY = Policy(
    canary=Ring(gateways=("gw1",)),
    rings=(Ring(gateways=("hall*",)),),
    gates=Gates(min_windows=100, min_asset_days=0.5),
)
FLEET = ("gw1", "hall1", "hall2", "far")


def figures(bundle: str, **changes: object) -> Figures:
    plain = Figures(
        bundle=bundle, version="1", windows=500, asset_days=2.0, over=1, alerts=1,
        mean=0.4, p99=0.9, latency_ms=1.5,
    )  # fmt: skip
    return msgspec.structs.replace(plain, **changes)


def report(gateway: str = "gw1", **changes: object) -> RolloutReport:
    plain = RolloutReport(
        gateway=gateway, model="tiny", time="", time_ms=0, document=3, state="settled",
        mode="active", reason="", rejected=[], running=figures(A), champion=figures(A),
        challenger=figures(B), compared=500, agreement=1.0, calm_agreement=1.0,
        loud_agreement=1.0, memory_mb=90.0,
    )  # fmt: skip
    return msgspec.structs.replace(plain, **changes)


def course(step: str = "shadow", policy: Policy = POLICY) -> Course:
    return Course(model="tiny", new=B, old=A, policy=policy, step=step, since_ms=0, version=3)


def gates(**changes: float) -> Policy:
    return msgspec.structs.replace(POLICY, gates=msgspec.structs.replace(POLICY.gates, **changes))


def test_a_shadow_that_agrees_is_passed() -> None:
    assert judge(course(), [report()], now_ms=0).what == "pass"


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"challenger": figures(B, error="NaN")}, "gw1: error: NaN"),
        ({"challenger": figures(B, latency_ms=300.0)}, "gw1: 300 ms a window"),
        ({"challenger": figures(B, alerts=50)}, "gw1: 50 alerts in 2 asset-days"),
        ({"calm_agreement": 0.9}, "gw1: agrees on 90.0% of the normal windows"),
        ({"memory_mb": 900.0}, "gw1: 900 MB of memory"),
        ({"rejected": [B], "reason": "bbbb: golden scores differ"}, "gw1: does not run it"),
    ],
)
def test_a_challenger_that_is_worse_is_a_breach(changes: dict[str, object], why: str) -> None:
    verdict = judge(course(), [report(**changes)], now_ms=0)
    assert verdict.what == "breach"
    assert verdict.told[0].startswith(why)


def test_a_champion_that_alerts_on_everything_excuses_a_challenger_that_does_less() -> None:
    loud = report(
        champion=figures(A, alerts=90), challenger=figures(B, alerts=40), loud_agreement=0.1
    )
    assert judge(course(), [loud], now_ms=0).what == "pass"
    assert judge(course(policy=gates(loud_agreement=0.5)), [loud], now_ms=0).what == "breach"


@pytest.mark.parametrize(
    ("reports", "missing"),
    [
        ([], "0 of 1 gateways"),
        ([report(document=2)], "0 of 1 gateways"),  # of an earlier document
        ([report("far")], "0 of 1 gateways"),  # not a canary
        ([report(challenger=None)], "0 of 1 gateways"),
        ([report(challenger=figures(A))], "0 of 1 gateways"),
        ([report(challenger=figures(B, windows=99))], "99 of 100 windows"),
        ([report(challenger=figures(B, asset_days=0.1))], "0.1 of 0.5 asset-days"),
    ],
)
def test_without_evidence_it_waits(reports: list[RolloutReport], missing: str) -> None:
    verdict = judge(course(), reports, now_ms=0)
    assert verdict.what == "wait"
    assert missing in verdict.told


def test_what_takes_too_long_is_a_breach() -> None:
    late = int(POLICY.gates.patience_s * 1000) + 1
    assert judge(course(), [], now_ms=late).what == "breach"


def test_evidence_of_several_gateways_adds_up() -> None:
    half = figures(B, windows=60, asset_days=0.3)
    ring = course("ring 1")
    reports = [report(name, running=half) for name in ("gw1", "hall1")]
    assert judge(ring, reports[:1], now_ms=0).what == "wait"
    assert judge(ring, reports, now_ms=0).what == "pass"


def test_a_gateway_that_went_back_by_itself_stops_the_ring() -> None:
    back = report("hall2", running=figures(A), rejected=[B], reason="too many alerts")
    good = report("hall1", running=figures(B))
    assert judge(course("ring 1"), [good, back], now_ms=0).what == "breach"


def test_each_step_reaches_more_gateways_than_the_one_before() -> None:
    def runs(step: str, gateway: str) -> bool:
        told = stages(POLICY, step, new=B, old=A)
        mine = [s for s in told if s.names(gateway) and s.mode != "shadow"]
        return mine[0].bundle == B

    reached = [{gw for gw in FLEET if runs(step, gw)} for step in steps(POLICY)]
    assert reached == [set(), {"gw1"}, {"gw1", "hall1", "hall2"}, set(FLEET), set(FLEET)]
    assert not any(runs("halted", gateway) for gateway in FLEET)
    assert gateways(POLICY, "shadow") == gateways(POLICY, "canary") == ("gw1",)


class World:
    """A repository, a broker, and gateways that follow what they are told at once."""

    def __init__(self, publisher: Publisher, new: Packed) -> None:
        self.publisher = publisher
        self.new = new
        self.broker = MemoryWire()
        self.dies_at: Iterator[None] | None = None
        self.bad_on = ""  # a gateway on which the new bundle misbehaves
        self.lines: list[str] = []
        self.steps: list[set[str]] = []  # who ran the new one, as documents came

    def repository(self) -> Repository:
        self._live()
        return self.publisher.repository

    def send(self, repository: Repository) -> None:
        self._live()
        self.publisher.push(self.broker)
        told = plan.current(repository, "tiny")
        assert told is not None
        runs = {gw for gw in FLEET if self.runs(told, gw)}
        if not self.steps or self.steps[-1] != runs:
            self.steps.append(runs)
        self._live()

    def runs(self, told: object, gateway: str) -> bool:
        return told.of(gateway)[0].bundle == self.new.digest  # type: ignore[attr-defined]

    def reports(self, model: str) -> dict[str, bytes]:
        self._live()
        told = plan.current(self.publisher.repository, model)
        assert told is not None
        return {gateway: msgspec.json.encode(self._report(gateway, told)) for gateway in FLEET} | {
            "odd": b"{}"
        }

    def _report(self, gateway: str, told: plan.Rollout) -> RolloutReport:
        mine = told.of(gateway)
        shadow = next((s.bundle for s in mine if s.mode == "shadow"), None)
        bad = gateway == self.bad_on and mine[0].bundle == self.new.digest
        return report(
            gateway,
            document=told.version,
            running=figures(mine[0].bundle),
            rejected=[self.new.digest] if bad else [],
            challenger=figures(shadow) if shadow else None,
        )

    def _live(self) -> None:
        if self.dies_at is not None:
            next(self.dies_at)

    def job(self) -> Job:
        return Job(folder=self.publisher.folder, model="tiny", fleet=self, say=self.lines.append)

    def run(self) -> str:
        """Start or take up, to the end."""
        with self.job().alone():
            job = self.job()
            made = job.start(self.new.digest, self.new.data, POLICY)
            while True:
                job.step(made)
                if made.ended:
                    return made.step


class Killed(Exception):  # noqa: N818 - it is what happens
    """The job died."""


def lives(moments: int) -> Iterator[None]:
    for _ in range(moments):
        yield
    raise Killed


@pytest.fixture
def world(tmp_path: Path, manifest: Manifest) -> World:
    publisher = Publisher(tmp_path / "publisher")
    publisher.activate(bundle(manifest, "1"))
    return World(publisher, bundle(manifest, "2"))


def test_a_good_model_reaches_everybody_step_by_step(world: World) -> None:
    assert world.run() == "done"
    assert world.steps == [set(), {"gw1"}, {"gw1", "hall1", "hall2"}, set(FLEET)]


@pytest.mark.parametrize("gateway", ["gw1", "hall2", "far"])
def test_a_bad_one_is_halted_and_everybody_goes_back(world: World, gateway: str) -> None:
    world.bad_on = gateway
    assert world.run() == "halted"
    assert world.steps[-1] == set()
    told = plan.current(world.publisher.repository, "tiny")
    assert told is not None
    assert [(s.mode, s.gateways) for s in told.stages] == [("active", ("*",))]
    with pytest.raises(DeliveryError, match=r"was halted: .*does not run it"):
        world.run()


@pytest.mark.parametrize("bad_on", ["", "hall1"])
def test_a_job_killed_anywhere_ends_the_same(world: World, bad_on: str) -> None:
    world.bad_on = bad_on
    end = "halted" if bad_on else "done"
    deaths = 0
    for moments in range(1, 100):
        world.dies_at = lives(moments % 7 + 1)
        try:
            assert world.run() == end
            break
        except Killed:
            deaths += 1
        except DeliveryError:  # it was halted before it died
            assert bad_on
            break
    assert deaths > 2
    seen = [s for n, s in enumerate(world.steps) if n == 0 or s != world.steps[n - 1]]
    straight = [set(), {"gw1"}, {"gw1", "hall1", "hall2"}]
    assert seen == [*straight, set() if bad_on else set(FLEET)]


def test_a_rollout_that_is_done_is_not_done_again(world: World) -> None:
    world.run()
    files = world.publisher.repository.files()
    assert world.run() == "done"
    assert world.publisher.repository.files() == files


def test_halting_by_hand_goes_back_even_when_it_was_done(world: World) -> None:
    world.run()
    job = world.job()
    made = load(world.publisher.folder, "tiny")
    job.halt(made, "halted by hand")
    job.halt(made, "halted by hand")
    assert world.steps[-1] == set()
    assert made.history[-1].told == ["halted by hand"]


def test_a_model_without_a_rollout_says_how_to_begin_one(tmp_path: Path) -> None:
    with pytest.raises(
        DeliveryError, match="expected a rollout, got none; 'offbeat rollout start'"
    ):
        load(tmp_path, "tiny")


def test_two_jobs_do_not_run_at_once(world: World) -> None:
    with (
        world.job().alone(),
        pytest.raises(DeliveryError, match="expected to be the only job"),
        world.job().alone(),
    ):
        pass


def test_another_rollout_waits_for_the_end_of_this_one(world: World, manifest: Manifest) -> None:
    job = world.job()
    job.start(world.new.digest, world.new.data, POLICY)
    third = bundle(manifest, "3")
    with pytest.raises(DeliveryError, match="expected none under way"):
        job.start(third.digest, third.data, POLICY)


def test_nothing_is_rolled_out_where_nothing_runs(tmp_path: Path, manifest: Manifest) -> None:
    world = World(Publisher(tmp_path / "publisher"), bundle(manifest))
    with pytest.raises(DeliveryError, match="expected a bundle that runs everywhere"):
        world.run()


def test_a_policy_is_strict(tmp_path: Path) -> None:
    file = tmp_path / "policy.toml"
    file.write_text('[canary]\ngateways = ["gw1"]\n[[ring]]\ngateways = ["hall*"]\n')
    assert policies.load(file).rings == (Ring(gateways=("hall*",)),)
    file.write_text('[canary]\ngateways = ["gw1"]\n[gates]\nmin_window = 3\ncalm_agreement = 2\n')
    with pytest.raises(ConfigError) as caught:
        policies.load(file)
    assert len(caught.value.problems) == 2
    assert "the nearest is 'min_windows'" in caught.value.problems[0]


def test_the_clock_of_a_step_is_the_publishers(world: World) -> None:
    made = world.job().start(world.new.digest, world.new.data, POLICY)
    assert made.since_ms == now_ms(NOW)
