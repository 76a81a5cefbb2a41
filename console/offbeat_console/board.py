"""The fleet as it stands, in memory: what every page looks at.

Rules: one thread writes (``ingest``), any thread reads; what is read whole is
frozen and replaced at one stroke.  Every change of an asset carries the next
``revision``, so that a page asks only for what it has not seen.  An event
that comes twice changes nothing.

>>> board = Board()
>>> board.take(Said("status", "gw1", "", "online"), now_ms=0)
>>> board.gateways["gw1"].status
'online'
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

import msgspec
from msgspec.structs import replace

from offbeat_console import alarm as alarms
from offbeat_console.alarm import Alarm, AlarmState, Shelf
from offbeat_console.trace import Trace
from offbeat_console.wire import Feedback, Maintenance, Said
from offbeat_edge.schema import AlertEvent, AssetState, Contribution, ScoreRecord

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_ASSETS = 20_000  # further ones are counted, not shown
MAX_CALM = 500  # alerts that are over and acknowledged, kept in memory
MAX_OPEN = 50  # alerts of one asset that wait for somebody
SPARK = 40  # scores of the small curve in a row
EXPECTED = "="  # prefixes of a score trace's columns: the model's expectation ...
ACTUAL = "~"  # ... and what came; the score itself is the column ""

Key = tuple[str, str]  # gateway, asset


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """One alert: its newest event, and what people did about it."""

    event: AlertEvent
    telling: AlertEvent  # the newest before the end: what it was, and why
    alarm: Alarm
    opened_ms: int  # wall clock, when we first heard of it
    verdict: str | None = None  # of the last feedback on it


class Gateway(msgspec.Struct, frozen=True, kw_only=True):
    """What a gateway last said of itself."""

    name: str
    status: str = ""  # empty: never heard
    health: dict[str, object] = {}
    heard_ms: int = 0  # wall clock


class Watched:
    """One asset as one gateway sees it."""

    __slots__ = (
        "contributions", "gateway", "heard_ms", "name", "newest_ms", "open", "revision", "score",
        "scores", "spark", "state",
    )  # fmt: skip

    def __init__(self, gateway: str, name: str) -> None:
        self.gateway = gateway
        self.name = name
        self.state: AssetState | None = None
        self.score: float | None = None
        self.contributions: tuple[Contribution, ...] = ()
        self.newest_ms = 0  # event time
        self.heard_ms = 0  # wall clock
        self.open: tuple[str, ...] = ()  # alerts that go on or wait for somebody, newest last
        self.spark: deque[float] = deque(maxlen=SPARK)
        self.scores = Trace()
        self.revision = 0


class Wire(NamedTuple):
    """Our own connection to the broker."""

    host: str
    port: int
    connected: bool = False
    problem: str = ""
    since_ms: int = 0
    tried: bool = False  # an attempt has ended


class Board:
    """Everything that pages show; see the module."""

    def __init__(self) -> None:
        self.assets: dict[Key, Watched] = {}
        self.gateways: dict[str, Gateway] = {}
        self.alerts: dict[str, Alert] = {}
        self.shelves: dict[tuple[str, str], Shelf] = {}
        self.feedback: dict[str, Feedback] = {}  # by alert
        self.maintenance: dict[str, Maintenance] = {}  # by id
        self.rollouts: dict[Key, Mapping[str, object]] = {}
        self.signals: dict[str, Trace] = {}
        self.wire = Wire("", 0)
        self.revision = 0
        self.messages = 0
        self.surplus = 0  # assets beyond MAX_ASSETS
        self.scored = False  # whether anybody publishes scores

    def take(self, said: Said, *, now_ms: int) -> None:
        """Take note of one message."""
        body = said.body
        if isinstance(body, ScoreRecord):
            self._score(said.gateway, body, now_ms)
        elif isinstance(body, AssetState):
            self._state(said.gateway, body, now_ms)
        elif isinstance(body, AlertEvent):
            self._alert(body, now_ms)
        elif isinstance(body, Feedback):
            self.hear_feedback(body)
        elif isinstance(body, Maintenance):
            self.maintenance[body.id] = body
            self._touch_asset(body.asset)
        elif said.what == "rollout" and isinstance(body, dict):
            self._rollout(said, body)
        else:
            self._gateway(said, now_ms)

    def sample(self, asset: str, time_ms: int, values: Mapping[str, float]) -> None:
        """Take a sample from a source's topic."""
        trace = self.signals.get(asset)
        if trace is None:
            if len(self.signals) >= MAX_ASSETS:
                return
            trace = self.signals[asset] = Trace()
        trace.take(time_ms, values)

    def state_of(self, alert: Alert, now_ms: int) -> AlarmState:
        """Return where an alert is in its life among people."""
        event = alert.event
        shelf = self.shelves.get((event.asset, event.kind))
        return alarms.state(
            alert.alarm,
            shelved=shelf is not None and shelf.holds(now_ms),
            suppressed=alarms.suppressed(event.asset, event.start_ms, self.maintenance.values()),
        )

    def alter(self, alert: str, alarm: Alarm) -> None:
        """Set what people did about an alert."""
        found = self.alerts[alert]
        self.alerts[alert] = replace(found, alarm=alarm)
        watched = self.watched(found.event.gateway, found.event.asset)
        if watched is not None:
            self._open(watched, alarm)
            self._touch(watched)

    def shelve(self, shelf: Shelf) -> None:
        """Put alarms aside; one that ends in the past takes them back."""
        self.shelves[shelf.asset, shelf.kind] = shelf
        self._touch_asset(shelf.asset)

    def hear_feedback(self, feedback: Feedback) -> None:
        """Take a verdict; the last one counts."""
        found = self.alerts.get(feedback.alert or "")
        if feedback.alert is None:
            return
        known = self.feedback.get(feedback.alert)
        if known is not None and known.time_ms > feedback.time_ms:
            return
        self.feedback[feedback.alert] = feedback
        if found is not None:
            self.alerts[feedback.alert] = replace(found, verdict=feedback.verdict)
            self._touch_asset(feedback.asset)

    def restore(self, alert: Alert) -> None:
        """Put back an alert from the store."""
        self.alerts[alert.event.alert] = alert
        watched = self.watched(alert.event.gateway, alert.event.asset)
        if watched is not None:
            self._open(watched, alert.alarm)

    def watched(self, gateway: str, asset: str) -> Watched | None:
        """Return the asset, made when it is new; None when there are too many."""
        key = (gateway, asset)
        found = self.assets.get(key)
        if found is None:
            if len(self.assets) >= MAX_ASSETS:
                self.surplus += 1
                return None
            found = self.assets[key] = Watched(gateway, asset)
            self._touch(found)
        return found

    def touch(self) -> None:
        """Say that something changed that is no asset's."""
        self.revision += 1

    def _touch(self, watched: Watched) -> None:
        self.revision += 1
        watched.revision = self.revision

    def _touch_asset(self, asset: str) -> None:
        self.revision += 1
        for watched in self.assets.values():
            if watched.name == asset:
                watched.revision = self.revision

    def _score(self, gateway: str, record: ScoreRecord, now_ms: int) -> None:
        watched = self.watched(gateway, record.asset)
        if watched is None:
            return
        self.scored = True
        watched.score = record.score
        watched.contributions = record.contributions
        watched.newest_ms = max(watched.newest_ms, record.time_ms)
        watched.heard_ms = now_ms
        watched.spark.append(record.score)
        watched.scores.take(record.time_ms, columns(record))
        self._touch(watched)

    def _state(self, gateway: str, state: AssetState, now_ms: int) -> None:
        watched = self.watched(gateway, state.asset)
        if watched is None:
            return
        if watched.state is not None and watched.state == state:
            return
        watched.state = state
        watched.newest_ms = max(watched.newest_ms, state.since_ms)
        watched.heard_ms = now_ms
        if state.score is not None and not watched.spark:
            watched.score = state.score
        self._touch(watched)

    def _alert(self, event: AlertEvent, now_ms: int) -> None:
        watched = self.watched(event.gateway, event.asset)
        known = self.alerts.get(event.alert)
        if watched is None or (known is not None and known.event.seq >= event.seq):
            return
        alarm = alarms.take(known.alarm if known else None, event)
        telling = known.telling if known and event.type == "end" else event
        self.alerts[event.alert] = Alert(
            event=event,
            telling=telling,
            alarm=alarm,
            opened_ms=known.opened_ms if known else now_ms,
            verdict=known.verdict if known else None,
        )
        self._open(watched, alarm)
        watched.newest_ms = max(watched.newest_ms, event.time_ms)
        watched.heard_ms = now_ms
        self._touch(watched)
        if len(self.alerts) > 2 * MAX_CALM:
            self._forget()

    def _open(self, watched: Watched, alarm: Alarm) -> None:
        """Keep the asset's alerts that go on or wait for somebody."""
        others = tuple(name for name in watched.open if name != alarm.alert)
        waits = alarm.active or alarm.acknowledged_ms is None
        watched.open = (*others, alarm.alert)[-MAX_OPEN:] if waits else others

    def _forget(self) -> None:
        """Let the oldest alerts go that nobody needs to see; the store has them."""
        calm = [
            name
            for name, alert in self.alerts.items()
            if not alert.alarm.active and alert.alarm.acknowledged_ms is not None
        ]
        for name in calm[: max(0, len(calm) - MAX_CALM)]:
            del self.alerts[name]

    def _gateway(self, said: Said, now_ms: int) -> None:
        known = self.gateways.get(said.gateway) or Gateway(name=said.gateway)
        if isinstance(said.body, str):
            changed = replace(known, status=said.body, heard_ms=now_ms)
        elif isinstance(said.body, dict):
            changed = replace(known, health=said.body, heard_ms=now_ms)
        else:
            return
        self.gateways[said.gateway] = changed
        self.revision += 1
        if changed.status != known.status:
            for watched in self.assets.values():
                if watched.gateway == said.gateway:
                    watched.revision = self.revision

    def _rollout(self, said: Said, body: dict[str, object]) -> None:
        self.revision += 1
        if body:
            self.rollouts[said.gateway, said.name] = body
        else:
            self.rollouts.pop((said.gateway, said.name), None)


def columns(record: ScoreRecord) -> dict[str, float]:
    """Return a score with its contributions as columns of a trace."""
    found = {"": record.score}
    for part in record.contributions:
        if part.expected is not None:
            found[EXPECTED + part.sensor] = part.expected
        if part.actual is not None:
            found[ACTUAL + part.sensor] = part.actual
    return found
