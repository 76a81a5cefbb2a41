"""Everything that is known of one watched asset, and what it says.

`Watch.take` aligns a sample into rows that are due for judgement;
`Watch.settle` turns a row's verdict into events and states.  Between the two
the engine judges the windows of many assets at once.
"""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import islice, repeat
from typing import TYPE_CHECKING, NamedTuple

from offbeat_edge import alert, telling
from offbeat_edge.adaptation import adapter_of, in_force
from offbeat_edge.alertbook import AlertBook, Moment, Windows
from offbeat_edge.follow import follower_of
from offbeat_edge.model import fits_of
from offbeat_edge.observed import Observed
from offbeat_edge.pace import Pace
from offbeat_edge.refusal import dropped, shown
from offbeat_edge.restored import check_fits, check_said
from offbeat_edge.schema import (
    AlertRule,
    AssetState,
    Kind,
    Reject,
    ScoreRecord,
    iso,
)
from offbeat_edge.sensorcheck import SensorCheck
from offbeat_edge.standing import standing
from offbeat_edge.telling import Told
from offbeat_edge.watchstate import WatchState
from offbeat_edge.window import Aligner, Ring, Row

if TYPE_CHECKING:
    from offbeat_edge.alertbook import Tell, Teller
    from offbeat_edge.control import Feedback, Maintenance
    from offbeat_edge.model import Explained, Model
    from offbeat_edge.outputs import Outputs, Verdict
    from offbeat_edge.schema import Contribution, Reason, Sample
    from offbeat_edge.upkeep import Upkeep
    from offbeat_edge.window import Floats

FAULT_SCORE = 2.0  # what a faulty or silent sensor weighs in the alert machine
# How much more a score must be when a faulty sensor is as the model guesses: drawn
# anew, healthy windows of unseen machines reached 1.4.
GUESSED = 1.5
NAMES_SHOWN = 8  # of sensors, in a refusal
SILENT_RULE = AlertRule()
STALE_SILENCES = 3  # times the usual silence is worth an alert
RESTING: tuple[Kind, ...] = ("anomaly", "sensor_fault")  # silence has a time of its own
_ABSENT = repeat(math.nan)


class Due(NamedTuple):
    """A closed row and, where one ends there, its window (T, F)."""

    watch: Watch
    row: Row
    window: Floats | None


class Watch:
    """One asset under one model."""

    def __init__(self, *, teller: Teller, asset: str, model: Model, upkeep: Upkeep) -> None:
        spec = model.manifest.model
        self.upkeep = upkeep
        self.asset = asset
        self.model = model
        self.book = AlertBook(
            teller=teller, asset=asset, model=model.ref,
            windows=Windows(spec.period_ms, spec.stride, model.manifest.detector.rows),
            adapted=lambda: in_force(self.adapter),
        )  # fmt: skip
        self.named = teller.contributions
        self.aligner = Aligner(
            period_ms=spec.period_ms,
            hold_ms=spec.hold_ms,
            lateness_ms=model.lateness_ms,
            sensors=len(model.names),
            absent=model.absent,
        )
        self.ring = Ring(window=spec.window, sensors=len(model.names))
        self.check = SensorCheck(model.checks)
        self.faults: dict[str, str] = {}
        self.faults_told: frozenset[str] = frozenset()  # in the alert that is open, or was hushed
        self.settled_ms: int | None = None  # event time of the last row that was settled
        self.scored_ms: int | None = None
        self.score: float | None = None
        self.silent_ms = 0
        self.silence_ms = 0  # event time before which silence does not count
        self.stale_ms = 0  # start of the last stale alert
        self.resting_ms: int | None = None  # end of the maintenance that is on
        self.current: AssetState | None = None
        self.observed = Observed()
        self.pace = Pace()
        self.adapter = adapter_of(model.manifest, model.warmup_ms)
        self.follower = follower_of(model.manifest.follow, spec)
        self._rules = _rules_of(model.rule)

    # -- a sample comes in

    def take(self, sample: Sample, out: Outputs) -> list[Due]:
        """Align one sample; return the rows it closed, each with its window."""
        return [self.due(row) for row in self.align(sample, out)]

    def align(self, sample: Sample, out: Outputs) -> list[Row]:
        """Align one sample; return the rows it closed."""
        values = list(map(sample.values.get, self.model.names, _ABSENT))
        if values[0] != values[0] and all(map(math.isnan, values)):  # NaN: absent
            out.drops.append(no_sensor(sample, self.model))
            return []
        before = self.aligner.state.newest
        rows, drops = self.aligner.push(sample.time_ms, values)
        for drop in drops:
            detail = f"{self.asset}: sample of {iso(drop.time_ms)} not used"
            out.drops.append(Reject(drop.reason, detail, ""))
        # Old samples, come again, do not end a silence: it would begin under the same id.
        if self.silent_ms and self.aligner.state.newest != before:
            self._heard(out)
        return rows

    def due(self, row: Row) -> Due:
        """Return a closed row with the window that ends there."""
        full = self.ring.append(row)
        ends = full and row.step % self.model.manifest.model.stride == 0
        return Due(self, row, self.ring.latest().copy() if ends else None)

    # -- a row has been judged

    def settle(self, due: Due, verdict: Verdict | None, out: Outputs) -> bool:
        """Drive alerts and state with one closed row.

        Returns whether the asset's next windows are to be judged anew.
        """
        anew = False
        time_ms = self.settled_ms = due.row.step * self.aligner.period_ms
        if self.upkeep.windows or self.book.resting:
            self._rest(time_ms, out)
        self._settle_faults(due.row, time_ms, out)
        if due.row.restart or not due.row.valid:
            self.scored_ms = self.score = None
            alert.forget_candidate(self.book.lives["anomaly"])
        if verdict is not None:
            self._settle_score(verdict, due, out)
            anew = self._learn(verdict)
        self._settle_state(time_ms, out)
        return anew

    def _settle_score(self, verdict: Verdict, due: Due, out: Outputs) -> None:
        time_ms = due.row.step * self.aligner.period_ms
        threshold = self._threshold(due.row.step, verdict)
        score = verdict.score / threshold
        self.scored_ms, self.score = time_ms, score
        out.scores.append(
            ScoreRecord(
                asset=self.asset,
                time=iso(time_ms),
                time_ms=time_ms,
                score=score,
                contributions=self._beside(verdict, due),
                threshold=threshold,
            )
        )
        own = self._machines(score, threshold, due)
        moment = Moment(time_ms, own, due.window, threshold)
        was_open = self.book.open_alert("anomaly")
        if own <= 1.0:
            alert.fall_back(self.book.lives["anomaly"])
        self._advance("anomaly", moment, lambda: self._anomaly_told(own, verdict, due), out)
        if "anomaly" not in self.book.resting:
            opened = was_open is None and self.book.open_alert("anomaly") is not None
            spec = self.model.manifest.model
            self.observed += Observed(spec.stride * spec.period_ms, int(opened), assets=0)

    def _beside(self, verdict: Verdict, due: Due) -> tuple[Contribution, ...]:
        """Return the sensors behind a score, where somebody reads them."""
        teller = self.book.teller
        if not teller.tell_scores:
            return ()
        if teller.explained is None:
            return self._contributions(verdict)
        found = self._explained(verdict, due)
        time_ms = due.row.step * self.aligner.period_ms
        teller.explained[self.asset, time_ms] = self._of_event(verdict, found)
        if found is not None:
            verdict = verdict._replace(shares=found.shares, expected=found.expected_last)
        return self._contributions(verdict)

    def _threshold(self, step: int, verdict: Verdict) -> float:
        """Return the threshold in force, in units of the bundle's, and let it follow."""
        if self.follower is None:
            return 1.0
        confirmed = self.book.lives["anomaly"].verdict == "confirmed"
        return self.follower.take(step, verdict.score, learn=self._is_own() and not confirmed)

    def _is_own(self) -> bool:
        """Tell whether scores are the machine's own: no sensor's fault explains them, no work."""
        return not (self.check.guilty() or self.book.resting)

    def _learn(self, verdict: Verdict) -> bool:
        """Let a window be learned, if the warm-up is on and it may be taken for normal."""
        if self.adapter is None or verdict.away is None:
            return False
        life = self.book.lives["anomaly"]
        calm = verdict.score <= 1.0 and life.start_ms is None
        vouched = life.hushed_ms is not None  # people said that this is normal
        normal = self._is_own() and not self.faults and (calm or vouched)
        return self.adapter.take(verdict.away, verdict.score, learnable=normal)

    def _settle_faults(self, row: Row, time_ms: int, out: Outputs) -> None:
        before, self.faults = self.faults, self.check.advance(row)
        life = self.book.lives["sensor_fault"]
        was_open = life.start_ms is not None
        if not was_open and life.hushed_ms is None:
            self.faults_told = frozenset()
            if not self.faults:  # as nearly always
                return
        fresh = set(self.faults) - self.faults_told
        if life.hushed_ms is not None and fresh:
            alert.lift(life)  # what people judged was another sensor
        moment = Moment(time_ms, FAULT_SCORE if self.faults else 0.0)
        readings = {name: self._reading(row, name) for name in self.faults or before}
        told = telling.of_fault(self.asset, self.faults, readings)
        self._advance("sensor_fault", moment, lambda: told, out)
        if was_open and fresh:
            self.book.update("sensor_fault", moment, told, out.events)
        self.faults_told |= fresh

    def _anomaly_told(self, score: float, verdict: Verdict, due: Due) -> Told:
        found = self._explained(verdict, due) if self.named else None
        return telling.of_anomaly(self.asset, score, self._of_event(verdict, found))

    def _of_event(self, verdict: Verdict, found: Explained | None) -> tuple[Contribution, ...]:
        """Return the sensors that an event names."""
        if found is not None:
            verdict = verdict._replace(
                shares=found.shares, expected=found.expected, actual=found.actual
            )
        return self._contributions(verdict)

    def _explained(self, verdict: Verdict, due: Due) -> Explained | None:
        """Say where a score comes from as well as can be said."""
        if due.window is None or verdict.expected is None:  # plain statistics know no better
            return None
        return self.model.explain(due.window, fits_of([self.adapter]))

    def _contributions(self, verdict: Verdict) -> tuple[Contribution, ...]:
        return telling.contributions(self.model.names, verdict, most=self.named)

    def _reading(self, row: Row, name: str) -> float | None:
        value = row.values[self.model.index[name]]
        return value if value == value else None  # noqa: PLR0124 - NaN has no JSON

    def _machines(self, score: float, threshold: float, due: Due) -> float:
        """Return what of a score is the machine's: what is left of it without faulty sensors."""
        guilty = self.check.guilty()
        if not guilty or due.window is None or score < self._rules["anomaly"].clear_ratio:
            return score
        left = self.model.without(due.window, guilty, fits_of([self.adapter]))
        return min(score, left / threshold / GUESSED)

    # -- silence

    def idle(self, elapsed_ms: int, out: Outputs) -> None:
        """Count connected time without a sample; say so when it is too long."""
        newest = self.aligner.state.newest
        if newest is None:
            return
        self.silent_ms += elapsed_ms
        since = max(newest, self.silence_ms)
        if self.upkeep.windows:
            if self._rest_in_silence(newest, out):
                return
            since = self.upkeep.over_since(now_ms=newest + self.silent_ms, since_ms=since)
        silent_ms = newest + self.silent_ms - since
        if silent_ms < self.model.stale_after_ms or self.book.open_alert("stale") is not None:
            return  # as nearly always: what is usual takes longer to find out
        if silent_ms >= STALE_SILENCES * self.pace.usual_ms:
            self._tell_silence(newest, FAULT_SCORE, out)

    def _heard(self, out: Outputs) -> None:
        life = self.book.lives["stale"]
        if life.alert is not None or life.hushed_ms is not None:
            self._tell_silence(self.aligner.state.newest or 0, 0.0, out)
        self.pace.heard(self.aligner.state.newest or 0, self.silent_ms)
        self.silent_ms = 0

    def _rest_in_silence(self, newest_ms: int, out: Outputs) -> bool:
        """Tell whether maintenance is on, as far as silence itself tells the time."""
        now_ms = newest_ms + self.silent_ms
        window = self.upkeep.covering(now_ms)
        self.resting_ms = None if window is None else window.end_ms
        if window is not None:
            self._end("stale", now_ms, "maintenance", out)
        self._settle_state(now_ms, out)
        return window is not None

    def _tell_silence(self, newest_ms: int, score: float, out: Outputs) -> None:
        told = f"{self.asset}: no data for {self.silent_ms / 1000:.0f} s"
        life = self.book.lives["stale"]
        # of one silence people may end several alerts: each has a start of its own
        time_ms = max(newest_ms, self.stale_ms + 1 if life.start_ms is None else self.stale_ms)
        self._advance("stale", Moment(time_ms, score), lambda: Told(told), out)
        self.stale_ms = self.stale_ms if life.start_ms is None else life.start_ms
        self._settle_state(newest_ms, out)

    # -- people

    def plan(self, control: Maintenance, out: Outputs) -> None:
        """Take in a maintenance window, or its cancellation."""
        if control.cancelled and self.silent_ms and self.resting_ms is not None:
            # it is a new silence that counts from here on
            self.silence_ms = (self.aligner.state.newest or 0) + self.silent_ms
        self.upkeep.take(control)
        if self.settled_ms is not None:
            self._rest(self.settled_ms, out)
            self._settle_state(self.settled_ms, out)

    def hear(self, feedback: Feedback, out: Outputs) -> None:
        """Take in what people say of the alerts that are open."""
        for kind, life in self.book.lives.items():
            if life.start_ms is None or not self._is_meant(kind, feedback):
                continue
            moment = self._moment(self._now(kind))
            self.book.judge(kind, self._rules[kind], moment, feedback.verdict, out.events)
            self._settle_state(moment.time_ms, out)

    def recalibrate(self, out: Outputs) -> None:
        """Forget what was learned, and begin anew."""
        self.adapter = adapter_of(self.model.manifest, self.model.warmup_ms)
        self.follower = follower_of(self.model.manifest.follow, self.model.manifest.model)
        self._settle_state(self.settled_ms or 0, out)

    def retire(self, reason: Reason, out: Outputs) -> None:
        """End what is open: the asset has another name from now on, or another place."""
        for kind in self.book.lives:
            self._end(kind, self._now(kind), reason, out)

    def under(self, model: Model, out: Outputs) -> Watch:
        """Return what watches this asset under another model.

        Rows are kept where sensors, grid and window are the same; so are open
        alerts where the model's name is, and end where it is not.
        """
        state = self.dump()
        if model.ref.name != self.model.ref.name:
            for kind in self.book.lives:
                self._end(kind, self._now(kind), "model_changed", out)
            state.lives = {}
        if model.digest != self.model.digest:
            # those of another bundle
            state.observed, state.adaptation, state.followed = Observed(), None, None
        if _shape(model) == _shape(self.model):
            state.bundle = model.digest
        teller = self.book.teller
        heir = Watch(teller=teller, asset=self.asset, model=model, upkeep=self.upkeep)
        heir.load(state)
        heir._settle_state(self.settled_ms or 0, out)
        return heir

    def inherit(self, state: WatchState, out: Outputs) -> None:
        """Go on where an asset of another name stopped."""
        self.load(state)
        self.current = None
        self._settle_state(self.settled_ms or 0, out)

    def _is_meant(self, kind: Kind, feedback: Feedback) -> bool:
        if feedback.alert is not None:
            return feedback.alert == self.book.open_alert(kind)
        since_ms, until_ms = self.book.lives[kind].start_ms or 0, self._now(kind)
        ends_before = feedback.end_ms is not None and feedback.end_ms < since_ms
        starts_after = feedback.start_ms is not None and feedback.start_ms > until_ms
        return not (ends_before or starts_after)

    def _now(self, kind: Kind) -> int:
        """Return the event time of what happens to an alert between two rows."""
        start_ms = self.book.lives[kind].start_ms or 0
        if kind == "stale":
            return max(start_ms, (self.aligner.state.newest or 0) + self.silent_ms)
        return start_ms if self.settled_ms is None else self.settled_ms

    def _rest(self, time_ms: int, out: Outputs) -> None:
        """Let maintenance begin, go on or be over."""
        self.upkeep.forget(time_ms)
        window = self.upkeep.covering(time_ms)
        self.resting_ms = None if window is None else window.end_ms
        # what was seen at work is still in the model's window for a while
        first_ms = time_ms - (self.ring.window - 1) * self.aligner.period_ms
        seen = self.upkeep.touches(first_ms=first_ms, last_ms=time_ms)
        self.book.resting = ("anomaly",) if seen else ()
        if window is not None:
            self.book.resting = RESTING
            for kind in RESTING:
                self._end(kind, time_ms, "maintenance", out)

    def _end(self, kind: Kind, time_ms: int, reason: Reason, out: Outputs) -> None:
        self.book.end(kind, self._rules[kind], self._moment(time_ms), reason, out.events)

    def _moment(self, time_ms: int) -> Moment:
        """Return what happens between two scores: the last one counts, as it was measured."""
        threshold = 1.0 if self.follower is None else self.follower.threshold
        return Moment(time_ms, self.score or 0.0, threshold=threshold)

    def _advance(self, kind: Kind, moment: Moment, tell: Tell, out: Outputs) -> None:
        self.book.advance(kind, self._rules[kind], moment, tell, out.events)

    # -- states

    def _settle_state(self, time_ms: int, out: Outputs) -> None:
        now = self.current
        adaptation = None if self.adapter is None else self.adapter.told
        calm = now is not None and now.state == "ok" and not now.reasons
        calm = calm and now is not None and now.adaptation == adaptation
        if self.score is not None and calm and self._is_ok():
            return
        found = standing(
            self.book.lives, faults=self.faults, degraded=self.model.degraded,
            scored=self.score is not None, resting_ms=self.resting_ms,
        )  # fmt: skip
        if now is not None and (*found, adaptation) == (
            now.state, now.reasons, now.alert, now.adaptation,
        ):  # fmt: skip
            return
        since_ms = now.since_ms if now is not None and now.state == found.state else time_ms
        self.current = AssetState(
            asset=self.asset,
            state=found.state,
            since=iso(since_ms),
            since_ms=since_ms,
            reasons=found.reasons,
            alert=found.alert,
            score=self.score,
            adaptation=adaptation,
        )
        out.states.append(self.current)

    def _is_ok(self) -> bool:
        """Tell whether a scored asset has nothing to report: the common case, in short."""
        if self.faults or self.model.degraded is not None or self.resting_ms is not None:
            return False
        return not any(life.alert or life.verdict for life in self.book.lives.values())

    # -- persistence

    def dump(self) -> WatchState:
        """Return this watch as data."""
        return WatchState(
            bundle=self.model.digest,
            aligner=self.aligner.state,
            ring=self.ring.dump(),
            check=self.check.state,
            lives={str(kind): life for kind, life in self.book.lives.items()},
            faults=self.faults,
            scored_ms=self.scored_ms,
            score=self.score,
            silent_ms=self.silent_ms,
            current=self.current,
            settled_ms=self.settled_ms,
            resting_ms=self.resting_ms,
            silence_ms=self.silence_ms,
            stale_ms=self.stale_ms,
            pace=self.pace,
            observed=self.observed,
            adaptation=None if self.adapter is None else self.adapter.state,
            followed=None if self.follower is None else self.follower.state,
            faults_told=sorted(self.faults_told),
        )

    def load(self, state: WatchState) -> None:
        """Take back what `dump` gave; rows of another shape of model are left out.

        Raises
        ------
        ValueError : it is not what `dump` of such a model gives.
        """
        check_said(state)
        lives = self.book.lives
        self.book.lives = {kind: state.lives.get(kind, life) for kind, life in lives.items()}
        self.current = state.current
        self.silent_ms = state.silent_ms
        self.silence_ms, self.resting_ms = state.silence_ms, state.resting_ms
        self.stale_ms, self.pace = state.stale_ms, state.pace
        self.settled_ms = state.settled_ms
        if self.settled_ms is None and state.aligner.closed is not None:  # of an earlier release
            self.settled_ms = state.aligner.closed * self.aligner.period_ms
        if state.bundle != self.model.digest:
            return
        check_fits(state, self.model.manifest)
        self.aligner.state = state.aligner
        self.ring.load(state.ring)
        self.check.restore(state.check)
        self.faults = state.faults
        told = state.faults if state.faults_told is None else state.faults_told
        self.faults_told = frozenset(told)
        self.scored_ms, self.score = state.scored_ms, state.score
        self.observed = state.observed
        if self.adapter is not None and state.adaptation is not None:
            self.adapter.restore(state.adaptation)
        if self.follower is not None and state.followed is not None:
            self.follower.restore(state.followed)


@lru_cache(maxsize=64)
def _rules_of(rule: AlertRule) -> dict[Kind, AlertRule]:
    """Return the rule of each kind by that of anomalies: one object for all assets."""
    faults = AlertRule(clear_ms=rule.clear_ms)
    return {"anomaly": rule, "sensor_fault": faults, "stale": SILENT_RULE}


def _shape(model: Model) -> tuple[tuple[str, ...], int, int]:
    """Return what two models must share for one to take over the other's rows."""
    spec = model.manifest.model
    return model.names, spec.period_ms, spec.window


def no_sensor(sample: Sample, model: Model) -> Reject:
    """Return why a sample without any of the model's sensors is of no use."""
    wanted = ", ".join(model.names[:NAMES_SHOWN])
    got = ", ".join(shown(name) for name in islice(sample.values, NAMES_SHOWN))
    return dropped("no_sensor", f"{sample.asset}: expected any of {wanted}, got {got}")
