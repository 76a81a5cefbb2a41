"""Everything that is known of one watched asset, and what it says.

`Watch.take` aligns a sample into rows that are due for judgement;
`Watch.settle` turns a row's verdict into events and states.  Between the two
the engine judges the windows of many assets at once.
"""

from __future__ import annotations

import math
from itertools import repeat
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from offbeat_edge import alert
from offbeat_edge.alert import Lifecycle
from offbeat_edge.alertbook import AlertBook, Moment
from offbeat_edge.refusal import dropped
from offbeat_edge.schema import (
    AlertEvent,
    AlertRule,
    AssetState,
    Contribution,
    Reject,
    ScoreRecord,
    iso,
)
from offbeat_edge.sensorcheck import SensorCheck, SensorCheckState
from offbeat_edge.window import Aligner, AlignerState, Ring, Row

if TYPE_CHECKING:
    from offbeat_edge.alertbook import Teller
    from offbeat_edge.model import Judged, Model
    from offbeat_edge.schema import Kind, Sample, State
    from offbeat_edge.window import Floats

FAULT_SCORE = 2.0  # what a faulty or silent sensor weighs in the alert machine
# A frozen or dead sensor explains a bad reconstruction by itself; one that
# is merely out of range may be telling the truth about a broken machine.
EXPLAINS_ANOMALY = ("missing", "stuck")
EXPLAINED_SHARE = 0.5
_ABSENT = repeat(math.nan)


class Verdict(NamedTuple):
    """One window, judged."""

    score: float
    shares: list[float]
    expected: list[float] | None
    actual: list[float]

    @classmethod
    def of(cls, judged: Judged, n: int) -> Verdict:
        """Take window `n` out of a judged batch."""
        expected = None if judged.expected is None else judged.expected[n].tolist()
        return cls(
            float(judged.score[n]), judged.shares[n].tolist(), expected, judged.actual[n].tolist()
        )


class Outputs(NamedTuple):
    """What samples led to; each list in the order it happened."""

    scores: list[ScoreRecord]
    events: list[AlertEvent]
    states: list[AssetState]
    drops: list[Reject]


class Due(NamedTuple):
    """A closed row and, where one ends there, its window (T, F)."""

    watch: Watch
    row: Row
    window: Floats | None


class WatchState(msgspec.Struct):
    """A `Watch` in a snapshot."""

    bundle: str
    aligner: AlignerState
    ring: tuple[int, bytes]
    check: SensorCheckState
    lives: dict[str, Lifecycle]
    faults: dict[str, str]
    scored_ms: int | None
    score: float | None
    silent_ms: int
    current: AssetState | None
    settled_ms: int | None = None


class Watch:
    """One asset under one model."""

    def __init__(self, *, teller: Teller, asset: str, model: Model) -> None:
        spec = model.manifest.model
        self.asset = asset
        self.model = model
        self.book = AlertBook(teller=teller, asset=asset, model=model.ref)
        self.named = teller.contributions
        self.aligner = Aligner(
            period_ms=spec.period_ms,
            hold_ms=spec.hold_ms,
            lateness_ms=model.lateness_ms,
            sensors=len(model.names),
        )
        self.ring = Ring(window=spec.window, sensors=len(model.names))
        self.check = SensorCheck(model.manifest.sensors)
        self.faults: dict[str, str] = {}
        self.settled_ms: int | None = None  # event time of the last row that was settled
        self.scored_ms: int | None = None
        self.score: float | None = None
        self.silent_ms = 0
        self.current: AssetState | None = None
        self._fault_rule = AlertRule(clear_ms=model.rule.clear_ms)

    # -- a sample comes in

    def take(self, sample: Sample, out: Outputs) -> list[Due]:
        """Align one sample; return the rows it closed."""
        values = list(map(sample.values.get, self.model.names, _ABSENT))
        if values[0] != values[0] and all(map(math.isnan, values)):  # NaN: absent
            out.drops.append(no_sensor(self.asset, self.model))
            return []
        before = self.aligner.state.newest
        rows, drops = self.aligner.push(sample.time_ms, values)
        for drop in drops:
            detail = f"{self.asset}: sample of {iso(drop.time_ms)} not used"
            out.drops.append(Reject(drop.reason, detail, ""))
        # Old samples, come again, do not end a silence: it would begin under the same id.
        if self.silent_ms and self.aligner.state.newest != before:
            self._heard(out)
        return [self._due(row) for row in rows]

    def _due(self, row: Row) -> Due:
        full = self.ring.append(row)
        ends = full and row.step % self.model.manifest.model.stride == 0
        return Due(self, row, self.ring.latest().copy() if ends else None)

    # -- a row has been judged

    def settle(self, due: Due, verdict: Verdict | None, out: Outputs) -> None:
        """Drive alerts and state with one closed row."""
        time_ms = self.settled_ms = due.row.step * self.aligner.period_ms
        self._settle_faults(due.row, time_ms, out)
        if due.row.restart or not due.row.valid:
            self.scored_ms = self.score = None
            alert.forget_candidate(self.book.lives["anomaly"])
        if verdict is not None:
            self._settle_score(verdict, time_ms, out)
        self._settle_state(time_ms, out)

    def _settle_score(self, verdict: Verdict, time_ms: int, out: Outputs) -> None:
        self.scored_ms, self.score = time_ms, verdict.score
        contributions = self._contributions(verdict)
        out.scores.append(
            ScoreRecord(
                asset=self.asset,
                time=iso(time_ms),
                time_ms=time_ms,
                score=verdict.score,
                contributions=contributions,
            )
        )
        effective = 0.0 if self._explained(verdict) else verdict.score
        moment = Moment(time_ms, effective, contributions)
        self.book.advance(
            "anomaly", self.model.rule, moment, self._anomaly_told(moment), out.events
        )

    def _settle_faults(self, row: Row, time_ms: int, out: Outputs) -> None:
        before, self.faults = self.faults, self.check.advance(row)
        was_open = self.book.open_alert("sensor_fault") is not None
        if not self.faults and not was_open:
            return
        moment = self._fault_moment(row, time_ms, self.faults or before)
        told = f"{self.asset}: sensor fault: {_listed(self.faults)}"
        self.book.advance("sensor_fault", self._fault_rule, moment, told, out.events)
        if was_open and set(self.faults) - set(before):
            self.book.update("sensor_fault", moment, told, out.events)

    def _fault_moment(self, row: Row, time_ms: int, named: dict[str, str]) -> Moment:
        contributions = tuple(
            Contribution(sensor=name, share=1.0 / len(named), actual=self._reading(row, name))
            for name in sorted(named)
        )
        return Moment(time_ms, FAULT_SCORE if self.faults else 0.0, contributions)

    def _anomaly_told(self, moment: Moment) -> str:
        told = f"{self.asset}: {moment.score:.1f} times the threshold"
        if not moment.contributions:
            return told
        top = moment.contributions[0]
        told += f", most from {top.sensor}"
        if top.expected is None or top.actual is None:
            return told
        return f"{told} ({top.actual:.4g}, expected {top.expected:.4g})"

    def _reading(self, row: Row, name: str) -> float | None:
        value = row.values[self.model.index[name]]
        return value if value == value else None  # noqa: PLR0124 - NaN has no JSON

    def _explained(self, verdict: Verdict) -> bool:
        """Tell whether faulty sensors account for most of a score."""
        guilty = [n for n, why in self.faults.items() if why in EXPLAINS_ANOMALY]
        return sum(verdict.shares[self.model.index[n]] for n in guilty) >= EXPLAINED_SHARE

    def _contributions(self, verdict: Verdict) -> tuple[Contribution, ...]:
        order = sorted(range(len(verdict.shares)), key=lambda i: (-verdict.shares[i], i))
        return tuple(
            Contribution(
                sensor=self.model.names[i],
                share=verdict.shares[i],
                expected=None if verdict.expected is None else verdict.expected[i],
                actual=verdict.actual[i],
            )
            for i in order[: self.named]
        )

    # -- silence

    def idle(self, elapsed_ms: int, out: Outputs) -> None:
        """Count connected time without a sample; say so when it is too long."""
        newest = self.aligner.state.newest
        if newest is None:
            return
        self.silent_ms += elapsed_ms
        if self.silent_ms < self.model.stale_after_ms:
            return
        if self.book.open_alert("stale") is None:
            self._tell_silence(newest, FAULT_SCORE, out)

    def _heard(self, out: Outputs) -> None:
        if self.book.open_alert("stale") is not None:
            self._tell_silence(self.aligner.state.newest or 0, 0.0, out)
        self.silent_ms = 0

    def _tell_silence(self, newest_ms: int, score: float, out: Outputs) -> None:
        told = f"{self.asset}: no data for {self.silent_ms / 1000:.0f} s"
        self.book.advance("stale", AlertRule(), Moment(newest_ms, score, ()), told, out.events)
        self._settle_state(newest_ms, out)

    # -- states

    def _settle_state(self, time_ms: int, out: Outputs) -> None:
        now = self.current
        if self.score is not None and now is not None and now.state == "ok" and self._is_ok():
            return
        state, reasons, kind = self._state()
        open_alert = None if kind is None else self.book.open_alert(kind)
        if now is not None and (now.state, now.reasons, now.alert) == (state, reasons, open_alert):
            return
        since_ms = now.since_ms if now is not None and now.state == state else time_ms
        self.current = AssetState(
            asset=self.asset,
            state=state,
            since=iso(since_ms),
            since_ms=since_ms,
            reasons=reasons,
            alert=open_alert,
            score=self.score,
        )
        out.states.append(self.current)

    def _is_ok(self) -> bool:
        """Tell whether a scored asset has nothing to report: the common case, in short."""
        if self.faults or self.model.degraded is not None:
            return False
        return not any(life.alert for life in self.book.lives.values())

    def _state(self) -> tuple[State, tuple[str, ...], Kind | None]:
        opened = self.book.open_alert
        faults = tuple(sorted(f"{name}: {why}" for name, why in self.faults.items()))
        if opened("stale"):
            return "stale", ("no data",), "stale"
        if opened("anomaly"):
            return "anomaly", faults, "anomaly"
        if opened("sensor_fault"):
            return "sensor_fault", faults, "sensor_fault"
        if self.model.degraded is not None:
            return "degraded", (self.model.degraded,), None
        if self.score is None:
            return "warming", (), None
        return "ok", (), None

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
        )

    def load(self, state: WatchState) -> None:
        """Take back what `dump` gave; rows of another shape of model are left out."""
        lives = self.book.lives
        self.book.lives = {kind: state.lives.get(kind, life) for kind, life in lives.items()}
        self.current = state.current
        self.silent_ms = state.silent_ms
        self.settled_ms = state.settled_ms
        if self.settled_ms is None and state.aligner.closed is not None:  # of an earlier release
            self.settled_ms = state.aligner.closed * self.aligner.period_ms
        if state.bundle != self.model.digest:
            return
        self.aligner.state = state.aligner
        self.ring.load(state.ring)
        self.check.state = state.check
        self.faults = state.faults
        self.scored_ms, self.score = state.scored_ms, state.score


def no_sensor(asset: str, model: Model) -> Reject:
    """Return why a sample without any of the model's sensors is of no use."""
    return dropped("no_sensor", f"{asset}: expected any of {', '.join(model.names[:8])}")


def _listed(faults: dict[str, str]) -> str:
    return ", ".join(f"{name} {why}" for name, why in sorted(faults.items()))
