"""What the daemon says of itself: counters, and the retained health topic.

Rules: counters only rise, from the start of the process; every reason to
worry is a line in ``degraded``, and an empty list means that all promises
hold.  Lists of assets are cut at ``MAX_LISTED``, and the cut is counted.
"""

from __future__ import annotations

import platform
from collections import Counter, deque
from typing import TYPE_CHECKING, Literal

import msgspec

from offbeat_edge import __version__
from offbeat_edge.schema import SCHEMA, Stage, iso

if TYPE_CHECKING:
    from collections.abc import Iterable

    from offbeat_edge.link import Link, Message
    from offbeat_edge.model import Model
    from offbeat_edge.observed import Observed
    from offbeat_edge.schema import Reject, Sample
    from offbeat_edge.store import OutboxSize

MAX_LISTED = 100  # assets named in one list
MAX_KNOWN = 100_000  # assets remembered
MAX_GAPS = 20  # the last gaps, told in health
GAP_RATIO = 10  # a step in event time this many times the usual one is a gap ...
GAP_MIN_MS = 5000  # ... if it is longer than this
USUAL = 0.1  # weight of the newest step in what is usual
HOUR_MS = 3_600_000


class ModelHealth(msgspec.Struct, frozen=True, kw_only=True):
    """One ``[[model]]``; without a version it could not be loaded."""

    bundle: str  # file
    name: str = ""
    version: str = ""
    digest: str = ""
    config: str = ""
    degraded: str | None = None
    budget_per_week: float | None = None  # false alarms an asset, as asked for at fit
    expected_per_week: float | None = None  # what the threshold stands for
    held_out_per_week: float | None = None  # counted on held-out normal rows
    achieved_per_week: float | None = None  # anomalies an asset, counted here since it came
    anomalies: int = 0
    asset_days: float = 0.0  # event time watched, added up over assets
    assets: int = 0
    adaptation: dict[Stage, int] = {}  # assets by stage of their warm-up; empty without one


class MqttHealth(msgspec.Struct, frozen=True, kw_only=True):
    """The session with the broker."""

    version: str | None  # None: not connected
    connections: int
    subscribed: int  # filters granted; 0 until the broker has answered for all
    sessions_lost: int  # the broker had forgotten our queue
    taken_over: int
    durable_rate: float | None  # QoS 1 messages a second that can be made durable
    probe_ms: float | None  # to the broker and back, the last time; None: not yet, or lost


class SpoolHealth(msgspec.Struct, frozen=True, kw_only=True):
    """What waits on disk for the broker."""

    events: int
    bytes: int
    limit_bytes: int
    oldest_s: float  # age of the oldest waiting event
    hours_left: float | None  # until the limit, at the rate of the last hour; None: not growing
    dropped: dict[str, int]


class AssetList(msgspec.Struct, frozen=True, kw_only=True):
    """Names, at most MAX_LISTED of ``total``."""

    total: int
    names: list[str]


class Gap(msgspec.Struct, frozen=True, kw_only=True):
    """A hole in an asset's event time: nothing was sent, or the broker lost it."""

    asset: str
    from_ms: int
    to_ms: int


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """Retained on ``offbeat/<gateway>/health``."""

    schema: str = SCHEMA
    gateway: str
    site: str
    time: str
    time_ms: int
    uptime_s: float
    version: str
    python: str
    runtime: dict[str, str]
    condition: Literal["healthy", "degraded"]  # degraded: there is a reason below
    degraded: list[str]
    models: list[ModelHealth]
    mqtt: MqttHealth
    spool: SpoolHealth
    counters: dict[str, int]
    rejects: dict[str, int]
    gaps: list[Gap]  # the last MAX_GAPS since the start; `counters.gaps` has them all
    lag_ms: int | None  # wall clock less the newest sample's own time
    clock_synchronized: bool | None  # None: cannot be known here
    clock_ahead_ms: int  # stamps lead the wall clock by this much
    qos0_assets: AssetList  # nothing is promised for what arrives at QoS 0
    stamped_assets: AssetList  # nor for what the gateway had to stamp


class _Heard:
    """What was heard of one asset."""

    __slots__ = ("newest_ms", "qos", "usual_ms")

    def __init__(self) -> None:
        self.newest_ms: int | None = None  # of its own times
        self.qos = 0  # of its last message
        self.usual_ms = 0.0  # between two of its samples; 0: not known yet


class Tally:
    """Counts what passes."""

    def __init__(self) -> None:
        self.counters: Counter[str] = Counter(
            dict.fromkeys(
                (
                    "messages",
                    "qos0",
                    "retained",
                    "commands",
                    "samples",
                    "rejects",
                    "windows",
                    "alerts",
                    "gaps",
                ),
                0,
            )
        )
        self.rejects: Counter[str] = Counter()
        self.newest_ms: int | None = None
        self.gaps: deque[Gap] = deque(maxlen=MAX_GAPS)
        self._heard: dict[str, _Heard] = {}
        self._stamped: set[str] = set()

    def message(self, message: Message, samples: list[Sample]) -> None:
        """Count one message and the samples it held."""
        self.counters["messages"] += 1
        self.counters["samples"] += len(samples)
        self.counters["qos0"] += message.qos == 0
        self.counters["retained"] += message.retain
        for sample in samples:
            heard = self._heard.get(sample.asset) or self._meet(sample.asset)
            heard.qos = message.qos
            if sample.own_time:
                self.newest_ms = sample.time_ms
                self._step(sample, heard)
            elif len(self._stamped) < MAX_KNOWN:
                self._stamped.add(sample.asset)

    def _meet(self, asset: str) -> _Heard:
        heard = _Heard()
        if len(self._heard) < MAX_KNOWN:
            self._heard[asset] = heard
        return heard

    def _step(self, sample: Sample, heard: _Heard) -> None:
        """Look for a hole since the asset's newest sample."""
        newest = sample.time_ms if heard.newest_ms is None else heard.newest_ms
        usual, step = heard.usual_ms, sample.time_ms - newest
        if usual and step > max(GAP_MIN_MS, GAP_RATIO * usual):
            self.counters["gaps"] += 1
            self.gaps.append(Gap(asset=sample.asset, from_ms=newest, to_ms=sample.time_ms))
        elif step > 0:
            heard.usual_ms = step if not usual else usual + USUAL * (step - usual)
        if step >= 0 or step < -HOUR_MS:  # so far back, the newest was a lie
            heard.newest_ms = sample.time_ms

    def reject(self, reject: Reject) -> None:
        """Count a message, or a part of one, that was not taken."""
        self.counters["rejects"] += 1
        self.rejects[reject.reason] += 1

    def qos0(self) -> AssetList:
        """Return the assets whose last message came at QoS 0."""
        return _listed(name for name, heard in self._heard.items() if heard.qos == 0)

    def stamped(self) -> AssetList:
        """Return the assets of which samples came without a time."""
        return _listed(self._stamped)


class SpoolGauge:
    """Turns the spool's bytes into hours.

    Parameters
    ----------
    limit_bytes : where the spool starts to drop.
    now_ms : wall clock.
    """

    def __init__(self, *, limit_bytes: int, now_ms: int) -> None:
        self._limit = limit_bytes
        self._marks = [(now_ms, 0)]

    def read(self, size: OutboxSize, now_ms: int) -> SpoolHealth:
        """Return the spool's state; remembers one mark a reading, for an hour."""
        marks = [mark for mark in self._marks if now_ms - mark[0] <= HOUR_MS]
        self._marks = [*marks[-HOUR_MS // 1000 :], (now_ms, size.bytes)]
        then_ms, then = self._marks[0]
        grown, hours = size.bytes - then, (now_ms - then_ms) / HOUR_MS
        rate = grown / hours if hours > 0 else 0.0
        return SpoolHealth(
            events=size.rows,
            bytes=size.bytes,
            limit_bytes=self._limit,
            oldest_s=0.0 if size.oldest_ms is None else (now_ms - size.oldest_ms) / 1000,
            hours_left=round((self._limit - size.bytes) / rate, 2) if rate > 0 else None,
            dropped=size.dropped,
        )


def mqtt_health(link: Link, durable_rate: float | None, probe_ms: float | None) -> MqttHealth:
    """Return the link's part."""
    return MqttHealth(
        version=link.version,
        connections=link.connections,
        subscribed=link.subscribed,
        sessions_lost=link.sessions_lost,
        taken_over=link.taken_over,
        durable_rate=durable_rate,
        probe_ms=probe_ms,
    )


def model_health(
    path: str,
    model: Model | None,
    problem: str | None,
    observed: Observed,
    adaptation: dict[Stage, int],
) -> ModelHealth:
    """Return one model's part."""
    if model is None:
        return ModelHealth(bundle=path, degraded=problem or "not loaded yet")
    ref, calibration = model.ref, model.manifest.calibration
    return ModelHealth(
        bundle=path,
        name=ref.name,
        version=ref.version,
        digest=ref.bundle,
        config=ref.config,
        degraded=problem or model.degraded,
        budget_per_week=_rate(calibration.get("budget_per_week")),
        expected_per_week=_rate(calibration.get("expected_per_week")),
        held_out_per_week=_rate(calibration.get("held_out_per_week")),
        achieved_per_week=observed.per_week,
        anomalies=observed.anomalies,
        asset_days=observed.days,
        assets=observed.assets,
        adaptation=adaptation,
    )


def identity(gateway: str, site: str, now_ms: int) -> dict[str, str | int]:
    """Return the fields that say who speaks, and when."""
    return {
        "gateway": gateway,
        "site": site,
        "time": iso(now_ms),
        "time_ms": now_ms,
        "version": __version__,
        "python": platform.python_version(),
    }


def _rate(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) else None


def _listed(names: Iterable[str]) -> AssetList:
    ordered = sorted(names)
    return AssetList(total=len(ordered), names=ordered[:MAX_LISTED])
