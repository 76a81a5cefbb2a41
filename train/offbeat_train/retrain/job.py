"""One model's job from question to verdict: due? → fit → gate → champion.

Rules: what is to be done is planned once and kept; each step leaves its
outcome whole on disk and is passed over when that is there, so a job killed
anywhere is finished by the next run and two runs do what one does.  The
same plan on the same data gives the same bundle.  A plan whose data has
changed under it, before anything was made of it, is made anew.

>>> retrain(shelf, past, JobOptions(), now_ms=now_ms, on=Silent()).said  # doctest: +SKIP
'promote: the challenger is nowhere worse, and better: …'
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec

from offbeat_broker.registry import replace
from offbeat_edge import bundle as bundles
from offbeat_edge.errors import BundleError
from offbeat_edge.model import Model, open_model
from offbeat_train.defaults import ALERT_BUDGET
from offbeat_train.errors import RegistryError
from offbeat_train.retrain import facts, gate, holdout, verdict_page
from offbeat_train.retrain.due import Due, Policy, decide
from offbeat_train.retrain.holdout import BLOCK_WINDOWS, Cut, judging
from offbeat_train.retrain.measure import Happened, Pair, measure, span_ms
from offbeat_train.retrain.past import digest
from offbeat_train.retrain.record import Judgement, Plan
from offbeat_train.retrain.shelf import BUNDLE
from offbeat_train.terminal import hushed

if TYPE_CHECKING:
    from pathlib import Path

    from offbeat_train.fit import Progress
    from offbeat_train.history import History
    from offbeat_train.retrain.evidence import Evidence, GroundName
    from offbeat_train.retrain.past import Past, Span
    from offbeat_train.retrain.shelf import Shelf, Version

INCIDENT_WINDOWS = 60.0  # window lengths of an incident that are played
WARM_WINDOWS = 3.0  # window lengths before it
INCIDENTS = 200  # the newest


class JobOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What a job is told; None means "all" or "choose"."""

    assets: tuple[str, ...] | None = None
    since_ms: int | None = None
    seed: int = 0
    epochs: int | None = None
    period_ms: int | None = None  # from here on of a first model; later ones have the champion's
    window: int | None = None
    units: tuple[int, ...] | None = None
    budget_per_week: float = ALERT_BUDGET
    force: bool = False
    policy: Policy = Policy()


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What a run came to."""

    model: str
    due: Due
    version: str | None = None  # of the challenger
    judgement: Judgement | None = None

    @property
    def said(self) -> str:
        """One sentence."""
        if self.judgement is not None:
            verdict = self.judgement.verdict
            return f"{verdict.decision}: {verdict.why}"
        told = "; ".join(self.due.said) or "nothing has changed enough"
        waits = f", but waits for more: {self.due.waits}" if self.due.waits else ""
        return f"not due: {told}{waits}"


@dataclass(frozen=True, kw_only=True)
class _Champion:
    """The version in force, opened."""

    version: Version
    model: Model


def retrain(shelf: Shelf, past: Past, options: JobOptions, *, now_ms: int, on: Progress) -> Outcome:
    """Do the job, or what is left of it.

    Raises
    ------
    RegistryError : another job is at work on this model.
    DataError : no honest model can come from the lake's rows.
    AccuracyError : the integer challenger lost the float one's accuracy.
    """
    with shelf.held():
        return _Job(shelf, past, options, now_ms=now_ms, on=on).run()


def adopt(shelf: Shelf, path: Path) -> str:
    """Make a bundle from elsewhere the first champion; returns the champion's version.

    Where there is a champion already, nothing happens.
    """
    with shelf.held():
        champion = shelf.champion()
        if champion is not None:
            return champion.name
        version = bundles.load(path).manifest.model.version
        if shelf.version(version) is None:
            with shelf.adding(version) as draft:
                (draft / BUNDLE).write_bytes(path.read_bytes())
        shelf.crown(version, instead_of=None)
    return version


class _Job:
    """The steps, over one plan."""

    def __init__(
        self, shelf: Shelf, past: Past, options: JobOptions, *, now_ms: int, on: Progress
    ) -> None:
        self._shelf, self._past, self._options = shelf, past, options
        self._now_ms, self._on = now_ms, on
        self._champion = self._open_champion()

    def run(self) -> Outcome:
        plan, history = self._resumed() or self._planned()
        if isinstance(plan, Due):
            return Outcome(model=self._shelf.model, due=plan)
        self._fit(plan, history)
        judgement = self._judge(plan, history)
        if judgement.promoted:
            self._shelf.crown(plan.version, instead_of=plan.champion)
        self._shelf.end()
        return Outcome(model=self._shelf.model, due=plan.due, version=plan.version,
                       judgement=judgement)  # fmt: skip

    def _open_champion(self) -> _Champion | None:
        version = self._shelf.champion()
        return None if version is None else _Champion(version=version, model=_open(version))

    # ------------------------------------------------------------------ plan

    def _resumed(self) -> tuple[Plan, History] | None:
        """Take up the plan of a job that did not end, if it still holds."""
        kept = self._shelf.job()
        if kept is None:
            return None
        try:
            plan = msgspec.json.decode(kept, type=Plan)
        except msgspec.DecodeError:
            return None
        now = None if self._champion is None else self._champion.version.name
        if now not in (plan.champion, plan.version):
            return None
        history = self._past.normal(plan.assets, start_ms=plan.since_ms, end_ms=plan.end_ms)
        if digest(history) != plan.data_sha256 and self._shelf.version(plan.version) is None:
            return None
        return plan, history

    def _planned(self) -> tuple[Plan | Due, History]:
        options, champion = self._options, self._champion
        self._on.stage("reading the lake")
        assets = tuple(options.assets or self._past.assets())
        history = self._past.normal(assets, start_ms=options.since_ms, end_ms=None)
        grid = self._grid(history)
        seen = None if champion is None else facts.seen_ms(champion.model.manifest)
        block_ms = _block_ms(champion, BLOCK_WINDOWS * grid[0] * grid[1])
        cut = holdout.cut_at(history, seen_ms=seen, block_ms=block_ms)
        due = self._due(history, cut, assets, seen)
        if not due.due:
            return due, history
        made = datetime.fromtimestamp(self._now_ms / 1000, UTC)
        plan = Plan(
            model=self._shelf.model, version=self._shelf.free(f"{made:%Y%m%dT%H%M%SZ}"),
            made_ms=self._now_ms, assets=assets, since_ms=options.since_ms,
            end_ms=1 + max(int(r.times_ms[-1]) for r in history.assets.values()),
            data_sha256=digest(history),
            champion=None if champion is None else champion.version.name,
            parent=None if champion is None else champion.model.digest,
            block_ms=cut.block_ms, recent_ms=cut.recent_ms, seen_ms=cut.seen_ms,
            window=grid[0], period_ms=grid[1], stride=grid[2], units=options.units,
            budget_per_week=options.budget_per_week if champion is None
            else facts.budget(champion.model.manifest),
            seed=options.seed, epochs=options.epochs, due=due,
        )  # fmt: skip
        self._shelf.begin(msgspec.json.format(msgspec.json.encode(plan), indent=1))
        return plan, history

    def _grid(self, history: History) -> tuple[int, int, int]:
        """Window, period in ms and stride: the champion's, or what the rows suggest."""
        if self._champion is not None:
            spec = self._champion.model.manifest.model
            return spec.window, spec.period_ms, spec.stride
        from offbeat_train.health import examine  # noqa: PLC0415
        from offbeat_train.split import divide  # noqa: PLC0415

        options = self._options
        chosen = divide(history, examine(history), period_ms=options.period_ms,
                        window=options.window)[0].plan  # fmt: skip
        return chosen.window, chosen.period_ms, chosen.stride

    def _due(self, history: History, cut: Cut, assets: tuple[str, ...], seen: int | None) -> Due:
        if self._champion is None:
            return decide(None, self._options.policy)
        self._on.stage("asking whether it is due")
        said = self._past.said(assets, start_ms=seen or 0)
        recent = list(judging(history, cut, recent=True))
        found = facts.gather(self._champion.model, history, recent, said)
        return decide(found, self._options.policy, force=self._options.force)

    # ------------------------------------------------------------- challenger

    def _fit(self, plan: Plan, history: History) -> None:
        if self._shelf.version(plan.version) is not None:
            return
        with hushed():  # TensorFlow takes seconds, and is not needed to find that nothing is due
            from offbeat_train.retrain.challenger import make  # noqa: PLC0415
            from offbeat_train.shared_graph import wake  # noqa: PLC0415

            wake()

        parent = None if self._champion is None else self._champion
        with self._shelf.adding(plan.version) as draft:
            make(
                draft, plan, holdout.training(history, _cut(plan)), on=self._on,
                manifest=None if parent is None else parent.model.manifest,
                weights=None if parent is None else parent.version.weights,
            )  # fmt: skip

    # ----------------------------------------------------------------- verdict

    def _judge(self, plan: Plan, history: History) -> Judgement:
        version = self._shelf.version(plan.version)
        if version is None:
            raise RegistryError(f"{self._shelf.folder}: expected {plan.version}, got none")
        if version.verdict.is_file():
            return msgspec.json.decode(version.verdict.read_bytes(), type=Judgement)
        self._on.stage("comparing with the champion")
        challenger = _open(version)
        pair = Pair(champion=self._champion.model if self._champion else None,
                    challenger=challenger)  # fmt: skip
        evidence = self._evidence(plan, history, pair)
        cold = challenger.manifest.lineage.config.get("cold")
        judgement = Judgement(bundle=challenger.digest, cold=str(cold) if cold else None,
                              plan=plan, verdict=gate.judge(evidence))  # fmt: skip
        page = verdict_page.page(judgement, evidence)
        replace_open(version.folder / verdict_page.NAME, page.encode())
        encoded = msgspec.json.format(msgspec.json.encode(judgement), indent=1)
        replace_open(version.verdict, encoded + b"\n")
        return judgement

    def _evidence(self, plan: Plan, history: History, pair: Pair) -> Evidence:
        cut = _cut(plan)
        grounds: tuple[GroundName, ...] = ("recent", "older")
        blocks = {name: list(judging(history, cut, recent=name == "recent")) for name in grounds}
        spans = self._past.incidents(plan.assets, end_ms=plan.end_ms)[-INCIDENTS:]
        happened = [self._happened(span, pair, history.sensors, cut) for span in spans]
        inforce = pair.models[0].manifest
        return measure(
            pair, blocks, happened, names=history.sensors, block_ms=cut.block_ms,
            budget_per_week=facts.budget(inforce), promised_per_week=facts.promised(inforce),
            seed=plan.seed,
        )  # fmt: skip

    def _happened(self, span: Span, pair: Pair, names: tuple[str, ...], cut: Cut) -> Happened:
        end = min(span.end_ms, span.start_ms + round(INCIDENT_WINDOWS * pair.window_ms))
        rows = self._past.raw(
            span.asset, names,
            start_ms=span.start_ms - round(WARM_WINDOWS * pair.window_ms),
            end_ms=end + 2 * pair.window_ms,
        )  # fmt: skip
        ground: GroundName = "recent" if span.start_ms >= cut.seen_ms else "older"
        return Happened(asset=span.asset, start_ms=span.start_ms, end_ms=end, ground=ground,
                        rows=rows)  # fmt: skip


def replace_open(path: Path, data: bytes) -> None:
    """Replace a file whole, for others to read."""
    replace(path, data)
    path.chmod(0o644)


def _cut(plan: Plan) -> Cut:
    return Cut(block_ms=plan.block_ms, recent_ms=plan.recent_ms, seen_ms=plan.seen_ms)


def _open(version: Version) -> Model:
    model = open_model(bundles.load(version.bundle), config_digest="")
    if model.degraded is not None:
        raise BundleError(f"{version.bundle}: {model.degraded}")
    return model


def _block_ms(champion: _Champion | None, otherwise: int) -> int:
    """The champion's blocks, so that what was kept back stays so."""
    if champion is None:
        return otherwise
    told = champion.model.manifest.lineage.config.get("holdout")
    kept = told.get("block_ms") if isinstance(told, dict) else None
    return kept if isinstance(kept, int) else BLOCK_WINDOWS * span_ms(champion.model)
