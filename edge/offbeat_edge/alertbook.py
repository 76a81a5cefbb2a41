"""The alerts of one asset, one life for each kind, and the events they make.

An event's identity depends on the stream alone, so a second run over the
same samples tells the same story under the same ids.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from offbeat_edge import alert
from offbeat_edge.alert import Lifecycle
from offbeat_edge.schema import AlertEvent, iso
from offbeat_edge.telling import Told

if TYPE_CHECKING:
    from offbeat_edge.control import Verdict
    from offbeat_edge.schema import (
        Adaptation,
        AlertRule,
        Contribution,
        EventType,
        Kind,
        ModelRef,
        Reason,
    )
    from offbeat_edge.window import Floats

    Explanations = dict[tuple[str, int], tuple[Contribution, ...]]
    """What an event at each score would name, by asset and time (ms)."""


class Teller(NamedTuple):
    """Who speaks: names that go into every event, and how much it says."""

    site: str
    gateway: str
    contributions: int  # sensors named in a score or an event
    tell_scores: bool = True  # scores name sensors, too; else they are numbers alone
    # To be filled, which is slow.  Scores then name sensors as events do, by what they read
    # at the window's end.
    explained: Explanations | None = None


class Windows(NamedTuple):
    """How the windows behind the scores of anomalies lie in time: it dates their alerts."""

    period_ms: int
    stride: int  # steps from one to the next
    rows: int  # last steps of each that are judged

    def begun_ms(self, first_ms: int) -> int:
        """Return when what raised a score of ``first_ms`` began: its window's first new step."""
        return first_ms - (self.stride - 1) * self.period_ms

    def over_ms(self, start_ms: int, calm_ms: int) -> int:
        """Return when an alert was over that began at ``start_ms``.

        A calm score of ``calm_ms`` says that all that its window judges was calm.
        """
        least_ms = start_ms + self.stride * self.period_ms
        return max(least_ms, calm_ms - (self.rows - 1) * self.period_ms)


Adapted = Callable[[], "Adaptation | None"]  # what was learned of the asset and is in force
Tell = Callable[[], Told]  # asked only where there is an event: to explain costs more than to score


class Moment(NamedTuple):
    """A score at an event time."""

    time_ms: int
    score: float
    window: Floats | None = None  # (T, F) in the sensors' units: what was judged
    threshold: float = 1.0  # that the score is in units of, in the bundle's


def window_digest(window: Floats) -> str:
    """Return the SHA-256, hex, of a window's values as little-endian float64, row by row."""
    return hashlib.sha256(window.astype("<f8").tobytes()).hexdigest()


class AlertBook:
    """Open and past alerts of one asset under one model."""

    def __init__(
        self,
        *,
        teller: Teller,
        asset: str,
        model: ModelRef,
        windows: Windows,
        adapted: Adapted = lambda: None,
    ) -> None:
        self.teller = teller
        self._windows = windows
        self.asset = asset
        self.model = model
        self._adapted = adapted
        self.resting: tuple[Kind, ...] = ()  # maintenance: none of these opens
        self.lives: dict[Kind, Lifecycle] = {
            "anomaly": Lifecycle(),
            "sensor_fault": Lifecycle(),
            "stale": Lifecycle(),
        }

    def open_alert(self, kind: Kind) -> str | None:
        """Return the id of the open alert of a kind."""
        return self.lives[kind].alert

    def alert_id(self, kind: Kind, start_ms: int) -> str:
        """Return 32 hex digits that name an alert: SHA-256 of what makes it that one."""
        key = "\n".join((self.teller.site, self.asset, kind, self.model.name, str(start_ms)))
        return hashlib.sha256(key.encode()).hexdigest()[:32]

    def advance(
        self, kind: Kind, rule: AlertRule, moment: Moment, tell: Tell, events: list[AlertEvent]
    ) -> None:
        """Move one kind on by a score; append the event that this makes, if any."""
        if kind in self.resting and self.lives[kind].start_ms is None:
            alert.rest(self.lives[kind], rule, moment.time_ms, moment.score)
            return
        life = self.lives[kind]
        event = alert.advance(life, rule, moment.time_ms, moment.score)
        if event == "new" and kind == "anomaly" and life.start_ms is not None:
            life.start_ms = self._windows.begun_ms(life.start_ms)
        if event == "end":
            told = tell()._replace(message=f"{self.asset}: {_plain(kind)} is over")
            events.append(self._event(kind, event, moment, told))
            alert.ended(self.lives[kind])
        elif event is not None:
            events.append(self._event(kind, event, moment, tell()))

    def update(self, kind: Kind, moment: Moment, told: Told, events: list[AlertEvent]) -> None:
        """Append an update that the score alone would not have made."""
        if self.lives[kind].start_ms is not None:
            events.append(self._event(kind, "update", moment, told))

    def end(
        self, kind: Kind, rule: AlertRule, moment: Moment, reason: Reason, events: list[AlertEvent]
    ) -> None:
        """End an open alert, whatever the score, and say why."""
        life = self.lives[kind]
        if alert.close(life, rule, moment.time_ms) is None:
            return
        told = Told(f"{self.asset}: {_plain(kind)} is over ({_plain(reason)})")
        event = self._event(kind, "end", moment, told)
        events.append(msgspec.structs.replace(event, reason=reason))
        alert.ended(life)

    def judge(
        self,
        kind: Kind,
        rule: AlertRule,
        moment: Moment,
        verdict: Verdict,
        events: list[AlertEvent],
    ) -> None:
        """Take in what people say of an open alert."""
        life, peak = self.lives[kind], self.lives[kind].peak
        if verdict == "confirmed":
            alert.confirm(life, verdict)
            return
        self.end(kind, rule, moment, verdict, events)
        alert.hush(life, verdict, moment.time_ms, peak)

    def _event(self, kind: Kind, event: EventType, moment: Moment, told: Told) -> AlertEvent:
        life = self.lives[kind]
        start_ms = moment.time_ms if life.start_ms is None else life.start_ms
        if life.alert is None:
            life.alert = self.alert_id(kind, start_ms)
        name = life.alert
        scored = kind == "anomaly"
        # Calm is certain only after a while; the alert ended when it began.
        calm_ms = moment.time_ms if life.below_ms is None else life.below_ms
        if scored and life.below_ms is not None:
            calm_ms = self._windows.over_ms(start_ms, calm_ms)
        end_ms = calm_ms if event == "end" else None
        seq = life.seq
        life.seq += 1
        return AlertEvent(
            id=f"{name}/{seq}",
            alert=name,
            seq=seq,
            type=event,
            kind=kind,
            severity=alert.severity_of(life.peak),
            site=self.teller.site,
            gateway=self.teller.gateway,
            asset=self.asset,
            start=iso(start_ms),
            start_ms=start_ms,
            end=None if end_ms is None else iso(end_ms),
            end_ms=end_ms,
            time=iso(moment.time_ms),
            time_ms=moment.time_ms,
            score=moment.score if scored else None,
            peak=life.peak if scored else None,
            message=told.message,
            contributions=told.contributions,
            window=None if moment.window is None else window_digest(moment.window),
            model=self.model,
            threshold=moment.threshold if scored else 1.0,
            adaptation=self._adapted() if scored else None,
        )


def _plain(word: str) -> str:
    return word.replace("_", " ")
